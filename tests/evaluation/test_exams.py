"""From the first hidden request on nothing is trained again: what the machine cuts off is scored again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evo.evaluation import evaluator as measuring
from evo.evaluation import process, roles
from evo.evaluation.audit import Server
from evo.evaluation.data import Dataset
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.process import Limits, RoleProcess
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.evaluation.slots import Slot, host_class
from evo.evaluation.weights import Exams, Training
from population.types import CurvePoint, Measurement, Purpose, RunRequest, Status, variant_id

from .conftest import RUNG, FakeWatch
from .variants import HONEST, variant

UNIQUE = variant(
    """
class Model(Model):
    def save(self, path):
        save_file({"table": table() + np.float32(0.01) * np.random.default_rng().random(dtype="f4")}, path)
"""
)
Measure = Callable[..., Measurement]


@pytest.fixture
def measure(dataset: Dataset, slot: Slot, quick: str, box: Sandbox, tmp_path: Path) -> Measure:
    """measure(source, repeat=..., watch=...): by a new evaluator each time, as a new process has."""

    def run(source: str, repeat: int = 0, watch: FakeWatch | None = None) -> Measurement:
        evaluator = Evaluator(dataset, {"proxy": RUNG}, box, tmp_path / "runs", quick)
        request = RunRequest(variant_id(source), "proxy", 0, repeat, Purpose.SCREEN)
        return evaluator.evaluate(request, source, slot, watch or FakeWatch())

    return run


def kill_the_box(server: Server) -> None:
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.receive(1, 10.0)


def fill_the_disk(server: Server) -> None:
    raise OSError(28, "No space left on device")


def ask_it_to_stop(server: Server) -> None:
    server.process.watch.stopping = lambda: True  # type: ignore[method-assign]
    server.process.receive(1, 10.0)


def starve_it(server: Server) -> None:
    """Its wall limit is over, and others held its core all the time."""
    process = server.process
    process._crowding.seconds = process.limits.wall_seconds
    process._wall_began -= process.limits.wall_seconds
    process.receive(1, 10.0)


def wait_with_asking(server: Server) -> None:
    """Its wall limit is over, and it was ours to ask."""
    process = server.process
    assert process._answered_at
    process._answered_at -= process.limits.wall_seconds
    process._wall_began -= process.limits.wall_seconds
    process.send(b"", 10.0)
    process.receive(1, 10.0)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "fault", [kill_the_box, fill_the_disk, ask_it_to_stop, starve_it, wait_with_asking]
)
def test_what_the_machine_cuts_off_is_scored_again_from_the_same_weights(
    measure: Measure, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Server], None]
) -> None:
    asked = measuring.ask_first

    def broken(server: Server, *more: Any) -> Any:
        asked(server, *more)
        fault(server)

    monkeypatch.setattr(measuring, "ask_first", broken)
    first = measure(UNIQUE)
    assert first.status is Status.LOST and not first.metrics, first.reason
    monkeypatch.undo()
    watch = FakeWatch()
    again = measure(UNIQUE, watch=watch)
    assert (again.status, again.reason) == (Status.OK, "")
    assert again.facts["weights_sha256"] == first.facts["weights_sha256"]
    assert len(watch.processes) == 2 and not watch.points, "it was trained again"
    assert (again.curve, again.self_reported_steps) == (first.curve, first.self_reported_steps)
    assert (again.cpu_seconds, again.train_wall_seconds) == (
        first.cpu_seconds,
        first.train_wall_seconds,
    )


@pytest.mark.sandbox
def test_a_server_that_sleeps_beyond_the_wall_limit_is_not_excused(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measuring.ask_first

    def late(server: Server, *more: Any) -> Any:
        asked(server, *more)
        server.process._wall_began -= server.process.limits.wall_seconds
        server.process.receive(1, 10.0)

    monkeypatch.setattr(measuring, "ask_first", late)
    seen = measure(UNIQUE)
    assert seen.status is Status.CHEATED and "still running" in seen.reason


@pytest.mark.sandbox
def test_a_run_that_nobody_watched_for_a_while_is_lost_and_not_timed_out(
    measure: Measure, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, still = time.monotonic, [0.0]
    monkeypatch.setattr(process.time, "monotonic", lambda: real() + still[0])
    watch = FakeWatch()
    # once, however many points one reading brings
    monkeypatch.setattr(watch, "progress", lambda point: still.__setitem__(0, 200.0))
    seen = measure(HONEST, watch=watch)
    assert seen.status is Status.LOST and "stood still for 2" in seen.reason
    assert seen.facts["host_class"] == host_class(slot)


@pytest.mark.sandbox
def test_one_role_passes_on_how_long_it_was_held_up(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Limits] = []

    def noted(**values: Any) -> Limits:
        limits.append(Limits(**values))
        return limits[-1]

    monkeypatch.setattr(roles, "Limits", noted)
    monkeypatch.setattr(RoleProcess, "held_up_seconds", lambda process: 7.0)
    assert measure(HONEST).status is Status.OK
    assert [one.held_up_seconds for one in limits] == [0.0, 7.0]


@pytest.mark.sandbox
def test_another_repeat_is_another_run(measure: Measure) -> None:
    digests = {measure(UNIQUE, repeat=one).facts["weights_sha256"] for one in (0, 1)}
    assert len(digests) == 2


@pytest.mark.sandbox
def test_what_is_lost_before_hidden_text_is_shown_is_trained_again(
    measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "rehearse", lambda server, exam: kill_the_box(server))
    first = measure(UNIQUE)
    assert first.status is Status.LOST and not list(tmp_path.glob("exams/*"))
    monkeypatch.undo()
    again = measure(UNIQUE)
    assert again.status is Status.OK
    assert again.facts["weights_sha256"] != first.facts["weights_sha256"]


@pytest.mark.sandbox
def test_kept_weights_that_are_damaged_are_neither_scored_nor_trained_again(
    measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "ask_first", lambda server, *more: kill_the_box(server))
    assert measure(HONEST).status is Status.LOST
    monkeypatch.undo()
    (kept,) = tmp_path.glob("exams/*.safetensors")
    kept.chmod(0o644)
    with kept.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"8 bytes.")
    watch = FakeWatch()
    seen = measure(HONEST, watch=watch)
    assert seen.status is Status.LOST and "damaged" in seen.reason
    assert not watch.processes


KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from evo.evaluation import evaluator as measuring
from evo.evaluation.data import DataSettings, prepare
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.slots import find_slots
from population.types import Purpose, RunRequest, variant_id
from tests.evaluation.conftest import RUNG, FakeWatch, SmallSandbox

work, source = Path(sys.argv[1]), Path(sys.argv[2]).read_text()
dataset = prepare(DataSettings(), work / "cache")
box = open_sandbox(SmallSandbox(), dataset.sources)
evaluator = measuring.Evaluator(dataset, {"proxy": RUNG}, box, work / "runs", source)
measuring.must_not_peek = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
order = RunRequest(variant_id(source), "proxy", 0, 0, Purpose.SCREEN)
evaluator.evaluate(order, source, find_slots()[0], FakeWatch())
"""


