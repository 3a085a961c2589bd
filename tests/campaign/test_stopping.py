"""Early stopping in a campaign: what it compares, when it acts, and what a liar gets from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from evo.evaluation.slots import Unwatched
from evo.runtime.budget import BudgetSettings
from evo.search.early_stopping import EarlyStopping, StoppingSettings, schedule_of
from population.reading import decisions, measurements
from population.statistics.stopping import WOULD_STOP
from population.types import CurvePoint, Measurement, Purpose, RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store

RULE = "# " + "=" * 98
SECTION = f"""{RULE}
# Schedule
{RULE}


def rate(p):
    return 1 - p * WARMDOWN


{RULE}
# Training
{RULE}
run()
"""
SOURCE = f"WARMDOWN = 0.5  # knob: float 0 1\nLR = 1.0\n{SECTION}"


def curve(level: float) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(p / 20, level + 1 - p / 20, p) for p in range(1, 21))


def finished(id: str, level: float, score: float | None = None, **request: object) -> Measurement:
    purpose = request.get("purpose", Purpose.SCREEN)
    run = RunRequest(id, "proxy", 0, 0, purpose)  # type: ignore[arg-type]
    return Measurement(
        run,
        Status.OK,
        metrics={"val_bpb": score or level},
        curve=curve(level),
        train_wall_seconds=10,
    )


def early(mode: str = "shadow", source: str = SOURCE) -> EarlyStopping:
    settings = StoppingSettings(mode=mode)  # type: ignore[arg-type]
    made = EarlyStopping(settings, "seed", "val_bpb", lambda value: value, lambda one: source)
    made.take_in(finished("seed", 2.0, purpose=Purpose.CALIBRATE), None)
    return made


def run(stopping: EarlyStopping, id: str, points: Iterable[CurvePoint]):
    followed = stopping.follow(id, Purpose.SCREEN)
    assert followed is not None
    for point in points:
        followed.hear(point)
    return followed


def test_a_schedule_is_its_section_with_the_constants_it_reads() -> None:
    same = SOURCE.replace("LR = 1.0", "LR = 2.0  # louder").replace("run()", "run(1)")
    assert schedule_of(same) == schedule_of(SOURCE) is not None
    assert schedule_of(SOURCE.replace("WARMDOWN = 0.5", "WARMDOWN = 0.6")) != schedule_of(SOURCE)
    assert schedule_of(SOURCE.replace("1 - p", "1 - p * p")) != schedule_of(SOURCE)


@pytest.mark.parametrize("source", ["", "x = 1\n", SECTION + "(", SECTION + SECTION])
def test_without_one_readable_section_there_is_no_schedule(source: str) -> None:
    assert schedule_of(source) is None


def test_the_seed_has_a_schedule() -> None:
    from tests.campaign.real import ROOT

    text = (ROOT / "seed" / "train.py").read_text()
    found = schedule_of(text)
    assert found is not None
    assert schedule_of(text.replace("WARMDOWN = 0.7", "WARMDOWN = 0.6")) != found
    assert schedule_of(text.replace("MATRIX_LR = 0.04", "MATRIX_LR = 0.05")) == found


def test_a_child_worse_than_its_peers_is_noted_and_runs_to_its_end() -> None:
    stopping = early()
    for number in range(12):
        assert stopping.take_in(finished(f"{number:08x}", 2.0 + number / 100), None) is None
    followed = run(stopping, "bad", curve(2.5))
    assert followed.at == 0.25 and not followed.reason
    decision = stopping.take_in(finished("bad", 2.5), followed)
    assert decision is not None and decision.kind == WOULD_STOP
    assert decision.detail["saves_seconds"] == pytest.approx(7.5)
    assert stopping.safety().stops == 1


def test_another_schedule_or_none_is_never_compared() -> None:
    sources = {"other": SOURCE.replace("WARMDOWN = 0.5", "WARMDOWN = 0.9"), "none": "x = 1\n"}
    settings = StoppingSettings()
    stopping = EarlyStopping(
        settings, "seed", "val_bpb", lambda value: value, lambda one: sources.get(one, SOURCE)
    )
    stopping.take_in(finished("seed", 2.0, purpose=Purpose.CALIBRATE), None)
    for number in range(12):
        stopping.take_in(finished(f"{number:08x}", 2.0), None)
    assert run(stopping, "same", curve(2.5)).at is not None
    assert run(stopping, "other", curve(2.5)).at is None
    assert run(stopping, "none", curve(2.5)).at is None


def test_switched_on_it_acts_only_once_sixty_would_be_stops_spared_the_best() -> None:
    stopping = early("on")
    for number in range(12):
        stopping.take_in(finished(f"{number:08x}", 2.0 + number / 100), None)
    for number in range(60):
        followed = run(stopping, f"f{number:07x}", curve(2.5))
        assert not followed.reason
        stopping.take_in(finished(f"f{number:07x}", 2.5), followed)
        for more in range(2):
            stopping.take_in(finished(f"e{number:06x}{more}", 2.0), None)
    assert stopping.safety().may_stop
    assert run(stopping, "f" * 8, curve(2.5)).reason.startswith("stopped at 25%")
    audited = "00000001"  # a tenth is run to its end all the same
    assert run(stopping, audited, curve(2.5)).at is not None
    assert not run(stopping, audited, curve(2.5)).reason


def test_a_liar_is_no_yardstick_for_the_honest_and_gains_no_score() -> None:
    stopping = early()
    for number in range(12):  # they tell a loss of a tenth of what their score says
        stopping.take_in(finished(f"{number:08x}", 0.2, score=2.0), None)
    assert run(stopping, "honest", curve(2.0)).at is None


@dataclass
class FakeCurves(FakeEvaluator):
    """Tells a curve that ends at its score, and ends early when it is told to."""

    ended_early: list[str] = field(default_factory=list)

    def evaluate(self, request, source, slot, watch) -> Measurement:
        found = super().evaluate(request, source, slot, Unwatched())
        points = curve(found.metrics["val_bpb"])
        for point in points:
            watch.progress(point)
            if reason := watch.hopeless():
                self.ended_early.append(request.variant_id)
                return Measurement(request, Status.STOPPED, reason, curve=points[:3])
        return Measurement(request, Status.OK, metrics=found.metrics, curve=points)


def test_in_a_campaign_would_be_stops_are_rows_and_nothing_is_stopped(tmp_path) -> None:
    seed = SOURCE.replace("LR = 1.0", "LR = 0.5\nDEPTH = 2").replace("run()", "")
    open_store = make_store(tmp_path / "campaign.db", seed)
    evaluator = FakeCurves()
    campaign = make_campaign(open_store, evaluator=evaluator, budget=BudgetSettings(variants=30))
    stopping = EarlyStopping(
        StoppingSettings(mode="on"),
        campaign.components.history.seed_id,
        "val_bpb",
        lambda value: value,
        lambda one: seed,
    )
    object.__setattr__(campaign.components, "early", stopping)
    campaign.run()
    with open_store() as store:
        noted = decisions(store, (WOULD_STOP,))
        statuses = {row.measurement.status for row in measurements(store)}
    assert noted and all(0.25 <= one.detail["progress"] < 1 for one in noted)
    assert statuses == {Status.OK} and not evaluator.ended_early
