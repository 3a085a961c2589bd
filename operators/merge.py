"""Operator `merge`: source-level crossover of two parents and their lowest common ancestor."""

from __future__ import annotations

from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.source.merge import Merged, Taken, merge_sources, steps_for
from operators.source.names import lost_attributes, undefined_names
from operators.source.parse import SourceError
from population.fingerprint import fingerprint

DRAWS = 8  # sides drawn anew when a merge equals a parent or does not parse
_MAX_NAMES = 6  # a side's knobs or blocks named in the idea


class Merge:
    """Joins what two lineages changed since their common ancestor."""

    name = "merge"
    parent_rule = ParentRule.PAIR

    def propose(self, request: Request) -> Draft:
        """A source that parses, has what it uses and differs from both parents, else ProposalFailed."""
        first, second = request.parent("first"), request.parent("second")
        ancestor = request.parent("ancestor")
        reason, steps = "", steps_for(first.source, second.source, ancestor.source)
        for _ in range(DRAWS):
            try:
                merged = merge_sources(
                    first.source, second.source, ancestor.source, request.rng, steps
                )
                missing = _missing(merged.source, first.source, second.source)
            except SourceError as error:
                reason = f"the merge does not parse: {error}"
                continue
            if missing:
                reason = f"the merge uses without defining: {_listed(missing)}"
                if merged.conflicts:
                    continue  # the other side of a conflict may bring it
                break
            form = fingerprint(merged.source)
            same = [one for one in (first, second) if fingerprint(one.source) == form]
            if not same:
                return Draft(merged.source, idea_of(merged))
            reason = f"the merge is the same code as its {same[0].role} parent"
            if not merged.conflicts:
                break
        raise ProposalFailed(reason)


def _missing(merged: str, first: str, second: str) -> list[str]:
    """Names and attributes that the merge uses and does not have, though a parent that uses them has."""
    unknown = undefined_names(merged)
    if unknown:
        unknown -= undefined_names(first) | undefined_names(second)
    return sorted(unknown | lost_attributes(merged, first, second))


def idea_of(merged: Merged) -> str:
    """What came from whom, in words."""
    parts = []
    for side in ("first", "second"):
        taken = [one for one in merged.taken if one.side == side]
        if taken:
            parts.append(f"{_names(taken)} from {side}")
    both = [one for one in merged.taken if one.side == "both"]
    if both:
        parts.append(f"{_names(both)} joined by lines")
    drawn = [one.name for one in merged.taken if one.conflict]
    if drawn:
        noun = "conflict" if len(drawn) == 1 else "conflicts"
        parts.append(f"{len(drawn)} {noun} drawn at random")
    return "; ".join(parts) or "comments joined"


def _names(taken: list[Taken]) -> str:
    groups = []
    for what in ("knob", "block", "file"):
        names = [one.name for one in taken if one.what == what]
        if names:
            noun = what if len(names) == 1 else what + "s"
            groups.append(f"{noun} {_listed(names)}")
    return " and ".join(groups)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