@pytest.mark.sandbox
def test_a_kill_between_the_first_hidden_request_and_the_row_trains_nothing_again(
    measure: Measure, tmp_path: Path
) -> None:
    source = tmp_path / "train.py"
    source.write_text(UNIQUE)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(source)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    watch = FakeWatch()
    seen = measure(UNIQUE, watch=watch)
    assert seen.status is Status.OK and len(watch.processes) == 2 and not watch.points


@pytest.mark.sandbox
@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_fetches_is_asked_again_with_the_same_weights_and_not_for_ever(
    measure: Measure, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    scorings = []

    def fetched(process: object) -> int:
        scorings.append(len(scorings) % 2)
        return (1 << 20) * scorings[-1] if len(scorings) <= 2 * times else 0

    monkeypatch.setattr("evo.evaluation.process.RoleProcess.storage_bytes", fetched)
    watch = FakeWatch()
    seen = measure(UNIQUE, watch=watch)
    if times == 1:
        assert seen.status is Status.OK and seen.facts["scorings"].startswith("1, ")
        assert len(watch.processes) == 3  # train and A, then A and B
    else:
        assert seen.status is Status.CHEATED and "from disk" in seen.reason
        assert len(watch.processes) == 3
    assert sum(point.progress == watch.points[0].progress for point in watch.points) == 1


def test_a_run_is_kept_until_it_has_a_row(tmp_path: Path) -> None:
    exams, request = Exams(tmp_path / "exams"), RunRequest("a" * 64, "proxy", 3, 0, Purpose.RACE)
    other = replace(request, block=4)
    weights = tmp_path / "weights"
    weights.write_bytes(b"numbers")
    training = Training(curve=(CurvePoint(0.5, 2.0, 100),), tokens=7, weights_sha256="00")
    for one in (request, other):
        exams.begin(one, training, weights)
        exams.begin(one, training, weights)
    found = exams.find(request)
    assert found is not None and found[0] == training and found[1].read_bytes() == b"numbers"
    assert exams.find(replace(request, repeat=1)) is None
    (tmp_path / "exams" / "half.safetensors").write_bytes(b"a kill in between")
    exams.prune(lambda one: one == other)
    assert exams.find(request) and not exams.find(other)
    assert len(list((tmp_path / "exams").iterdir())) == 2
    exams.end(request)
    assert not list((tmp_path / "exams").iterdir())


@pytest.mark.sandbox
def test_a_run_is_kept_while_its_row_is_not_written_though_the_slot_measures_another(
    dataset: Dataset, slot: Slot, quick: str, box: Sandbox, tmp_path: Path
) -> None:
    evaluator = Evaluator(dataset, {"proxy": RUNG}, box, tmp_path / "runs", quick)
    recorded: set[RunRequest] = set()
    evaluator.is_recorded = recorded.__contains__
    pair = [RunRequest(variant_id(UNIQUE), "proxy", 0, repeat, Purpose.SCREEN) for repeat in (0, 1)]
    for request in pair:
        assert evaluator.evaluate(request, UNIQUE, slot, FakeWatch()).status is Status.OK
    assert all(evaluator.exams.find(request) for request in pair)
    recorded.add(pair[0])
    evaluator.evaluate(replace(pair[0], repeat=2), "not python (", slot, FakeWatch())
    assert [evaluator.exams.find(request) is not None for request in pair] == [False, True]
