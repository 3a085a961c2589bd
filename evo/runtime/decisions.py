"""Decisions as they are recorded and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evo.runtime.components import Shared
from evo.search.certification import BEGUN, ENDED, FINAL, LEADERS, in_a_line
from evo.search.halting import HALTED
from population.islands import CHECKED, CHECKING, MIGRATED, RESTARTED, checked_in_words
from population.ladder import (
    APPROVED,
    CHOSEN,
    REACHING,
    REVIEWED,
    UNVETOED,
    VETOED,
    Role,
    user_decision,
)
from population.reading import UnknownVariant, decisions, seed, variant
from population.statistics.stopping import WOULD_STOP
from population.store import Store
from population.types import Decision, RequestRow

OF_THE_SEARCH = (BEGUN, ENDED, LEADERS, FINAL, WOULD_STOP, HALTED)
OF_ISLANDS = (MIGRATED, RESTARTED, CHECKING, CHECKED)


class Decisions:
    """Takes decisions to the record lane and, where people should hear of them, to the board."""

    def __init__(self, shared: Shared, seed_id: str) -> None:
        self._shared = shared
        self._seed_id = seed_id

    def tell(self, decisions: Sequence[Decision]) -> None:
        """Record decisions, all or none, and say those that people should hear of."""
        if not decisions:
            return

        def write(store: Store) -> None:
            with store.transaction():
                for one in decisions:
                    store.add_decision(one.kind, one.variant_id, one.detail)

        self._shared.recorder.submit(write)
        lines = [line for one in decisions if (line := in_a_line(one, self._seed_id))]
        for line in [*lines, *describe(decisions)]:
            self._shared.say("decision", line)


def decided_before(store: Store) -> list[Decision]:
    """The decisions of earlier processes, to go on from."""
    return [
        Decision(one.kind, one.variant_id or "", dict(one.detail))
        for one in decisions(store, (*OF_THE_SEARCH, *OF_ISLANDS))
    ]


# -- What people say of a variant, as decisions; and the ladder's decisions in words.


def decision_in(asked: RequestRow) -> Decision | None:
    """The decision that a request amounts to; None for what is no word on a variant."""
    detail: Mapping[str, Any] = asked.detail if isinstance(asked.detail, dict) else {}
    said = user_decision(asked.kind, detail, asked.author)
    return None if said is None else Decision(*said)


def is_about_a_child(store: Store, variant_id: str) -> bool:
    """Whether a word on this variant can count: one that is known, and not the seed."""
    try:
        variant(store, variant_id)
    except UnknownVariant:
        return False
    return variant_id != seed(store)


def describe(decisions: Sequence[Decision]) -> list[str]:
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
    return lines + [line for one in decisions if (line := _describe(one))]


def _describe(decision: Decision) -> str:
    who, author = decision.variant_id[:8], decision.detail.get("author", "")
    if decision.kind == APPROVED:
        return f"{author} approved {who} for {decision.detail['rung'] or 'every rung'}"
    if decision.kind == VETOED:
        because = f": {decision.detail['reason']}" if decision.detail.get("reason") else ""
        return f"{author} vetoed {who}{because}"
    if decision.kind == REVIEWED:
        said = "approves" if decision.detail["approves"] else "objects to"
        because = f": {decision.detail['reason']}" if decision.detail.get("reason") else ""
        return f"reviewer {author} {said} {who}{because}"
    if decision.kind == UNVETOED:
        return f"{author} lifted the veto on {who}"
    if decision.kind == CHECKING:
        against = str(decision.detail["against"])[:8]
        return f"the sceptic tests {who}, which seems {decision.detail['claimed']:.4g} better than {against}"
    if decision.kind == CHECKED:
        return f"{who} is {checked_in_words(decision.detail)}"
    if decision.kind == MIGRATED:
        return f"{who} goes from {decision.detail['from']} to {decision.detail['island']}, too"
    if decision.kind == RESTARTED:
        island, other = decision.detail["island"], decision.detail["from"]
        return (
            f"{island} begins again from the front of {other}: none of its last "
            f"{decision.detail['children']} children came near, and {who} is ahead of all it has"
        )
    if decision.kind == REACHING:
        return f"how long {who} needs to reach the seed at {decision.detail['rung']} is measured"
    return ""
