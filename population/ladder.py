"""The ladder as it was decided: who was chosen for which rung, and what people said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from population.types import DecisionRow, Estimate, Measurement, RequestRow, Status

if TYPE_CHECKING:
    from population.archive import Constraint

CHOSEN, APPROVED, VETOED, UNVETOED = "chosen", "approved", "vetoed", "unvetoed"
REACHING = "time to reach"
REVIEWED = "review"  # what one reviewer said of a variant
KINDS = (CHOSEN, APPROVED, VETOED, UNVETOED, REACHING, REVIEWED)
GROWS_LIKE_SEED = (
    0.5  # of the seed's growth from the proxy, in logarithms: less is no growth with depth
)

SIZES = ("parameters", "weights_mb", "added_nodes")  # known of what was only built


class LadderState(StrEnum):
    """How far a climber is at its rung."""

    WAITS = "waits for approval"
    TO_BUILD = "to be built"
    TO_RUN = "to run"
    RAN = "ran"
    NOT_BUILT = "not built"  # it cannot be built there
    FAILED = "failed"
    VETOED = "vetoed"


class Role(StrEnum):
    """Why a variant runs at a rung."""

    GRADUATE = "graduate"  # among the best of the rung below, one a lineage
    CONTROL = "control"  # from the middle of the proxy, drawn at random
    ANCESTOR = "ancestor"  # on the way from the seed to the target's best


@dataclass(frozen=True, slots=True)
class LadderEntry:
    """A variant chosen for a rung. `first_block`: of the proxy's blocks that played no part in that."""

    variant_id: str
    rung: str
    role: Role
    first_block: int


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer said of a variant: that it may go up, or why not."""

    author: str
    approves: bool
    reason: str

    @property
    def in_words(self) -> str:
        """It as one line."""
        said = "approves" if self.approves else "objects"
        return f"{self.author} {said}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One choosing for a rung: the best come first; `basis` is what it rested on."""

    number: int
    climbers: tuple[LadderEntry, ...]
    basis: Mapping[str, Any]

    def having(self, role: Role) -> tuple[LadderEntry, ...]:
        """Those in one role."""
        return tuple(one for one in self.climbers if one.role is role)


