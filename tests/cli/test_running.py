from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from evo.campaigns import running_process
from evo.config import read_config
from evo.lock import hold
from population.reading import counts_by_status, measurements
from population.reading.idea_bank import read_bank
from population.store import Store
from population.types import Purpose, Status
from tests.analysis.built import Built

from .driving import MAIN, ROOT, Evo, process, started

STAND_IN = ROOT / "tests" / "standins" / "quick.py"


def wait_for(condition: object, seconds: float = 250.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def measured(folder: Path) -> int:
    try:
        with Store.open(folder / "campaign.db", read_only=True) as store:
            return len(measurements(store))
    except Exception:
        return 0


def test_the_forecast_comes_first_and_a_dry_run_stops_there(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    said = evo("run", quick, "--dry-run", "--set", "budget.variants=9")
    for part in (
        "seconds a child",
        "children an hour",
        "disk",
        "0 tokens, 0 dollars",
        "expected end",
    ):
        assert part in said.out, part
    assert not (tmp_path / "campaigns").exists()
    assert (
        evo("run", quick, "--dry-run", "--json", "--set", "budget.variants=9").json()["children"]
        == 9
    )


def test_a_whole_campaign_then_a_larger_budget_for_it(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    said = process("run", quick, "--set", "budget.variants=1", cwd=tmp_path)
    assert said.code == 0, said.err
    assert (
        said.out.index("forecast")
        < said.out.index("calibrate seed")
        < said.out.index("What was found")
    )
    for part in (
        "How sure that is",
        "Pareto front at proxy",
        "What a longer run would need",
        "Next",
    ):
        assert part in said.out, part
    assert "evo resume --set budget.variants=2" in said.out
    more = evo("resume", "--set", "budget.variants=2", "--plain")
    assert more.code == 0, more.err
    one = evo("status", "--json").json()
    assert one["budget"]["variants"] == {"used": 2, "limit": 2}
    assert 0 < one["slot_busy_share"] <= 1.0 and one["overhead_seconds_median"] > 0
    assert one["phase"].startswith("budget spent")
    assert (one["running"], one["findings"]["statuses"].get("lost")) == (None, None)


def test_resume_refuses_what_makes_measurements_incomparable(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    from evo.config import read_config
    from evo.folder import create_campaign

    folder = create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1")
    before = folder.config.read_text()
    said = evo("resume", "--set", "clock=tokens")
    assert said.code == 2
    assert "would not be comparable" in said.err
    assert folder.config.read_text() == before


@pytest.mark.parametrize(
    "number",  # a terminal that closes sends SIGHUP in test_overnight.py
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.soak)],
)
def test_one_signal_finishes_the_runs_and_nothing_more_and_is_the_exit_code(
    quick: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "here"
    with started(
        "run", quick, "--dir", folder, "--set", "budget.variants=500", cwd=tmp_path
    ) as running:
        wait_for(lambda: measured(folder) >= 3)
        running.send_signal(number)
        out, _ = running.communicate(timeout=250)
    assert running.returncode == 128 + number
    assert "stopping: the runs under way finish first" in out
    assert f"stopped; `evo resume --dir {folder}` goes on from here" in out
    with Store.open(folder / "campaign.db", read_only=True) as store:
        assert Status.LOST not in counts_by_status(store)
        assert not store.query("SELECT 1 FROM runs")
    assert running_process(folder) is None


def test_two_interrupts_end_it_now_and_lose_nothing_measured(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    changes = ("--set", "budget.variants=500", "--set", "rungs.proxy.budget=2000")
    with started("run", quick, "--dir", folder, *changes, cwd=tmp_path) as running:
        wait_for(lambda: "calibrate" in read_runs(folder))
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=250)  # no run of 2000 seconds is waited for
    assert running.returncode == 130
    assert "ending now; what was measured is kept" in out
    with Store.open(folder / "campaign.db", read_only=True) as store:
        assert not store.query("SELECT 1 FROM runs")


def read_runs(folder: Path) -> str:
    try:
        with Store.open(folder / "campaign.db", read_only=True) as store:
            return str(store.query("SELECT purpose FROM runs"))
    except Exception:
        return ""


def test_stop_and_status_reach_a_running_campaign(evo: Evo, quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "campaigns" / "quick-1"
    changes = ("--set", "budget.variants=500", "--set", "slots=1")
    with started("run", quick, *changes, cwd=tmp_path) as running:
        wait_for(lambda: measured(folder) >= 1)
        one = evo("status", "--json").json()
        assert one["running"] == running.pid
        second = evo("resume")
        assert second.code == 2
        assert f"is being run by process {running.pid}" in second.err
        newer = Built(tmp_path / "campaigns" / "newer-1")
        newer.store.close()
        with hold(newer.folder / "lock"):  # a second one that runs: which is meant has to be said
            assert "2 campaigns run here" in evo("stop").err
        assert f"asked process {running.pid} to stop" in evo("stop").out
        out, _ = running.communicate(timeout=250)
    assert running.returncode == 3
    assert "asked to stop" in out
    assert "3 stopped early" in " ".join(evo("run", "--help").out.split())


def test_a_guard_that_stops_a_campaign_is_told_by_the_exit_code(
    quick: Path, tmp_path: Path
) -> None:
    said = process("run", quick, "--set", "keep.disk_mb=0.001", cwd=tmp_path)
    assert (said.code, "more than keep.disk_mb" in said.out) == (3, True), said.err


def test_resume_can_be_foreseen_and_changes_nothing(evo: Evo, quick: Path, tmp_path: Path) -> None:
    from evo.config import read_config
    from evo.folder import create_campaign

    folder = create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1")
    before = folder.config.read_bytes(), folder.database.read_bytes()
    said = evo("resume", "--dry-run", "--set", "budget.variants=40")
    assert (said.code, "expected end" in said.out) == (0, True), said.err
    told = evo("resume", "--dry-run", "--json", "--set", "budget.variants=40").json()
    assert told["children"] == 40
    assert "would not be comparable" in evo("resume", "--dry-run", "--set", "clock=tokens").err
    assert (folder.config.read_bytes(), folder.database.read_bytes()) == before


def on_a_terminal(*words: str, cwd: Path) -> str:
    """What `evo ...` writes to a terminal, without colours and cursor moves; it must end well."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "40"}
    command = [sys.executable, "-c", MAIN, *words]
    running = subprocess.Popen(command, cwd=cwd, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:  # how a terminal says that its last user has gone
        pass
    finally:
        os.close(ours)
        assert running.wait(timeout=250) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(chunks).decode())


def test_a_live_campaign_that_waits_goes_on_after_approval(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    text = on_a_terminal("run", str(quick), "--set", "graduation.promotion=manual", cwd=tmp_path)
    for part in ("measuring the seed", "searching", "of about", "on front", "What was found"):
        assert part in text, part
    folder = tmp_path / "campaigns" / "quick-1"
    if "your approval of" not in text:
        assert "nothing better" in text
        pytest.skip("no child was on the front, so there was nobody to approve")
    waiting = re.findall(r"your approval of (\w{8})", text)[-1]
    assert f"{waiting} to larger" in " ".join(evo("approve").out.split())
    assert evo("approve", waiting).code == 0
    done = evo("graduate")
    assert done.code == 0, done.err
    with Store.open(folder / "campaign.db", read_only=True) as store:
        graduated = [row.measurement for row in measurements(store, rung="larger")]
    assert {run.request.purpose for run in graduated} == {Purpose.GRADUATE}
    assert any(run.request.variant_id.startswith(waiting) for run in graduated)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("budgets.variants=3",), "did you mean 'budget'?"),
        (("budget.variants=many",), "budget.variants"),
        (("operators.nugde=1",), "nugde"),
        (("budget.variants",), "write it as key=value"),
        (("train=nowhere.py",), "no file"),
        (("slots=4000",), "slots: 4000"),
    ],
)
def test_a_wrong_config_is_told_clearly_and_leaves_no_folder(
    evo: Evo, quick: Path, tmp_path: Path, change: tuple[str, ...], words: str
) -> None:
    said = evo("run", quick, "--set", *change)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert not list(tmp_path.glob("campaigns/*"))


def test_a_seed_that_breaks_the_contract_says_what_is_missing(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import harness\nrun = harness.start()\n")
    said = evo("run", quick, "--set", "train=broken.py")
    assert said.code == 2
    assert "progress" in said.err or "finish" in said.err
    assert not list(tmp_path.glob("campaigns/*"))


def test_a_seed_that_fails_at_once_is_told_clearly(evo: Evo, quick: Path, tmp_path: Path) -> None:
    source = STAND_IN.read_text().replace("rng = ", "raise SystemError('early')\nrng = ")
    (tmp_path / "broken.py").write_text(source)
    said = evo(
        "run", quick, "--set", "train=broken.py", "--set", "rungs.proxy.startup_seconds=auto"
    )
    assert said.code == 2
    assert "the seed fails at rung proxy: crashed, SystemError: early" in said.err
    assert not list(tmp_path.glob("campaigns/*"))


def test_evaluate_measures_one_file_and_succeeds_whatever_the_status(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    good = evo("evaluate", STAND_IN, "--config", quick, "--json")
    assert good.code == 0, good.err
    assert '"status": "ok"' in good.out and "val_bpb" in good.out
    source = STAND_IN.read_text().replace(
        "run.finish(model)", "raise SystemError('oh')\nrun.finish(model)  # knob: log 1 2"
    )
    (tmp_path / "bad.py").write_text(source)
    bad = evo("evaluate", tmp_path / "bad.py", "--config", quick)
    assert bad.code == 0
    line = source[: source.index("raise SystemError")].count("\n") + 1
    assert "crashed" in bad.out and f"SystemError: oh (train.py line {line})" in (
        " ".join(bad.out.split())
    )
    assert "Traceback (most recent call last):" in bad.out
    assert f"1 knob comment cannot be read: line {line + 1}:" in " ".join(bad.out.split())
    (tmp_path / "blob.py").write_bytes(b"\xff\xfe\x00")
    assert "rejected" in evo("evaluate", tmp_path / "blob.py", "--config", quick).out


def test_evaluate_refuses_a_rung_that_is_not_there(evo: Evo, quick: Path) -> None:
    said = evo("evaluate", STAND_IN, "--config", quick, "--rung", "moon")
    assert (said.code, said.err.strip().endswith("no rung 'moon'; rungs: proxy, larger")) == (
        2,
        True,
    )


def test_init_writes_a_folder_that_runs_and_overwrites_nothing(evo: Evo, tmp_path: Path) -> None:
    said = evo("init", "mine")
    assert said.code == 0
    assert "children an hour" in evo("run", "mine/campaign.yaml", "--dry-run").out
    bank = read_config(tmp_path / "mine" / "campaign.yaml").transplant.banks
    assert bank == (str(tmp_path / "mine" / "seed" / "ideas" / "model-written.jsonl"),)
    assert read_bank(Path(bank[0]))[0]
    (tmp_path / "mine" / "brief.md").write_text("my own words")
    again = evo("init", "mine")
    assert again.code == 2
    assert "nothing was written" in again.err
    assert (tmp_path / "mine" / "brief.md").read_text() == "my own words"


class FakeServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Bearer a-secret-key"
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize(("key", "ok"), [("a-secret-key", True), ("another-key", False)])
def test_doctor_asks_the_endpoint_and_never_shows_the_key(
    evo: Evo, monkeypatch: pytest.MonkeyPatch, key: str, ok: bool
) -> None:
    with HTTPServer(("127.0.0.1", 0), FakeServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENAI_API_KEY", key)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        said = evo("doctor", "--json")
        server.shutdown()
    checks = {check["name"]: check for check in said.json()["checks"]}
    assert checks["LLM"]["ok"] is ok
    assert key not in said.out
    assert {"python", "torch", "devices", "sandbox", "data"} <= set(checks)
    assert checks["data"]["ok"]


def test_a_dry_run_refuses_bad_data_a_bad_seed_and_a_folder_in_use(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    (tmp_path / "picture").write_bytes(b"\0\1\2")
    (tmp_path / "broken.py").write_text("import harness\nrun = harness.start()\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "campaign.db").touch()
    for words, told in (
        (("--set", "data.path=picture"), "NUL bytes"),
        (("--set", "data.path=nothing*"), "no such file"),
        (("--set", "train=broken.py"), "the seed cannot be used"),
        (("--dir", "taken"), "holds a campaign already"),
        (("--dir", "picture"), "is a file"),
        (("--dir", "picture/new"), "picture is no folder, so picture/new cannot lie in it"),
    ):
        said = evo("run", quick, "--dry-run", *words)
        assert (said.code, said.out) == (2, ""), told
        assert told in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "number", "was_there"),
    [("run", signal.SIGTERM, False), ("calibrate", signal.SIGINT, True)],
)
def test_an_interrupt_before_the_first_measurement_leaves_nothing(
    quick: Path, tmp_path: Path, command: str, number: signal.Signals, was_there: bool
) -> None:
    folder = tmp_path / "here"
    if was_there:
        folder.mkdir()
    changes = ("--set", "rungs.proxy.startup_seconds=auto")
    with started(command, quick, "--dir", folder, *changes, cwd=tmp_path) as running:
        wait_for(lambda: any(folder.glob("runs/*")))
        running.send_signal(number)
        out, _ = running.communicate(timeout=250)
    assert running.returncode == 128 + number
    left = "is empty again" if was_there else "was removed"
    assert f"interrupted before the first measurement; {folder} {left}" in out
    assert folder.exists() is was_there
    assert not was_there or not list(folder.iterdir())


def test_a_folder_in_the_place_of_a_config_is_answered_with_the_file_in_it(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    assert evo("run", "mine").err == "evo: mine is a folder; give the campaign file\n"
    quick.rename(tmp_path / "mine" / "campaign.yaml")
    told = "evo: mine is a folder: mine/campaign.yaml is the campaign file in it\n"
    assert evo("run", "mine", "--dry-run").err == told


def test_init_says_what_is_wrong_in_one_line(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for where in ("file", "file/inside"):
        said = evo("init", where)
        assert (said.code, said.err.count("\n")) == (2, 1)


def test_the_train_py_of_a_new_folder_runs_by_hand(evo: Evo, tmp_path: Path) -> None:
    told = evo("init", "mine", "--json").json()
    assert told["path"] == "mine" and "seed/train.py" in told["files"]
    config = (tmp_path / "mine" / "campaign.yaml").read_text()
    assert '#   path: "notes/*.txt"' in config and "\ndata:" not in config
    done = subprocess.run(
        [sys.executable, "mine/seed/train.py"],
        cwd=tmp_path,
        env={**os.environ, "BUDGET_SECONDS": "0.2"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "val_bpb:" in done.stdout
