"""How many go up the ladder, beside whom, and whether a person must say yes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evo.analysis.forecast import RungWork
from population.types import ONE_STEP, Clock, Rung, share_rung

REDUCTION_FACTOR = 2  # each further rung takes the best one in so many
ANCESTORS = 3  # at most, of the target's best: they show which of its edits transfer
SHARE_BLOCKS = 3  # for each share of the target's budget
MIN_SHARES = 2  # of a budget, to draw a line through


class Promotion(StrEnum):
    """Who lets a variant go up."""

    AUTO = "auto"
    MANUAL = "manual"
    REVIEW = "review"


class GraduationSettings(BaseModel):
    """Who goes up the ladder, beside whom, and on how many blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    promotion: Promotion = Promotion.MANUAL
    reviewers: tuple[str, ...] = Field(
        default=(), description="names; that of an endpoint: a model"
    )
    graduates: int = Field(default=4, ge=0, description="to the first upper rung, one a lineage")
    controls: int = Field(default=2, ge=0, description="drawn from the middle, at every upper rung")
    blocks: int = Field(
        default=2,
        ge=1,
        description="at each upper rung; with controls also at the proxy, fresh ones",
    )
    budget_shares: tuple[float, ...] = Field(default=(), description="of the target's budget")

    @field_validator("budget_shares")
    @classmethod
    def _below_the_whole(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        """The whole budget always belongs to them."""
        if not shares:
            return ()
        if any(not 0 < one <= 1 for one in shares):
            raise ValueError("each is a share of the target's budget: above 0, at most 1")
        found = tuple(sorted({*shares, 1.0}))
        if len(found) < MIN_SHARES:
            raise ValueError("give at least one share below 1, for example [0.6, 0.75, 0.9]")
        return found

    @model_validator(mode="after")
    def _has_reviewers(self) -> GraduationSettings:
        if (self.promotion is Promotion.REVIEW) != bool(self.reviewers):
            raise ValueError(
                "promotion: review and reviewers: [NAME, ...] belong together: give both, or neither"
            )
        if len(set(self.reviewers)) != len(self.reviewers) or not all(self.reviewers):
            raise ValueError("reviewers: each has a name of its own")
        return self

    @property
    def proxy_blocks(self) -> int:
        """Fresh blocks at the proxy for all who go up: what a gain there is worth, controls beside it tell."""
        return self.blocks if self.controls else 0

    @property
    def ancestors(self) -> int:
        """Of the target's best, at the target; none where nobody else explains what goes up."""
        return ANCESTORS if self.controls else 0

    def go_on_from(self, many: int) -> int:
        """How many of `many` go up one rung further: the best, rounded up."""
        return math.ceil(many / REDUCTION_FACTOR)


def work_by_rung(settings: GraduationSettings, rungs: Sequence[str]) -> Mapping[str, RungWork]:
    """The most that the ladder takes, by rung."""
    work: dict[str, RungWork] = {}
    if len(rungs) < 2 or not settings.graduates:
        return work
    many, beside = settings.graduates, settings.controls + 1
    work[rungs[0]] = RungWork(0, (many + beside + settings.ancestors) * settings.proxy_blocks)
    for rung in rungs[1:]:
        last = rung == rungs[-1]
        everyone = many + beside + (settings.ancestors if last else 0)
        runs: float = everyone * settings.blocks
        if last:
            runs += 2 * SHARE_BLOCKS * sum(settings.budget_shares)
        work[rung] = RungWork(everyone, runs)
        many = settings.go_on_from(many)
    return work


def share_names(settings: GraduationSettings, target: str) -> list[tuple[float, str]]:
    """Each budget share with the name of its rung, the least first."""
    return [(share, share_rung(target, share)) for share in settings.budget_shares]


# -- The rungs that are made from a rung: for a single step, and with a share of its budget.


BUILD_WALL_SECONDS = 120.0


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


def with_share(rung: Rung, name: str, share: float) -> Rung:
    """The same scale with a share of the budget; the schedule follows, for it goes by progress."""
    budget = rung.budget * share
    return replace(rung, name=name, budget=round(budget) if rung.clock is Clock.TOKENS else budget)


def every_rung(ladder: Sequence[Rung], settings: GraduationSettings) -> dict[str, Rung]:
    """All rungs that a campaign may train at, by name: the ladder's and those made from them."""
    rungs = {rung.name: rung for one in ladder for rung in (one, build_rung(one))}
    target = ladder[-1]
    for share, name in share_names(settings, target.name):
        rungs.setdefault(name, with_share(target, name, share))
    return rungs
