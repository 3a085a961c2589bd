"""Proposals that compute take turns; those that wait for a model do not hold up the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from operators.operator import Draft, ParentRule, Request
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store

HANG_SECONDS = 60.0


@dataclass
class FakeOperator:
    """Counts how many of it are at work at once; `meets` others before it answers, where it has to."""

    name: str
    meets: threading.Barrier | None = None
    parent_rule: ParentRule = ParentRule.ONE
    at_once: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def propose(self, request: Request) -> Draft:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if self.meets is not None:
            self.meets.wait(HANG_SECONDS)
        with self.lock:
            self.at_once -= 1
        rate = float(request.rng.uniform(0.01, 0.9))
        return Draft(f"LR = {rate:.9f}\nDEPTH = 2\n", f"LR {rate:.3f}")


def run(path: Path, operator: FakeOperator, variants: int) -> Callable[[], object]:
    campaign = make_campaign(
        make_store(path),
        evaluator=FakeEvaluator(seconds=0.02),
        operators=[operator],
        slots=2,
        budget=BudgetSettings(variants=variants),
        loop=LoopSettings(queue=6),
    )
    return campaign.run


def test_classical_operators_work_one_at_a_time(tmp_path: Path) -> None:
    operator = FakeOperator("nudge")
    run(tmp_path / "campaign.db", operator, 24)()
    assert operator.most == 1


def test_operators_that_may_wait_for_a_model_wait_beside_each_other(tmp_path: Path) -> None:
    operator = FakeOperator("fake", threading.Barrier(2))  # alone, it would wait for ever
    run(tmp_path / "campaign.db", operator, 8)()
    assert operator.most >= 2
