"""Voiding: decided from times alone, a row with its reason, and the run is made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from evo.evaluation.evaluator import WAITED
from evo.runtime.budget import BudgetSettings
from evo.search.voiding import RunConditions, Voiding, judged
from population.reading import measurements, unmeasured, voided
from population.types import AGAIN, Measurement, Purpose, RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store


class Poisoned(Mapping[str, float]):
    """Metrics that nobody may look at."""

    def __getitem__(self, name: str) -> float:
        raise AssertionError(f"{name} was read before it was known whether the run counts")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("metrics were read")

    def __len__(self) -> int:
        raise AssertionError("metrics were read")


def finished(
    waited: float = 0.0,
    cpu: float = 8.0,
    who: str = "child",
    tokens: int = 8000,
    wall: float = 8.0,
) -> Measurement:
    request = RunRequest(who, "proxy", 0, 0, Purpose.SCREEN)
    return Measurement(
        request, Status.OK, metrics=Poisoned(), host="here", train_wall_seconds=wall,
        cpu_seconds=cpu, self_reported_tokens=tokens, facts={WAITED: str(waited)},
    )  # fmt: skip


def usual() -> Voiding:
    voiding = Voiding("seed")
    for _ in range(5):
        voiding.take_in(RunConditions.of(finished()))
        voiding.take_in(RunConditions.of(finished(who="seed")))
    return voiding


def test_a_crowded_run_is_voided_without_a_look_at_its_score() -> None:
    assert judged(usual(), finished(waited=7.0), 0) == ""
    assert "busy: 2.12 seconds a CPU second" in judged(usual(), finished(waited=9.0), 0)


def test_a_run_that_takes_long_by_its_own_choice_counts() -> None:
    assert judged(usual(), finished(wall=80.0), 0) == ""


def test_a_run_of_which_nobody_knows_whether_it_waited_counts_and_tells_nothing() -> None:
    unknown = replace(finished(wall=80.0), facts={})
    assert judged(usual(), unknown, 0) == ""
    voiding = Voiding("seed")
    for _ in range(5):
        voiding.take_in(RunConditions.of(unknown))
    assert judged(voiding, finished(waited=80.0), 0) == ""


def test_a_slow_seed_is_voided_and_a_slow_child_is_not_because_its_speed_is_its_own() -> None:
    assert "slow: 500 tokens a second" in judged(usual(), finished(who="seed", tokens=4000), 0)
    assert judged(usual(), finished(tokens=4000), 0) == ""


def test_nothing_is_unusual_before_five_runs_or_on_another_host() -> None:
    voiding = Voiding("seed")
    assert judged(voiding, finished(waited=72.0), 0) == ""
    assert judged(usual(), replace(finished(waited=72.0), host="there"), 0) == ""


def test_a_machine_that_stays_busy_is_the_machine_that_there_is() -> None:
    assert judged(usual(), finished(waited=72.0), 1) and not judged(
        usual(), finished(waited=72.0), 2
    )


@pytest.mark.parametrize("status", [Status.CRASHED, Status.LOST, Status.TIMED_OUT])
def test_what_did_not_end_well_is_an_answer_of_its_own(status: Status) -> None:
    assert not judged(usual(), replace(finished(waited=72.0), status=status), 0)


@dataclass
class FakeBusyMachine(FakeEvaluator):
    """Takes ten times as long for a run's first attempt when it is the tenth one."""

    busy_at: int = 10
    hit: list[RunRequest] = field(default_factory=list)

    def evaluate(self, request, source, slot, watch) -> Measurement:
        found = super().evaluate(request, source, slot, watch)
        crowded = len(self.evaluated) == self.busy_at
        if crowded:
            self.hit.append(request)
        facts = {WAITED: "72.0" if crowded else "0.0"}
        return replace(found, host="here", facts=facts, cpu_seconds=8.0)


def campaign(open_store, evaluator, variants=15):
    made = make_campaign(
        open_store, evaluator=evaluator, slots=1, budget=BudgetSettings(variants=variants)
    )
    object.__setattr__(made.components, "voiding", Voiding(made.components.history.seed_id))
    return made


def test_a_voided_run_is_a_row_with_its_reason_and_is_made_again_once(tmp_path) -> None:
    open_store, evaluator = make_store(tmp_path / "campaign.db"), FakeBusyMachine()
    assert campaign(open_store, evaluator).run().complete
    (hit,) = evaluator.hit
    with open_store() as store:
        ((request, reason),) = voided(store)
        counted = [row.measurement.request for row in measurements(store)]
        assert unmeasured(store, "proxy") == []
    assert request == hit and "busy" in reason
    again = replace(hit, repeat=hit.repeat + AGAIN)
    assert again in counted and hit not in counted
    assert evaluator.evaluated.count(again) == 1


def test_a_kill_after_a_void_leaves_the_run_to_be_made_again(tmp_path) -> None:
    open_store, evaluator = make_store(tmp_path / "campaign.db"), FakeBusyMachine()
    first = campaign(open_store, evaluator)
    first.components.board.listeners.append(
        lambda event: first.stop(now=True) if event.kind == "voided" else None
    )
    first.run()
    (hit,) = evaluator.hit
    with open_store() as store:
        assert hit.variant_id in unmeasured(store, "proxy")
    later = campaign(open_store, evaluator)
    with open_store() as store:
        for request, _ in voided(store):
            later.components.history.void(request)
    assert later.run().complete
    with open_store() as store:
        counted = [row.measurement.request for row in measurements(store)]
    assert replace(hit, repeat=hit.repeat + AGAIN) in counted
