"""Idea banks: edits with what they were measured to do, a JSON object a line, to be tried elsewhere.

A bank may come from anyone: its sources are as little to be trusted as a language model's, and every line is
read within bounds. What cannot be used is left out with one sentence that names the file and the line.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

MAX_BANK_BYTES = 64_000_000
MAX_LINE_BYTES = 1_000_000
MAX_SOURCE_BYTES = 100_000
MAX_IDEAS = 2_000  # of one bank
MAX_EFFECTS = 500  # of one idea
MAX_WORD_CHARS = 200  # of a name, a place or a licence
MAX_IDEA_CHARS = 4_000
MAX_COMPLAINTS = 5  # told one by one; the others are counted
MAX_NUMBER = 1e15


class BankError(ValueError):
    """A bank cannot be used; the message names the file, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class IdeaEffect:
    """Child minus parent in one metric, on n blocks that both ran on, where and when that was measured.

    `sd`: of one difference, None where n is 1. `scale`: the rung in words. `child`: the first digits of the
    variant that showed it. `transplant`: whether it was the bank's idea in another parent.
    """

    metric: str
    rung: str
    mean: float
    n: int
    sd: float | None = None
    scale: str = ""
    campaign: str = ""
    seed: str = ""
    child: str = ""
    device: str = ""
    date: str = ""
    transplant: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """What it is a measurement of: the same one with more blocks takes its place."""
        return self.metric, self.rung, self.campaign, self.seed, self.child


@dataclass(frozen=True, slots=True)
class BankIdea:
    """One edit: what it tries, the sources before and after it, who wrote it, and what it did.

    `bank`: where it was read, no part of the line.
    """

    idea: str
    before: str
    after: str
    author: str = ""
    model: str = ""
    licence: str = ""
    effects: tuple[IdeaEffect, ...] = ()
    bank: str = ""

    @property
    def id(self) -> str:
        """Its identity: 16 hex digits of the sha256 of both sources."""
        both = f"{self.before}\0{self.after}".encode()
        return hashlib.sha256(both).hexdigest()[:16]

    def effect(self, metric: str, rung: str | None = None) -> list[IdeaEffect]:
        """What was measured in one metric, at one rung or all of them."""
        return [one for one in self.effects if one.metric == metric and rung in (None, one.rung)]


def joined(ideas: Iterable[BankIdea]) -> list[BankIdea]:
    """Each idea once, in order, with the effects of all its likes; of one measurement the fullest."""
    found: dict[str, BankIdea] = {}
    for one in ideas:
        known = found.get(one.id)
        both = (*known.effects, *one.effects) if known is not None else one.effects
        effects: dict[tuple[str, ...], IdeaEffect] = {}
        for effect in both:
            if effect.key not in effects or effects[effect.key].n < effect.n:
                effects[effect.key] = effect
        found[one.id] = replace(known or one, effects=tuple(effects.values()))
    return list(found.values())


# -- Lines.


def line_of(idea: BankIdea) -> str:
    """One idea as a line of JSON, without its end."""
    values = asdict(idea)
    del values["bank"]
    values["effects"] = [
        {
            name: value
            for name, value in asdict(one).items()
            if value not in ("", None) and value is not False
        }
        for one in idea.effects
    ]
    return json.dumps({"id": idea.id, **values}, ensure_ascii=False, allow_nan=False)


def idea_of_line(line: str, bank: str = "") -> BankIdea:
    """The idea in a line. BankError, without a place, for one that cannot be used."""
    try:
        values = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BankError(f"not JSON: {_first_words(error)}") from None
    if not isinstance(values, dict):
        raise BankError("not a JSON object")
    before, after = (_source(values, name) for name in ("before", "after"))
    if before == after:
        raise BankError("before and after are the same source, so it changes nothing")
    given = values.get("effects", [])
    if not isinstance(given, list) or len(given) > MAX_EFFECTS:
        raise BankError(f"effects: a list of at most {MAX_EFFECTS} is needed")
    idea = BankIdea(
        idea=_words(values, "idea", MAX_IDEA_CHARS) or "no idea stated",
        before=before,
        after=after,
        author=_words(values, "author"),
        model=_words(values, "model"),
        licence=_words(values, "licence"),
        effects=tuple(_effect(one) for one in given),
        bank=bank,
    )
    if values.get("id", idea.id) != idea.id:
        raise BankError("id is not that of its sources: they were changed after it was measured")
    return idea


