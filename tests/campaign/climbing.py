"""A ladder driven by hand: a run history and a lineage in memory, and scores by a rule instead of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings, Promotion
from population.archive import VAL_BPB, Objective
from population.ladder import Ladder, Role, user_decision
from population.lineage import Lineage
from population.run_history import RunHistory
from population.types import (
    Decision,
    Measurement,
    MeasurementRow,
    Parent,
    Purpose,
    RunRequest,
    Status,
)

RUNGS = ("proxy", "mid", "target")
SETTINGS = GraduationSettings(promotion=Promotion.AUTO, graduates=4, controls=2, blocks=2)


class Mountain:
    """Variants `v0` ... of lineages of their own, each a little worse and smaller than the one before."""

    def __init__(self, variants: int = 12, front: int = 6) -> None:
        self.history = RunHistory([VAL_BPB, Objective(name="parameters")], "seed")
        self.lineage = Lineage()
        self.lineage.add("seed", ())
        self.rows = 0
        self.gains = {"seed": 0.0}
        self.sizes = {"seed": 1000.0}
        self.fails: Callable[[RunRequest], Status | None] = lambda request: None
        self.larger: Callable[[RunRequest], float] = lambda request: 1.0  # than at the proxy
        self.decided: list[Decision] = []
        self.ran: list[RunRequest] = []
        for block in range(2):
            self.run(RunRequest("seed", "proxy", block, 0, Purpose.CALIBRATE))
        for place in range(variants):
            small = 10.0 * place if place < front else -10.0
            self.grow(f"v{place:02d}", "seed", 0.3 - 0.01 * place, 1000.0 - small)

    def grow(self, name: str, parent: str, gain: float, size: float = 1000.0) -> None:
        self.lineage.add(name, (Parent(parent, "parent"),))
        self.gains[name], self.sizes[name] = gain, size
        self.run(RunRequest(name, "proxy", 0, 0, Purpose.SCREEN))

    def run(self, request: RunRequest) -> None:
        score = 2.0 - self.gains[request.variant_id] + 0.001 * request.block
        status = self.fails(request) or Status.OK
        metrics = {
            "val_bpb": score,
            "parameters": self.sizes[request.variant_id] * self.larger(request),
        }
        found = Measurement(
            request, status, "made to fail" if status is not Status.OK else "", metrics
        )
        self.rows += 1
        self.history.add(MeasurementRow(self.rows, found))
        self.ran.append(request)

    def graduation(
        self, settings: GraduationSettings = SETTINGS, rungs: Sequence[str] = RUNGS, seed: int = 0
    ) -> Graduation:
        """The ladder as a new process would find it: from the decisions and the rows alone."""
        ladder = Ladder()
        for one in self.decided:
            ladder.take(one.kind, one.variant_id, one.detail)
        self.history.veto(ladder.vetoed)
        return Graduation(settings, self.history, self.lineage, rungs, seed, ladder=ladder)

    def decide(self, graduation: Graduation) -> list[Decision]:
        """What is due to be decided, taken in as the scheduler does."""
        found = graduation.decide()
        for one in found:
            graduation.take(one)
        self.decided += found
        return found

    def climb(self, graduation: Graduation, most: int = 500) -> int:
        """Decide and run until nothing is left, or so many runs are made."""
        for done in range(most):
            while self.decide(graduation):
                pass
            request = graduation.next_request(lambda key: self.history.measured(key))
            if request is None:
                return done
            self.run(request)
        return most

    def say(
        self,
        graduation: Graduation,
        kind: str,
        variant_id: str,
        rung: str = "",
        author: str = "ann",
    ) -> bool:
        """A person's decision reaches the ladder."""
        said = user_decision(kind, {"variant_id": variant_id, "rung": rung}, author)
        assert said is not None
        applied = graduation.apply(Decision(*said))
        if applied:
            self.decided.append(Decision(*said))
            self.history.veto(graduation.ladder.vetoed)
        return applied

    def on(self, rung: str) -> set[str]:
        """Who ran at a rung for graduation."""
        ran = (one for one in self.ran if one.purpose is Purpose.GRADUATE)
        return {one.variant_id for one in ran if one.rung == rung}

    def keys(self) -> list[Any]:
        return [one.key for one in self.ran]


def names(graduation: Graduation, rung: str, role: Role) -> list[str]:
    choice = graduation.ladder.choice(rung)
    return [] if choice is None else [one.variant_id for one in choice.having(role)]
