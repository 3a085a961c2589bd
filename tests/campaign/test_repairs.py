"""Which failed children get another chance, in a campaign over a real store."""

from __future__ import annotations

from pathlib import Path

from evo.runtime.components import LoopSettings
from operators.operator import Draft, ParentRule, ProposalFailed, Request
from population.types import RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store


class FakeAuthor:
    """Makes children that all break, as a model (or as nobody) would."""

    name = "llm_mutate"
    kin = ParentRule.ONE

    def __init__(self, author: str) -> None:
        self._author = author

    def propose(self, request: Request) -> Draft:
        return Draft(
            f"LR = 0.{request.number}\nBROKEN = 1\n", f"idea {request.number}", self._author
        )


class FakeRepair:
    """Never finds the cure; remembers what it was given."""

    name = "llm_repair"
    kin = ParentRule.FAILED

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
    assert max(tries.values()) <= 3  # two, and one that was under way at the same time


def test_nobodys_idea_is_not_repaired(tmp_path: Path) -> None:
    assert not repairs_asked(tmp_path, "evotrain")
