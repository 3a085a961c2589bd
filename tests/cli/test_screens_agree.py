"""What one screen says, the others say: standings, limits, counts, names; and it fits 80 columns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evo.campaigns import overview_of
from evo.lock import hold
from population.store import Store
from population.types import Purpose, Status
from tests.analysis.built import CONFIG, SEED, Built, finished

from .driving import ROOT, Evo


def beyond_the_limit(folder: Path) -> tuple[Built, str]:
    """A campaign whose best child has twice the parameters that the config allows."""
    built = Built(folder)
    limits = [{"name": "parameters", "at_most": "seed x 1.5"}]
    built.store.set_setting("config", CONFIG | {"constraints": limits})
    built.runs(built.seed, [2.50, 2.52, 2.51], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed, "merge", "LR 0.1 -> 0.2")
    built.run(child, 2.30, more={"parameters": 200.0})
    built.front({built.seed: "replicated"})
    built.believe()
    return built, child


def rows_of(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if name in line]


def test_a_broken_limit_is_said_wherever_the_standing_is(evo: Evo, tmp_path: Path) -> None:
    _, child = beyond_the_limit(tmp_path / "campaigns" / "built-1")
    said = evo("top", columns=80).out
    assert "beyond limit" in rows_of(said, child[:8])[0]
    assert "outside a range that the config asks for" in " ".join(said.split())
    shown = " ".join(evo("show", child).out.split())
    assert "standing beyond limit" in shown
    assert "the config asks for parameters at most 150 (seed x 1.5)" in shown
    assert evo("top", "--json").json()[1]["beyond"] == "parameters at most 150 (seed x 1.5)"
    assert evo("report").code == 0
    assert "beyond limit" in (tmp_path / "report.html").read_text()


def test_inside_all_limits_nothing_is_said_of_them(evo: Evo, tmp_path: Path) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    for command in ("top", "show leader", "status"):
        assert "beyond" not in evo(*command.split()).out


def test_the_seed_on_the_front_has_a_standing_on_no_screen(evo: Evo, tmp_path: Path) -> None:
    beyond_the_limit(tmp_path / "campaigns" / "built-1")
    for command in ("top", "show seed", "tree", "history seed", "status", "list"):
        assert "replicated" not in evo(*command.split()).out, command
    assert rows_of(evo("show", "seed").out, "standing")[0].split()[-1] == "–"


def test_children_are_those_with_a_run_in_the_list_as_in_status(evo: Evo, tmp_path: Path) -> None:
    built, _ = beyond_the_limit(tmp_path / "campaigns" / "built-1")
    built.child(SEED.replace("0.1", "0.7"), built.seed)  # waits for its first run
    listed = evo("list", "--json").json()[0]["children"]
    assert listed == evo("status", "--json").json()["budget"]["variants"]["used"] == 1


def test_who_has_nothing_measured_did_not_lose_to_a_parent(evo: Evo, tmp_path: Path) -> None:
    built, _ = beyond_the_limit(tmp_path / "campaigns" / "built-1")
    waits = built.child(SEED.replace("0.1", "0.7"), built.seed, "nudge")
    assert "merge 1 of 1" in evo("status").out
    assert "nudge" not in evo("status").out and "0 of 0" not in evo("status", "--all").out
    built.run(waits, 2.6)
    assert "nudge 0 of 1" in evo("status").out


def test_before_the_first_run_a_campaign_starts_and_has_no_idle_slots(
    evo: Evo, tmp_path: Path
) -> None:
    Built(tmp_path / "campaigns" / "built-1")
    with hold(tmp_path / "campaigns" / "built-1" / "lock"):
        said = evo("status").out
    assert "starting" in said and "between runs" not in said
    assert "slots busy" not in said


def test_a_campaign_that_runs_tells_when_it_is_expected_to_end(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    from evo.config import read_config
    from evo.folder import create_campaign

    folder = create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1").path
    with Store.open(folder / "campaign.db", read_only=True) as store:
        assert overview_of(folder, store).seconds_left is None
    with hold(folder / "lock"):
        said = evo("status")
        assert "expected end  in about" in said.out, said.out
        assert evo("status", "--json").json()["seconds_left"] > 0
        (folder / "config.yaml").write_text("nonsense: 3\n")
        assert "expected end" not in evo("status").out


def test_a_rung_that_is_made_from_another_has_a_name_for_people(evo: Evo, tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    built.run(leader, 2.2, 0, Purpose.GRADUATE, "larger/x0.25")
    said = evo("show", leader).out
    assert "larger, one step" in said and "larger, 25 % of its budget" in said
    assert "one-step" not in said and "x0.25" not in said
    assert evo("report").code == 0
    assert "larger/one-step" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("columns", [60, 80])
def test_the_list_has_a_line_a_campaign_and_cuts_no_path(
    evo: Evo, tmp_path: Path, columns: int
) -> None:
    state = "stopped: less than 100 MB are left where the campaign is; `evo resume` goes on"
    folders = ("campaigns/b-1", f"{'a long folder ' * 4}/campaigns/c-1")
    for name in folders:
        finished(tmp_path / name)[0].store.add_event("end", state)
    lines = evo("list", columns=columns).out.splitlines()
    assert all(len(line) <= columns for line in lines)
    short = next(line for line in lines if "campaigns/b-1" in line)
    assert "±" in short and "stopped" in short and short.rstrip().endswith("…")
    told = "".join("".join(line.split()) for line in lines)
    assert "c-1" in told and "children" in told and "state" in told


def test_a_child_whose_run_our_machine_lost_is_a_child_of_no_screen(
    evo: Evo, tmp_path: Path
) -> None:
    built = finished(tmp_path / "campaigns" / "built-1")[0]
    finished(tmp_path / "campaigns" / "built-2")
    child = built.child(SEED + "lost = 1\n", built.seed, "merge", "lost")
    built.run(child, None, status=Status.LOST, reason="the machine was busy")
    built.child(SEED + "waits = 1\n", built.seed, "merge", "waits")
    assert "merge 0 of" not in " ".join(evo("status", "--dir", built.folder).out.split())
    folders = [f"campaigns/built-{place}" for place in (1, 2)]
    compared = evo("compare", *folders, "--json").json()
    assert {one["children"] for one in compared} == {3}
    assert {one["children"] for one in evo("list", "--json").json()} == {3}


def test_what_is_said_of_an_idea_ends_within_the_terminal(evo: Evo, tmp_path: Path) -> None:
    finished(tmp_path / "campaigns" / "built-1")
    said = [
        evo("idea", "tie the embeddings", columns=80).out,
        evo("idea", columns=80).out,
        evo("note", "it helps", columns=80).out,
    ]
    assert "nobody will try it" in " ".join(said[0].split())
    assert all(len(line) <= 80 for text in said for line in text.splitlines())


def test_the_line_that_an_export_prints_runs_although_no_harness_is_beside_it(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    from evo.config import read_config
    from evo.folder import create_campaign

    create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1")
    said = evo("export", "seed", "-o", "out/train.py").out
    line = next(one for one in said.splitlines() if "CLOCK=" in one)
    assert f"PYTHONPATH={ROOT}/seed" in line and "--with-harness" in said
    line = line.replace(" python ", f" {sys.executable} ")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "num_params" in done.stdout, done.stderr
    assert "PYTHONPATH" not in evo("export", "seed", "-o", "x/train.py", "--with-harness").out
