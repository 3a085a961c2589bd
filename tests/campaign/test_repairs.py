"""Which failed children get another chance, in a campaign over a real store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from evo.evaluation.slots import Slot, Unwatched
from evo.proposals.proposer import Repairs
from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from operators.operator import Draft, ParentRule, ProposalFailed, Request
from population.archive import DEFAULT_OBJECTIVES
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import source_of
from population.run_history import RunHistory
from population.types import (
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store


class FakeAuthor:
    """Makes children that all break, as a model (or as nobody) would."""

    name = "llm_mutate"
    parent_rule = ParentRule.ONE

    def __init__(self, author: str) -> None:
        self._author = author

    def propose(self, request: Request) -> Draft:
        return Draft(
            f"LR = 0.{request.number}\nBROKEN = 1\n", f"idea {request.number}", self._author
        )


class FakeRepair:
    """Never finds the cure; remembers what it was given."""

    name = "llm_repair"
    parent_rule = ParentRule.FAILED

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def propose(self, request: Request) -> Draft:
        self.asked.append(request)
        raise ProposalFailed("no cure")


def broken(request: RunRequest, source: str) -> Status | None:
    return Status.CRASHED if "BROKEN" in source else None


def repairs_asked(tmp_path: Path, author: str) -> list[Request]:
    open_store, repair = make_store(tmp_path / "c.db"), FakeRepair()
    make_campaign(
        open_store,
        evaluator=FakeEvaluator(fails=broken),
        operators=[FakeAuthor(author), repair],
        slots=1,
        loop=LoopSettings(queue=0),
    ).run()
    return repair.asked


def test_a_failed_idea_is_repaired_a_bounded_number_of_times(tmp_path: Path) -> None:
    asked = repairs_asked(tmp_path, "some model")
    assert asked
    tries: dict[str, int] = {}
    for request in asked:
        failed, worked = request.parents
        assert (failed.role, worked.role) == ("parent", "ancestor")
        assert "BROKEN" in failed.source and "BROKEN" not in worked.source
        assert failed.idea_id is not None and request.context.failure == "crashed: made to fail"
        tries[failed.variant_id] = tries.get(failed.variant_id, 0) + 1
    assert max(tries.values()) <= 2


def test_nobodys_idea_is_not_repaired(tmp_path: Path) -> None:
    assert not repairs_asked(tmp_path, "evotrain")


def test_of_one_cause_one_child_is_repaired_at_a_time(tmp_path: Path) -> None:
    at_work, most = 0, 0
    lock = threading.Lock()

    class FakeSlowRepair(FakeRepair):
        def propose(self, request: Request) -> Draft:
            nonlocal at_work, most
            with lock:
                at_work += 1
                most = max(most, at_work)
            time.sleep(0.05)
            with lock:
                at_work -= 1
            return super().propose(request)

    repair = FakeSlowRepair()
    make_campaign(
        make_store(tmp_path / "c.db"),
        evaluator=FakeEvaluator(fails=broken),
        operators=[FakeAuthor("some model"), repair],
        slots=3,
        budget=BudgetSettings(variants=40),
        loop=LoopSettings(queue=6),
    ).run()
    assert len(repair.asked) > 3 and most == 1


def test_a_child_is_repaired_also_when_its_parent_is_no_candidate_any_more(tmp_path: Path) -> None:
    open_store = make_store(tmp_path / "c.db")
    evaluator = FakeEvaluator(fails=broken)
    with open_store() as store:
        seed = store.query("SELECT variant_id FROM proposals")[0][0]
        ids = [seed]
        for number, source in ((2, "LR = 0.1\nDEPTH = 1\n"), (3, "LR = 0.3\nBROKEN = 1\n")):
            child = Variant(variant_id(source), source, fingerprint(source))
            parents = (Parent(seed, "parent"),)
            store.add_proposal(
                Proposal(
                    number, "llm_mutate", parents, Outcome.VARIANT, "", child, "an idea", "gpt"
                )
            )
            ids.append(child.id)
        lineage = Lineage.of(store)
        history = RunHistory(DEFAULT_OBJECTIVES, seed, family=lineage)
        for one in ids:
            request = RunRequest(one, "proxy", 0, 0, Purpose.SCREEN)
            slot = Slot("slot0", "cpu", (0,))
            found = evaluator.evaluate(request, source_of(store, one), slot, Unwatched())
            history.add(MeasurementRow(store.add_measurement(found), found))
        assert [one.variant_id for one in history.candidates("proxy", newest=1)] == [ids[1]]
        waiting = Repairs(history, lineage, "proxy").waiting(store, 4, None)
        assert waiting == [(Parent(ids[2], "parent"), Parent(seed, "ancestor"))]
        assert not Repairs(history, lineage, "proxy").waiting(store, 4, None, {ids[2]})
        for number in (8, 9):  # two that began later were recorded first
            store.add_proposal(
                Proposal(number, "llm_repair", waiting[0], Outcome.FAILED, "no cure")
            )
        assert not Repairs(history, lineage, "proxy").waiting(store, 4, None)
        rows = history.last_id()
        assert Repairs(history, lineage, "proxy").waiting(store, 4, rows) == waiting


def test_a_repair_counts_from_its_answer_on_and_not_only_once_it_is_recorded(
    tmp_path: Path,
) -> None:
    open_store, repair = make_store(tmp_path / "c.db"), FakeRepair()
    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(fails=broken),
        operators=[FakeAuthor("some model")],
        budget=BudgetSettings(variants=2),
    )
    campaign.run()
    components = make_campaign(open_store, operators=[repair]).components
    first = components.proposer.propose(20, None)
    second = components.proposer.propose(21, None)
    assert first.operator == "llm_repair" and second.operator == "none"
    with open_store() as store:
        store.add_proposal(first)
    assert components.proposer.propose(22, None).operator == "llm_repair"
