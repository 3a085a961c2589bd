"""What is believed of children in a noisy objective: their posteriors, each centred on its parent.

The prior of an effect is the mixture of `population.statistics.effects`, fitted to all children first, then to
each operator's own. The best of many single runs is mostly lucky: shrinking says by how much
(`docs/results.md` has the simulated campaigns with and without it).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from population.lineage import Birth
from population.statistics.blocks import BlockMeans
from population.statistics.effects import (
    Effects,
    Observations,
    centre_of,
    centred_value,
    fit,
    weak_prior,
)
from population.types import Estimate


class Family(Protocol):
    """Who made whom."""

    def birth_of(self, variant_id: str) -> Birth | None:
        """What made a variant and from whom; None for one that is not known."""
        ...


class NoFamily:
    """Nobody descends from anybody: every belief is a plain mean."""

    def birth_of(self, variant_id: str) -> Birth | None:
        """None."""
        return None


NO_FAMILY = NoFamily()


@dataclass(slots=True)
class _Pairs:
    """What children of one operator showed: gains over their centres, and how many never finished."""

    gains: list[float] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)
    unfinished: int = 0

    def seen(self) -> Observations:
        return Observations.of(self.gains, self.variances, [0.0] * self.unfinished)


class Posteriors:
    """One objective's beliefs. `turn`: 1 when lower is better, -1 when higher is. Not thread-safe."""

    def __init__(self, levels: BlockMeans, turn: float, family: Family) -> None:
        self._levels, self._turn, self._family = levels, turn, family
        self._everyone: Effects | None = None
        self._by_operator: dict[str, Effects] = {}
        self._known: dict[str, Estimate] = {}
        self._hang_on: dict[str, set[str]] = defaultdict(set)  # those centred on a variant
        self._seen = self._fits = 0

    def settle(self) -> int:
        """Make up for the rows since the last time; how often everyone's belief moved so far."""
        changes = self._levels.settle()
        if changes != self._seen:
            self._seen = changes
            self._known.clear()
        return changes + self._fits

    def forget(self, variant_id: str) -> set[str]:
        """A row of this variant came or went: its belief and those that depend on it are stale.

        All of those: a child may be measured before its parent is.
        """
        waiting, stale = [variant_id], set[str]()
        while waiting:
            one = waiting.pop()
            stale.add(one)
            self._known.pop(one, None)
            waiting.extend(self._hang_on.pop(one, ()))
        return stale

    def estimate(self, variant_id: str) -> Estimate | None:
        """What is believed of one variant; None without a run."""
        self.settle()
        if not self._levels.noise > 0:  # exact, or nothing is known of the noise yet
            return self._levels.estimate(variant_id)
        waiting = [variant_id]  # not recursive: a lineage may be deeper than the stack
        while waiting:
            one = waiting[-1]
            level = None if one in self._known else self._levels.estimate(one)
            if level is None:
                waiting.pop()
                continue
            centre = self._centre(one)
            missing = [other for other in centre if other not in self._known]
            waiting.extend(missing)
            if not missing:
                self._known[one] = self._posterior(one, level, centre)
        return self._known.get(variant_id)

    def estimates(self, variant_ids: Iterable[str]) -> Iterator[tuple[str, Estimate]]:
        """What is believed of those of these variants that have a run."""
        self.settle()
        if not self._levels.noise > 0:
            yield from self._levels.estimates(variant_ids)
            return
        for one in variant_ids:
            told = self._known.get(one) or self.estimate(one)
            if told is not None:
                yield one, told

    def learn(self, children: Iterable[str], failed: Iterable[str]) -> None:
        """Fit the priors to these children; `failed` ones gave no score, which is known to be no gain."""
        if not self._levels.noise > 0:
            return
        pairs: dict[str, _Pairs] = defaultdict(_Pairs)
        for one in children:
            birth, level = self._family.birth_of(one), self._levels.estimate(one)
            centre = self._centre(one)
            if birth is None or level is None or not centre:
                continue
            self.estimate(one)  # so that its centre is known
            mean, variance = self._where(centre)
            pairs[birth.operator].gains.append(self._turn * (mean - level.mean))
            pairs[birth.operator].variances.append(variance + level.sd**2)
        for one in failed:
            birth = self._family.birth_of(one)
            if birth is not None and birth.parents:
                pairs[birth.operator].unfinished += 1
        if not pairs:
            return  # nobody descends from anybody
        whole = _Pairs(
            [gain for made in pairs.values() for gain in made.gains],
            [variance for made in pairs.values() for variance in made.variances],
            sum(made.unfinished for made in pairs.values()),
        )
        self._everyone = fit(whole.seen(), weak_prior(self._levels.noise))
        self._by_operator = {name: fit(made.seen(), self._everyone) for name, made in pairs.items()}
        self._known.clear()
        self._fits += 1

    def prior_of(self, operator: str) -> Effects:
        """What children of an operator are expected to do, in the metric's unit; gains are above 0."""
        everyone = self._everyone or weak_prior(self._levels.noise)
        return self._by_operator.get(operator, everyone)

    def usual_gain(self, operator: str) -> float | None:
        """What a child of an operator gains where it gains at all, on average; None while no noise is known."""
        if not self._levels.noise > 0:
            return None
        return math.sqrt(2 / math.pi) * self.prior_of(operator).gain_sd  # of a half of a normal

    def _centre(self, variant_id: str) -> tuple[str, ...]:
        """What a variant is centred on: one parent, or all and their ancestor; () for a root."""
        birth = self._family.birth_of(variant_id)
        if birth is None or not birth.parents:
            return ()
        wanted = birth.parents if birth.ancestor is None else (*birth.parents, birth.ancestor)
        found = [self._nearest(one, variant_id) for one in wanted]
        return () if None in found else tuple(one for one in found if one is not None)

    def _nearest(self, variant_id: str, child: str) -> str | None:
        """A variant, or the nearest before it that has a score: a parent may have lost its own since."""
        here: str | None = variant_id
        while here is not None:
            self._hang_on[here].add(child)
            if here in self._levels:
                return here
            birth = self._family.birth_of(here)
            here = birth.parents[0] if birth is not None and birth.parents else None
        return None

    def _where(self, centre: tuple[str, ...]) -> tuple[float, float]:
        parents = [self._known[one] for one in centre]
        ancestor = parents.pop() if len(parents) > 2 else None
        return centre_of(parents, ancestor)

    def _posterior(self, variant_id: str, level: Estimate, centre: tuple[str, ...]) -> Estimate:
        birth = self._family.birth_of(variant_id)
        if birth is None or not centre:
            return level
        mean, variance = self._where(centre)
        gain, own = self._turn * (mean - level.mean), level.sd**2
        value, sd = centred_value(gain, own, variance, self.prior_of(birth.operator))
        if gain < 0:  # an operator's good name turns no loss into a gain
            value = min(value, gain * variance / (own + variance))
        return Estimate(mean - self._turn * value, sd, level.n)
