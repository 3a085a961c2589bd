"""Nothing that a variant does may leave its box, or leave anything behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import psutil
import pytest

from evo.evaluation import probe as probing
from evo.evaluation.data import Dataset
from evo.evaluation.probe import open_sandbox, probe
from evo.evaluation.sandbox import Sandbox, SandboxSettings, SandboxUnavailable
from population.variant import Status

from .conftest import Evaluate, FakeWatch, alive
from .variants import ENDLESS, HONEST, variant

boxed = pytest.mark.sandbox
both = pytest.mark.parametrize("name", [pytest.param("box", marks=boxed), "no_box"])

TRIES = """
def tried(action):
    try:
        return repr(action())
    except OSError as error:
        return 'denied: ' + type(error).__name__

import pathlib, socket
spec = json.loads(os.environ['EVOTRAIN_RUN'])
print(json.dumps({
    'read': tried(lambda: open(SECRET).read()),
    'stat': tried(lambda: os.stat(SECRET)),
    'corpus': tried(lambda: open(CORPUS, 'rb').read(1)),
    'home': tried(lambda: os.listdir(HOME)),
    'write': tried(lambda: open(SECRET, 'w')),
    'code': tried(lambda: open('/code/train.py', 'a')),
    'data': tried(lambda: open(spec['data'][0], 'r+b')),
    'device': tried(lambda: open('/dev/filler', 'w')),
    'root': tried(lambda: open('/filler', 'w')),
    'link': tried(lambda: os.remove(spec['weights'])),
    'rename': tried(lambda: os.symlink('x', 'y') or os.replace('y', spec['weights'])),
    'network': tried(lambda: socket.create_connection(('127.0.0.1', PORT), 1)),
    'userns': tried(lambda: os.unshare(os.CLONE_NEWUSER) if hasattr(os, 'unshare') else open('/none')),
    'parent': tried(lambda: os.kill(PARENT, 0)),
}))
print(json.dumps({
    'environment': sorted(os.environ),
    'processes': len([name for name in os.listdir('/proc') if name.isdigit()]),
    'files': sorted(os.listdir('/')),
}))
"""


@boxed
def test_a_variant_sees_and_changes_nothing_outside(
    evaluate: Evaluate,
    box: Sandbox,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    secret = tmp_path / "secret"
    secret.write_text("unchanged")
    names = {
        "SECRET": str(secret),
        "CORPUS": str(dataset.sources[0] / "sotu.txt.xz"),
        "HOME": str(Path.home()),
        "PORT": 22,
        "PARENT": os.getpid(),
    }
    settings = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    seen = evaluate(variant(end=settings + TRIES), box)
    assert seen.status is Status.OK
    tries, view = (json.loads(line) for line in seen.log_tail.strip().splitlines()[-2:])
    through = {name: result for name, result in tries.items() if "denied" not in result}
    assert through.keys() <= {"home"}, through
    assert secret.read_text() == "unchanged"
    assert ".ssh" not in tries["home"] and ".bashrc" not in tries["home"]
    assert "OPENAI_API_KEY" not in view["environment"]
    assert view["processes"] <= 4
    assert not {"home", "var", "work", "mnt"} & set(view["files"]) - set(Path(sys.prefix).parts)


@boxed
def test_hidden_text_that_lies_in_a_mounted_folder_is_covered(
    evaluate: Evaluate, dataset: Dataset
) -> None:
    inside = Path(sys.prefix) / "lib"  # mounted, for Python needs it
    file = next(path for path in sorted(inside.rglob("*.txt")) if path.stat().st_size)
    box = open_sandbox(SandboxSettings(), (file, file.parent))
    read = f"print('bytes:', os.path.exists({str(file)!r}))"
    assert "bytes: False" in evaluate(variant(end=read), box).log_tail
    box = open_sandbox(SandboxSettings(), (file,))
    read = f"print('bytes:', len(open({str(file)!r}).read()))"
    assert "PermissionError" in evaluate(variant(end=read), box).log_tail


DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(30):
            try:
                os.close(fd)
            except OSError:
                pass
        os.execv('/usr/bin/sleep', ['WORD', '300'])
    os._exit(0)
os.wait()
time.sleep(0.1)
"""


