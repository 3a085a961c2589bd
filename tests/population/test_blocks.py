"""Block effects: taken off where blocks move everyone, left alone where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.blocks import BlockEffects, block_effects
from population.statistics.distributions import f_quantile

SEED_AND_FRONT = (4, 6, 4, 3)  # blocks that the seed and the front members have
DRAWS = 800

Scores = dict[int, float]


def a_small_campaign(
    rng: np.random.Generator, shared: float, front: tuple[int, ...] = SEED_AND_FRONT
) -> tuple[list[Scores], Scores]:
    """Runs of sd 1, of which blocks explain the share `shared` of the variance; and those of one more."""
    blocks = rng.normal(0, math.sqrt(shared), 6)
    levels = [0.0, *rng.normal(0, 1, len(front) - 1), 0.0]
    own = rng.normal(0, math.sqrt(1 - shared), (len(levels), 6))
    runs = [dict(enumerate((lv + blocks + o).tolist())) for lv, o in zip(levels, own, strict=True)]
    return [{b: runs[k][b] for b in range(n)} for k, n in enumerate(front)], {0: runs[-1][0]}


def test_exact_effects_are_found_to_the_digit() -> None:
    effects = {0: 0.3, 1: -0.2, 2: 0.1, 5: -0.2}
    variants = [{b: level + effects[b] for b in effects} for level in (1.0, 2.0, 3.0)]
    found = block_effects(variants).centred_on(effects.keys())
    assert found.effects == pytest.approx(effects)
    assert found.taken_off({0: 1.3, 9: 4.0}) == pytest.approx({0: 1.0, 9: 4.0})
    assert found.correlation == pytest.approx(1.0)


def test_variances_are_recovered_from_variants_of_unequal_n() -> None:
    rng = np.random.default_rng(1)
    found = [block_effects(a_small_campaign(rng, 0.4)[0]) for _ in range(DRAWS)]
    assert np.mean([one.rest_sd**2 for one in found]) == pytest.approx(0.6, abs=0.04)
    assert np.mean([one.block_sd**2 for one in found]) == pytest.approx(0.4, abs=0.08)


def taken_off_of_raw(shared: float, front: tuple[int, ...], seed: int) -> float:
    """The share of the plain block means that is taken off, over many campaigns with all blocks full."""
    rng, taken, raw = np.random.default_rng(seed), 0.0, 0.0
    for _ in range(DRAWS // 4):
        variants, _ = a_small_campaign(rng, shared, front)
        effects = block_effects(variants).effects
        for block in range(front[0]):
            plain = np.mean([one[block] - np.mean(list(one.values())) for one in variants])
            taken += effects.get(block, 0.0) * plain
            raw += plain**2
    return taken / raw


def test_blocks_are_taken_to_move_everyone_until_runs_show_that_they_do_not() -> None:
    assert taken_off_of_raw(0.0, (4,), 2) == pytest.approx(1.0)  # nothing tells: compared in pairs
    assert taken_off_of_raw(0.0, (4,) * 30, 2) < 0.85
    assert taken_off_of_raw(0.9, (4, 4), 2) > 0.98


@pytest.mark.parametrize(("shared", "most"), [(0.0, 1.05), (0.5, 0.92), (0.9, 0.55)])
def test_it_costs_little_and_saves_much_beside_leaving_scores_alone(
    shared: float, most: float
) -> None:
    """The error of one run on block 0 beside the seed's mean, at the size of a small campaign."""
    rng = np.random.default_rng(3)
    ours, plain, paired = [], [], []
    for _ in range(DRAWS):
        variants, child = a_small_campaign(rng, shared)
        seed = variants[0]
        effects = block_effects(variants).centred_on(seed.keys())
        centre = np.mean(list(seed.values()))
        ours.append(effects.taken_off(child)[0] - centre)
        plain.append(child[0] - centre)
        paired.append(child[0] - seed[0])  # a plain difference adds the seed's own noise
    assert np.std(ours) < most * np.std(plain)
    assert np.std(ours) < 0.95 * np.std(paired)


def test_effects_are_shrunk_by_how_much_of_them_is_noise() -> None:
    variants, _ = a_small_campaign(np.random.default_rng(6), 0.3, (4, 4, 4))
    found = block_effects(variants)
    raw = [np.mean([v[b] - np.mean(list(v.values())) for v in variants]) for b in range(4)]
    squares = 3 * sum(one**2 for one in raw)
    surplus = squares / 3 / found.rest_sd**2 / f_quantile(0.1, 3, 6) - 1
    shrink = 3 / (3 + 3 / surplus)
    assert 0.3 < shrink < 0.97
    assert list(found.effects.values()) == pytest.approx([shrink * one for one in raw])


def test_the_order_of_arrival_does_not_change_a_digit() -> None:
    variants, _ = a_small_campaign(np.random.default_rng(7), 0.9)
    turned = [dict(reversed(one.items())) for one in variants]
    assert block_effects(turned) == block_effects(variants)


def test_taking_effects_off_leaves_the_references_mean_alone() -> None:
    variants, _ = a_small_campaign(np.random.default_rng(4), 0.9)
    found = block_effects(variants).centred_on(variants[0].keys())
    before, after = (list(one.values()) for one in (variants[0], found.taken_off(variants[0])))
    assert np.mean(after) == pytest.approx(np.mean(before))
    assert np.std(after) < np.std(before)


@pytest.mark.parametrize("variants", [[], [{0: 1.0}, {1: 2.0}], [{0: 3.1, 1: 3.1, 2: 3.1}] * 9])
def test_without_anything_to_compare_nothing_is_taken_off(variants: list[Scores]) -> None:
    found = block_effects(variants)
    assert found == BlockEffects() and not found.noise_is_known
    assert found.taken_off({0: 1.0}) == {0: 1.0}
    assert found.centred_on([0]) == found


def test_groups_that_share_no_block_are_solved_side_by_side() -> None:
    rng = np.random.default_rng(5)
    left = [{b: 1.0 + b + 1e-6 * rng.normal() for b in (0, 1, 2)} for _ in range(3)]
    right = [{b: 5.0 - b + 1e-6 * rng.normal() for b in (7, 8)} for _ in range(3)]
    found = block_effects([*left, *right])
    assert found.effects[2] - found.effects[0] == pytest.approx(2.0, abs=1e-4)
    assert found.effects[8] - found.effects[7] == pytest.approx(-1.0, abs=1e-4)


def test_a_correlation_is_never_more_than_all() -> None:
    assert BlockEffects(0.0, 0.0).correlation == 0.0
    assert BlockEffects(3.0, 4.0).correlation == pytest.approx(0.36)
