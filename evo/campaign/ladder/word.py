"""What people say of a variant: approved for its next rung, or vetoed; and the ladder's decisions in words."""

from __future__ import annotations

from collections.abc import Sequence

from evo.campaign.certifying import Decision
from population.ladder import APPROVED, CHOSEN, REACHING, UNVETOED, VETOED, Ladder, Role


def approval(
    ladder: Ladder, upper: Sequence[str], variant_id: str, rung: str | None, author: str
) -> Decision | None:
    """The decision that an approval amounts to: a veto lifted, or one rung more; None when none is left.

    rung: None for the lowest one that it is not approved for.
    """
    if variant_id in ladder.vetoed:
        return Decision(UNVETOED, variant_id, {"author": author})
    open_rungs = [one for one in upper if (variant_id, one) not in ladder.approved]
    if rung is None and open_rungs:
        rung = open_rungs[0]
    if rung not in open_rungs:
        return None
    return Decision(APPROVED, variant_id, {"rung": rung, "author": author})


def veto(variant_id: str, author: str, reason: str) -> Decision:
    """Never parent, front member or graduate again."""
    return Decision(VETOED, variant_id, {"author": author, "reason": reason})


def told(decisions: Sequence[Decision]) -> list[str]:
    """Decisions of the ladder for a person, those that belong together in one line."""
    lines = []
    for rung in dict.fromkeys(one.detail["rung"] for one in decisions if one.kind == CHOSEN):
        roles = []
        for role in Role:
            names = [
                one.variant_id[:8]
                for one in decisions
                if one.kind == CHOSEN and one.detail["rung"] == rung and one.detail["role"] == role
            ]
            if names:
                roles.append(f"{role.value}s {', '.join(names)}")
        lines.append(f"chosen for {rung}: {'; '.join(roles)}")
    return lines + [line for one in decisions if (line := _one_told(one))]


def _one_told(decision: Decision) -> str:
    who, author = decision.variant_id[:8], decision.detail.get("author", "")
    if decision.kind == APPROVED:
        return f"{author} approved {who} for {decision.detail['rung']}"
    if decision.kind == VETOED:
        because = f": {decision.detail['reason']}" if decision.detail.get("reason") else ""
        return f"{author} vetoed {who}{because}"
    if decision.kind == UNVETOED:
        return f"{author} lifted the veto on {who}"
    if decision.kind == REACHING:
        return f"how long {who} needs to reach the seed at {decision.detail['rung']} is measured"
    return ""
