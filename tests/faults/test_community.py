"""The walk-through of docs/community.md, command by command: a night of islands, agents and a person."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from evo.search.halting import HALTED
from population.reading import decisions, measurements, proposals
from population.reading.memory import notes
from population.store import Store
from population.types import Purpose, Status
from tests.campaign.real import leftovers, start_evo, write_config
from tests.cli.driving import ROOT, commands_of
from tests.faults.taking_part import (
    SOURCE,
    agents_at_work,
    measured,
    must_hold_what_was_put_in,
    until_put_in,
    waits,
)
from tests.faults.test_all_together import wait_for
from tests.sharing.groups import content

PAGE = (ROOT / "docs" / "community.md").read_text(encoding="utf-8")
SIZE = {"name": "weights_mb", "epsilon": 0.001}
ISLANDS = {
    "structure": {"share": 2, "operators": {"nudge": 3, "merge": 1}},
    "constants": {"operators": {"nudge": 1}},
    "small": {"objectives": [SIZE, {"name": "val_bpb"}]},
    "sceptic": {"role": "sceptic", "share": 1.5},
}
# weights of half the bytes: nothing but the person's child reaches the target
HALF = SOURCE.replace("astype(np.float32)}", "astype(np.float16)}").replace(
    '["table"]', '["table"].astype(np.float32)'
)
TARGET = {"weights_mb": 0.2}


def said_by(home: Path, *words: str) -> str:
    """What a command prints that ends well."""
    log = home / "evo.log"
    before = len(log.read_bytes())
    assert start_evo(*words, cwd=home).wait(400) == 0, log.read_text()[-3000:]
    return log.read_bytes()[before:].decode()


def address(home: Path, process: subprocess.Popen[bytes]) -> str:
    """Where a server of this folder says that it listens."""
    log = home / "evo.log"
    wait_for(lambda: "(Ctrl-C ends it)" in log.read_text(), process, 120)
    return re.findall(r"http://\S+", log.read_text())[0]


def variants(store: Store) -> set[str]:
    return {str(one) for (one,) in store.query("SELECT id FROM variants")}


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(1200)
def test_islands_agents_and_a_person_on_a_cluster_end_in_one_report_and_merge(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    walk = commands_of(PAGE.split("## A night together")[1].split("\n## ")[0])
    run, serve, door, stdio, inject, note, resume, report, summary, merge, merged = (
        shlex.split(line)[1:] for line in walk
    )
    (tmp_path / "configs").mkdir()
    write_config(
        tmp_path / "configs",
        islands=ISLANDS,
        objectives=[{"name": "val_bpb"}, SIZE],
        certification={"attempts": 1, "most_pairs": 4},
        stop={"target": TARGET},
        budget={"variants": 400},
    ).rename(tmp_path / run[1])
    (tmp_path / "tokens").write_text("ada token-of-ada-1\nbob token-of-bob-1\n")
    (tmp_path / "mine.py").write_text(HALF)
    folder = tmp_path / "campaigns" / "night-1"
    running = start_evo(*run, cwd=tmp_path)
    servers = []
    try:
        wait_for(lambda: measured(folder) > 2, running, 300)
        for words in (serve, door):
            home = tmp_path / words[0]  # its own log; the folders that it names are here
            home.mkdir()
            for name in ("campaigns", "tokens"):
                (home / name).symlink_to(tmp_path / name)
            servers.append(start_evo(*words, cwd=home))
        url = address(tmp_path / "mcp", servers[1])
        assert stdio == ["mcp", "campaigns/night-1", "--propose", "--author", "cleo"]
        with agents_at_work(tmp_path, Path(stdio[1]), url, "token-of-bob-1"):
            said_by(tmp_path, *note)
            for _ in range(2):
                until_put_in(folder)
                workers = psutil.Process(running.pid).children(recursive=True)
                assert len(workers) >= 4
                running.send_signal(signal.SIGKILL)
                running.wait()
                assert not psutil.wait_procs(workers, timeout=120)[1], "workers of nobody"
                running = start_evo(*resume, cwd=tmp_path)
        wait_for(lambda: waits(folder) == 0, running, 300)
        said_by(tmp_path, *inject)
        assert running.wait(400) == 0, (tmp_path / "evo.log").read_text()[-3000:]
        page = address(tmp_path / "serve", servers[0])
        with urllib.request.urlopen(page, timeout=60) as answer:
            assert answer.status == 200 and "night-1" in answer.read().decode()
    finally:
        for process in (*servers, running):
            process.kill()
            process.wait()
    with Store.open(folder / "campaign.db") as store:
        must_hold_what_was_put_in(store, {"dora": 1})
        made = proposals(store)
        (halt,) = decisions(store, (HALTED,))
        mine = next(one for one in made if one.author == "dora")
        assert (halt.detail["rule"], halt.variant_id) == ("target", mine.variant_id)
        assert {one.island for one in made if one.operator != "inject"} == {"", *ISLANDS}
        assert {one.island for one in made if one.operator == "inject"} == {""}, "they are for all"
        ran = measurements(store, statuses=list(Status))
        assert Purpose.CHECK in {row.measurement.request.purpose for row in ran}
        assert len({row.measurement.slot for row in ran} - {""}) == 4
        first = variants(store)
    written = " ".join((folder / "SUMMARY.md").read_text().split())
    assert f"stop.target: {mine.variant_id[:8]}" in written
    assert "stop.target:" in " ".join(said_by(tmp_path, *summary).split())
    said_by(tmp_path, *report)
    assert "dora" in (tmp_path / report[-1]).read_text()

    other = tmp_path / "campaigns" / "night-2"
    small = ("--set", "slots=2", "--set", "budget.variants=3")
    said_by(tmp_path, "run", run[1], "--dir", str(other), *small)
    said_by(tmp_path, *merge)
    both = tmp_path / merge[-1]
    with Store.open(both / "campaign.db") as store, Store.open(other / "campaign.db") as theirs:
        assert variants(store) == first | variants(theirs)
        more = measurements(theirs, statuses=list(Status))
        assert len(measurements(store, statuses=list(Status))) == len(ran) + len(more)
        assert len(proposals(store)) == len(made) + len(proposals(theirs)) - 1  # one seed
        assert len(notes(store)) == 3
    said_by(tmp_path, "merge", merge[-1], *merge[1:3], "-o", "campaigns/again")
    assert content(tmp_path / "campaigns" / "again") == content(both)
    said_by(tmp_path, *merged)
    assert "dora" in (tmp_path / merged[-1]).read_text()
    assert not leftovers(str(tmp_path))


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(1200)
def test_merged_islands_go_on_across_a_kill_and_merge_again(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        islands=ISLANDS,
        objectives=[{"name": "val_bpb"}, SIZE],
        certification={"attempts": 1, "most_pairs": 4},
        budget={"variants": 4},
        slots=2,
    )
    (tmp_path / "evo.log").touch()
    for number, name in enumerate("ab"):
        seed = f"random_seed={number}"
        said_by(tmp_path, "run", str(config), "--dir", name, "--set", seed)
    said_by(tmp_path, "merge", "a", "b", "-o", "both")
    with Store.open(tmp_path / "both" / "campaign.db") as store:
        before = measurements(store, statuses=list(Status))
        known = variants(store)
    resume = ("resume", "--dir", "both", "--set", "budget.variants=14")
    running = start_evo(*resume, cwd=tmp_path)
    try:
        wait_for(lambda: measured(tmp_path / "both") > len(before) + 4, running, 400)
        running.send_signal(signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    said_by(tmp_path, "resume", "--dir", "both")
    with Store.open(tmp_path / "both" / "campaign.db") as store:
        rows, made = measurements(store, statuses=list(Status)), proposals(store)
        new = [one for one in made if one.variant_id and one.variant_id not in known]
    assert rows[: len(before)] == before
    assert len({one.number for one in made}) == len(made)
    assert len(known | {one.variant_id for one in new}) == 15, "14 children and the seed"
    assert {one.island for one in new} <= {"", *ISLANDS} and any(one.island for one in new)
    said_by(tmp_path, "report", "--dir", "both", "-o", "both.html")
    said_by(tmp_path, "merge", "both", "b", "a", "-o", "again")
    with Store.open(tmp_path / "again" / "campaign.db") as store:
        assert len(measurements(store, statuses=list(Status))) == len(rows)
        assert variants(store) == known | {str(one.variant_id) for one in new}
    assert not leftovers(str(tmp_path))
