"""Which box is chosen, and what is said of it: by what a break-out really achieves here."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from evo.config import GRACE_SECONDS
from evo.evaluation.audit import EXACT, MAX_FETCHED_BYTES
from evo.evaluation.evaluator import _LOOKS, LOOKS
from evo.evaluation.footprint import LOOKS_PER_SCAN, MAX_FILES, PIPE_BYTES
from evo.evaluation.process import POLL_SECONDS, Limits
from evo.evaluation.roles import OVERTIME, SAVED_BYTES_PER_SECOND
from evo.evaluation.sandbox import landlock, sandbox
from evo.evaluation.sandbox import probe as probing
from evo.evaluation.sandbox.agent_box import MAX_SCRATCH_MB as MAX_AGENT_FILES_MB
from evo.evaluation.sandbox.cgroups import Parents
from evo.evaluation.sandbox.image import Image
from evo.evaluation.sandbox.image_files import packages
from evo.evaluation.sandbox.landlock import READABLE, Landlocked, Unboxed
from evo.evaluation.sandbox.probe import NAMES, open_sandbox, probe
from evo.evaluation.sandbox.sandbox import (
    DEV_SHM_MB,
    MAX_DESCRIPTORS,
    MAX_SCRATCH_MB,
    MAX_SIGNALS,
    MAX_TEXT_MB,
    TMP_MB,
    Bubblewrap,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    View,
)
from evo.evaluation.unseen import MAX_SDS, MIN_BLOCKS
from evo.search.voiding import MAX_VOIDS
from operators.source.compare import MAX_STEPS
from operators.source.merge import MAX_MERGE_STEPS
from population.parsing import MAX_KEPT
from population.run_history import MAX_ATTEMPTS
from population.types import Clock, Purpose, Status

from .boxes import RUNGS, needs_bwrap, needs_landlock
from .conftest import Evaluate
from .variants import HONEST

DENIED = "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
HOLLOW = f"""#!{sys.executable}
import os, sys
code = "/proc/self/fd/" + sys.argv[sys.argv.index("/code/train.py") - 1]
os.execve(sys.executable, [sys.executable, code], {{"HOME": "/"}})
"""


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    """What was found before is forgotten, and what is found here, afterwards."""
    probe.cache_clear()
    yield
    probe.cache_clear()


def install(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This script in the place of bubblewrap."""
    binary = folder / "bwrap"
    binary.write_text(script)
    binary.chmod(0o755)
    monkeypatch.setattr(probing, "find_bwrap", lambda: binary)


