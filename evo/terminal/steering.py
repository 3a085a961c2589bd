"""What people and models put in words: ideas with what came of them, and notes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from evo.terminal.tables import FAINT
from evo.terminal.text import plain, short, words
from population.records import Asked, JudgedIdea, Note

WAITS = "waits for the campaign to go on"


def ideas_table(ideas: Sequence[JudgedIdea], waiting: Sequence[Asked]) -> Table:
    """Each idea with its children and their mean effect on val_bpb (below 0 is better); what waits last."""
    table = _table(("", "right"), "author", "idea", "children", ("effect on val_bpb", "right"))
    for one in ideas:
        table.add_row(
            str(one.id), words(one.author), words(one.text), _children(one), Text(_effect(one))
        )
    for asked in waiting:
        table.add_row("–", words(asked.author), words(_text(asked)), Text(WAITS, FAINT), "")
    return table


def notes_table(notes: Sequence[Note], waiting: Sequence[Asked]) -> Table:
    """The notes that stand with what they rest on; what waits last."""
    table = _table(("", "right"), "author", "note", "rests on")
    for one in notes:
        evidence = ", ".join(short(id) for id in one.evidence)
        by = words(one.author + (", edited" if one.edited_at is not None else ""))
        table.add_row(str(one.id), by, words(one.text), words(evidence or "–"))
    for asked in waiting:
        table.add_row("–", words(asked.author), words(_text(asked)), Text(WAITS, FAINT))
    return table


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table(box=None, header_style=FAINT, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        name, side = (column, "left") if isinstance(column, str) else column
        folds = name in ("idea", "note")
        table.add_column(
            Text(name, FAINT),
            justify="right" if side == "right" else "left",
            no_wrap=not folds,
            ratio=1 if folds else None,
        )
    return table


def _children(one: JudgedIdea) -> Text:
    if not one.children:
        return Text("not tried yet", FAINT)
    parts = [(one.ok, "ok"), (one.failed, "failed"), (one.waiting, "waiting")]
    told = ", ".join(f"{count} {name}" for count, name in parts if count)
    return Text(told)


def _effect(one: JudgedIdea) -> str:
    if one.effect is None:
        return "–"
    if one.effect_se is None:
        return f"{one.effect:+.4f} (n = 1)"
    return f"{one.effect:+.4f} ± {one.effect_se:.4f} (n = {one.n})"


def _text(asked: Asked) -> str:
    detail = asked.detail if isinstance(asked.detail, dict) else {}
    number = detail.get("id")
    text = plain(str(detail.get("text", "")))
    return f"{asked.kind} {number}: {text}".rstrip(": ") if number is not None else text
