"""Nothing that a variant does may leave its box, or leave anything behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path
from typing import Literal

import psutil
import pytest

from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings
from population.types import Status

from .boxes import RUNGS, every_box, every_rung, needs_bwrap
from .conftest import Evaluate, FakeWatch, alive
from .variants import ENDLESS, HONEST, variant


@needs_bwrap
def test_namespaces_show_no_process_and_no_folder_of_the_host(
    evaluate: Evaluate, box: Sandbox, tmp_path: Path
) -> None:
    look = f"""
print(json.dumps({{
    'processes': len([name for name in os.listdir('/proc') if name.isdigit()]),
    'files': sorted(os.listdir('/')),
    'stat': os.path.exists({str(tmp_path)!r}),
}}))
"""
    view = json.loads(evaluate(variant(end=look), box).log_tail.strip().splitlines()[-1])
    assert view["processes"] <= 4
    assert not {"home", "var", "work", "mnt"} & set(view["files"]) - set(Path(sys.prefix).parts)
    assert not view["stat"]


@every_box
def test_hidden_text_that_lies_in_a_mounted_folder_is_covered(
    evaluate: Evaluate, rung: Literal["bwrap", "landlock"]
) -> None:
    inside = Path(sys.prefix) / "lib"  # shown, for Python needs it
    file = next(path for path in sorted(inside.rglob("*.txt")) if path.stat().st_size)
    read = f"""
try:
    print('bytes:', len(open({str(file)!r}).read()))
except OSError as error:
    print('not read', error)
"""
    for hidden in ((file, file.parent), (file,)):
        box = open_sandbox(SandboxSettings(mode=rung), hidden)
        seen = evaluate(variant(end=read), box)
        assert seen.status is Status.OK, seen.reason
        assert "not read" in seen.log_tail


DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(30):
            try:
                os.close(fd)
            except OSError:
                pass
        os.execve('/usr/bin/sleep', ['WORD', '300'], {})
    os._exit(0)
os.wait()
time.sleep(0.1)
"""


@every_rung
def test_a_daemon_does_not_outlive_its_run(evaluate: Evaluate, sandbox: Sandbox) -> None:
    word = f"daemon-{uuid.uuid4().hex}"
    seen = evaluate(variant(end=DAEMON.replace("WORD", word)), sandbox)
    assert seen.status is Status.OK
    assert not alive(word)


@every_rung
def test_a_hang_that_ignores_signals_is_timed_out(evaluate: Evaluate, sandbox: Sandbox) -> None:
    deaf = "import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(3600)"
    seen = evaluate(variant(end=deaf), sandbox, wall_seconds=2.0)
    assert seen.status is Status.TIMED_OUT


@every_rung
def test_ignoring_the_clock_is_timed_out(evaluate: Evaluate, sandbox: Sandbox) -> None:
    seen = evaluate(variant(end=ENDLESS), sandbox, grace_seconds=0.2)
    assert seen.status is Status.TIMED_OUT
    assert seen.cpu_seconds > 0.5


FORKS = """
word = 'forks-WORD'
while True:
    if os.fork() == 0:
        os.execv('/usr/bin/sleep', [word, '300'])
"""


