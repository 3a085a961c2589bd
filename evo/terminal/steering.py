"""What people and models put in words: ideas with what came of them, and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from evo.terminal.numbers import better, value
from evo.terminal.tables import FAINT
from evo.terminal.text import clip, plain, short, words
from population.records import JudgedIdea, Note, RequestRow

IDEA_CHARACTERS = 300  # of an idea in the list; `evo show` and the report have it whole
EVIDENCE_SHOWN = 12
INDENT = 5


def ideas_list(ideas: Sequence[JudgedIdea], waiting: Sequence[RequestRow]) -> RenderableType:
    """Each idea with its children and their mean effect on val_bpb (lower is better); what waits last."""
    told = [
        _told(str(one.id), one.author, idea_outcome(one), clip(one.text, IDEA_CHARACTERS))
        for one in ideas
    ]
    return Group(*told, *map(_waits, waiting))


def notes_list(notes: Sequence[Note], waiting: Sequence[RequestRow]) -> RenderableType:
    """The notes that stand, whole, with what they rest on; what waits last."""
    told = [
        _told(
            str(one.id),
            one.author + (", edited" if one.edited_at is not None else ""),
            "",
            one.text,
            f"rests on {evidence_in_words(one.evidence, EVIDENCE_SHOWN)}" if one.evidence else "",
        )
        for one in notes
    ]
    return Group(*told, *map(_waits, waiting))


def evidence_in_words(ids: Sequence[str], most: int) -> str:
    """The first `most` ids in short, and how many more there are."""
    more = f", … {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(short(id) for id in ids[:most]) + more


def idea_outcome(one: JudgedIdea) -> str:
    """What came of an idea: how its children ended, and their mean effect."""
    if not one.children:
        return "not tried yet"
    parts = [(one.ok, "ok"), (one.failed, "failed"), (one.waiting, "waiting")]
    told = ", ".join(f"{count} {name}" for count, name in parts if count)
    return told if one.effect is None else f"{told}; effect on val_bpb {_effect(one)}"


def _effect(one: JudgedIdea) -> str:
    gain = better("val_bpb", None if one.effect is None else -one.effect, one.effect_se)
    if one.effect_se is None:
        return f"{gain} (n={one.n})"
    return f"{gain} ± {value('val_bpb', one.effect_se, one.effect_se)} (n={one.n})"


def _waits(asked: RequestRow) -> RenderableType:
    detail = asked.detail if isinstance(asked.detail, dict) else {}
    number = detail.get("id")
    kind = asked.kind if number is None else f"{asked.kind} {number}"
    outcome = f"{kind}: waits for the campaign to go on"
    text = str(detail.get("text", ""))
    shown = clip(text, IDEA_CHARACTERS) if asked.kind == "idea" else text
    return _told(asked.name, asked.author, outcome, shown)


def _told(number: str, author: str, outcome: str, text: str, below: str = "") -> RenderableType:
    """A head line, and the text below it with the whole width: it is legible on any terminal."""
    head = Text.assemble((f"{number:<{INDENT}}", FAINT), (plain(author), "bold"))
    head.append(f"  {plain(outcome)}" if outcome else "", FAINT)
    lines: Iterable[Text] = (words(text), words(below, FAINT))
    return Group(head, *(Padding(one, (0, 0, 0, INDENT)) for one in lines if one.plain))
