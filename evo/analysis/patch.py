"""A variant as a patch that `git apply` and `git am` take, with its evidence as the message."""

from __future__ import annotations

import io
from collections.abc import Sequence
from email.utils import formatdate

from operators.source.compare import unified_diff

FILE = "train.py"


def patch_text(before: str, after: str, subject: str, message: Sequence[str], at: float) -> str:
    """The patch from one source to another; `message` lines are plain text, `at` seconds since the epoch."""
    body = "\n".join(f"  {line}" for line in message)  # indented: no line can begin a diff
    head = (
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        "From: evotrain <evotrain@localhost>\n"
        f"Date: {formatdate(at)}\n"
        f"Subject: [PATCH] {subject}\n\n{body}\n---\n"
        f"diff --git a/{FILE} b/{FILE}\n"
    )
    lines = unified_diff(_lines(before), _lines(after), f"a/{FILE}", f"b/{FILE}")
    return head + "".join(map(_ended, lines)) + "-- \nevotrain\n"


def _lines(text: str) -> list[str]:
    """As git counts them: only a line feed ends a line."""
    return io.StringIO(text, newline="\n").readlines()


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