@every_rung
def test_a_fork_bomb_is_a_crash_and_is_cleared_away(evaluate: Evaluate, sandbox: Sandbox) -> None:
    word = uuid.uuid4().hex
    seen = evaluate(variant(end=FORKS.replace("WORD", word)), sandbox, grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "processes" in seen.reason or "BlockingIOError" in seen.reason
    assert not alive(word)


HELPERS = """
import subprocess, sys
eats = "import time; held = bytearray(150 << 20); time.sleep(60)"
helpers = [subprocess.Popen([sys.executable, "-c", eats]) for _ in range(3)]
[one.wait() for one in helpers]
"""


def test_memory_of_helper_processes_is_told_apart_where_a_run_is_out_of_memory(
    evaluate: Evaluate, box: Sandbox, quick: str
) -> None:
    source = quick.replace("run = harness.start()\n", f"run = harness.start()\n{HELPERS}")
    seen = evaluate(source, box, memory_mb=400)
    assert seen.status is Status.OUT_OF_MEMORY
    assert re.search(r"\d{3} of them in [23] helper processes$", seen.reason), seen.reason


@every_rung
def test_a_memory_bomb_is_out_of_memory(evaluate: Evaluate, sandbox: Sandbox) -> None:
    bomb = "kept = []\nwhile True: kept.append(b'x' * (4 << 20))"
    seen = evaluate(variant(end=bomb), sandbox, memory_mb=300, grace_seconds=10.0)
    assert seen.status is Status.OUT_OF_MEMORY


@every_box
def test_memory_that_several_processes_share_counts_once(
    evaluate: Evaluate, sandbox: Sandbox
) -> None:
    shared = """
kept = bytearray(b'x') * (100 << 20)
for _ in range(4):
    if os.fork() == 0:
        time.sleep(0.3)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    seen = evaluate(variant(end=shared), sandbox, memory_mb=300, grace_seconds=10.0)
    assert seen.status is Status.OK, seen.reason


@every_rung
def test_a_gigabyte_of_output_is_cut_short(evaluate: Evaluate, sandbox: Sandbox) -> None:
    loud = "line = 'x' * 65535\nfor _ in range(1 << 14): print(line)"
    seen = evaluate(variant(end=loud), sandbox, grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "16 MB of output" in seen.reason
    assert len(seen.log_tail) <= 4096


MEMORY_FILES = """
held = []
for number in range(400):
    held.append(os.memfd_create('filler'))
    os.write(held[-1], bytes(4 << 20))
    time.sleep(0.01)
"""


@every_rung
def test_memory_in_files_without_a_name_is_refused_or_counted(
    evaluate: Evaluate, sandbox: Sandbox
) -> None:
    seen = evaluate(variant(end=MEMORY_FILES), sandbox, memory_mb=300, grace_seconds=10.0)
    if sandbox.name == "none":
        assert seen.status is Status.OUT_OF_MEMORY, seen.reason
    else:
        assert "Operation not permitted" in seen.reason


FILL = """
for number in range(4000):
    file = open(WHERE + '/%d' % number, 'wb')
    file.write(bytes(1 << 18))
    file.flush()
    GONE
    time.sleep(0.001)
"""


@needs_bwrap
@pytest.mark.parametrize("where", ["/box", "/tmp", "/dev/shm"])
def test_the_disk_cannot_be_filled(evaluate: Evaluate, box: Sandbox, where: str) -> None:
    fill = FILL.replace("WHERE", repr(where)).replace("GONE", "file.close()")
    seen = evaluate(variant(end=fill), box, grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "No space left" in seen.reason


@pytest.mark.parametrize("gone", ["file.close()", "os.remove(file.name); files.append(file)"])
@pytest.mark.parametrize("rung", [RUNGS[1], "none"])
def test_a_run_that_fills_the_disk_is_ended(
    evaluate: Evaluate, sandbox: Sandbox, gone: str
) -> None:
    fill = "files = []" + FILL.replace("WHERE", "'.'").replace("GONE", gone)
    seen = evaluate(variant(end=fill), sandbox, grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "MB of files" in seen.reason


@pytest.mark.parametrize("rung", [RUNGS[1]])
def test_the_machines_other_places_for_files_are_shut(evaluate: Evaluate, sandbox: Sandbox) -> None:
    look = "print([p for p in ('/tmp', '/dev/shm', '/var/tmp') if not denied(p)])"
    tries = """
def denied(folder):
    try:
        os.close(os.open(folder + '/evotrain-filler', os.O_CREAT | os.O_WRONLY))
    except OSError:
        return True
"""
    assert "[]" in evaluate(variant(end=tries + look), sandbox).log_tail


def test_weights_that_became_a_link_are_refused(
    evaluate: Evaluate, no_box: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    swap = f"""
harness.shutil.copyfile = lambda source, target: (
    os.remove(target), os.symlink({str(tmp_path / "secret")!r}, target))
"""
    seen = evaluate(variant(end=swap), no_box)
    assert seen.status is Status.REJECTED
    assert "weights.safetensors" in seen.reason
    assert (tmp_path / "secret").read_text() == "secret"


def test_without_a_box_an_honest_model_is_scored_and_the_facts_say_so(
    evaluate: Evaluate, no_box: Sandbox
) -> None:
    seen = evaluate(HONEST, no_box)
    assert seen.status is Status.OK
    assert seen.facts["sandbox"] == "none" and seen.facts["fs_read"] == "none"


@needs_bwrap
def test_a_sandbox_that_fails_to_start_is_our_fault(
    evaluate: Evaluate, box: Sandbox, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: no more namespaces' >&2\nexit 1\n")
    broken.chmod(0o755)
    object.__setattr__(box, "binary", broken)
    seen = evaluate(HONEST, box)
    assert seen.status is Status.LOST
    assert "no more namespaces" in seen.reason


@every_rung
def test_a_run_dies_with_its_supervisor(tmp_path: Path, rung: str) -> None:
    word = f"orphan-{uuid.uuid4().hex}"
    orphan = DAEMON.replace("WORD", word).replace("os.wait()", "time.sleep(300)")
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from evo.evaluation.data import DataSettings, prepare
        from evo.evaluation.sandbox.probe import open_sandbox
        from evo.evaluation.sandbox.sandbox import SandboxSettings
        from evo.evaluation.evaluator import Evaluator
        from evo.evaluation.slots import Unwatched
        from evo.evaluation.slots import find_slots
        from population.types import Purpose, RunRequest
        from tests.evaluation.conftest import RUNG
        from tests.evaluation.variants import variant
        data = prepare(DataSettings(), Path({str(tmp_path)!r}))
        source = variant(end={orphan!r})
        box = open_sandbox(SandboxSettings(mode={rung!r}), data.sources)
        evaluator = Evaluator(data, {{"proxy": RUNG}}, box, Path({str(tmp_path)!r}), source)
        request = RunRequest("0" * 64, "proxy", 0, 0, Purpose.SCREEN)
        evaluator.evaluate(request, source, find_slots()[0], Unwatched())
        """
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root) as supervisor:
        try:
            wait_for(lambda: alive(word), 120)
        finally:
            supervisor.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(word), 60)


