"""Research notes by a model: one short note with its evidence, from what was measured so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from operators.llm.answer import Message, estimate_tokens, one_line
from operators.llm.thoughts import without_thoughts
from operators.llm_operators import Ask
from operators.operator import ProposalContext, ProposalFailed, Tried
from operators.prompting import MAX_NOTE_CHARS, fill, quoted, setting_in_words, tried_line
from population.types import MAX_TEXT_CHARS

SHORT_ID = 8  # characters of a variant's id that a model is shown
SHARE_OF_NOTES = 0.25  # of the tokens: for the notes that stand
_NOTE = re.compile(
    r"^[ \t#*_>`-]{0,20}NOTE[ \t*_`]{0,9}:[ \t*_`]{0,9}(.+)$", re.IGNORECASE | re.MULTILINE
)
_EVIDENCE = re.compile(
    r"^[ \t#*_>`-]{0,20}EVIDENCE[ \t*_`]{0,9}:(.+)$", re.IGNORECASE | re.MULTILINE
)
_NOTHING = re.compile(r"\A[\s*_`]*NOTHING[\s*_`.]*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured child: its id and its outcome."""

    variant_id: str
    tried: Tried


@dataclass(frozen=True, slots=True)
class NoteDraft:
    """A note that a model wrote; `evidence` are full ids of variants that it was shown."""

    text: str
    evidence: tuple[str, ...]
    author: str


class NoteWriter:
    """Asks a model for one note."""

    def __init__(self, llm: Ask) -> None:
        self._llm = llm

    def is_unavailable(self) -> bool:
        """Whether no model is to be asked now."""
        return self._llm.is_unavailable()

    def write(
        self, context: ProposalContext, findings: tuple[Finding, ...], rng: np.random.Generator
    ) -> NoteDraft | None:
        """A note, or None when the model has nothing new to say.

        `context` gives brief, setting, standing notes and the tokens to tell them in; `findings` come newest
        first. Raises ProposalFailed when no answer came, or one that is no note or names no evidence.
        """
        reply = self._llm.ask(note_messages(context, findings), rng, as_text=True)
        text = without_thoughts(reply.text)
        if _NOTHING.match(text):
            return None
        note = _NOTE.search(text)
        if note is None:
            raise ProposalFailed("the answer has no NOTE line", reply.cost, reply.model)
        evidence = _evidence(text, findings)
        if not evidence:
            reason = "the note names no variant of those it was shown"
            raise ProposalFailed(reason, reply.cost, reply.model)
        return NoteDraft(one_line(note[1].strip("*_` "), MAX_TEXT_CHARS), evidence, reply.endpoint)


def note_messages(context: ProposalContext, findings: Iterable[Finding]) -> tuple[Message, ...]:
    """The prompt for a note; what variants, people and models wrote is quoted in it as data."""
    budget = context.prompt.tokens
    standing = [
        f"- {one_line(one.author, 40)}: {one_line(one.text, MAX_NOTE_CHARS)}"
        for one in reversed(context.notes)
    ]
    standing = _within(standing, budget * SHARE_OF_NOTES)
    left = budget - sum(map(_cost, standing))
    children = [f"- {one.variant_id[:SHORT_ID]}: {tried_line(one.tried)[2:]}" for one in findings]
    children = _within(children, left)
    told = {"children": _part("Children, the newest first", "children", children)}
    told["notes"] = _part("Notes that stand", "notes", standing)
    user = fill("note.md", setting=setting_in_words(context), told="".join(told.values()))
    brief = context.brief.strip() or "Lower the first objective."
    system = fill("note_system.md", brief=brief)
    parts = {name: estimate_tokens(text) for name, text in told.items() if text}
    task = estimate_tokens(user) - sum(parts.values())
    parts = {"brief": estimate_tokens(system), "task": task, **parts}
    return (Message("system", system), Message("user", user, parts))


def _part(head: str, name: str, lines: list[str]) -> str:
    return f"# {head}\n\n{quoted(name, chr(10).join(lines))}\n\n" if lines else ""


def _cost(line: str) -> int:
    return estimate_tokens(line) + 1


def _within(lines: list[str], tokens: float) -> list[str]:
    """The first lines that fit."""
    kept = []
    for line in lines:
        tokens -= _cost(line)
        if tokens < 0:
            break
        kept.append(line)
    return kept


def _evidence(text: str, findings: Iterable[Finding]) -> tuple[str, ...]:
    """The ids of the shown variants that the answer names; a model is believed no other."""
    found = _EVIDENCE.search(text)
    named = re.findall(r"[0-9a-f]{8,64}", found[1].lower()) if found else []
    shown = {one.variant_id[:SHORT_ID]: one.variant_id for one in findings}
    ids = (shown.get(one[:SHORT_ID], "") for one in named)
    return tuple(dict.fromkeys(one for one in ids if one))
