"""Promotion up the ladder of rungs: who goes up, whether it scales, and who must say yes.

At each rung above the proxy the picks and the seed are first built there for one step; a variant whose
parameters are not within half to double the seed's "does not scale" and stays below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from evo.campaign.tally import Tally, key_of
from population.archive import Standing
from population.variant import ONE_STEP, Clock, Order, Purpose, Rung, Status

SCALES_FROM, SCALES_TO = 0.5, 2.0  # parameters relative to the seed's at the same rung
PROVEN = (Standing.CERTIFIED, Standing.REPLICATED, Standing.CANDIDATE)
BUILD_WALL_SECONDS = 120.0


class Promotion(StrEnum):
    """Who lets a variant go up."""

    AUTO = "auto"
    MANUAL = "manual"


class GraduationSettings(BaseModel):
    """How many go up, on how many blocks, and whether a person must approve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    promotion: Promotion = Promotion.MANUAL
    graduates: int = Field(default=1, ge=0, description="variants per rung, one a lineage")
    blocks: int = Field(default=1, ge=1, description="blocks at each upper rung")


@dataclass(frozen=True, slots=True)
class Pick:
    """A variant chosen for a rung, and what keeps it from going there ("" when nothing does)."""

    variant_id: str
    rung: str
    held_back: str = ""


def build_rung(rung: Rung) -> Rung:
    """The same scale for a single step: shows whether a variant can be built there, and its parameters."""
    return replace(
        rung,
        name=rung.name + ONE_STEP,
        clock=Clock.TOKENS,
        budget=1,
        rows=min(rung.rows, 4),
        startup_seconds=0.0,
        wall_seconds=min(rung.wall_seconds, BUILD_WALL_SECONDS),
    )


class Graduation:
    """The ladder of one campaign. `lineage_of` names the lineage of a variant."""

    def __init__(
        self,
        settings: GraduationSettings,
        tally: Tally,
        rungs: Sequence[Rung],
        lineage_of: Callable[[str], str],
        certified: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._rungs = [rung.name for rung in rungs]
        self._lineage_of = lineage_of
        self._certified = certified

    def picks(self, rung: str) -> list[str]:
        """The best of the front below, one a lineage, without the seed: the better proven come first,
        so that a lucky single run does not go up before what has held on fresh blocks.
        """
        below = self._rungs[self._rungs.index(rung) - 1]
        chosen: dict[str, str] = {}
        members = self._tally.members(below, self._certified())
        ranked = sorted(
            members, key=lambda one: PROVEN.index(one.standing)
        )  # keeps the order within
        for member in (one.variant_id for one in ranked):
            if member != self._tally.seed_id:
                chosen.setdefault(self._lineage_of(member), member)
        return list(chosen.values())[: self._settings.graduates]

    def next_order(self, taken: Callable[..., bool], approved: Collection[str]) -> Order | None:
        """The next run up the ladder; None when all are under way, done, or waiting for approval."""
        for rung in self._rungs[1:]:
            orders = self._build_orders(rung)
            if all(self._tally.measured(key_of(order)) for order in orders):
                cleared = [p.variant_id for p in self.judged(rung, approved) if not p.held_back]
                orders = self._run_orders(rung, cleared)
            for order in orders:
                if not taken(key_of(order)):
                    return order
            if not all(self._tally.measured(key_of(order)) for order in orders):
                return None
        return None

    def judged(self, rung: str, approved: Collection[str]) -> list[Pick]:
        """Each pick for a rung with what holds it back."""
        return [Pick(one, rung, self._objection(one, rung, approved)) for one in self.picks(rung)]

    def waiting(self, approved: Collection[str]) -> list[Pick]:
        """The picks that only wait for a person."""
        return [
            pick
            for rung in self._rungs[1:]
            for pick in self.judged(rung, approved)
            if pick.held_back == WAITS
        ]

    def _objection(self, variant_id: str, rung: str, approved: Collection[str]) -> str:
        misfit = self.misfit(variant_id, rung)
        if misfit:
            return misfit
        if self._settings.promotion is Promotion.MANUAL and variant_id not in approved:
            return WAITS
        return ""

    def misfit(self, variant_id: str, rung: str) -> str:
        """Why a variant cannot run at a rung's scale; "" when it can or was not built there yet."""
        built = {
            row.measurement.order.variant_id: row.measurement
            for row in self._tally.rows(rung + ONE_STEP)
        }
        mine, seed = built.get(variant_id), built.get(self._tally.seed_id)
        if mine is None or seed is None or seed.status is not Status.OK:
            return ""
        if mine.status is not Status.OK:
            return f"does not build at {rung}: {mine.status}, {mine.reason}"
        ratio = mine.metrics["parameters"] / seed.metrics["parameters"]
        if not SCALES_FROM <= ratio <= SCALES_TO:
            return f"does not scale: {ratio:.2f} times the seed's parameters at {rung}"
        return ""

    def _build_orders(self, rung: str) -> list[Order]:
        picks = self.picks(rung)
        everyone = [self._tally.seed_id, *picks] if picks else []
        return [Order(one, rung + ONE_STEP, 0, 0, Purpose.GRADUATE) for one in everyone]

    def _run_orders(self, rung: str, cleared: Sequence[str]) -> list[Order]:
        everyone = [self._tally.seed_id, *cleared] if cleared else []
        return [
            Order(one, rung, block, 0, Purpose.GRADUATE)
            for block in range(self._settings.blocks)
            for one in everyone
        ]


WAITS = "waits for approval"
