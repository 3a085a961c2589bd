"""One role of a variant under supervision: clock, memory, count, output and progress, and its end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from evo.evaluation.channels import (
    DONE,
    INIT,
    READY,
    RECORD,
    SAVE,
    STEP,
    TAIL_BYTES,
    Log,
    ProgressRecord,
    Wires,
    drain,
)
from evo.evaluation.footprint import Crowding, Footprint
from evo.evaluation.sandbox.cgroups import Group, parents
from evo.evaluation.sandbox.sandbox import Launch
from evo.evaluation.sandbox.starting import start
from evo.evaluation.slots import Watch
from evo.evaluation.tree import ProcessTree, Reading, started_at, sweep
from population.types import Clock, CurvePoint, Status

POLL_SECONDS = 0.05
GONE_SECONDS = 1.0
MAX_GAP_SECONDS = 5.0  # of one look: whoever looks later than that was stopped himself
THREADS_PER_PROCESS = 8
MEMORY_SLACK_MB = 64
READ_BYTES = 1 << 20  # of one pipe in one round: a flood must not keep us from looking at the clock
MARK = "EVOTRAIN_MARK"
CURVE_POINTS = 64
BLOCK = 512  # what a file's blocks are counted in
HELD_UP_SHARE = 0.5  # of the wall limit: who was held up by others for so long is not to blame


class Ended(Exception):
    """A run is over without a score: its status, and the reason in one line."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What a role may use. `clock_seconds` is by our own reading of `clock`, until it has saved.

    Once it says that it is done, it may save: at this rate, so that a small file is no time to train in.
    """

    wall_seconds: float
    memory_bytes: int
    processes: int
    clock: Clock = Clock.SECONDS
    clock_seconds: float = math.inf
    saved_bytes_per_second: float = math.inf
    began: float | None = (
        None  # of the wall limit, by the monotonic clock; None: as the role starts
    )
    held_up_seconds: float = 0.0  # of the wall, earlier roles, by others
    output_bytes: int = 16 << 20
    log_bytes: int = TAIL_BYTES  # of the output that are kept: its end
    scratch_bytes: int = 1 << 62
    records: int = 20_000


@dataclass(slots=True)
class Heard:
    """What a role told so far, and our own readings when its marks arrived."""

    curve: list[CurvePoint] = field(default_factory=list)
    tokens: int = 0
    steps: int = 0
    arrived: dict[bytes, float] = field(
        default_factory=dict
    )  # first of a kind: our monotonic clock
    readings: dict[bytes, Reading] = field(default_factory=dict)


class RoleProcess:
    """A started role. `tick` and `until` raise Ended when it breaks a limit or is gone."""

    def __init__(
        self,
        launch: Launch,
        spec: Mapping[str, object],
        limits: Limits,
        watch: Watch,
        cpus: Collection[int] = (),
        shared_bytes: int = 0,
        gauge: Callable[[], None] | None = None,
    ) -> None:
        self.limits = limits
        self.device = str(spec.get("device", "cpu"))
        self.gauge = gauge
        self.watch = watch
        self.heard = Heard()
        self.replies = bytearray()
        self.exit_code: int | None = None
        self._mark = uuid.uuid4().hex
        self.log = Log(limits.log_bytes)
        self._records = 0
        self._partial = b""
        self._launch = launch
        self._started = False  # the sandbox says so
        self._saved = False
        self._wires = Wires(shared_bytes)
        self._group = Group(parents(), THREADS_PER_PROCESS * limits.processes, self._most_memory())
        self.began = time.monotonic()
        told = {**spec, **self._wires.spec, "exec_monotonic": self.began}
        environment = {**launch.env, MARK: self._mark, "EVOTRAIN_RUN": json.dumps(told)}
        try:
            self._popen = start(launch, environment, self._wires, self._group, cpus)
        except OSError:
            self._wires.close()
            self._group.close()
            raise
        self._tree = ProcessTree(self._popen.pid)
        self._crowding = Crowding(self._tree, cpus)
        self._reading = Reading(0.0, 0, 1)
        self._looked = 0.0
        self._woke = math.inf  # when the look under way should have begun
        self._cores = max(len(cpus), 1)
        self._answered_at: float | None = None
        self._unasked_seconds = 0.0
        self._footprint = Footprint(
            self._tree,
            launch.on_disk,
            limits.memory_bytes,
            limits.scratch_bytes,
            self._wires.shared_inode,
        )
        self._wall_began = self.began if limits.began is None else limits.began
        self._wires.hand_over()
        self._poll = select.poll()
        for fd in self._inputs():
            self._poll.register(fd, select.POLLIN)
        self.pid, self.started_at = self._popen.pid, started_at(self._popen.pid)

    def _most_memory(self) -> int:
        """What the kernel ends, beyond what we end: files of the box count as memory, too."""
        return self.limits.memory_bytes + (self._launch.tmpfs_mb + MEMORY_SLACK_MB << 20)

    def _inputs(self) -> list[int]:
        wires = self._wires
        return [fd for fd in (wires.log, wires.progress, wires.setup, wires.reply) if fd >= 0]

    # -- watching ------------------------------------------------------------------------------------

    def tick(self, timeout_seconds: float = 0.0) -> None:
        """Read what the role says, waiting at most so long for it, and look at its limits."""
        self._woke = time.monotonic() + max(timeout_seconds, 0.0)
        ready = self._poll.poll(max(timeout_seconds, 0.0) * 1000)
        gone = self.exit_code is None and self._popen.poll() is not None
        for fd in self._inputs() if gone else [fd for fd, _ in ready]:
            self._read(fd)
        if gone:
            self.exit_code = self._popen.returncode
        self._must_not_have_stood_still()
        self._inspect()

    def until(self, kind: bytes, others: Iterable[RoleProcess] = ()) -> None:
        """Wait for a mark of the role, watching others too. Raises Ended, if only for its wall limit."""
        while kind not in self.heard.arrived:
            for other in others:
                other.tick()
                other.must_live()
            self.must_live()
            self.tick(POLL_SECONDS)

    def must_live(self) -> None:
        """Raises Ended with what can be said of its end when the role is gone."""
        if self.exit_code is None:
            return
        if not self._started:
            ended = (
                f"killed by signal {-self.exit_code}" if self.exit_code < 0 else "it said nothing"
            )
            raise Ended(Status.LOST, f"the sandbox did not start: {self.log.last_line() or ended}")
        self._must_not_be_killed(self.exit_code)
        if self.log.ended_out_of_memory(self.exit_code):
            raise Ended(Status.OUT_OF_MEMORY, self.log.last_words(self.exit_code))
        if self.exit_code == 0:
            raise Ended(Status.REJECTED, "the script ended without run.finish(model)")
        said = self.log.last_words(self.exit_code) or f"ended with exit code {self.exit_code}"
        raise Ended(Status.CRASHED, said)

    def _must_not_be_killed(self, exit_code: int) -> None:
        if self._group.ran_out_of_memory():  # whomever of it the kernel chose, the box's own too
            helpers = self._footprint.of_helpers()
            raise Ended(Status.OUT_OF_MEMORY, f"ended by the kernel: out of memory{helpers}")
        if self._launch.guarded and exit_code < 0:  # from inside nobody can reach the box's process
            raise Ended(Status.LOST, f"the sandbox was killed by signal {-exit_code}")

    def clock(self) -> float:
        """What the role used so far by our own reading, in the clock's seconds (0 for tokens)."""
        if self.limits.clock is Clock.SECONDS:
            return time.monotonic() - self.began
        return self._reading.cpu_seconds if self.limits.clock is Clock.CPU_SECONDS else 0.0

    @contextlib.contextmanager
    def stopped(self, file: Path) -> Iterator[None]:
        """Nothing of it runs while its file is taken. Ended when saving that took it too long.

        Should it run on all the same, every CPU second of it counts.
        """
        if not self._tree.stop():
            raise Ended(Status.TIMED_OUT, "it did not stop for its weights to be taken")
        self._look()
        used, before = self.clock(), self._reading.cpu_seconds
        self._woke = math.inf
        yield
        self._look()
        seconds = file.lstat().st_blocks * BLOCK / self.limits.saved_bytes_per_second
        self._must_be_in_time(used + self._reading.cpu_seconds - before, seconds)
        self._tree.go_on()

    def _must_not_have_stood_still(self) -> None:
        """Raises Ended when nobody watched for a while: what the run did then is not known."""
        gap = time.monotonic() - self._woke
        if gap > MAX_GAP_SECONDS:
            raise Ended(
                Status.LOST, f"the machine, or who watches here, stood still for {gap:.0f} s"
            )

    def _must_be_in_time(self, used: float, saving_seconds: float) -> None:
        most = self.limits.clock_seconds + saving_seconds
        if used > most:
            self._must_not_have_stood_still()
            first = INIT in self.heard.arrived and not {STEP, DONE} & self.heard.arrived.keys()
            raise Ended(
                Status.TIMED_OUT,
                f"used {used:.1f} s ({self.limits.clock}) of at most {most:.1f}, start-up and saving included"
                + ": its first step alone took longer than the budget" * first,
            )

    def _inspect(self) -> None:
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        self._look()
        if self.gauge:
            self.gauge()
        if self._reading.processes > self.limits.processes:
            raise Ended(Status.CRASHED, f"more than {self.limits.processes} processes")
        if broken := self._footprint.objection(self._reading):
            raise Ended(*broken)
        wall = now - self._wall_began
        if wall > self.limits.wall_seconds:
            self._end_late(wall)
        if self.watch.stopping():
            raise Ended(Status.LOST, "stopped on request")
        if not self._saved and (reason := self.watch.hopeless()):
            raise Ended(Status.STOPPED, reason)

    def _end_late(self, wall: float) -> NoReturn:
        """Raises Ended: lost when others held the run up for most of its time, else it is timed out.

        What it slept itself is no excuse: neither reading grows with it.
        """
        held_up = self.limits.held_up_seconds + self.held_up_seconds()
        said = f"still running after {wall:.0f} s"
        if held_up < HELD_UP_SHARE * self.limits.wall_seconds:
            raise Ended(Status.TIMED_OUT, said)
        raise Ended(Status.LOST, f"the machine was busy: {said}, {held_up:.0f} of them held up")

    def _look(self) -> None:
        seen = self._tree.read(self.limits.processes)
        used = max(seen.cpu_seconds, self._group.cpu_seconds() or 0.0)
        self._reading = replace(seen, cpu_seconds=used)
        self._crowding.look(used)
        if not self._saved:
            most = self.limits.memory_bytes if DONE in self.heard.arrived else 0
            self._must_be_in_time(self.clock(), most / self.limits.saved_bytes_per_second)

    # -- reading -------------------------------------------------------------------------------------

    def _read(self, fd: int) -> None:
        got = drain(fd, READ_BYTES)
        if got is None:
            self._unregister(fd)
        elif fd == self._wires.log:
            self._hear_log(got)
        elif fd == self._wires.progress:
            self._hear_records(got)
        elif fd == self._wires.setup:
            self._started |= b"child-pid" in got
        else:
            self.replies += got
            if len(self.replies) > 1 << 16:
                raise Ended(Status.REJECTED, "it flooded the reply pipe")

    def _unregister(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(fd)

    def _hear_log(self, got: bytes) -> None:
        self.log.hear(got)
        if self.log.written > self.limits.output_bytes:
            raise Ended(Status.CRASHED, f"more than {self.limits.output_bytes >> 20} MB of output")

    def _hear_records(self, got: bytes) -> None:
        data = self._partial + got
        whole = len(data) - len(data) % RECORD.size
        self._partial = data[whole:]
        self._records += whole // RECORD.size
        if self._records > self.limits.records:
            raise Ended(Status.REJECTED, "it flooded the progress pipe")
        for fields in RECORD.iter_unpack(data[:whole]):
            self._hear(ProgressRecord(*fields))

    def _hear(self, record: ProgressRecord) -> None:
        heard = self.heard
        if self._saved and record.kind != READY:
            return  # nothing that comes after saving is about training
        heard.tokens, heard.steps = max(record.tokens, 0), max(record.steps, 0)
        if record.kind == STEP:
            if not math.isfinite(record.loss):
                raise Ended(Status.DIVERGED, f"the loss is {record.loss} at step {record.steps}")
            self._add_point(record)
        if record.kind not in heard.arrived:
            self._look()
            heard.arrived[record.kind] = time.monotonic()
            heard.readings[record.kind] = self._reading
            self._saved |= record.kind == SAVE

    def _add_point(self, record: ProgressRecord) -> None:
        curve = self.heard.curve
        progress = min(max(record.progress, 0.0), 1.0) if math.isfinite(record.progress) else 0.0
        last = int(curve[-1].progress * CURVE_POINTS) if curve else -1
        if int(progress * CURVE_POINTS) > last and len(curve) < CURVE_POINTS:
            point = CurvePoint(progress, record.loss, self.heard.tokens)
            curve.append(point)
            self.watch.progress(point)

    # -- the log, and the end ------------------------------------------------------------------------

    def close_log(self) -> None:
        """Forget nothing, but keep nothing more: from here on the role knows hidden text."""
        if self._wires.log in self._inputs():
            self._read(self._wires.log)
        self.log.kept = False

    def peak_bytes(self) -> int:
        """The peak memory of the whole tree so far, in bytes."""
        self._tree.read(self.limits.processes)
        return self._tree.note_peak()

    def storage_bytes(self) -> int:
        """What the whole tree had fetched from disk so far."""
        self._tree.read(self.limits.processes)
        return self._tree.storage_bytes()

    def used_seconds(self) -> float:
        """What the role used until this moment by its clock; 0 for tokens."""
        self._look()
        return self.clock()

    def cpu_seconds(self) -> float:
        """CPU seconds of the whole tree by the last reading."""
        return self._reading.cpu_seconds

    def waited_seconds(self) -> float:
        """What its threads stood waiting for cores that others held, so far."""
        return self._crowding.seconds

    def held_up_seconds(self) -> float:
        """Of the wall: what it waited for cores, all of them, and for us to ask again once it had answered."""
        return self._crowding.seconds / self._cores + self._unasked_seconds

    def close(self) -> None:
        """Kill all of it, wait for its end, and close every descriptor. Nothing survives."""
        self._tree.kill(root_last=True)  # the box's own process, or the keeper, sees to the rest
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._group.close()
        if not self._launch.all_in_namespace:
            while sweep(self._mark):
                time.sleep(0.01)
        self._wires.close()

    # -- serving -------------------------------------------------------------------------------------

    def send(self, data: bytes, seconds: float) -> None:
        """Write a whole request; Ended when the role does not take it in time."""
        now = time.monotonic()
        if self._answered_at is not None:
            self._unasked_seconds += now - self._answered_at
            self._answered_at = None
        view, end = memoryview(data), now + seconds
        while view:
            try:
                view = view[os.write(self._wires.ask, view) :]
            except BlockingIOError:
                self.tick(POLL_SECONDS / 10)
                if time.monotonic() > end:
                    raise Ended(Status.TIMED_OUT, "it takes no requests") from None
            except BrokenPipeError:
                self._stopped_answering()

    def receive(self, size: int, seconds: float) -> bytes:
        """Exactly `size` bytes of replies; Ended when they do not come in time or the role is gone."""
        end = time.monotonic() + seconds
        while len(self.replies) < size:
            if self.exit_code is not None:
                self._stopped_answering()
            if time.monotonic() > end:
                raise Ended(Status.TIMED_OUT, f"no answer within {seconds:.0f} s")
            self.tick(POLL_SECONDS)
        answer = bytes(self.replies[:size])
        del self.replies[:size]
        self._answered_at = time.monotonic()
        return answer

    def _stopped_answering(self) -> NoReturn:
        """Raises Ended: lost when its box was killed, else it is rejected."""
        end = time.monotonic() + GONE_SECONDS  # a pipe may break before the end is known
        while self.exit_code is None and time.monotonic() < end:
            self.tick(POLL_SECONDS / 10)
        if self.exit_code is not None:
            self._must_not_be_killed(self.exit_code)
        # without a kept log it may hold hidden text
        said = f": {self.log.last_words(self.exit_code)}" if self.log.kept else ""
        raise Ended(Status.REJECTED, f"it stopped answering{said}")

    def shared(self, size: int, at: int = 0) -> bytearray:
        """Some bytes of the shared buffer, copied: the role may go on writing."""
        buffer = bytearray(size)
        got = os.preadv(self._wires.shared, [buffer], at)
        if got != size:
            raise Ended(Status.REJECTED, "it tampered with the shared memory")
        return buffer
