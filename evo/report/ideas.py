"""What people and models put in words: every idea with its outcome, the notes, and vetoes."""

from __future__ import annotations

from evo.analysis.effects_of_edits import ideas_with_effects
from evo.report.page import ReportData, ReportTable, Section
from evo.terminal.tables import evidence_in_words, idea_outcome
from evo.terminal.text import plain, short
from population.ladder import VETOED
from population.reading import decisions, pending
from population.reading.memory import notes

EVIDENCE_SHOWN = 60


def ideas_section(data: ReportData) -> Section | None:
    """Ideas, notes and vetoes, whole; None where there are none."""
    tables = [one for one in (_ideas(data), _notes(data), _vetoes(data)) if one is not None]
    if not tables:
        return None
    lines = [
        "The effect of an idea is that of its children compared with their parents, on the blocks both ran on; "
        "± is the standard error of the mean."
    ]
    return Section("ideas", "Ideas and notes", lines, tables=tables)


def _ideas(data: ReportData) -> ReportTable | None:
    rows = [
        (str(one.id), plain(one.author), plain(one.text), idea_outcome(one, data.record.objective))
        for one in ideas_with_effects(data.store, data.record)
    ]
    rows += _waiting(data, "idea")
    return ReportTable(("", "by", "idea", "outcome"), rows) if rows else None


def _notes(data: ReportData) -> ReportTable | None:
    rows = [
        (
            str(one.id),
            plain(one.author) + (", edited" if one.edited_at is not None else ""),
            plain(one.text),
            evidence_in_words(one.evidence, EVIDENCE_SHOWN) or "–",
        )
        for one in notes(data.store)
    ]
    rows += _waiting(data, "note")
    return ReportTable(("", "by", "note", "rests on"), rows) if rows else None


def _waiting(data: ReportData, kind: str) -> list[tuple[str, str, str, str]]:
    return [
        (one.name, plain(one.author), plain(str(one.detail.get("text", ""))), "waits")
        for one in pending(data.store)
        if one.kind == kind and isinstance(one.detail, dict)
    ]


def _vetoes(data: ReportData) -> ReportTable | None:
    why = {
        one.variant_id: str(one.detail.get("reason", ""))
        for one in decisions(data.store, (VETOED,))
    }
    rows = [
        (short(one), plain(by) or "someone", plain(why.get(one, "")) or "–")
        for one, by in data.record.ladder.vetoed.items()
    ]
    return (
        ReportTable(("vetoed", "by", "why"), rows, list(data.record.ladder.vetoed))
        if rows
        else None
    )
