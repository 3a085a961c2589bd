"""How much of a campaign the seed takes before the search begins."""

from __future__ import annotations

import pytest

from evo.search.scheduler import PolicySettings, seed_runs


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
