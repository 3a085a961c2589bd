"""What an operator is shown: the parents with what is believed of them, and the scene around them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evo.campaign.tally import Tally
from operators.operator import ParentView, Scene, Tried
from population.lineage import Lineage
from population.reading import first_proposal, measurement, source_of
from population.store import Store
from population.variant import Parent, Status

TRIED_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a proposer is told once: the campaign's seed number, its brief, and the rung in words."""

    campaign_seed: int
    brief: str
    rung: str
    rung_words: str


class Scenes:
    """Builds what one request shows, from the measurements with ids up to `upto` (None: all)."""

    def __init__(self, tally: Tally, lineage: Lineage, surroundings: Surroundings) -> None:
        self._tally = tally
        self._lineage = lineage
        self._at = surroundings

    def views(
        self, store: Store, parents: tuple[Parent, ...], upto: int | None
    ) -> tuple[ParentView, ...]:
        """The parents, each with its source and what is believed of it."""
        return tuple(self._view(store, parent, upto) for parent in parents)

    def _view(self, store: Store, parent: Parent, upto: int | None) -> ParentView:
        made = first_proposal(store, parent.variant_id)
        return ParentView(
            parent.variant_id,
            parent.role,
            source_of(store, parent.variant_id),
            self._tally.believed(parent.variant_id, self._at.rung, upto),
            made.idea if made is not None else "",
            made.idea_id if made is not None else None,
        )

    def scene(self, store: Store, parents: tuple[Parent, ...], upto: int | None) -> Scene:
        """What is told beside the parents."""
        objective = self._tally.objectives[0].name
        tried = []
        for parent in parents:
            for child in self._lineage.children_of(parent.variant_id)[-TRIED_SHOWN:]:
                made = first_proposal(store, child)
                rows = self._tally.rows(self._at.rung, upto, variant_id=child)
                if made is not None and rows:
                    found = self._effect(child, parent.variant_id, objective, upto)
                    status = rows[-1].measurement.status
                    tried.append(Tried(made.idea, made.operator, status.value, *found))
        failure, log_tail = self._failure(store, parents, upto)
        return Scene(
            brief=self._at.brief,
            objectives=tuple(one.name for one in self._tally.objectives),
            noise_sd=self._tally.noise_sd(self._at.rung, objective, upto),
            rung=self._at.rung_words,
            tried=tuple(tried[-TRIED_SHOWN:]),
            failure=failure,
            log_tail=log_tail,
        )

    def _failure(
        self, store: Store, parents: tuple[Parent, ...], upto: int | None
    ) -> tuple[str, str]:
        """How the first parent ended and the end of its log, if it never got a score."""
        rows = self._tally.rows(self._at.rung, upto, variant_id=parents[0].variant_id)
        if not rows or any(row.measurement.status is Status.OK for row in rows):
            return "", ""
        last = measurement(store, rows[-1].id).measurement
        return f"{last.status.value}: {last.reason}", last.log_tail

    def _effect(
        self, child: str, parent: str, objective: str, upto: int | None
    ) -> tuple[float | None, float | None, int]:
        """Child minus parent in an objective, its standard error and n; None without both."""
        rung = self._at.rung
        mine, theirs = (
            self._tally.believed(one, rung, upto).get(objective) for one in (child, parent)
        )
        if mine is None or theirs is None:
            return None, None, 0
        error = math.hypot(mine.sd, theirs.sd)
        known = error if math.isfinite(error) else None
        return mine.mean - theirs.mean, known, min(mine.n, theirs.n)
