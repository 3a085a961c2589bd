"""Which campaigns there are, and which one is meant."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import course_of
from evo.campaigns import newest
from evo.cli.folder import campaign_folder
from evo.lock import hold
from tests.analysis.built import CONFIG, SEED, Built, finished
from tests.cli.driving import Evo


def built(folder: Path, kind: str = "campaign", seconds_ago: float = 0.0) -> Built:
    made = Built(folder)
    made.store.set_setting("kind", kind)
    made.store.close()
    at = time.time() - seconds_ago
    for path in folder.glob("campaign.db*"):
        os.utime(path, (at, at))
    return made


def test_the_list_tells_kind_state_best_children_and_age_of_all_below(
    evo: Evo, tmp_path: Path
) -> None:
    finished(tmp_path / "campaigns" / "good-1")[0].store.add_event("end", "budget spent; more")
    built(tmp_path / "calibrations" / "noise-1", "calibration")
    built(tmp_path / "other" / "campaigns" / "far-1", "import")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "campaign.db").write_bytes(b"no store" * 999)
    rows = {Path(one["folder"]).name: one for one in evo("list", "--json").json()}
    assert {name: one["kind"] for name, one in rows.items()} == {
        "good-1": "campaign",
        "noise-1": "calibration",
        "far-1": "import",
        "broken": "?",
    }
    first = evo("top", "--dir", "good-1", "--json").json()[0]
    told = (first["estimates"]["val_bpb"]["mean"], first["errors"]["val_bpb"])
    assert (rows["good-1"]["best"], rows["good-1"]["best_error"]) == told
    assert (rows["good-1"]["state"], rows["good-1"]["children"] > 0) == ("budget spent", True)
    assert (rows["noise-1"]["state"], rows["noise-1"]["best"]) == ("not started", None)
    assert "cannot be read" in rows["broken"]["state"]
    with hold(tmp_path / "campaigns" / "good-1" / "lock"):
        text = evo("list").out
    for part in (f"running, process {os.getpid()}", "campaigns/good-1", "self-reported", "age"):
        assert part in text
    assert [Path(one["folder"]).name for one in evo("list", "other", "--json").json()] == ["far-1"]
    assert evo("list", "nowhere").code == 2


def test_the_newest_is_the_newest_campaign_and_an_import_only_without_one(tmp_path: Path) -> None:
    built(tmp_path / "campaigns" / "lab-1", "import", 5)
    assert newest(tmp_path) == tmp_path / "campaigns" / "lab-1"
    built(tmp_path / "campaigns" / "old-1", seconds_ago=900)
    built(tmp_path / "campaigns" / "new-1", seconds_ago=90)
    built(tmp_path / "campaigns" / "noise-1", "calibration")
    assert newest(tmp_path) == tmp_path / "campaigns" / "new-1"
    (tmp_path / "campaigns" / "old-1" / "campaign.db-wal").touch()  # it is being written to
    assert newest(tmp_path) == tmp_path / "campaigns" / "new-1"  # two that run do not change places


def test_a_name_finds_its_folder_and_a_folder_its_only_campaign(
    evo: Evo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(tmp_path / "campaigns" / "a-1")
    built(tmp_path / "calibrations" / "a-1", "calibration")
    built(tmp_path / "calibrations" / "c-1", "calibration")
    built(tmp_path / "mine" / "campaigns" / "b-1")
    assert campaign_folder(Path("a-1")) == Path("campaigns/a-1")
    assert campaign_folder(Path("c-1")) == Path("calibrations/c-1")
    assert campaign_folder(Path("mine")) == Path("mine/campaigns/b-1")
    assert campaign_folder(Path("campaigns")) == Path("campaigns/a-1")
    assert evo("status", "--dir", "mine", "--json").json()["folder"] == "mine/campaigns/b-1"
    built(tmp_path / "mine" / "campaigns" / "b 2")
    said = evo("status", "--dir", "mine")
    assert (said.code, "--dir 'mine/campaigns/b 2'`" in said.err) == (2, True), said.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "evo run" not in evo("status", "--dir", "full").err
    assert "`evo run CONFIG --dir 'not there'` starts one" in evo("top", "--dir", "not there").err


def test_campaigns_are_compared_at_equal_slot_time_each_with_its_own_seed(
    evo: Evo, tmp_path: Path
) -> None:
    short, long = Built(tmp_path / "short"), Built(tmp_path / "long")
    for built, scores in ((short, (1.9,)), (long, (1.98, 1.9, 1.8, 1.7))):
        built.run(built.seed, 2.0)
        for number, score in enumerate(scores):
            child = built.child(SEED.replace("0.1", f"0.{2 + number}"), built.seed)
            built.run(child, score)
        built.store.close()
    said = evo("compare", tmp_path / "short", tmp_path / "long", "--json")
    assert said.code == 0
    first, second = json.loads(said.out)
    assert (first["equal"], first["last"]) == (pytest.approx(5.0), pytest.approx(5.0))
    assert (second["equal"], second["last"]) == (pytest.approx(1.0), pytest.approx(15.0))
    assert first["hours_equal"] == second["hours_equal"] == first["hours"] < second["hours"]
    assert second["children"] == 4 and second["children_better"]["nudge"] == [4, 4]
    told = evo("compare", tmp_path / "short", tmp_path / "long")
    assert "equal slot time" in told.out and "+15.0" in told.out
    assert max(map(len, told.out.splitlines())) <= 80 + len(str(tmp_path))


def test_a_comparison_names_each_metric_and_says_where_metrics_or_rungs_differ(
    evo: Evo, tmp_path: Path
) -> None:
    for name, metric, depth in (("text", "val_bpb", 2), ("own", "accuracy", 4)):
        made = Built(tmp_path / name)
        objective = {**CONFIG["objectives"][0], "name": metric}
        rungs = {"proxy": {"depth": depth, "budget": 60}}
        made.store.set_setting("config", CONFIG | {"objectives": [objective], "rungs": rungs})
        made.run(made.seed, 2.0, more={"accuracy": 0.8})
        made.run(made.child(SEED + "x = 1\n", made.seed), 1.9, more={"accuracy": 0.7})
        made.store.close()
    said = evo("compare", "text", "own", columns=80).out
    told = " ".join(said.split())
    assert "measured in different metrics (val_bpb, accuracy*)" in told
    assert "first rungs differ: depth 2" in told and "; depth 4" in told
    assert "* self-reported" in told and max(map(len, said.splitlines())) <= 80
    (row,) = (line for line in said.splitlines() if line.rstrip().endswith("own"))
    assert row.startswith("accuracy*")
    assert "differ" not in " ".join(evo("compare", "text", "text").out.split())


def test_the_child_that_is_compared_is_the_best_by_its_mean_so_far(tmp_path: Path) -> None:
    built = Built(tmp_path / "c")
    built.run(built.seed, 2.0)
    lucky, sound = (built.child(SEED.replace("0.1", one), built.seed) for one in ("0.2", "0.3"))
    built.run(lucky, 1.0)
    built.run(sound, 1.8)
    built.run(lucky, 3.0, block=1)
    built.run(sound, 1.8, block=1)
    record = Record.of(built.store)
    built.store.close()
    assert [gain for _, gain in course_of("c", record, None).points] == [
        pytest.approx(50.0),
        pytest.approx(50.0),
        pytest.approx(10.0),
        pytest.approx(10.0),
    ]
