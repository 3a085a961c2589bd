"""Whole campaigns in worlds with a known truth: what the study plays, and what is found and claimed there."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.search.certification import LEADERS
from evo.search.scheduler import PolicySettings
from population.statistics.intervals import share_at_most
from population.types import Purpose

PATH = Path(__file__).parents[2] / "benchmarks" / "simulate_campaigns.py"
STUDY = runpy.run_path(str(PATH))
FEW_GAINS, NO_GAINS = STUDY["REGIMES"][0], STUDY["REGIMES"][5]
CERTAIN = STUDY["Regime"]("nearly without noise", 0.5, 0.0, lambda rng, n: rng.normal(0, 30.0, n))


def world(regime: Any, seed: int = 0, budget: int = 120) -> Any:
    return STUDY["World"](regime, np.random.default_rng([seed, 5]), budget)


def false_promotions(results: Any) -> int:
    return sum(any(claim.true_gain <= 0 for claim in one.claims) for one in results)


def test_a_simulated_campaign_is_the_schedulers_own_and_keeps_to_its_runs() -> None:
    campaign = STUDY["Campaign"](world(CERTAIN), STUDY["IN_FORCE"])
    found = campaign.play()
    made = found.purposes
    assert campaign.world.spent == sum(made.values()) <= campaign.world.budget
    assert made[Purpose.CALIBRATE] == PolicySettings().seed_blocks + PolicySettings().seed_repeats
    assert made[Purpose.REFERENCE] == (made[Purpose.SCREEN] + made[Purpose.REMEASURE]) // 20
    assert min(made[one] for one in (Purpose.REMEASURE, Purpose.RACE, Purpose.POST)) > 0
    assert Counter(one.kind for one in campaign.search.decisions)[LEADERS] == 1
    (champion,) = {campaign.search.scheduler.certification.champion}
    assert found.gain == campaign.world.levels[int(champion)] > 10
    assert found.claims and all(one.true_gain > 0 for one in found.claims)


def test_the_same_number_is_the_same_campaign_and_a_switched_off_part_takes_no_runs() -> None:
    first, second = (STUDY["ours"](world(FEW_GAINS, budget=80)) for _ in range(2))
    assert first == second
    alone = STUDY["with_policy"](race_share=0, remeasure_share=0)
    made = STUDY["ours"](world(FEW_GAINS, budget=80), alone).purposes
    assert made[Purpose.REMEASURE] == 0
    assert first.purposes[Purpose.REMEASURE] > 0


def test_where_nothing_gains_keeping_what_looks_better_claims_nearly_always() -> None:
    results = STUDY["campaigns"](NO_GAINS, "greedy", 30)
    assert false_promotions(results) >= 27
    assert "| greedy | " in STUDY["row"](NO_GAINS, "greedy", results)


@pytest.mark.soak
def test_false_promotions_stay_below_alpha_in_every_regime() -> None:
    for regime in STUDY["REGIMES"]:
        results = STUDY["campaigns"](regime, "ours", 100)
        assert share_at_most(false_promotions(results), len(results)) < 0.1


@pytest.mark.soak
def test_where_few_children_gain_we_find_them_and_claim_what_is_true() -> None:
    results = STUDY["campaigns"](FEW_GAINS, "ours", 60)
    assert np.mean([one.gain for one in results]) > 1.0
    claims = [claim for one in results for claim in one.claims]
    excess = np.mean([claim.claimed - claim.true_gain for claim in claims])
    assert abs(excess) < 0.2  # runs made after the decision are not lucky ones
