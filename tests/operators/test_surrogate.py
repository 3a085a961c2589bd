"""The surrogate: beliefs as brute force has them, and runs that are worth most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.optimisers.acquisition import (
    BEYOND,
    KnowledgeGradient,
    SettingPool,
    VolumeGain,
    shares_of,
)
from operators.optimisers.surrogate import (
    JITTER,
    MAIN_LENGTH,
    Axis,
    Domain,
    Scale,
    Surrogate,
    Told,
    _Data,
    half_ranked,
    logged,
    standardised,
)

DOMAIN = Domain((Axis(7), Axis(0), Axis(3, ordered=False)), edits=2)
seeds = st.integers(0, 2**31)


def some(rng: np.random.Generator, count: int, domain: Domain = DOMAIN) -> np.ndarray:
    knobs = [axis.draw(count, rng) for axis in domain.axes]
    return np.column_stack([*knobs, *(rng.integers(2, size=count) for _ in range(domain.edits))])


def told_of(rng: np.random.Generator, count: int = 14, domain: Domain = DOMAIN) -> Told:
    points = some(rng, count, domain)
    runs = rng.integers(1, 5, size=count).astype(float)
    values = (points[:, 0] - 0.3) ** 2 + 0.2 * points[:, 1] + 0.05 * rng.standard_normal(count)
    return Told(points, values, runs, 0.003 * (runs - 1) * rng.random(count))


def kernel_of(model: Surrogate, first: np.ndarray, second: np.ndarray) -> float:
    """The covariance of f between two points, word for word."""
    theta, knobs = model.theta, len(DOMAIN.axes)
    r2, main = 0.0, 0.0
    for at, axis in enumerate(DOMAIN.axes):
        apart = first[at] - second[at] if axis.ordered else float(first[at] != second[at])
        r2 += math.exp(theta[at]) * apart**2
        like = math.exp(-0.5 * (apart / MAIN_LENGTH) ** 2) if axis.ordered else 1.0 - apart
        main += like / knobs
    r2 += math.exp(theta[knobs]) * float(abs(first[knobs:] - second[knobs:]).sum())
    r = math.sqrt(5 * r2)
    product = math.exp(theta[knobs + 1]) * (1 + r + r * r / 3) * math.exp(-r)
    return 1.0 + product + math.exp(theta[knobs + 2]) * main


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_the_gradient_of_the_fit_is_what_finite_differences_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model, data = Surrogate(DOMAIN), _Data(DOMAIN, told_of(rng), half_ranked)
    theta = model.prior_mean + 0.5 * rng.standard_normal(len(model.prior_mean))
    wild = 1 + rng.random(len(data))
    _, gradient = model.objective(theta, data, wild)
    for at, step in enumerate(1e-5 * np.eye(len(theta))):
        up, down = (model.objective(theta + side * step, data, wild)[0] for side in (1, -1))
        assert gradient[at] == pytest.approx((up - down) / 2e-5, rel=1e-3, abs=1e-4)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_beliefs_are_those_of_the_full_covariance_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    told, model = told_of(rng), Surrogate(DOMAIN)
    model.theta = model.prior_mean + 0.3 * rng.standard_normal(len(model.prior_mean))
    model.condition(told)
    new = some(rng, 5)
    among = np.array([[kernel_of(model, a, b) for b in told.points] for a in told.points])
    noise = model.own + model.noise * model.wild / told.runs + JITTER
    inverse = np.linalg.inv(among + np.diag(noise))
    cross = np.array([[kernel_of(model, a, b) for b in told.points] for a in new])
    mean, variance = model.predict(new)
    values = half_ranked(told.means)[0]
    own = np.array([kernel_of(model, a, a) for a in new])
    np.testing.assert_allclose(mean, cross @ inverse @ values, atol=2e-3)
    expected = own - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(variance, expected, atol=2e-3)
    np.testing.assert_allclose(mean, model.mean(new))


def as_told(values: np.ndarray) -> tuple[np.ndarray, Scale]:
    return values, Scale(0.0, 1.0)


def test_the_mean_of_several_runs_says_what_the_runs_say() -> None:
    rng = np.random.default_rng(3)
    points, shown = some(rng, 6), 0.3 * rng.standard_normal((6, 4))
    single, pooled = Surrogate(DOMAIN, as_told), Surrogate(DOMAIN, as_told)
    for model in (single, pooled):
        model.theta[-1] = -40.0  # nothing but neighbours and noise
    single.condition(Told(np.repeat(points, 4, axis=0), shown.ravel(), np.ones(24), np.zeros(24)))
    pooled.condition(Told(points, shown.mean(axis=1), np.full(6, 4.0), np.zeros(6)))
    new = some(rng, 8)
    np.testing.assert_allclose(single.predict(new), pooled.predict(new), atol=1e-5)


def test_what_nobody_would_have_thought_of_is_believed_less() -> None:
    line = Domain((Axis(0),))
    points = np.linspace(0, 1, 12)[:, None]
    values = (points[:, 0] - 0.5) ** 2
    wrong = values.copy()
    wrong[2] -= 40.0
    plain = Surrogate(line, as_told)
    plain.theta[1:] = [0.0, math.log(0.5), math.log(0.01), math.log(0.1)]
    plain.condition(Told(points, wrong, np.ones(12), np.zeros(12)))
    assert plain.wild[2] > 100 and np.delete(plain.wild, 2).max() < plain.wild[2] / 3
    assert plain.at_told()[0][2] > wrong[2] / 4


def test_a_setting_whose_runs_scatter_is_believed_less_than_one_whose_runs_agree() -> None:
    rng = np.random.default_rng(0)
    told = told_of(rng)
    squares = np.zeros(len(told))
    runs = np.full(len(told), 3.0)
    squares[4] = 5.0
    model = Surrogate(DOMAIN).condition(Told(told.points, told.means, runs, squares))
    assert model.wild[4] > 10 and np.delete(model.wild, 4).max() < model.wild[4]
    assert model.at_told()[1].argmax() == 4


def test_a_new_structure_is_expected_where_its_parent_is_and_is_less_sure() -> None:
    domain = Domain((Axis(0),), edits=2)
    knobs = np.linspace(0, 1, 10)
    points = np.column_stack([knobs, np.zeros(10), np.zeros(10)])
    model = Surrogate(domain).condition(Told(points, knobs, np.ones(10), np.zeros(10)))
    parent, child, grandchild = np.array([[0.5, 0, 0], [0.5, 1, 0], [0.5, 1, 1]], dtype=float)
    mean, variance = model.predict(np.array([parent, child, grandchild]))
    assert variance[0] < variance[1] < variance[2]
    low, high = model.predict(np.array([[0.1, 1, 0], [0.9, 1, 0]]))[0]
    assert low < mean[1] < high  # what its parent's knobs do, its own are expected to do


def test_a_run_under_way_changes_no_belief_and_is_worth_less_beside_it() -> None:
    rng = np.random.default_rng(1)
    told, new = told_of(rng), some(rng, 6)
    alone, beside = Surrogate(DOMAIN).condition(told), Surrogate(DOMAIN)
    beside.condition(told, pending=new[:1])
    np.testing.assert_allclose(alone.mean(new), beside.mean(new), atol=1e-6)
    assert beside.predict(new)[1][0] < alone.predict(new)[1][0]
    assert len(beside.at_told()[0]) == len(beside.wild) == len(told)


def test_the_dearer_of_two_alike_is_worth_less_and_what_overruns_the_seconds_nothing() -> None:
    line = Domain((Axis(0),))
    points = np.linspace(0, 1, 12)[:, None]
    seconds = np.where(points[:, 0] < 0.5, 10.0, 200.0)
    symmetric = ((points[:, 0] - 0.5) ** 2).round(9)  # equal ones share their rank
    model = Surrogate(line).condition(Told(points, symmetric, np.ones(12), np.zeros(12)))
    logs = Told.once(points, seconds)
    costs = Surrogate(line, logged, exact=True).fit(logs).condition(logs)
    pair = np.array([[0.32], [0.68]])
    plain = KnowledgeGradient(model)(pair)
    assert plain[0] == pytest.approx(plain[1], rel=1e-6)
    cheap, dear = KnowledgeGradient(model, shares_of(costs, 1000.0, 100.0))(pair)
    assert cheap > 3 * dear
    _, beyond = KnowledgeGradient(model, shares_of(costs, 60.0, 100.0))(pair)
    assert beyond < 0.01 * cheap


def test_a_volume_grows_by_what_is_nondominated_and_by_nothing_else() -> None:
    import moocore

    rng = np.random.default_rng(2)
    line = Domain((Axis(0),))
    points = np.linspace(0, 1, 9)[:, None]
    told = Told(points, 1.0 - points[:, 0], np.ones(9), np.zeros(9))
    sizes = Told.once(points, 1.0 + points[:, 0] + 0.3 * rng.random(9))
    model = Surrogate(line, standardised).condition(told)
    other = Surrogate(line, logged, exact=True).condition(sizes)
    values = np.column_stack([told.means, sizes.means])
    score = VolumeGain(model, [other], values, limit=1.2)(np.array([[0.06], [0.55], [0.95]]))
    top = np.array([1.2, (1 + BEYOND) * sizes.means.max()])
    low = values.min(axis=0) - 0.05 * (top - values.min(axis=0))
    front = (values[moocore.is_nondominated(values)] - low) / (top - low)
    assert (score <= 1 - moocore.hypervolume(front, ref=np.ones(2)) + 1e-9).all()
    far = VolumeGain(model, [other], np.vstack([values, [[-5.0, 0.1]]]), limit=1.2)
    assert (far(np.array([[0.3], [0.6]])) < 0).all()  # all behind one point


@given(seeds, st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_pool_suggests_settings_of_its_structure_that_are_new(seed: int, many: bool) -> None:
    rng = np.random.default_rng(seed)
    known, home = some(rng, 12), np.array([1.0, 0.0])
    pool = SettingPool(DOMAIN, home, known, rng, many)
    looked_at = []

    def score(points: np.ndarray) -> np.ndarray:
        looked_at.append(len(points))
        return -points[:, 0]

    ranked = pool.ranked(known, score)
    assert (np.diff(ranked.scores) <= 0).all() and ranked.points[0, 0] == 0.0
    assert (ranked.points[:, 3:] == home).all()
    names = {one.tobytes() for one in ranked.points}
    assert len(names) == len(ranked.points) and not names & {one.tobytes() for one in known}
    for at, axis in enumerate(DOMAIN.axes):
        np.testing.assert_allclose(axis.snapped(ranked.points[:, at]), ranked.points[:, at])
    assert len(looked_at) <= 3 and sum(looked_at) < 600  # what a suggestion costs at most


def test_with_many_knobs_the_first_settings_are_small_changes_of_the_parent() -> None:
    domain, rng = Domain((Axis(0),) * 20), np.random.default_rng(0)
    start = np.full(20, 0.5)
    pool = SettingPool(domain, np.empty(0), start[None], rng, many=True)
    apart = abs(pool.first(start, 40) - start)
    assert apart.max() < 0.6 and 1 <= (apart > 0).sum(axis=1).mean() <= 4
    wild = SettingPool(domain, np.empty(0), start[None], rng, many=False).first(start, 40)
    assert ((wild != start).sum(axis=1) == 20).all()


def test_the_worse_half_counts_by_rank_alone() -> None:
    turned, scale = half_ranked(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    far, same = half_ranked(np.array([1.0, 2.0, 3.0, 4.0, 5e6]))
    np.testing.assert_allclose(turned, far)
    assert scale == same
    np.testing.assert_allclose(scale.back(turned[:3]), [1.0, 2.0, 3.0])
    assert (np.diff(turned) > 0).all()
