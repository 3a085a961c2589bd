"""A model of all that was measured around one structure, and what it would run next.

A Gaussian process (Rasmussen & Williams 2006) with what a campaign needs of one: settings that were run several
times, noise that differs from setting to setting, and structures that differ by edits. It weighs new settings
against repeats of old ones by the knowledge gradient (Frazier, Powell & Dayanik 2009; `acquisition`).

    score of a run = f(setting) + g(setting) + e(run)

f is what neighbours tell: a constant, a Matern-5/2 over one distance with a length for each knob, and main
effects of single knobs. g is what only a repeat tells, e the noise. A structure is the set of its edits since
the seed; each edit is one more two-valued knob, and all share one length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SQRT5 = math.sqrt(5.0)
MAIN_LENGTH = 0.3  # of a range: how far a main effect reaches
MAIN_PLACES = 9  # that a main effect is carried by; between them it is interpolated
CALM_RUNS = 3.0  # runs of usual noise that a setting's own scatter is weighed against
INCREDIBLE = (
    3.0  # sds from what all other settings say: what lies farther off is run again, not believed
)
MAX_STEPS = 30  # of a fit
JITTER = 1e-8


@dataclass(frozen=True, slots=True)
class Axis:
    """One knob: one of its places from 0 to 1, any if they are 0; if not ordered, the number of a choice."""

    places: int
    ordered: bool = True

    def snapped(self, values: Floats) -> Floats:
        """The nearest values that there are."""
        if not self.ordered:
            return values.round()
        if not self.places:
            return values.clip(0.0, 1.0)
        last = max(self.places - 1, 1)
        return (values.clip(0.0, 1.0) * last).round() / last

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Values at random, [count]."""
        if self.ordered and not self.places:
            return rng.random(count)
        drawn = rng.integers(self.places, size=count).astype(float)
        return drawn / max(self.places - 1, 1) if self.ordered else drawn


@dataclass(frozen=True)
class Domain:
    """The settings of a structure and its relatives as points, [points, axes + edits].

    The last columns say, 0 or 1, which `edits` a structure has.
    """

    axes: tuple[Axis, ...]
    edits: int = 0

    @property
    def groups(self) -> int:
        """Lengths to be found: one a knob, and one for all edits."""
        return len(self.axes) + (self.edits > 0)

    @cached_property
    def owners(self) -> npt.NDArray[np.intp]:
        """To which length each column of `coordinates` belongs."""
        widths = [1 if one.ordered else one.places for one in self.axes]
        owners = np.repeat(np.arange(len(self.axes)), widths)
        return np.concatenate([owners, np.full(self.edits, len(self.axes))])

    def coordinates(self, points: Floats) -> Floats:
        """Columns whose squared distance is a knob's: of its places, or 1 for another choice or edit."""
        columns = []
        for at, axis in enumerate(self.axes):
            if axis.ordered:
                columns.append(points[:, at : at + 1])
            else:
                columns.append(np.eye(axis.places)[points[:, at].astype(int)] * math.sqrt(0.5))
        return np.concatenate([*columns, points[:, len(self.axes) :]], axis=1)

    def main_effects(self, points: Floats) -> Floats:
        """Columns whose inner products are the covariances of main effects, averaged over knobs."""
        columns = []
        for at, axis in enumerate(self.axes):
            if axis.ordered:
                columns.append(_carried(points[:, at]))
            else:
                columns.append(np.eye(axis.places)[points[:, at].astype(int)])
        return np.concatenate(columns, axis=1) / math.sqrt(len(self.axes))


def _carried(places: Floats) -> Floats:
    """An RBF over 0 to 1 by its values at few places (Nystroem): inner products of rows are covariances."""
    carried: Floats = _bumps(places[:, None] - _CARRIERS) @ _WHITENED
    return carried


def _bumps(apart: Floats) -> Floats:
    bumps: Floats = np.exp(-0.5 * (apart / MAIN_LENGTH) ** 2)
    return bumps


_CARRIERS = np.linspace(0.0, 1.0, MAIN_PLACES)
_SIZES, _TURNS = np.linalg.eigh(_bumps(_CARRIERS[:, None] - _CARRIERS) + 1e-9 * np.eye(MAIN_PLACES))
_WHITENED = _TURNS / np.sqrt(_SIZES)


