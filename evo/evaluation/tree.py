"""A process and everything it started: CPU time, memory, count, and the end of all of them (Linux)."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFMT, S_ISFIFO, S_ISREG, S_ISSOCK

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ENDED = (b"Z", b"X")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of /proc: times in seconds, memory in bytes, `start` in ticks since boot.

    Where the first thread has exited and others work on, `state` and memory are those of `thread`, one
    of the others; the rest is of the whole process anyway.
    """

    pid: int
    thread: int
    state: str
    start: int
    own_seconds: float
    reaped_seconds: float  # of children that ended and were waited for
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tree used so far. CPU seconds include processes that ended; memory is of those alive."""

    cpu_seconds: float
    rss_bytes: int
    processes: int


@dataclass(slots=True)
class OpenFiles:
    """Bytes of files without a name (memfd, deleted) by (device, inode); inodes of sockets and pipes."""

    unnamed: dict[tuple[int, int], int]
    sockets: set[int]
    pipes: set[int]
    watches: int = 0  # that event polls can hold at most: of each file of their process


def read_stat(pid: int) -> ProcessStat | None:
    """The process as it is now, or None when there is none."""
    field = _stat_fields(f"/proc/{pid}/stat")
    if field is None:
        return None
    thread = pid
    if field[0] in ENDED and int(field[17]) > 1:  # a dead first thread is no dead process
        for name in _names(f"/proc/{pid}/task"):
            other = _stat_fields(f"/proc/{pid}/task/{name}/stat")
            if other and other[0] not in ENDED:
                thread, field[0], field[21] = int(name), other[0], other[21]
                break
    return ProcessStat(
        pid=pid,
        thread=thread,
        state=field[0].decode(),
        start=int(field[19]),
        own_seconds=(int(field[11]) + int(field[12])) / TICK,
        reaped_seconds=(int(field[13]) + int(field[14])) / TICK,
        rss_bytes=int(field[21]) * PAGE,
    )


def started_at(pid: int) -> float:
    """When a process started, in seconds since the epoch (to about a tick); 0.0 when it is gone."""
    stat = read_stat(pid)
    if stat is None:
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + stat.start / TICK


class ProcessTree:
    """The tree under `pid`. Remembers whom it saw, so that nobody leaves by losing its parent."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_bytes = 0
        root = read_stat(pid)
        self._own: dict[tuple[int, int], float] = {}  # CPU seconds last seen, by (pid, start)
        self._seen = {(pid, root.start)} if root else set()  # those that may still be alive
        self._alive: list[ProcessStat] = []
        self._cpu_seconds = 0.0

    def read(self, most: int) -> Reading:
        """The tree now; stops counting beyond `most` processes."""
        self._alive = list(self._walk(most))
        for stat in self._alive:
            self._own[stat.pid, stat.start] = stat.own_seconds
        self._seen = {(stat.pid, stat.start) for stat in self._alive}
        # A child that ended is in its parent's reaped time, or, if nobody waited for it, only in our own sums.
        reaped = sum(stat.own_seconds + stat.reaped_seconds for stat in self._alive)
        self._cpu_seconds = max(self._cpu_seconds, reaped, sum(self._own.values()))
        rss = sum(stat.rss_bytes for stat in self._alive)
        self.peak_bytes = max(self.peak_bytes, rss)
        return Reading(self._cpu_seconds, rss, len(self._alive))

    def note_peak(self) -> int:
        """The peak memory in bytes: of the whole tree when read, at least the largest high-water mark."""
        for stat in self._alive:
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = Path(f"/proc/{stat.thread}/status").read_text(
                    encoding="utf-8", errors="replace"
                )
                mark = status.split("\nVmHWM:", 1)[1].split(None, 1)[0]
                self.peak_bytes = max(self.peak_bytes, int(mark) * 1024)
        return self.peak_bytes

    def resident(self) -> list[int]:
        """Resident bytes of each process, when last read."""
        return [stat.rss_bytes for stat in self._alive]

    def shared_once_bytes(self) -> int:
        """Memory with pages that several processes share counted once: slow, for the verdict only."""
        return sum(map(_share_bytes, self._alive))

    def storage_bytes(self) -> int:
        """What it had fetched from disk so far, also through mapped files and by children waited for."""
        total = 0
        for stat in self._alive:
            with contextlib.suppress(OSError, ValueError, IndexError):
                counts = Path(f"/proc/{stat.thread}/io").read_text(
                    encoding="utf-8", errors="replace"
                )
                total += int(counts.split("\nread_bytes:", 1)[1].split(None, 1)[0])
        return total

    def kill(self, root_last: bool, deadline_seconds: float = 10.0) -> bool:
        """SIGKILL all of it, the root last if it is to reap its own; whether everything is gone."""
        end = time.monotonic() + deadline_seconds
        pause = 0.001
        while True:
            # The first process inside a sandbox takes its whole pid namespace with it.
            self._seen |= {(stat.pid, stat.start) for stat in self._walk(1 << 20)}
            self._seen = {(pid, start) for pid, start in self._seen if _lives(pid, start)}
            roots = {(pid, start) for pid, start in self._seen if pid == self.pid}
            below = self._seen - roots
            late = time.monotonic() > end
            for pid, _ in (below or roots) if root_last and not late else self._seen:
                _signal(pid, signal.SIGKILL)
            if late or not below:
                return not below
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def stop(self, deadline_seconds: float = 5.0) -> bool:
        """Stop all of it but the root, which is to end the rest should we go; whether nothing runs any more."""
        end, told = time.monotonic() + deadline_seconds, set[tuple[int, int]]()
        while True:
            below = [stat for stat in self._walk(1 << 20) if stat.pid != self.pid]
            again = [s for s in below if (s.pid, s.start) not in told or _runs(s.pid)]
            for stat in again:
                _signal(stat.pid, signal.SIGSTOP)
                told.add((stat.pid, stat.start))
            if not again or time.monotonic() > end:
                return not again
            time.sleep(0.001)

    def go_on(self) -> None:
        """Let all of it run again."""
        for stat in self._walk(1 << 20):
            _signal(stat.pid, signal.SIGCONT)

    def _walk(self, most: int) -> Iterator[ProcessStat]:
        waiting: list[tuple[int, int | None]] = list(self._seen)
        met: set[int] = set()
        while waiting and len(met) <= most:
            pid, start = waiting.pop()
            stat = None if pid in met else read_stat(pid)
            if stat is None or start not in (None, stat.start):
                continue
            met.add(pid)
            yield stat
            if stat.state not in "ZX":
                waiting.extend((child, None) for child in _children(pid))

    def open_files(self) -> OpenFiles:
        """What is held open, all processes together."""
        found = OpenFiles({}, set(), set())
        for stat in self._alive:
            names, nameless = _names(f"/proc/{stat.thread}/fd"), 0
            for name in names:
                with contextlib.suppress(OSError):
                    file = os.stat(f"/proc/{stat.thread}/fd/{name}")
                    if S_ISSOCK(file.st_mode):
                        found.sockets.add(file.st_ino)
                    elif S_ISFIFO(file.st_mode):
                        found.pipes.add(file.st_ino)
                    elif file.st_nlink == 0 and S_ISREG(file.st_mode):
                        found.unnamed[file.st_dev, file.st_ino] = file.st_blocks * 512
                    else:
                        nameless += S_IFMT(file.st_mode) == 0  # an event poll, or its like
            found.watches += nameless * len(names)
        return found

    def tables_and_swap_bytes(self) -> int:
        """Page tables, and what was moved out of memory: neither counts as resident."""
        total = 0
        for stat in self._alive:
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = read_bytes(f"/proc/{stat.thread}/status")
                # at a line's start: the first one ends with a name that the process gave itself
                for name in (b"\nVmPTE:", b"\nVmSwap:"):
                    total += int(status.split(name, 1)[1].split(None, 1)[0]) * 1024
        return total

    def waits(self) -> dict[tuple[int, int], int]:
        """Nanoseconds that each thread alive stood ready to run and did not, by its number and start."""
        found: dict[tuple[int, int], int] = {}
        for stat in self._alive:
            for name in _names(f"/proc/{stat.pid}/task"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    times = read_bytes(f"/proc/{stat.pid}/task/{name}/schedstat").split()
                    found[int(name), stat.start] = int(times[1])
        return found

    def own_sockets(self) -> int:
        """All unix sockets of a network namespace of its own, also those that nobody has open; else 0."""
        with contextlib.suppress(OSError):
            ours = os.stat("/proc/self/ns/net").st_ino
            for stat in reversed(self._alive):
                if os.stat(f"/proc/{stat.thread}/ns/net").st_ino != ours:
                    return read_bytes(f"/proc/{stat.thread}/net/unix").count(b"\n")
        return 0

    def files_in_memory(self) -> int:
        """Files and names on file systems in memory that a mount namespace of its own may write to; else 0."""
        with contextlib.suppress(OSError):
            ours = os.stat("/proc/self/ns/mnt").st_ino
            # a box that is still being made sees our own, which hold what others of this machine keep
            known = {line.split()[2] for line in read_bytes("/proc/self/mountinfo").splitlines()}
            for stat in reversed(self._alive):
                home = f"/proc/{stat.thread}"
                if os.stat(f"{home}/ns/mnt").st_ino != ours:
                    return sum(
                        _files_of(f"{home}/root{words[4].decode()}", words[2].decode())
                        for words in map(bytes.split, read_bytes(f"{home}/mountinfo").splitlines())
                        if b"tmpfs" in words
                        and b"rw" in words[5].split(b",")
                        and words[2] not in known
                    )
        return 0

    def shared_memory_bytes(self) -> int:
        """Resident memory that is shared memory or tmpfs, summed over processes."""
        total = 0
        for stat in self._alive:
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = Path(f"/proc/{stat.thread}/status").read_text(
                    encoding="utf-8", errors="replace"
                )
                total += int(status.split("\nRssShmem:", 1)[1].split(None, 1)[0]) * 1024
        return total


def folder_bytes(folder: Path, most_files: int) -> tuple[int, int]:
    """Disk bytes in a folder and below, and its files; stops counting beyond `most_files`.

    Raises OSError where it may not look, or where a path is too long to follow.
    """
    total = files = 0
    waiting = [str(folder)]
    while waiting and files <= most_files:
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, NotADirectoryError):  # gone, or another one, by now
            continue
        for entry in entries:
            files += 1
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total, files


