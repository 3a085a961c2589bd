"""What a role printed: the end of it, as plain text. Nothing in it is believed."""

from __future__ import annotations

import re

TAIL_BYTES = 64 << 10
UNCAUGHT, ABORTED = 1, {-6, 134}  # how an interpreter ends by an exception, and by abort()
TRACEBACK = "Traceback (most recent call last):"
# of the exception that ended it: one that says nothing else, and those that also say other things
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

    def __init__(self) -> None:
        self.written = 0  # bytes in all
        self.kept = True  # False: what is told from now on is forgotten
        self._tail = bytearray()

    def hear(self, got: bytes) -> None:
        """Take in some bytes."""
        self.written += len(got)
        if self.kept:
            self._tail += got
            del self._tail[:-TAIL_BYTES]

    def text(self, most: int = TAIL_BYTES) -> str:
        """The end of it without control characters, at most so many characters."""
        return CONTROL.sub("", self._tail.decode(errors="replace"))[-most:]

    def last_line(self, most: int = 300) -> str:
        """The last line, at most so many characters."""
        lines = self.text().strip().splitlines()
        return lines[-1].strip()[:most] if lines else ""

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
