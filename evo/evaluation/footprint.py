"""What a tree of processes takes of the machine: memory, also where no process shows it, and files."""

from __future__ import annotations

import functools
import time
from collections.abc import Collection
from pathlib import Path

from evo.evaluation.channels import memory_device
from evo.evaluation.tree import TICK, ProcessTree, Reading, folder_bytes, read_bytes
from population.types import Status

MAX_FILES = 20_000
MIN_HELPER_BYTES = 32 << 20  # a process that compiles or loads data; a box's own are smaller
HELPERS_SHARE = 0.1  # of the limit: less explains nothing
PIPE_BYTES = 64 << 10  # a box refuses larger ones
WATCH_BYTES = 256  # what an event poll holds for each file
LOOKS_PER_SCAN = 4  # files are looked through less often: it costs more
LOOKS_PER_VERDICT = 3  # of memory that processes share


class Footprint:
    """Looks at a tree, and says which limit it broke. `folder`: where it writes to the host's disk."""

    def __init__(
        self,
        tree: ProcessTree,
        folder: Path | None,
        memory_bytes: int,
        scratch_bytes: int,
        shared_inode: int,
    ) -> None:
        self._tree, self._folder, self._shared_inode = tree, folder, shared_inode
        self._memory_bytes, self._scratch_bytes = memory_bytes, scratch_bytes
        self._looks = self._hidden = self._kernel = 0

    def objection(self, reading: Reading) -> tuple[Status, str] | None:
        """The limit that it is beyond by now, as a status and a reason; None within all of them."""
        self._looks += 1
        if self._looks % LOOKS_PER_SCAN == 1 and (found := self._scan()):
            return found
        if self._used_bytes(reading) > self._memory_bytes:
            most = f"more than {self._memory_bytes >> 20} MB of memory"
            return Status.OUT_OF_MEMORY, f"{most}{self.of_helpers()}"
        return None

    def of_helpers(self) -> str:
        """In words, what processes beside the largest held when last read; "" where that is little."""
        held = sorted(self._tree.resident())[:-1]
        large = [one for one in held if one >= MIN_HELPER_BYTES]
        if sum(large) < HELPERS_SHARE * self._memory_bytes:
            return ""
        few = "1 helper process" if len(large) == 1 else f"{len(large)} helper processes"
        return f", {sum(large) >> 20} of them in {few}"

    def _used_bytes(self, reading: Reading) -> int:
        hidden = self._hidden
        used = reading.rss_bytes + hidden + self._kernel
        # Processes are read one after another: while some begin or end, a shared page may count twice.
        for _ in range(LOOKS_PER_VERDICT * (bool(hidden) or reading.processes > 3)):
            if used <= self._memory_bytes:
                break
            mapped = self._tree.shared_memory_bytes() if hidden else 0
            used = self._tree.shared_once_bytes() + max(hidden - mapped, 0) + self._kernel
        return used

    def _scan(self) -> tuple[Status, str] | None:
        """What no process shows, and files: few in memory, small on the host's disk."""
        files = self._tree.open_files()
        memory = memory_device()
        self._hidden = sum(
            size
            for (device, inode), size in files.unnamed.items()
            if device == memory and inode != self._shared_inode
        )
        # Buffers are counted full: what is in them can only be seen by those who have them.
        sockets = max(len(files.sockets), self._tree.own_sockets())
        self._kernel = (
            self._tree.tables_and_swap_bytes()
            + sockets * socket_bytes()
            + len(files.pipes) * PIPE_BYTES
            + files.watches * WATCH_BYTES
        )
        count = self._tree.files_in_memory()
        if self._folder is not None:
            try:
                used, count = folder_bytes(self._folder, MAX_FILES)
            except OSError as error:
                return Status.CRASHED, f"a folder that hides what it holds ({error.strerror})"
            used += sum(size for (device, _), size in files.unnamed.items() if device != memory)
            if used > self._scratch_bytes:
                return Status.CRASHED, f"more than {self._scratch_bytes >> 20} MB of files"
        if count > MAX_FILES:
            return Status.CRASHED, f"more than {MAX_FILES} files"
        return None


@functools.cache
def socket_bytes() -> int:
    """What one socket holds at most of what it sent: its buffer, and one message that begins within."""
    try:
        return 2 * int(Path("/proc/sys/net/core/wmem_default").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 2 * 212_992


# -- How long a tree of processes waited for cores that somebody else held: the machine's doing, not its own.


LOOK_SECONDS = 0.5  # long beside a tick, in which the kernel counts what a core does


class Crowding:
    """Adds up, look by look, what others took of `cpus` while the tree was ready to run there.

    Of both readings the smaller counts. A tree that sleeps is not waiting, however busy the cores; one that
    gets in its own way waits, but nobody else is there. Both must be so in the same half second. Our own
    thread is nobody else: what a run lets us look at makes us work.
    """

    def __init__(self, tree: ProcessTree, cpus: Collection[int]) -> None:
        self._tree, self._cpus = tree, cpus
        self._waits: dict[tuple[int, int], int] = {}  # nanoseconds by (thread, its process' start)
        self._looked = time.monotonic()
        self._own, self._ours = 0.0, time.thread_time()
        self._busy, self._stolen = self._cores()
        self.seconds = 0.0

    def look(self, cpu_seconds: float) -> None:
        """Take what was since the last look; `cpu_seconds` are the tree's own, so far."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        busy, stolen = self._cores()
        ours = time.thread_time()
        others = busy - self._busy - (cpu_seconds - self._own) - (ours - self._ours)
        taken = stolen - self._stolen  # by other machines: who does not want to run loses none
        self.seconds += max(min(self._waited(), others), 0.0) + max(taken, 0.0)
        self._own, self._ours = cpu_seconds, ours
        self._busy, self._stolen = busy, stolen

    def _waited(self) -> float:
        """Seconds that its threads stood ready since the last look; of those that ended, none."""
        waits = self._tree.waits()
        added = sum(wait - self._waits.get(thread, 0) for thread, wait in waits.items())
        self._waits = waits
        return added / 1e9

    def _cores(self) -> tuple[float, float]:
        """Seconds that these cores worked in this machine, and that other machines took of them."""
        busy = stolen = 0
        wanted = {f"cpu{number}".encode() for number in self._cpus}
        try:
            lines = read_bytes("/proc/stat").splitlines()
        except OSError:
            return 0.0, 0.0
        for words in map(bytes.split, lines):
            if words and words[0] in wanted:
                user, nice, system, _, _, interrupts, soft, steal = map(int, words[1:9])
                busy += user + nice + system + interrupts + soft
                stolen += steal
        return busy / TICK, stolen / TICK