def deny_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that speaks no Landlock that would do."""
    monkeypatch.setattr(probing, "Landlocked", functools.partial(Landlocked, most_abi=2))


@needs_bwrap
def test_auto_takes_the_strongest_box_that_works() -> None:
    assert open_sandbox(SandboxSettings()).name == "bwrap"
    assert "fell_back" not in probe().facts


@needs_bwrap
def test_who_is_killed_while_it_probes_leaves_no_process() -> None:
    probing_one = subprocess.Popen(
        [sys.executable, "-c", "from evo.evaluation.sandbox.probe import probe; probe()"]
    )
    it, started = psutil.Process(probing_one.pid), set[psutil.Process]()
    deadline = time.monotonic() + 60
    while len(started) < 3 and probing_one.poll() is None and time.monotonic() < deadline:
        started.update(it.children(recursive=True))  # who is signalled, the box, the tries in it
    probing_one.kill()
    probing_one.wait()
    assert len(started) >= 3
    _gone, alive = psutil.wait_procs(started, timeout=60)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@needs_landlock
@pytest.mark.usefixtures("fresh_probe")
def test_auto_falls_back_to_landlock_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(DENIED, tmp_path, monkeypatch)
    box = open_sandbox(SandboxSettings())
    assert box.name == "landlock" == box.facts["sandbox"]
    assert "uid map: Permission denied" in box.facts["fell_back"]


@pytest.mark.usefixtures("fresh_probe")
def test_no_working_box_is_refused_with_reasons_and_fixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(DENIED, tmp_path, monkeypatch)
    deny_landlock(monkeypatch)
    with pytest.raises(SandboxUnavailable, match=r"uid map.*Landlock 2 .*sandbox: none"):
        open_sandbox(SandboxSettings())


@pytest.mark.usefixtures("fresh_probe")
def test_a_box_asked_for_by_name_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(DENIED, tmp_path, monkeypatch)
    with pytest.raises(SandboxUnavailable, match="uid map: Permission denied"):
        open_sandbox(SandboxSettings(mode="bwrap"))
    monkeypatch.setattr(probing, "find_bwrap", lambda: None)
    probe.cache_clear()
    with pytest.raises(SandboxUnavailable, match="bubblewrap was not found"):
        open_sandbox(SandboxSettings(mode="bwrap"))


@pytest.mark.usefixtures("fresh_probe")
def test_a_box_that_starts_but_holds_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(HOLLOW, tmp_path, monkeypatch)
    with pytest.raises(SandboxUnavailable, match=r"does not hold .*fs_read, fs_write.*network"):
        open_sandbox(SandboxSettings(mode="bwrap"))


@needs_landlock
@pytest.mark.usefixtures("fresh_probe")
def test_a_landlock_box_without_its_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "program", lambda **_: b"")
    with pytest.raises(SandboxUnavailable, match="does not hold metadata, network"):
        open_sandbox(SandboxSettings(mode="landlock"))


@needs_landlock
def test_an_older_kernel_has_signals_held_by_the_filter() -> None:
    for abi in (3, 4, 5):
        outcome = probing._break_out(Landlocked(SandboxSettings(), most_abi=abi))
        assert not isinstance(outcome, str), outcome
        assert not any(outcome[key] for key in probing.HELD), (abi, outcome)


def test_without_a_box_the_break_out_succeeds_and_still_nothing_is_left() -> None:
    outcome = probing._break_out(Unboxed(SandboxSettings()))
    assert isinstance(outcome, dict)
    assert all(outcome[key] for key in probing.HELD if key != "orphan")
    assert not outcome["orphan"]


@pytest.mark.parametrize("rung", [*RUNGS, "none"])
def test_facts_name_every_promise_and_how_it_is_kept(rung: str) -> None:
    settings = SandboxSettings.model_validate({"mode": rung})
    facts = open_sandbox(settings).facts
    assert facts["sandbox"] == rung
    assert [name for name in facts if name in NAMES] == list(NAMES)
    assert all(facts[name].split(":")[0] in ("enforced", "watched", "none") for name in NAMES)
    held = all(facts[name].startswith("enforced") for name in ("fs_write", "fs_read", "network"))
    assert held is (rung != "none")


PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def table_of(heading: str) -> list[list[str]]:
    """The cells of the table on the page that begins with these columns."""
    rows = PAGE.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def told(facts: Mapping[str, str]) -> tuple[str, ...]:
    """Processes, memory and CPU time in the words of the page."""
    word = {"enforced": "enforced", "watched": "watched", "none": "open"}
    pids, memory, cpu = (facts[name] for name in ("pids", "memory", "cpu"))
    by = " (rlimit)" if "rlimit" in pids else ""
    time = "counted" if probing.COUNTED_TIME in cpu else "watched"
    return (
        word[pids.partition(":")[0]] + by,
        word[memory.partition(":")[0]],
        "open" if cpu.startswith("none") else time,
    )


@pytest.mark.parametrize("grouped", [True, False], ids=["cgroup ours", "not ours"])
@pytest.mark.parametrize("row", table_of("| box | who the roles are |"), ids=lambda row: row[1])
def test_the_page_says_of_each_box_and_machine_what_its_facts_say(
    row: list[str], grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, who, ours, others = row
    cell = others if others != "the same" and (not grouped or ours.startswith("the same")) else ours
    right = tuple(word.partition(":")[0] for word in cell.split(" / "))
    folders = tuple((name, Path("/")) for name in ("pids", "memory", "cpuacct")) if grouped else ()
    monkeypatch.setattr(probing, "parents", lambda: Parents(folders))
    known = {"a user": (1000, False), "unprivileged": (0, True), "uid 0": (0, False)}
    shown = [these for name, these in known.items() if name in who]
    assert shown
    for uid, drops in shown:
        monkeypatch.setattr(os, "getuid", lambda uid=uid: uid)
        settings = SandboxSettings()
        boxes: dict[str, Sandbox] = {
            "bwrap": Bubblewrap(Path("bwrap"), settings, drops=drops),
            "landlock": Landlocked(settings, drops=drops),
            "none": Unboxed(settings, drops=drops),
        }
        assert told(probing.facts_of(boxes[box.partition(",")[0]], {})) == right, (uid, drops)


def test_the_page_says_of_each_fact_what_the_rows_say() -> None:
    columns = {"bwrap": 1, "landlock": 3, "none": 4}
    rows = {row[0].split("`")[1]: row for row in table_of("| fact | bwrap with the copy |")}
    assert list(rows) == [name for name in rows if name in NAMES] and set(rows) == set(NAMES)
    words = {"enforced": "enforced", "watched": "watched", "none": "open"}
    for box, facts in (("bwrap", probing._BWRAP), ("landlock", probing._LANDLOCK)):
        for name, fact in facts.items():
            cell = rows[name][columns[box] + (name == "files" and box == "bwrap")]
            shown = rows[name][1] if cell == "the same" else cell
            assert shown.startswith(words[fact.partition(":")[0]]), (box, name, shown)
    for name in NAMES:
        cell = rows[name][columns["none"]]
        if "by machine" not in cell:
            assert cell.startswith(words[probing._NONE[name].partition(":")[0]]), (name, cell)
    assert rows["files"][1].startswith(probing.files_fact("").partition(":")[0])


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    missed = [1 - (1 - 1e-3) ** (256 * looks) for looks in (1, LOOKS, _LOOKS[Purpose.FINAL])]
    screens, later, last = (f"{share:.0%}".replace("%", " %") for share in missed)
    scan = LOOKS_PER_SCAN * POLL_SECONDS * 1000
    saved = [
        f"{int(SAVED_BYTES_PER_SECOND[clock] / 1e6)}"
        for clock in (Clock.CPU_SECONDS, Clock.SECONDS)
    ]
    for said in (
        f"tmpfs of {MAX_SCRATCH_MB:,} MB, `/tmp` {TMP_MB} MB, `/dev/shm` {DEV_SHM_MB} MB",
        f"{MAX_FILES:,} files watched every {scan:.0f} ms",
        f"up to {scan:.0f} ms of writing beyond {MAX_SCRATCH_MB:,} MB",
        f"at most {Limits(0, 0, 0).output_bytes >> 20} MB of output",
        f"it is watched every {POLL_SECONDS * 1000:.0f} ms, unless a cgroup",
        f"up to {MAX_TEXT_MB} MB of training text lie",
        f"more than {MAX_SIGNALS:,} timers and waiting signals",
        f"(bwrap; {MAX_DESCRIPTORS * PIPE_BYTES >> 20} MB at {MAX_DESCRIPTORS:,} descriptors)",
        f"its budget and {OVERTIME - 1:.0%}".replace("%", " %"),
        f"{GRACE_SECONDS[Clock.CPU_SECONDS]} CPU seconds ({GRACE_SECONDS[Clock.SECONDS]} of the wall)",
        f"{saved[0]} MB a CPU second ({saved[1]} MB a wall second)",
        f"fetches {MAX_FETCHED_BYTES >> 10} KB is asked again",
        f"made again {['never', 'once', 'twice'][MAX_VOIDS]} at most",
        f"trained again, {['no', 'one', 'two', 'three'][MAX_ATTEMPTS]} times at most",
        f"seen by {screens} of screens, {later} of later measurements and {last} of final ones",
        f"Up to {EXACT.mean:.0e}".replace("e-0", "e-") + " nats a token",
        f"lasts for {MIN_BLOCKS} blocks, each of a quarter of the sample's rows at least",
        f"({['', 'one', 'two', 'three', 'four', 'five', 'six', 'seven'][int(MAX_SDS)]} standard errors",
        f"one folder, watched ({MAX_AGENT_FILES_MB} MB)",
        f"{MAX_STEPS // 10**6} million a comparison".replace("2", "two"),
        f"{MAX_MERGE_STEPS // 10**6} million for all merges".replace("4", "four"),
        f"the last {MAX_KEPT} sources are kept",
    ):
        assert said in words, said
    in_proc = {path.removeprefix("/proc/") for path in READABLE if path.startswith("/proc/")}
    assert in_proc - {one for one in in_proc if one.startswith("sys/")} == {
        *("cpuinfo", "version", "filesystems"),
    }
    assert len([one for one in in_proc if one.startswith("sys/")]) == 2
    assert "nothing there but `cpuinfo`, `version`, `filesystems` and two settings" in words


@pytest.mark.parametrize("rung", [*RUNGS, "none"])
def test_the_environment_is_built_from_an_allow_list(
    rung: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret-key")
    view = View(tmp_path, (), tmp_path, tmp_path / "weights", True, 256, 1)
    launch = open_sandbox(SandboxSettings.model_validate({"mode": rung})).launch(view)
    assert not any("secret-key" in word for word in (*launch.env.values(), *launch.argv))
    assert set(launch.env) <= set(sandbox.role_environment("/", view))


ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@ROOT_ONLY
def test_root_stays_root_where_another_user_could_not_reach_the_workspace(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    box = open_sandbox(SandboxSettings(), reach=(shut,))
    assert not box.drops and box.facts["user"].startswith("none: roles run as root")


@ROOT_ONLY
@pytest.mark.parametrize("rung", [*RUNGS, "none"])
def test_roles_of_root_run_under_an_unprivileged_user(
    rung: str, public_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(public_python))
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    settings = SandboxSettings()
    boxes: dict[str, Sandbox] = {
        "bwrap": Bubblewrap(probe("bwrap").binary, settings, drops=True),
        "landlock": Landlocked(settings, drops=True),
        "none": Unboxed(settings, drops=True),
    }
    outcome = probing._break_out(boxes[rung])
    assert isinstance(outcome, dict), outcome
    if rung == "none":  # root's files and processes are out of reach for it
        assert not outcome["written"] and not outcome["signalled"] and not outcome["changed"]
    else:
        assert not any(outcome[key] for key in probing.HELD), outcome


@pytest.fixture
def public_python() -> Path:
    """A Python that every user may run."""
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("no Python in /usr/bin")
    return python


@pytest.mark.parametrize("rung", RUNGS)
def test_an_honest_model_scores_alike_in_every_box(evaluate: Evaluate, rung: str) -> None:
    seen = evaluate(HONEST, open_sandbox(SandboxSettings.model_validate({"mode": rung})))
    plain = evaluate(HONEST, open_sandbox(SandboxSettings(mode="none")))
    assert seen.status is Status.OK, seen.reason
    assert seen.metrics["val_bpb"] == plain.metrics["val_bpb"]
    assert seen.facts["sandbox"] == rung


@needs_landlock
def test_a_box_below_the_least_asked_for_is_refused() -> None:
    settings = SandboxSettings(mode="landlock", least="bwrap")
    with pytest.raises(
        SandboxUnavailable, match=r"least is bwrap, and this machine gives landlock"
    ):
        open_sandbox(settings)
    assert open_sandbox(SandboxSettings(mode="landlock", least="landlock")).name == "landlock"


@needs_bwrap
def test_without_room_for_a_copy_of_python_the_facts_say_so_and_least_image_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = Image(Path("/dev/shm"), "no room for 900 MB")
    monkeypatch.setattr(probing, "open_image", lambda: nowhere)
    box = open_sandbox(SandboxSettings(mode="bwrap", least="bwrap"))
    assert box.facts["files"].startswith("none") and "no room" in box.facts["files"]
    with pytest.raises(SandboxUnavailable, match=r"least is image, .* gives bwrap .*no room"):
        open_sandbox(SandboxSettings(mode="bwrap", least="image"))


def test_a_package_of_ones_own_is_copied_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "mine-1.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\nRequires-Dist: pyyaml\n")
    assert not {"mine", "pyyaml"} & set(packages())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"mine", "pyyaml"} <= set(packages())
    assert "evotrain" not in packages()
