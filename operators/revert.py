"""Operator `revert`: undoes one ancestral edit and keeps what came after.

The back-mutation that removes hitch-hikers: edits that came along with a good one and earn nothing
themselves. It is a three-way merge: the variant and the ancestor before the edit, relative to the one
after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from operators.operator import Ancestor, Draft, ParentRule, ProposalFailed, Request
from operators.source.compare import Steps
from operators.source.merge import merge_sources, steps_for
from operators.source.parse import SourceError, parse
from population.fingerprint import fingerprint

LOOKED_AT = 40  # edits, the newest first
IDEA_CHARS = 120


@dataclass(frozen=True, slots=True)
class AncestralEdit:
    """One step of a line of descent; `evidence`: the gain over the standard error of it."""

    before: Ancestor
    after: Ancestor
    evidence: float


class Revert:
    """Takes the edit with the weakest evidence out of its parent."""

    name = "revert"
    parent_rule = ParentRule.LINE

    def propose(self, request: Request) -> Draft:
        """The parent without one edit of its line. ProposalFailed when none can be taken out."""
        parent = request.parent("parent")
        line = request.history.line(parent.variant_id)
        if len(line) < 3:  # taking out the only edit is the seed
            raise ProposalFailed("the parent is not two edits away from the seed")
        form, steps = _form(parent.source), steps_for(*[parent.source] * 3)
        for edit in sorted(edits_of(line), key=lambda one: one.evidence):
            source = without(parent.source, edit, request, steps)
            if source is None or _form(source) == form or request.history.known(source):
                continue
            return Draft(source, idea_of(edit))
        raise ProposalFailed("no edit of the parent's line can be taken out that was not before")


def edits_of(line: Sequence[Ancestor]) -> list[AncestralEdit]:
    """The edits of a line that begins with the newest; one without a measured gain counts as nothing."""
    pairs = list(zip(line[1:], line, strict=False))[:LOOKED_AT]
    return [AncestralEdit(before, after, _evidence(before, after)) for before, after in pairs]


def without(source: str, edit: AncestralEdit, request: Request, steps: Steps) -> str | None:
    """The source with an edit undone; None where later edits build on it, or no steps are left."""
    try:
        merged = merge_sources(source, edit.before.source, edit.after.source, request.rng, steps)
        parse(merged.source)
    except SourceError:
        return None
    return None if merged.conflicts else merged.source


def idea_of(edit: AncestralEdit) -> str:
    """Which edit goes, and why."""
    gain = edit.before.value - edit.after.value
    said = (
        f"{'gained' if gain >= 0 else 'lost'} {abs(gain):.4g} ({abs(edit.evidence):.1f} sd)"
        if math.isfinite(gain)
        else "was never measured"
    )
    words = edit.after.idea[:IDEA_CHARS].strip() or edit.after.variant_id[:8]
    return f"without the edit {words!r}, which {said}, and with all that came after it"


def _evidence(before: Ancestor, after: Ancestor) -> float:
    gain = before.value - after.value
    if not math.isfinite(gain):
        return 0.0
    sd = math.hypot(before.sd, after.sd)
    return gain / sd if math.isfinite(sd) and sd > 0 else gain


def _form(source: str) -> str:
    try:
        return fingerprint(source)
    except SyntaxError:
        raise ProposalFailed("the parent does not parse") from None
