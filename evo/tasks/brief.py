"""Reading a brief: which of the parts that a research brief has are in it, and what differs from the config.

Rules on words, no more: a part counts as there when a sentence speaks of it, so this is a reading aid and no
judge of what the sentence is worth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_QUOTE = 70  # characters of the sentence that a part was found in

# part -> what speaks of it, and what to write where nothing does
PARTS = {
    "task": (
        r"\b(improve|lower|raise|reduce|increase|minimi[sz]e|maximi[sz]e|optimi[sz]e|first objective)\b",
        "say what is to get better, by the name of the first objective",
    ),
    "limits": (
        r"\b(budget|limits?|at most|no more than|memory|no network|packages?|per run|small(er)? edits?"
        r"|one idea at a time)\b",
        "say what a change may cost: time, memory, packages, size of an edit",
    ),
    "must not touch": (
        r"\b(must (stay|not)|do(es)? not (change|touch|edit)|don't (change|touch)|leave .{1,40} (alone|as)"
        r"|never (change|touch|edit)|unchanged|stays? as)\b",
        "say what has to stay as it is: interfaces, files, how the score is made",
    ),
    "when to stop": (
        r"\b(stops?|until|ends? (when|by|at|with)|enough|give up)\b",
        "say when it is enough, and set it: stop.until, stop.target or a budget",
    ),
    "what to summarise": (
        r"\b(summar\w+|report (what|which|how|back)|write (down|up)|say what|at the end (say|tell|list))\b",
        "say what you want to know at the end: what holds, what was refuted, what it cost",
    ),
}
TIME = re.compile(
    r"\b(?:stops?|until|ends?|by)\b[^.\n]{0,30}?\b([01]?\d|2[0-3])[:.]([0-5]\d)\b", re.I
)
CHILDREN = re.compile(r"\b(\d[\d,]*)\s+(?:variants|children)\b", re.I)
SENTENCE = re.compile(r"[^.!?\n]+")


@dataclass(frozen=True, slots=True)
class BriefPart:
    """One part: the sentence that speaks of it, "" for none, and what to write then."""

    name: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class BriefReading:
    """What was read; `differs`: where the brief says something else than the config, in words."""

    parts: tuple[BriefPart, ...]
    differs: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every part is spoken of, and nothing differs from the config."""
        return all(one.found for one in self.parts) and not self.differs


def read_brief(text: str, config: Mapping[str, Any] | None = None) -> BriefReading:
    """Which parts a brief has; `config`: the values in force, to compare what it says with them."""
    parts = []
    for name, (pattern, advice) in PARTS.items():
        said = next((one for one in SENTENCE.findall(text) if re.search(pattern, one, re.I)), "")
        said = " ".join(said.split()).lstrip("-#* ")
        if len(said) > MAX_QUOTE:
            said = f"{said[: MAX_QUOTE - 1].rstrip()}…"
        parts.append(BriefPart(name, said, "" if said else advice))
    return BriefReading(tuple(parts), () if config is None else tuple(_differences(text, config)))


def _differences(text: str, config: Mapping[str, Any]) -> list[str]:
    stop, budget = config.get("stop") or {}, config.get("budget") or {}
    found = []
    if at := TIME.search(text):
        said = f"{int(at[1]):02d}:{at[2]}"
        if stop.get("until") != said:
            now = f"is {stop['until']}" if stop.get("until") else "is not set"
            found.append(f'the brief says {said}, and stop.until {now}: stop: {{until: "{said}"}}')
    for one in config.get("objectives") or ():
        name = str(one.get("name"))
        asked = re.search(
            rf"\b{re.escape(name)}\b[^.\n]{{0,20}}?\b(?:below|under|above|over|of|reaches|<=?|>=?)\s*"
            r"(\d+(?:\.\d+)?)",
            text,
        )
        if asked and (stop.get("target") or {}).get(name) != float(asked[1]):
            said = f"{name}: {asked[1]}"
            found.append(f"the brief speaks of {name} {asked[1]}: stop: {{target: {{{said}}}}}")
    if many := CHILDREN.search(text):
        number, limit = int(many[1].replace(",", "")), budget.get("variants")
        if limit != number:
            now = "is not set" if limit is None else f"is {limit}"
            found.append(f"the brief speaks of {number} children, and budget.variants {now}")
    return found