@dataclass(frozen=True)
class Told:
    """What was measured: points, the mean of each one's `runs`, and their sum of squares about it."""

    points: Floats
    means: Floats
    runs: Floats
    squares: Floats

    @classmethod
    def once(cls, points: Floats, values: Floats) -> Told:
        """One exact value a point."""
        ones = np.ones(len(values))
        return cls(points, values, ones, 0 * ones)

    def __len__(self) -> int:
        return len(self.means)


@dataclass(frozen=True)
class Scale:
    """How values are turned into those of the model and back."""

    centre: float
    unit: float
    log: bool = False

    def back(self, values: Floats) -> Floats:
        """Values of the model as those of a run."""
        plain: Floats = self.centre + self.unit * values
        exponent: Floats = np.exp(plain) if self.log else plain
        return exponent


def half_ranked(values: Floats) -> tuple[Floats, Scale]:
    """The better half in its own sds from the median, the worse half by its ranks alone.

    How bad a bad setting is says little about where the best are (as Vizier warps: Song et al. 2024).
    """
    from scipy.special import ndtri

    centre = float(np.median(values))
    good = values <= centre
    unit = math.sqrt(float(np.mean((values[good] - centre) ** 2))) or float(values.std()) or 1.0
    turned = (values - centre) / unit
    share = (ranked(values) - 0.5) / len(values)
    turned[~good] = np.minimum(turned[~good], ndtri(np.maximum(share[~good], 0.5)))
    return turned, Scale(centre, unit)