def read_bank(path: Path) -> tuple[list[BankIdea], list[str]]:
    """The ideas of a bank's file, and a sentence for each line that cannot be used, with its number.

    BankError when the file cannot be read, is larger than MAX_BANK_BYTES, or holds nothing to use.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BANK_BYTES + 1)
    except OSError as error:
        raise BankError(f"{path}: {error.strerror or error}") from None
    if len(raw) > MAX_BANK_BYTES:
        raise BankError(f"{path}: larger than {MAX_BANK_BYTES // 1_000_000} MB, which no bank is")
    ideas, wrong = list[BankIdea](), list[str]()
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            if len(ideas) >= MAX_IDEAS:
                raise BankError(f"the rest is left out: a bank holds at most {MAX_IDEAS:,} ideas")
            ideas.append(idea_of_line(_text(line), path.stem))
        except BankError as error:
            wrong.append(f"{path}: line {number}: {error}")
            if len(ideas) >= MAX_IDEAS:
                break
    if not ideas:
        raise BankError(wrong[0] if wrong else f"{path}: no idea in it")
    if len(wrong) > MAX_COMPLAINTS:
        wrong[MAX_COMPLAINTS:] = [f"{path}: {len(wrong) - MAX_COMPLAINTS:,} more lines like these"]
    return joined(ideas), wrong


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise BankError(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BankError(f"not UTF-8 text (byte {error.start})") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _first_words(error: BaseException) -> str:
    said = str(error).splitlines()
    return said[0][:MAX_WORD_CHARS] if said else type(error).__name__


def _source(values: Mapping[str, Any], name: str) -> str:
    given = values.get(name)
    if not isinstance(given, str) or not given.strip():
        raise BankError(f"{name}: a source is needed")
    if len(given) > MAX_SOURCE_BYTES or len(_encoded(given, name)) > MAX_SOURCE_BYTES:
        raise BankError(f"{name}: longer than {MAX_SOURCE_BYTES:,} bytes")
    return given


def _words(values: Mapping[str, Any], name: str, most: int = MAX_WORD_CHARS) -> str:
    """Text as one printable line of bounded length; "" where there is none."""
    given = values.get(name, "")
    if not isinstance(given, str):
        raise BankError(f"{name}: text is needed")
    _encoded(given[: 4 * most], name)
    printable = "".join(one if one.isprintable() else " " for one in given[: 4 * most])
    return " ".join(printable.split())[:most]


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BankError(f"{name}: half a letter, which no text holds") from None


def _effect(values: Any) -> IdeaEffect:
    if not isinstance(values, dict):
        raise BankError("effects: each is an object")
    n = values.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= 1_000_000:
        raise BankError("effects: n, the blocks it was measured on, is a whole number from 1")
    sd = None if values.get("sd") is None else abs(_number(values, "sd"))
    named = {
        name: _words(values, name)
        for name in ("metric", "rung", "scale", "campaign", "seed", "child", "device", "date")
    }
    if not named["metric"]:
        raise BankError("effects: each names its metric")
    given = values.get("transplant", False) is True
    return IdeaEffect(mean=_number(values, "mean"), n=n, sd=sd, transplant=given, **named)


def _number(values: Mapping[str, Any], name: str) -> float:
    given = values.get(name)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BankError(f"effects: {name} is a number")
    if not (math.isfinite(given) and abs(given) <= MAX_NUMBER):
        raise BankError(f"effects: {name} is a finite number")
    return float(given)