@both
def test_a_daemon_does_not_outlive_its_run(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    word = f"daemon-{uuid.uuid4().hex}"
    seen = evaluate(variant(end=DAEMON.replace("WORD", word)), request.getfixturevalue(name))
    assert seen.status is Status.OK
    assert not alive(word)


@both
def test_a_hang_that_ignores_signals_is_timed_out(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    deaf = "import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(300)"
    seen = evaluate(variant(end=deaf), request.getfixturevalue(name), wall_seconds=1.5)
    assert seen.status is Status.TIMED_OUT
    assert seen.wall_seconds < 10


@both
def test_ignoring_the_clock_is_timed_out(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    box = request.getfixturevalue(name)
    seen = evaluate(variant(end=ENDLESS), box, grace_seconds=0.2)
    assert seen.status is Status.TIMED_OUT
    assert 0.5 < seen.cpu_seconds < 1.5


FORKS = """
word = 'forks-WORD'
while True:
    if os.fork() == 0:
        os.execv('/usr/bin/sleep', [word, '300'])
"""


@both
def test_a_fork_bomb_is_a_crash_and_is_cleared_away(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    word = uuid.uuid4().hex
    seen = evaluate(variant(end=FORKS.replace("WORD", word)), request.getfixturevalue(name))
    assert seen.status is Status.CRASHED
    assert "processes" in seen.reason or "BlockingIOError" in seen.reason
    assert not alive(word)


@both
def test_a_memory_bomb_is_out_of_memory(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    bomb = "kept = []\nwhile True: kept.append(b'x' * (4 << 20))"
    seen = evaluate(
        variant(end=bomb), request.getfixturevalue(name), memory_mb=300, grace_seconds=10.0
    )
    assert seen.status is Status.OUT_OF_MEMORY


@boxed
def test_memory_that_several_processes_share_counts_once(evaluate: Evaluate, box: Sandbox) -> None:
    shared = """
kept = bytearray(b'x') * (100 << 20)
for _ in range(4):
    if os.fork() == 0:
        time.sleep(0.3)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    assert evaluate(variant(end=shared), box, memory_mb=300).status is Status.OK


@both
def test_a_gigabyte_of_output_is_cut_short(
    evaluate: Evaluate, name: str, request: pytest.FixtureRequest
) -> None:
    loud = "line = 'x' * 65535\nfor _ in range(1 << 14): print(line)"
    seen = evaluate(variant(end=loud), request.getfixturevalue(name), grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "16 MB of output" in seen.reason
    assert len(seen.log_tail) <= 4096


@boxed
@pytest.mark.parametrize("where", ["/box", "/tmp", "/dev/shm"])
def test_the_disk_cannot_be_filled(evaluate: Evaluate, box: Sandbox, where: str) -> None:
    fill = f"""
for number in range(400):
    with open({where!r} + '/%d' % number, 'wb') as file:
        file.write(bytes(1 << 20))
"""
    seen = evaluate(variant(end=fill), box, grace_seconds=10.0)
    assert seen.status is Status.CRASHED
    assert "No space left" in seen.reason


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


@boxed
def test_the_probe_says_what_holds() -> None:
    facts = probe().facts
    assert set(facts) >= {"fs_write", "fs_read", "network", "signals", "pids", "orphans", "memory"}
    assert all(facts[name].startswith("enforced") for name in ("fs_write", "network", "orphans"))


def test_a_box_that_does_not_work_is_refused_with_the_fixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(probing, "find_bwrap", lambda: broken)
    probing.probe.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match=r"uid map: Permission denied.*sandbox: none"):
            open_sandbox(SandboxSettings())
    finally:
        probing.probe.cache_clear()


def test_a_box_that_holds_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hollow = tmp_path / "bwrap"
    hollow.write_text(f"#!/bin/sh\nHOME=/ exec {sys.executable} {tmp_path}/code/train.py\n")
    hollow.chmod(0o755)
    monkeypatch.setattr(probing, "find_bwrap", lambda: hollow)
    monkeypatch.setattr(probing.tempfile, "mkdtemp", lambda **_: str(tmp_path))
    monkeypatch.setattr(probing.shutil, "rmtree", lambda *_, **__: None)
    probing.probe.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match=r"does not hold .*fs_write.*network"):
            open_sandbox(SandboxSettings())
    finally:
        probing.probe.cache_clear()


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


@boxed
def test_a_run_dies_with_its_supervisor(tmp_path: Path) -> None:
    word = f"orphan-{uuid.uuid4().hex}"
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from evo.evaluation.data import DataSettings, prepare
        from evo.evaluation.probe import open_sandbox
        from evo.evaluation.sandbox import SandboxSettings
        from evo.evaluation.evaluator import Evaluator, Unwatched
        from evo.evaluation.slots import find_slots
        from population.variant import Order, Purpose
        from tests.evaluation.conftest import RUNG
        from tests.evaluation.variants import variant
        data = prepare(DataSettings(), Path({str(tmp_path)!r}))
        source = variant(end="os.execv('/usr/bin/sleep', [{word!r}, '300'])")
        box = open_sandbox(SandboxSettings(), data.sources)
        evaluator = Evaluator(data, {{"proxy": RUNG}}, box, Path({str(tmp_path)!r}), source)
        order = Order("0" * 64, "proxy", 0, 0, Purpose.SCREEN)
        evaluator.evaluate(order, source, find_slots()[0], Unwatched())
        """
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root) as supervisor:
        try:
            wait_for(lambda: alive(word), 20)
        finally:
            supervisor.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(word), 5)


def wait_for(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@boxed
def test_the_recorded_process_is_known_by_pid_and_start(evaluate: Evaluate, box: Sandbox) -> None:
    class Checks(FakeWatch):
        def started(self, pid: int, started_at: float) -> None:
            super().started(pid, started_at)
            assert abs(psutil.Process(pid).create_time() - started_at) < 0.5

    watch = Checks()
    assert evaluate(HONEST, box, watch=watch).status is Status.OK
    assert len(watch.processes) == 2