def ranked(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs. SciPy's own takes a second to import."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(times) - (times - 1) / 2)[place]
    return ranks


def standardised(values: Floats) -> tuple[Floats, Scale]:
    """In sds from the mean."""
    scale = Scale(float(values.mean()), float(values.std()) or 1.0)
    return (values - scale.centre) / scale.unit, scale


def logged(values: Floats) -> tuple[Floats, Scale]:
    """Their logarithms in sds from the mean; where any is not above 0, as they are."""
    if not (values > 0).all():
        return standardised(values)
    turned, scale = standardised(np.log(values))
    return turned, Scale(scale.centre, scale.unit, log=True)


def as_chances(values: Floats) -> tuple[Floats, Scale]:
    """Below 1, which is what is thought of where nobody was."""
    return values - 1.0, Scale(1.0, 1.0)


Turn = Callable[[Floats], tuple[Floats, Scale]]


class Surrogate:
    """The process over one domain, with its hyperparameters and what it was told; `exact`: without noise.

    `theta`: logarithms of one over each squared length, of the variances of product, main effects and noise,
    and of g's variance over the noise's. They are the most probable ones under log-normal priors.
    """

    def __init__(self, domain: Domain, turn: Turn = half_ranked, exact: bool = False) -> None:
        self._domain, self._turn, self._exact = domain, turn, exact
        knobs = len(domain.axes)
        lengths = [-2 * math.log(0.6 * math.sqrt(knobs))] * knobs + [0.0] * (domain.edits > 0)
        noise = math.log(1e-3 if exact else 0.1)
        self.prior_mean = np.array([*lengths, 0.0, math.log(0.5), noise, math.log(0.15)])
        spread = [2.0] * knobs + [1.0] * (domain.edits > 0)
        self.prior_sd = np.array([*spread, 1.0, 1.0, 1.0 if exact else 1.5, 1.0])
        self.theta = self.prior_mean.copy()

    # -- hyperparameters -----------------------------------------------------------------------------------

    def fit(self, told: Told, steps: int = MAX_STEPS) -> Surrogate:
        """Find the hyperparameters, from where they are."""
        from scipy.optimize import minimize

        data = _Data(self._domain, told, self._turn)
        wild = self._wild(data, self._variances()[2])
        low, high = (self.prior_mean + side * self.prior_sd for side in (-4, 4))
        found = minimize(
            self.objective,
            self.theta,
            (data, wild),
            "L-BFGS-B",
            jac=True,
            bounds=list(zip(low, high, strict=True)),
            options={"maxiter": steps},
        )
        self.theta = found.x
        return self

    def objective(self, theta: Floats, data: _Data, wild: Floats) -> tuple[float, Floats]:
        """Minus the log posterior of hyperparameters, but for a constant, and its gradient."""
        from scipy.linalg import LinAlgError, cholesky, lapack

        lengths, (product, main, noise, own) = self._lengths(theta), self._variances(theta)
        r2 = (lengths @ data.apart).reshape(len(data), len(data))
        r = np.sqrt(r2)
        decay = np.exp(-SQRT5 * r)
        smooth = (1 + SQRT5 * r + (5 / 3) * r2) * decay
        kernel = 1.0 + product * smooth + main * data.main
        kernel[np.diag_indices(len(data))] += own + noise * wild / data.runs + JITTER
        try:
            lower = cholesky(kernel, lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = _mirrored(lapack.dpotri(lower, lower=1)[0])
        weights = inverse @ data.values
        within, freedom = float((data.squares / wild).sum()), float((data.runs - 1).sum())
        value = 0.5 * float(data.values @ weights) + float(np.log(np.diag(lower)).sum())
        value += 0.5 * (freedom * math.log(noise) + within / noise)
        slope = 0.5 * (inverse - np.outer(weights, weights))
        on, at = np.diag(slope), len(lengths)
        gradient = np.empty_like(theta)
        falls = slope * ((-5 / 6) * product * (1 + SQRT5 * r) * decay)
        gradient[:at] = lengths * (data.apart @ falls.ravel())
        gradient[at] = product * float((slope * smooth).sum())
        gradient[at + 1] = main * float((slope * data.main).sum())
        gradient[at + 2] = noise * float((on * wild / data.runs).sum()) + own * float(on.sum())
        gradient[at + 2] += 0.5 * (freedom - within / noise)
        gradient[at + 3] = own * float(on.sum())
        off = (theta - self.prior_mean) / self.prior_sd
        return value + 0.5 * float(off @ off), gradient + off / self.prior_sd

    def _lengths(self, theta: Floats | None = None) -> Floats:
        theta = self.theta if theta is None else theta
        lengths: Floats = np.exp(theta[: self._domain.groups])
        return lengths

    def _variances(self, theta: Floats | None = None) -> tuple[float, float, float, float]:
        """Of product, main effects, noise, and what only a repeat tells."""
        theta = self.theta if theta is None else theta
        product, main, noise, share = np.exp(theta[self._domain.groups :])
        return (
            float(product),
            float(main),
            float(noise),
            0.0 if self._exact else float(noise * share),
        )

    def _wild(self, data: _Data, noise: float) -> Floats:
        """How many times the usual variance, the least, each point's runs have; it weighs CALM_RUNS."""
        if self._exact:
            return np.ones(len(data))
        found = (CALM_RUNS * noise + data.squares) / (CALM_RUNS + data.runs - 1)
        return np.maximum(found / noise, 1.0)

    # -- beliefs -------------------------------------------------------------------------------------------

    def condition(self, told: Told, pending: Floats | None = None) -> Surrogate:
        """Believe what was measured; runs under way at `pending` points are taken to show what is expected."""
        self.told, data = told, _Data(self._domain, told, self._turn)
        self.scale = data.scale
        self._take(data)
        if pending is not None and len(pending):
            self._take(data.with_pending(pending, self.mean(pending)))
        return self

    def _take(self, data: _Data) -> None:
        from scipy.linalg import lapack

        self._data = data
        _, _, self.noise, self.own = self._variances()
        self._between = self._kernel(data.coordinates, data.effects)
        plain = np.diag(self._between) + self.own + JITTER
        wild = self._wild(data, self.noise)
        self._solve(plain + self.noise * wild / data.runs)
        if (
            not self._exact
        ):  # standardised residuals, each point left out: what no other would have thought of
            alone = np.diag(lapack.dpotri(self._lower, lower=1)[0])
            apart = self._weights / np.sqrt(alone)
            if (abs(apart) > INCREDIBLE).any():
                wider = np.maximum((apart / INCREDIBLE) ** 2 - 1, 0.0) / alone
                wild = wild + wider * data.runs / self.noise
                self._solve(plain + self.noise * wild / data.runs)
        self.wild = wild[: len(self.told)]

    def _solve(self, diagonal: Floats) -> None:
        from scipy.linalg import cho_solve, cholesky

        kernel = self._between.copy()
        kernel[np.diag_indices(len(kernel))] = diagonal
        self._lower = cholesky(kernel, lower=True, check_finite=False)
        self._weights = cho_solve((self._lower, True), self._data.values, check_finite=False)

    def mean(self, points: Floats) -> Floats:
        """The mean of f, as the model counts, [points]."""
        means: Floats = self._kernel(*self._of(points)) @ self._weights
        return means

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of f, as the model counts, [points] each."""
        coordinates, effects = self._of(points)
        prior = self._prior(effects)
        return self._posterior(self._kernel(coordinates, effects), prior)

    def at_told(self) -> tuple[Floats, Floats]:
        """Mean and variance of f + g at what was told, as the model counts, [points] each."""
        count = len(self.told)
        kernel = self._between[:count].copy()
        kernel[np.arange(count), np.arange(count)] += self.own
        return self._posterior(kernel, self._prior(self._data.effects[:count]) + self.own)

    def _posterior(self, kernel: Floats, prior: Floats) -> tuple[Floats, Floats]:
        from scipy.linalg import solve_triangular

        half = solve_triangular(self._lower, kernel.T, lower=True, check_finite=False)
        variance = prior - np.einsum("ij,ij->j", half, half)
        return kernel @ self._weights, np.maximum(variance, 1e-10)

    def _of(self, points: Floats) -> tuple[Floats, Floats]:
        return self._domain.coordinates(points), self._domain.main_effects(points)

    def _prior(self, effects: Floats) -> Floats:
        product, main, *_ = self._variances()
        prior: Floats = 1.0 + product + main * np.einsum("ij,ij->i", effects, effects)
        return prior

    def _kernel(self, coordinates: Floats, effects: Floats) -> Floats:
        """Covariances of f between points and what was told, [points, told]."""
        product, main, *_ = self._variances()
        scales = np.sqrt(self._lengths())[self._domain.owners]
        r2 = _squared_distances(coordinates * scales, self._data.coordinates * scales)
        r = SQRT5 * np.sqrt(r2)
        kernel: Floats = 1.0 + product * (1 + r + (5 / 3) * r2) * np.exp(-r)
        return kernel + main * (effects @ self._data.effects.T)


class _Data:
    """What was told, as the model counts."""

    def __init__(self, domain: Domain, told: Told, turn: Turn) -> None:
        self._domain, self.runs = domain, told.runs
        self.values, self.scale = turn(told.means)
        self.squares = told.squares / self.scale.unit**2
        self.coordinates = domain.coordinates(told.points)
        self.effects = domain.main_effects(told.points)

    def with_pending(self, points: Floats, values: Floats) -> _Data:
        """And one run at each of these points, with a value as the model counts."""
        more, ones = copy(self), np.ones(len(values))
        more.values = np.concatenate([self.values, values])
        more.runs = np.concatenate([self.runs, ones])
        more.squares = np.concatenate([self.squares, 0 * ones])
        more.coordinates = np.concatenate([self.coordinates, self._domain.coordinates(points)])
        more.effects = np.concatenate([self.effects, self._domain.main_effects(points)])
        return more

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def apart(self) -> Floats:
        """Squared distances by length, [lengths, points x points]."""
        owners = self._domain.owners
        parts = (self.coordinates[:, owners == one] for one in range(self._domain.groups))
        return np.stack([_squared_distances(one, one).ravel() for one in parts])

    @cached_property
    def main(self) -> Floats:
        """Covariances of main effects, [points, points]."""
        return self.effects @ self.effects.T


def _squared_distances(first: Floats, second: Floats) -> Floats:
    """Between rows, [first, second]."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    apart: Floats = np.maximum(squares - 2 * first @ second.T, 0.0)
    return apart


def _mirrored(lower: Floats) -> Floats:
    whole: Floats = np.tril(lower) + np.tril(lower, -1).T
    return whole