KILLED_AS_THEY_START = """
import os, signal, sys, time
from pathlib import Path
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.process import Limits, RoleProcess
from evo.evaluation.sandbox.sandbox import SandboxSettings, View
from evo.evaluation.slots import Unwatched

home, box = Path(sys.argv[1]), open_sandbox(SandboxSettings(mode=sys.argv[2]))
home.joinpath("train.py").write_text("import time; time.sleep(60)")
tries, longest = 40, 0.07
for number in range(tries):
    scratch, weights = home / str(number), home / f"weights-{number}"
    scratch.mkdir()
    weights.touch()
    launch = box.launch(View(home, (), scratch, weights, True, memory_mb=500, threads=1))
    supervisor = os.fork()
    if supervisor == 0:
        RoleProcess(launch, {}, Limits(60, 500 << 20, 64), Unwatched())
        time.sleep(60)
    time.sleep(longest * number / tries)
    os.kill(supervisor, signal.SIGKILL)
    os.waitpid(supervisor, 0)
"""


@every_rung
def test_whatever_moment_of_a_start_its_supervisor_dies_in_no_process_is_left(
    tmp_path: Path, rung: str
) -> None:
    command = [sys.executable, "-c", KILLED_AS_THEY_START, str(tmp_path), rung]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=250)
    wait_for(lambda: not alive(str(tmp_path)), 60)


def wait_for(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@needs_bwrap
def test_the_recorded_process_is_known_by_pid_and_start(evaluate: Evaluate, box: Sandbox) -> None:
    class Checks(FakeWatch):
        def started(self, pid: int, started_at: float) -> None:
            super().started(pid, started_at)
            # psutil counts from a boot time in whole seconds
            assert abs(psutil.Process(pid).create_time() - started_at) < 1.1

    watch = Checks()
    assert evaluate(HONEST, box, watch=watch).status is Status.OK
    assert len(watch.processes) == 2
