"""How much of a campaign the seed takes before the search begins."""

from __future__ import annotations

import pytest

from evo.campaign.policy import Policy, PolicySettings, seed_runs
from evo.campaign.tally import Tally, key_of
from population.archive import DEFAULT_OBJECTIVES
from population.records import Measured
from population.variant import Measurement, Status


@pytest.mark.parametrize(
    ("seconds", "slots", "run", "runs"),
    [
        (None, 1, 10.0, 6),  # no limit
        (800.0, 1, 10.0, 6),
        (160.0, 1, 10.0, 4),  # a quarter of 16 runs
        (160.0, 4, 10.0, 6),
        (30.0, 1, 10.0, 2),  # without two blocks nothing is known of the noise
        (30.0, 1, 0.0, 6),  # a clock of tokens: nobody knows
    ],
)
def test_the_seed_takes_at_most_a_quarter_of_a_budget_of_seconds(
    seconds: float | None, slots: int, run: float, runs: int
) -> None:
    assert seed_runs(PolicySettings(), seconds, slots, run) == runs


def test_of_fewer_calibrations_those_on_new_blocks_are_made_and_the_search_follows() -> None:
    tally = Tally(DEFAULT_OBJECTIVES, "seed")
    policy = Policy(PolicySettings(), tally, "proxy", seed_runs=3)
    made = []
    while order := policy.calibrate(tally.measured):
        assert not policy.calibrated()
        made.append((order.block, order.repeat))
        metrics = {one.name: 1.0 for one in DEFAULT_OBJECTIVES}
        tally.add(Measured(len(made), Measurement(order, Status.OK, metrics=metrics)))
        assert tally.measured(key_of(order))
    assert made == [(0, 0), (1, 0), (2, 0)]
    assert policy.calibrated()
