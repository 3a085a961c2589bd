"""The descriptors between us and one role: log, progress, requests, replies, shared memory."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import struct
from dataclasses import dataclass

RECORD = struct.Struct("<4sdddqq")  # kind, progress, wall seconds since exec, loss, tokens, steps
REQUEST = struct.Struct("<4sIII")  # b"ASK\0", request number, rows, length; then uint16 tokens
REPLY = struct.Struct("<4sIIII")  # b"ANS\0", request number, rows, length, vocab
INIT, STEP, DONE, SAVE, READY = b"INIT", b"STEP", b"DONE", b"SAVE", b"REDY"


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """One progress record as the role told it: nothing in it is believed."""

    kind: bytes
    progress: float
    seconds: float
    loss: float
    tokens: int
    steps: int


class Wires:
    """Pipes of one role, both ends until `hand_over`, ours until `close`.

    `shared_bytes` 0: the role serves nothing, and there is no way to ask it.
    """

    def __init__(self, shared_bytes: int) -> None:
        self._open: set[int] = set()
        self._theirs: list[int] = []
        self.log, log_end = self._pipe()
        self.progress, progress_end = self._pipe()
        self.setup, setup_end = self._pipe()
        self.ask = self.reply = self.shared = self.shared_inode = -1
        ask_end = reply_end = -1
        if shared_bytes:
            ask_end, self.ask = os.pipe()
            self._open |= {ask_end, self.ask}
            self.reply, reply_end = self._pipe()
            self.shared = _sealed_memory(shared_bytes)
            self.shared_inode = os.fstat(self.shared).st_ino
            self._open.add(self.shared)
            self._theirs.append(ask_end)
        self._theirs += [log_end, progress_end, setup_end, *([reply_end] if shared_bytes else [])]
        self.log_end, self.setup_end = log_end, setup_end
        self.spec = {
            "progress_fd": progress_end,
            "ask_fd": ask_end if shared_bytes else None,
            "reply_fd": reply_end if shared_bytes else None,
            "shared_fd": self.shared if shared_bytes else None,
        }
        for fd in (self.log, self.progress, self.setup, self.reply, self.ask):
            if fd >= 0:
                os.set_blocking(fd, False)

    def _pipe(self) -> tuple[int, int]:
        ours, theirs = os.pipe()
        self._open |= {ours, theirs}
        return ours, theirs

    @property
    def inherited(self) -> tuple[int, ...]:
        """What the role's process must inherit."""
        shared = (self.shared,) if self.shared >= 0 else ()
        return (*self._theirs, *shared)

    def hand_over(self) -> None:
        """Close the role's ends on our side: an end of file now means that the role is gone."""
        for fd in self._theirs:
            self._close(fd)

    def close(self) -> None:
        """Close what is still open."""
        for fd in tuple(self._open):
            self._close(fd)

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            with contextlib.suppress(OSError):
                os.close(fd)


def _sealed_memory(size: int) -> int:
    """A shared buffer that its other user can neither shrink nor grow."""
    fd = os.memfd_create("logits", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def drain(fd: int, most: int) -> bytes | None:
    """What a pipe holds, up to `most` bytes; None when the other end is closed for good."""
    parts: list[bytes] = []
    while most > 0:
        try:
            part = os.read(fd, min(most, 1 << 16))
        except BlockingIOError:
            break
        if not part:
            return b"".join(parts) if parts else None
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


@functools.cache
def memory_device() -> int:
    """The device number that files in memory alone (memfd) have."""
    fd = os.memfd_create("device", os.MFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


# -- What a role printed: the end of it, as plain text. Nothing in it is believed.


TAIL_BYTES = 64 << 10
UNCAUGHT, ABORTED = 1, {-6, 134}  # how an interpreter ends by an exception, and by abort()
TRACEBACK = "Traceback (most recent call last):"
# of the exception that ended it: one that says nothing else, and those that also say other things
# a frame of the variant's own files, wherever its box has put their folder
OWN_FRAME = re.compile(
    r'^ +File "(?:/[^"\n]*)?/code/(?!harness\.py")([^"\n]+\.py)", line (\d+)', re.M
)
OUT_OF_MEMORY = re.compile(r"([\w.]*\.)?_?(Array|OutOf)?MemoryError(: .*)?\Z")
NO_MEMORY_LEFT = re.compile(
    r"[\w.]*(RuntimeError|AcceleratorError|InductorError|BackendCompilerFailed|OSError): .*"
    r"(CUDA( error:)? out of memory|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|\[Errno 12\]|OutOfMemoryError: )",
    re.DOTALL,
)
CONTROL = re.compile(r"[^\n\t\x20-\x7e\u00a0-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


class Log:
    """Keeps the last of what it hears, and how much it was."""

    def __init__(self, most_bytes: int = TAIL_BYTES) -> None:
        self._most_bytes = most_bytes
        self.written = 0  # bytes in all
        self.kept = True  # False: what is told from now on is forgotten
        self._tail = bytearray()

    def hear(self, got: bytes) -> None:
        """Take in some bytes."""
        self.written += len(got)
        if self.kept:
            self._tail += got
            del self._tail[: -self._most_bytes]

    def text(self, most: int = TAIL_BYTES) -> str:
        """The end of it without control characters, at most N characters."""
        # Lines that were written over each other, as progress bars do it, stay lines of their own.
        tail = self._tail[-4 * most :].decode(errors="replace").replace("\r\n", "\n")
        return CONTROL.sub("", tail.replace("\r", "\n"))[-most:]

    def last_line(self, most: int = 300) -> str:
        """The last line, at most N characters."""
        lines = self.text().strip().splitlines()
        return lines[-1].strip()[:most] if lines else ""

    def last_words(self, exit_code: int | None) -> str:
        """The last line and, of an exception that ended it, the last line of its own that led there."""
        said = self.last_line()
        _, found, last = self.text().rpartition(TRACEBACK)
        frames = OWN_FRAME.findall(last) if found and exit_code == UNCAUGHT else []
        return f"{said} ({frames[-1][0]} line {frames[-1][1]})" if said and frames else said

    def ended_out_of_memory(self, exit_code: int) -> bool:
        """Whether this is the end of a process without memory: by its exit and the exception it ended with.

        An exception that was caught and printed earlier does not count: the last words do.
        """
        text = self.text().strip()
        if exit_code in ABORTED:
            return text.endswith("what():  std::bad_alloc")
        _, found, last = text.rpartition(TRACEBACK)
        if exit_code != UNCAUGHT or not found:
            return False
        lines = last.splitlines()[1:]
        start = next((at for at, line in enumerate(lines) if line[:1].strip()), len(lines))
        said = "\n".join(lines[start:])  # below the frames, which are indented
        return any(one.match(said) for one in (OUT_OF_MEMORY, NO_MEMORY_LEFT))
