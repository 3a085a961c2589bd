"""Without a terminal: one plain line an event, with its time."""

from __future__ import annotations

import time
from typing import TextIO

from evo.terminal.text import plain


def event_line(at: float, text: str) -> str:
    """The line of one event; `at` in seconds since the epoch."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}  {plain(text)}"


def dated_line(at: float, text: str) -> str:
    """The same with its day, for what is read later."""
    return f"{time.strftime('%Y-%m-%d', time.localtime(at))} {event_line(at, text)}"


def write_line(out: TextIO, at: float, text: str) -> None:
    """Write one event at once, whoever reads along. A closed pipe is no reason to stop a campaign."""
    try:
        out.write(event_line(at, text) + "\n")
        out.flush()
    except (BrokenPipeError, ValueError):  # ValueError: the stream is closed
        pass