def remove_folder(top: Path) -> None:
    """All of a folder that a run wrote to, however deep it is and whatever it shut; what resists stays."""
    number, folders = itertools.count(), [str(top)]
    while folders:  # each directly in `top`: no path grows long
        folder = folders.pop()
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
            for entry in list(os.scandir(folder)):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)  # to be moved, it must be ours to write to
                    moved = f"{top}/.{next(number)}-{time.monotonic_ns()}"
                    os.rename(entry.path, moved)
                    folders.append(moved)
            if folder != str(top):
                os.rmdir(folder)
    with contextlib.suppress(OSError):
        top.rmdir()


def _files_of(path: str, device: str) -> int:
    """Files and names of the file system on that device, if it is what lies there."""
    with contextlib.suppress(OSError):
        # held open: what lies at a path changes while its box is made, even between two looks
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            there = os.stat(fd).st_dev
            if device == f"{os.major(there)}:{os.minor(there)}":
                found = os.statvfs(fd)
                return found.f_files - found.f_ffree
        finally:
            os.close(fd)
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in _names(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found.extend(map(int, read_bytes(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def _stat_fields(path: str) -> list[bytes] | None:
    """What follows the name in a line of /proc; None when there is none."""
    try:
        text = read_bytes(path)
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].split() if text else None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read_bytes(path: str) -> bytes:
    """A small file of /proc: this is called a hundred times a second."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(fd, 1 << 16)]
        while parts[-1]:
            parts.append(os.read(fd, 1 << 16))
        return b"".join(parts)
    finally:
        os.close(fd)


def _share_bytes(stat: ProcessStat) -> int:
    """Its memory now, with its share of what others hold too; all of it if it keeps us from looking."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        rollup = read_bytes(f"/proc/{stat.thread}/smaps_rollup")
        return int(rollup.split(b"\nPss:", 1)[1].split(None, 1)[0]) * 1024
    # one that is ending cannot be looked into either: it holds no memory any more, and says so here
    now = read_stat(stat.pid)
    return now.rss_bytes if now is not None and now.start == stat.start else 0


def _lives(pid: int, start: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.start == start and stat.state not in "ZX"


def _runs(pid: int) -> bool:
    """Whether a thread of it may still run its own code: a stop needs a moment to reach them all."""
    fields = (_stat_fields(f"/proc/{pid}/task/{name}/stat") for name in _names(f"/proc/{pid}/task"))
    return any(field is not None and field[0] in (b"R", b"S") for field in fields)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def sweep(mark: str) -> int:
    """Kill every process whose environment holds `mark` (where no namespace ends them); how many there were."""
    wanted, found = mark.encode(), 0
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
            if not environment and (stat := read_stat(int(name))) and stat.thread != stat.pid:
                environment = Path(f"/proc/{stat.thread}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment:
            _signal(int(name), signal.SIGKILL)
            found += 1
    return found
