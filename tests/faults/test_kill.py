"""`kill -9` of the coordinator at any moment, then `evo resume`: nothing lost, nothing twice, nobody left."""

from __future__ import annotations

import pytest

from tests.faults.kills import kill_again_and_again, kill_in_a_run_and_in_a_call

pytestmark = pytest.mark.sandbox


@pytest.mark.timeout(900)
def test_a_campaign_killed_in_a_run_and_in_a_call_goes_on_without_loss_or_repeats(tmp_path):
    hit = kill_in_a_run_and_in_a_call(tmp_path)
    assert (hit["kill"], hit["none"]) == (2, 0)
    assert hit["in a run"] >= 1 and hit["in a call"] == 1, hit


@pytest.mark.soak
@pytest.mark.parametrize("seed_number", range(2, 6))
def test_campaigns_killed_a_hundred_times_go_on_without_loss_or_repeats(
    tmp_path, seed_number, box_of_time, tell
):
    hit = kill_again_and_again(tmp_path, 25, seed_number, box_of_time.is_over)
    tell(
        f"{hit['kill']} kills of one campaign: {hit['in a run']} while a run was under way, "
        f"{hit['in a call']} while a model was asked"
    )
    assert hit["kill"] == 25 or (box_of_time.is_over() and hit["kill"] > 0)
