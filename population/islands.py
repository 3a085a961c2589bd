"""Islands: populations of one campaign that breed apart, and now and then take in another's best.

A child belongs to the island that proposed it, as its proposal's row says; the seed, what a person put in, what
a sceptic took back, and what was there before there were islands belong to all. What came from another island,
and that one began again, are decisions. So who belongs where follows from rows alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from population.lineage import Lineage
    from population.run_history import RunHistory
    from population.types import Decision

MIGRATED, RESTARTED = "migration", "restart"  # of decisions
CHECKING, CHECKED = "check", "checked"  # of a sceptic


class IslandRole(StrEnum):
    """What an island is there for."""

    EXPLORER = "explorer"  # finds
    SCEPTIC = "sceptic"  # proposes nothing new: tests what others claim


class ClaimVerdict(StrEnum):
    """What a sceptic found of a claim."""

    UPHELD = "upheld"  # proven on fresh blocks
    REFUTED = "refuted"  # less than half of it can be left
    UNPROVEN = "unproven"


class Members:
    """Who belongs to one island: a container of ids, which grows with the lineage.

    `others`: the explorers beside it, whose children are theirs; what came from elsewhere belongs to all.
    """

    def __init__(self, seed_id: str, lineage: Lineage, others: Collection[str] = ()) -> None:
        self._seed_id, self._lineage, self._others = seed_id, lineage, frozenset(others)
        self._came: frozenset[str] = frozenset()
        self.since = (
            0  # children whose proposal saw fewer rows are of a population that was given up
        )

    def __contains__(self, variant_id: object) -> bool:
        if variant_id == self._seed_id or variant_id in self._came:
            return True
        born = self._lineage.birth_of(str(variant_id))
        return born is not None and born.island not in self._others and born.seen >= self.since

    def take_in(self, variant_id: str) -> None:
        """One that another island found belongs here, too."""
        self._came |= {variant_id}

    def begin_again(self, founders: Sequence[str], seen: int) -> None:
        """Nobody but these and the seed; and whose proposal will have seen at least the rows up to `seen`."""
        self._came, self.since = frozenset(founders), seen


@dataclass(frozen=True, slots=True)
class Island:
    """One population: its share of the slots beside the others', and what is known as it counts there.

    The history of an explorer has its own members and objectives; a sceptic's is the whole campaign's.
    """

    name: str
    share: float
    history: RunHistory
    members: Members
    role: IslandRole = IslandRole.EXPLORER


class Islands:
    """All populations of a campaign. Its state is the lineage and the decisions that it took."""

    def __init__(self, islands: Sequence[Island], lineage: Lineage) -> None:
        self.all, self.lineage = tuple(islands), lineage
        self.explorers = tuple(one for one in islands if one.role is IslandRole.EXPLORER)
        self.sceptics = tuple(one for one in islands if one.role is IslandRole.SCEPTIC)
        whole = sum(one.share for one in islands)
        self.sceptics_share = (
            sum(one.share for one in self.sceptics) / whole
        )  # of the search's runs
        self._by_name = {one.name: one for one in islands}
        self.rounds = 0  # of migration that were decided

    def take(self, decision: Decision) -> None:
        """A decision counts from now on; other kinds, and islands that are no more, change nothing."""
        if decision.kind not in (MIGRATED, RESTARTED):
            return
        self.rounds = max(self.rounds, int(decision.detail.get("round", 0)))
        island = self._by_name.get(decision.detail["island"])
        if island is None:
            return
        if decision.kind == MIGRATED:
            island.members.take_in(decision.variant_id)
        else:
            island.members.begin_again(decision.detail["founders"], decision.detail["seen"])
        island.history.forget_front()

    def of(self, variant_id: str) -> str:
        """The name of the island that made a variant; "" for the seed and for what a person put in."""
        born = self.lineage.birth_of(variant_id)
        return born.island if born is not None else ""


def checked_in_words(detail: Mapping[str, Any]) -> str:
    """What a sceptic found of a claim, in one sentence without its subject."""
    against = str(detail["against"])[:8]
    blocks = "1 block" if detail["claimed_on"] == 1 else f"{detail['claimed_on']} blocks"
    said = f"{detail['verdict']} by the sceptic: {detail['claimed']:.4g} better than {against} on {blocks}"
    if detail["gain"] is None:
        return f"{said}, and it failed on fresh ones"
    error = "" if detail["se"] is None else f" ± {detail['se']:.2g}"
    said += f", {detail['gain']:.4g}{error} on {detail['pairs']} fresh ones"
    said += f" (e-value {math.exp(detail['log_e']):.3g})"
    more = [f"{ratio:g} times the {name}" for name, ratio in detail.get("more", {}).items()]
    return f"{said}, with {' and '.join(more)}" if more else said
