"""What a role printed: the end of it, as plain text. Nothing in it is believed."""

from __future__ import annotations

import re

TAIL_BYTES = 64 << 10
OUT_OF_MEMORY = re.compile(
    r"MemoryError|OutOfMemoryError|out of memory|can't allocate memory|Cannot allocate memory"
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

    def says_out_of_memory(self) -> bool:
        """Whether it ends as a process without memory does."""
        return OUT_OF_MEMORY.search(self.text()) is not None
