"""Factorial designs in mirror pairs, and the effects that are read from their runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from population.statistics.factorial import ArmRun, fit, mirror_design


@given(st.integers(2, 12), st.integers(0, 40))
def test_in_a_design_no_edit_is_mixed_up_with_two_others(edits: int, pairs: int) -> None:
    design = mirror_design(list(range(edits)), pairs)
    if design is None:
        assert pairs < 1 << (edits - 1).bit_length()
        return
    assert len(design.pairs) <= pairs
    every = frozenset(range(edits))
    runs = [one for pair in design.pairs for one in (pair, every - pair)]
    signs = np.array([[1 if edit in one else -1 for edit in range(edits)] for one in runs])
    assert (signs.sum(axis=0) == 0).all(), "each edit is there as often as not"
    for a, b in itertools.combinations(range(edits), 2):
        assert signs[:, a] @ signs[:, b] == 0
        for c in range(edits):
            assert signs[:, a] * signs[:, b] @ signs[:, c] == 0


def test_a_design_says_what_it_confounds() -> None:
    told = {
        (3, 4): "full factorial 2^3",
        (6, 16): "2^(6-1), resolution VI",
        (8, 8): "2^(8-4), resolution IV",
    }
    for (edits, pairs), words in told.items():
        design = mirror_design(list(range(edits)), pairs)
        assert design is not None and design.in_words == words
    assert mirror_design([4], 8) is None and mirror_design(list(range(9)), 8) is None


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_exact_runs_give_exact_effects_in_the_champion_and_the_interaction(draws: int) -> None:
    rng = np.random.default_rng(draws)
    gains, both = rng.normal(size=5), 3.0
    design = mirror_design(list(range(5)), 16)
    assert design is not None
    runs = []
    for at, pair in enumerate(design.pairs):
        for one in (pair, frozenset(range(5)) - pair):
            cost = at // 4 * 7 - sum(gains[edit] for edit in one) - both * ({1, 3} <= one)
            runs.append(ArmRun(at // 4, one, cost + 1e-9 * rng.normal()))
    found = fit(runs, range(5))
    assert found.taken_in[:1] == ((1, 3),)
    want = gains + np.array([0, both, 0, both, 0])
    assert [found.effects[edit].gain for edit in range(5)] == pytest.approx(list(want), abs=1e-6)
    assert found.loss_without([1, 3]).value == pytest.approx(gains[1] + gains[3] + both, abs=1e-6)
    assert found.loss_without([1]).value == pytest.approx(want[1], abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, hits, design = np.random.default_rng(1), 0, mirror_design(list(range(4)), 8)
    assert design is not None
    for _ in range(300):
        runs = [
            ArmRun(at // 4, one, float(rng.normal()) - 2.0 * (0 in one))
            for at, pair in enumerate(design.pairs)
            for one in (pair, frozenset(range(4)) - pair)
        ]
        effect = fit(runs, range(4)).effects[0]
        hits += effect.low <= 2.0 <= effect.high
    assert 272 <= hits <= 297  # 95 % of 300, five standard errors down


def test_what_the_runs_cannot_tell_apart_is_said() -> None:
    design = mirror_design(list(range(8)), 8)
    assert design is not None
    rng = np.random.default_rng(0)
    runs = [
        ArmRun(0, one, float(rng.normal()))
        for pair in design.pairs
        for one in (pair, frozenset(range(8)) - pair)
    ]
    found = fit(runs, range(8))
    told = {pair for group in found.confounded for pair in group}
    assert len(told) + len(found.hidden) == 28, "in 16 runs 8 edits have no pair of their own"


def test_an_effect_that_no_run_shows_has_no_interval() -> None:
    runs = [ArmRun(0, frozenset({0, 1}), 1.0), ArmRun(0, frozenset({0}), 2.0)]
    found = fit(runs, range(2))
    assert np.isnan(found.effects[1].low), "nothing is left to tell the noise"
    assert np.isnan(found.effects[0].low)
