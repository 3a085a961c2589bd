"""`kill -9` of the coordinator at any moment, then `evo resume`: nothing lost, nothing twice, nobody left."""

from __future__ import annotations

import shutil

import pytest
import yaml

from tests.faults.kills import kill_again_and_again, kill_in_a_run_and_in_a_call, kill_in_runs_of
from tests.tasks.test_command import HERE, ON_THE_PAGE

pytestmark = pytest.mark.sandbox
PROGRAMS = {"graded": "solution.py", "hill": "initial_program.py", "ridge": "initial.py"}
START = "# EVOLVE-BLOCK-START\n"


@pytest.mark.timeout(900)
def test_a_campaign_killed_in_a_run_and_in_a_call_goes_on_without_loss_or_repeats(tmp_path):
    hit = kill_in_a_run_and_in_a_call(tmp_path)
    assert (hit["kill"], hit["none"]) == (2, 0)
    assert hit["in a run"] >= 1 and hit["in a call"] == 1, hit


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stand_in", ["speck", "plane", "pair", "graded", "hill", "ridge"])
def test_a_campaign_of_every_kind_of_task_goes_on_after_kills_without_loss_or_repeats(
    tmp_path, stand_in
):
    shutil.copytree(HERE / stand_in, tmp_path / stand_in)
    program = tmp_path / stand_in / PROGRAMS.get(stand_in, "train.py")
    text = program.read_text()
    if stand_in == "ridge":  # something to turn without a model
        first = f"{START}FIRST = 4.0  # knob: float 3 9\n\n\n"
        text = text.replace("limit / 4", "limit / FIRST").replace(START, first)
    if stand_in != "speck":  # long enough to be killed in
        program.write_text(f"{text}\n__import__('time').sleep(0.5)\n")
    (tmp_path / "mine").mkdir()
    task = yaml.safe_load(next(text for name, text in ON_THE_PAGE if name == stand_in))
    if stand_in == "speck":
        task["rungs"]["proxy"]["startup_seconds"] = 5
    hit = kill_in_runs_of(tmp_path / "mine", task, 2)
    assert (hit["kill"], hit["none"]) == (2, 0), hit


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
