"""Block control variates: taken off where blocks move everyone, left alone where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.control import Control, control, without_block_effects

FRONT = (6, 4, 3)  # blocks that front members have; the seed has four
DRAWS = 600


def a_small_campaign(
    rng: np.random.Generator, shared: float, front: tuple[int, ...] = FRONT
) -> tuple[dict[int, float], list[dict[int, float]]]:
    """Seed and front members, run sd 1, of which blocks explain the share `shared` of the variance."""
    blocks = rng.normal(0, math.sqrt(shared), 6)

    def scores(n: int, level: float) -> dict[int, float]:
        own = rng.normal(0, math.sqrt(1 - shared), n)
        return {b: float(level + blocks[b] + own[b]) for b in range(n)}

    return scores(4, 0.0), [scores(n, float(rng.normal())) for n in front]


def test_the_seed_and_child_measured_on_four_blocks_establish_nothing() -> None:
    seed = dict(enumerate([2.187, 2.214, 2.221, 2.227]))
    child = dict(enumerate([2.160, 2.184, 2.159, 2.184]))
    found = control(seed, [child])
    assert found.coefficient == 0
    assert found.freedom == 2
    assert 0 < found.slope < 1
    assert without_block_effects(child, seed, found.coefficient) == child


def test_a_strong_correlation_is_used_and_none_is_mostly_not() -> None:
    rng = np.random.default_rng(1)
    strong = [control(*a_small_campaign(rng, 0.9)).coefficient for _ in range(DRAWS)]
    none = [control(*a_small_campaign(rng, 0.0)).coefficient for _ in range(DRAWS)]
    assert 0.7 < np.mean(strong) < 0.9
    assert np.mean(np.array(none) > 0) < 0.25  # one-sided 80 %
    assert np.mean(none) < 0.08


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_it_never_costs_much_and_saves_where_blocks_matter(shared: float) -> None:
    """The error of one run on block 0: beside taking nothing off, and all of it off."""
    rng = np.random.default_rng(2)
    errors: dict[str, list[float]] = {"ours": [], "nothing": [], "all": []}
    for _ in range(DRAWS):
        blocks = rng.normal(0, math.sqrt(shared), 6)
        own = rng.normal(0, math.sqrt(1 - shared), (5, 6))
        runs = [dict(enumerate(map(float, blocks + one))) for one in own]
        seed = {b: runs[0][b] for b in range(4)}
        front = [{b: runs[k][b] for b in range(n)} for k, n in enumerate(FRONT, start=1)]
        taken = {"ours": control(seed, front).coefficient, "nothing": 0.0, "all": 1.0}
        for name, coefficient in taken.items():
            adjusted = without_block_effects({0: runs[4][0]}, seed, coefficient)[0]
            errors[name].append(adjusted - float(np.mean(list(seed.values()))))
    sd = {name: float(np.std(values)) for name, values in errors.items()}
    assert sd["ours"] < 1.06 * min(sd["nothing"], sd["all"])
    if shared == 0.9:
        assert sd["ours"] < 0.6 * sd["nothing"]


def test_without_shared_blocks_or_spread_there_is_nothing_to_estimate() -> None:
    assert control({}, [{0: 1.0, 1: 2.0}]).coefficient == 0
    assert control({0: 1.0}, [{0: 1.0}]).coefficient == 0
    flat = control(dict.fromkeys(range(6), 3.0), [{b: float(b) for b in range(6)}])
    assert flat.coefficient == 0 and math.isnan(flat.slope)
    exact = control({0: 0.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 7.0}, [{b: b * 1.0 for b in range(5)}] * 2)
    assert isinstance(exact, Control) and 0 < exact.coefficient <= 1


def test_a_block_the_reference_lacks_is_left_as_it_is() -> None:
    assert without_block_effects({0: 1.0, 9: 5.0}, {0: 2.0, 1: 0.0}, 0.5) == {0: 0.5, 9: 5.0}
