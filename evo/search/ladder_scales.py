"""The rungs that are made from a rung: for a single step, and with a share of its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evo.search.ladder_settings import GraduationSettings, share_names
from population.variant import ONE_STEP, Clock, Rung

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
