"""Foreign text as delimited data, and prompt files filled with it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from string import Template

MAX_IDEA_CHARS = 300
MAX_NOTE_CHARS = 800
MAX_PASSAGE_CHARS = 1200


def fill(prompt: str, **parts: str) -> str:
    """A prompt file with its parts put in. Raises KeyError when a part is missing."""
    return Template(_prompt(prompt)).substitute(parts)


def quoted(name: str, text: str) -> str:
    """A text as delimited data: its end mark carries its own hash, so that no text can hold it."""
    code = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]
    return f"<data {name} {code}>\n{text}\n</data {code}>"


@cache
def _prompt(name: str) -> str:
    return resources.files("operators").joinpath("prompts", name).read_text(encoding="utf-8")