@dataclass(slots=True)
class Ladder:
    """What was decided so far. A later choosing for a rung stands in the place of an earlier one.

    `choices` by rung and whether it is about ancestors; `approved` holds (variant, rung), "" for all;
    `vetoed` says by whom; `reaching`: whose time to reach the seed is measured; `ever` holds all who
    were chosen, also those whom a later choosing left out, by variant and rung.
    """

    choices: dict[tuple[str, bool], Choice] = field(default_factory=dict)
    approved: set[tuple[str, str]] = field(default_factory=set)
    vetoed: dict[str, str] = field(default_factory=dict)
    reaching: str | None = None
    ever: dict[tuple[str, str], LadderEntry] = field(default_factory=dict)
    reviews: dict[str, dict[str, Review]] = field(default_factory=dict)  # by variant and name
    constraints: Sequence[Constraint] = ()

    @classmethod
    def of(cls, decisions: Sequence[DecisionRow]) -> Ladder:
        """The ladder after these decisions, oldest first."""
        ladder = cls()
        for one in decisions:
            ladder.take(one.kind, one.variant_id or "", one.detail)
        return ladder

    def take(self, kind: str, variant_id: str, detail: Mapping[str, Any]) -> None:
        """Take in one decision; other kinds change nothing."""
        if kind == CHOSEN:
            self._choose(variant_id, detail)
        elif kind == APPROVED:
            self.approved.add((variant_id, str(detail["rung"])))
        elif kind == VETOED:
            self.vetoed[variant_id] = str(detail.get("author", ""))
        elif kind == UNVETOED:
            self.vetoed.pop(variant_id, None)
        elif kind == REACHING:
            self.reaching = variant_id
        elif kind == REVIEWED:
            said = Review(str(detail["author"]), bool(detail["approves"]), str(detail["reason"]))
            self.reviews.setdefault(variant_id, {})[said.author] = said

    def is_approved(self, variant_id: str, rung: str, reviewers: Sequence[str] = ()) -> bool:
        """Whether a person let it go up to this rung, or each of the reviewers did."""
        if {(variant_id, rung), (variant_id, "")} & self.approved:
            return True
        said = self.reviews.get(variant_id, {})
        words = [said.get(name) for name in reviewers]
        return bool(words) and all(one is not None and one.approves for one in words)

    def said_of(self, variant_id: str, reviewers: Sequence[str]) -> tuple[str, ...]:
        """What each of the reviewers said of it, in words."""
        said = self.reviews.get(variant_id, {})
        return tuple(
            said[name].in_words if name in said else f"{name} is awaited" for name in reviewers
        )

    def state(
        self,
        climber: LadderEntry,
        mine: Measurement | None,
        seed: Measurement | None,
        manual: bool,
        reviewers: Sequence[str] = (),
    ) -> tuple[LadderState, str]:
        """How far a climber is before its runs at its rung, and who or what stopped it.

        From what was built there of it and of the seed; `manual`: graduates wait for a person,
        or for `reviewers`.
        """
        one, rung = climber.variant_id, climber.rung
        if one in self.vetoed:
            return LadderState.VETOED, f"by {self.vetoed[one]}" if self.vetoed[one] else ""
        if trouble := self.misfit(mine, seed, rung):
            return LadderState.NOT_BUILT, trouble
        if mine is None or seed is None:
            return LadderState.TO_BUILD, ""
        waits = (
            manual and climber.role is Role.GRADUATE and not self.is_approved(one, rung, reviewers)
        )
        return (LadderState.WAITS if waits else LadderState.TO_RUN), ""

    def misfit(self, mine: Measurement | None, seed: Measurement | None, rung: str) -> str:
        """Why a variant cannot run at a rung, from what was built there; "" when it can or is not known.

        Constraints that are multiples of the seed's size hold at every rung, by the size of the seed there.
        """
        if mine is None or seed is None:
            return ""
        if seed.status is not Status.OK:
            return f"the seed does not build at {rung}: {seed.status}, {seed.reason}"
        if mine.status is not Status.OK:
            return f"does not build at {rung}: {mine.status}, {mine.reason}"
        found, seeds = _sizes(mine), _sizes(seed)
        for constraint in filter(None, (one.beside_seed() for one in self.constraints)):
            name = constraint.name
            if name in found and name in seeds and constraint.excess(found, seeds) > 0:
                size, told = found[name].mean, constraint.told(seeds)
                return f"breaks a constraint at {rung}: {size:,.6g} {told}"
        return ""

    def choice(self, rung: str) -> Choice | None:
        """The last choosing of graduates and controls for a rung."""
        return self.choices.get((rung, False))

    def ancestors(self, rung: str) -> Choice | None:
        """The last choosing of ancestors for a rung."""
        return self.choices.get((rung, True))

    def climbers(self, rung: str) -> tuple[LadderEntry, ...]:
        """All who stand for a rung, the vetoed left out, each in its first role."""
        found: dict[str, LadderEntry] = {}
        for choice in (self.choice(rung), self.ancestors(rung)):
            for one in choice.climbers if choice is not None else ():
                if one.variant_id not in self.vetoed:
                    found.setdefault(one.variant_id, one)
        return tuple(found.values())

    def hear(self, requests: Sequence[RequestRow]) -> None:
        """Take in what people asked that no campaign has taken yet."""
        for one in requests:
            detail = one.detail if isinstance(one.detail, dict) else {}
            if decided := user_decision(one.kind, detail, one.author):
                self.take(*decided)

    def _choose(self, variant_id: str, detail: Mapping[str, Any]) -> None:
        rung, role, number = str(detail["rung"]), Role(detail["role"]), int(detail["choice"])
        climber = LadderEntry(variant_id, rung, role, int(detail["first_block"]))
        key = (rung, role is Role.ANCESTOR)
        known = self.choices.get(key)
        before = known.climbers if known is not None and known.number == number else ()
        self.ever.setdefault((variant_id, rung), climber)
        self.choices[key] = Choice(number, (*before, climber), dict(detail["basis"]))


def user_decision(
    kind: str, detail: Mapping[str, Any], author: str
) -> tuple[str, str, dict[str, Any]] | None:
    """A request about a variant as the kind, variant and detail of a decision; None for any other.

    approve: for `rung`, for every one without; veto, with a `reason`; unveto. With `as`, the name of a
    reviewer, the first two are that one's word, which counts beside the others'.
    """
    variant_id = detail.get("variant_id")
    if not isinstance(variant_id, str):
        return None
    if kind in ("approve", "veto") and detail.get("as"):
        said = {"author": str(detail["as"]), "approves": kind == "approve", "by": author}
        return REVIEWED, variant_id, {**said, "reason": str(detail.get("reason") or "")}
    if kind == "approve":
        return APPROVED, variant_id, {"rung": str(detail.get("rung") or ""), "author": author}
    if kind == "veto":
        reason = str(detail.get("reason") or "")
        return VETOED, variant_id, {"reason": reason, "author": author}
    return (UNVETOED, variant_id, {"author": author}) if kind == "unveto" else None


def _sizes(built: Measurement) -> dict[str, Estimate]:
    """What a build says of a variant's size; its score after one step says nothing."""
    return {
        name: Estimate(built.metrics[name], math.nan, 1) for name in SIZES if name in built.metrics
    }


def growth_remark(mine: tuple[float, float], seed: tuple[float, float]) -> str:
    """Whether a variant is sized by depth, by its own growth compared with the seed's; "" where it is.

    Parameters at the proxy and at the rung, of each. Larger or smaller than the seed is no fault: both train
    under the same clock.
    """
    own, seeds = mine[1] / mine[0], seed[1] / seed[0]
    if seeds <= 1 or math.log(own) >= GROWS_LIKE_SEED * math.log(seeds):
        return ""
    return f"does not grow with depth: {own:.3g} times its size at the proxy, the seed {seeds:.3g} times"
