from __future__ import annotations

from dataclasses import replace

import pytest

from evo.analysis.forecast import Plan, RungPlan, RungWork, forecast
from evo.analysis.health import (
    best_so_far,
    by_status,
    failures,
    overhead_seconds_median,
    slot_busy_share,
    stale_measurements_median,
)
from population.archive import VAL_BPB
from population.types import (
    Cost,
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    ProposalRow,
    Purpose,
    RunRequest,
    Status,
)


def run(started: float, seconds: float, train: float = 0.0, **more: object) -> Measurement:
    request = RunRequest("a" * 64, "proxy", 0, 0, Purpose.SCREEN)
    one = Measurement(
        request, Status.OK, started_at=started, wall_seconds=seconds, train_wall_seconds=train
    )
    return replace(one, **more)  # type: ignore[arg-type]


def test_two_slots_without_a_gap_are_busy_all_the_time() -> None:
    runs = [run(0, 10), run(0, 10), run(10, 10), run(10, 10), run(20, 99)]
    assert slot_busy_share(runs, 2) == pytest.approx(1.0)


def test_a_waiting_slot_lowers_the_share_by_exactly_its_wait() -> None:
    runs = [run(0, 10), run(0, 5), run(10, 10), run(10, 10), run(20, 3)]
    assert slot_busy_share(runs, 2) == pytest.approx(35 / 40)


def test_what_runs_after_the_last_start_does_not_count() -> None:
    assert slot_busy_share([run(0, 4), run(8, 1000)], 1) == pytest.approx(0.5)


def test_a_night_between_two_processes_is_nobodys_idling() -> None:
    runs = [run(0, 10), run(10, 10), run(5000, 10), run(5010, 10)]
    assert slot_busy_share(runs, 1, starts=[0, 4999]) == pytest.approx(1.0)
    assert slot_busy_share(runs, 1) < 0.01  # type: ignore[operator]


def test_without_a_span_there_is_no_share() -> None:
    assert slot_busy_share([], 2) is None
    assert slot_busy_share([run(3, 5)], 2) is None


def test_overhead_is_slot_time_beside_training_of_runs_that_ended_well() -> None:
    runs = [run(0, 10, 8), run(0, 11, 8), run(0, 15, 8), run(0, 99, 0, status=Status.CRASHED)]
    assert overhead_seconds_median(runs) == pytest.approx(3.0)
    assert overhead_seconds_median([]) is None


def test_what_is_left_of_a_campaign_counts_children_that_wait_and_no_seed_again() -> None:
    rungs = [RungPlan("proxy", 1.0, 1.0)]
    plan = Plan(
        2, rungs, seed_runs=6, remeasure_share=0.0, final_blocks=1, variants=10, seconds=None
    )
    assert (forecast(plan).children, forecast(plan).runs) == (10, 6 + 10 + 2)
    gone_on = replace(plan, measured_variants=10, waiting_children=1)
    assert (forecast(gone_on).children, forecast(gone_on).runs) == (1, 1 + 2)
    assert forecast(replace(gone_on, waiting_children=0)).children == 0


def test_a_child_is_as_stale_as_measurements_came_between_its_proposal_and_its_run() -> None:
    def row(id: int, name: str, start: float, purpose: Purpose) -> MeasurementRow:
        return MeasurementRow(id, run(start, 10, request=RunRequest(name, "proxy", 0, 0, purpose)))

    def made(number: int, name: str, seen: int) -> ProposalRow:
        parents = (Parent("seed", "parent"),) if number > 1 else ()
        values = (Outcome.VARIANT, "", name, "", "us", "", Cost(), seen, 0.0)
        return ProposalRow(number, "nudge", parents, *values)

    rows = [
        row(1, "seed", 0, Purpose.CALIBRATE),
        row(2, "a", 10, Purpose.SCREEN),
        row(3, "a", 20, Purpose.REMEASURE),
        row(4, "b", 30, Purpose.SCREEN),
        row(5, "c", 35, Purpose.SCREEN),  # the row of b came while it ran
    ]
    proposals = [made(1, "seed", 0), made(2, "a", 1), made(3, "b", 1), made(4, "c", 2)]
    assert stale_measurements_median(rows, proposals) == 1  # of 0, 2 and 1
    assert stale_measurements_median(rows, [*proposals, made(5, "waits", 1)]) == 1
    assert stale_measurements_median([], []) is None


def test_a_one_step_build_is_no_evaluation_to_judge_overhead_by() -> None:
    build = RunRequest("a" * 64, "larger/one-step", 0, 0, Purpose.GRADUATE)
    assert overhead_seconds_median([run(0, 10, 8), run(0, 50, 1, request=build)]) == pytest.approx(
        2.0
    )


def test_the_best_so_far_only_improves() -> None:
    rows = [
        MeasurementRow(n, run(n, 1, metrics={"val_bpb": v}))
        for n, v in enumerate([3.0, 3.1, 2.9, 2.95])
    ]
    assert [(one.measurement_id, one.value) for one in best_so_far(rows, VAL_BPB, "proxy")] == [
        (0, 3.0),
        (2, 2.9),
    ]


def test_failures_are_counted_by_kind_with_the_last_reason() -> None:
    crashed = [run(n, 1, status=Status.CRASHED, reason=f"error {n}") for n in range(3)]
    hung = run(9, 1, status=Status.TIMED_OUT, reason="too slow")
    found = failures([hung, *crashed, run(0, 1)])
    assert [(one.kind, one.count, one.example) for one in found] == [
        ("crashed", 3, "error 2"),
        ("timed_out", 1, "too slow"),
    ]
    assert by_status([hung, *crashed, run(0, 1)]) == {"ok": 1, "crashed": 3, "timed_out": 1}


PLAN = Plan(
    slots=2,
    rungs=(RungPlan("proxy", 8.0, startup_seconds=2.0), RungPlan("larger", 24.0, 2.0)),
    seed_runs=4,
    remeasure_share=0.2,
    final_blocks=3,
    variants=40,
    seconds=None,
    ladder={"larger": RungWork(2, 2)},
)


def test_children_an_hour_follow_from_slots_and_seconds() -> None:
    one = forecast(PLAN)
    assert one.seconds_a_run == pytest.approx(15.0)
    assert one.children_an_hour == pytest.approx(2 * 3600 / 15 * 0.8)
    assert one.children == 40
    assert one.runs == 4 + 50 + 6 + 2 * 2
    assert one.seconds is not None and one.seconds > 50 / 2 * 15


def test_the_first_limit_to_be_reached_ends_the_search() -> None:
    one = forecast(replace(PLAN, seconds=60.0))
    assert one.ends_by == "seconds"
    assert one.children == int(60 * 2 / 15 * 0.8)


def test_measured_seconds_replace_the_estimate() -> None:
    measured = replace(PLAN.rungs[0], measured_seconds=30.0)
    one = forecast(replace(PLAN, rungs=(measured, PLAN.rungs[1]), measured_variants=30))
    assert one.measured and one.seconds_a_run == 30.0
    assert one.children == 10


def test_a_clock_of_tokens_gives_no_seconds_before_the_first_run() -> None:
    one = forecast(replace(PLAN, rungs=(RungPlan("proxy", None),)))
    assert (one.seconds_a_run, one.children_an_hour, one.seconds) == (None, None, None)
    assert one.children == 40


def test_tokens_and_dollars_are_zero_without_a_model_and_open_without_a_ceiling() -> None:
    assert (forecast(PLAN).llm_tokens, forecast(PLAN).llm_dollars) == (0, 0.0)
    asking = forecast(replace(PLAN, llm_operators=("llm_mutate",), llm_tokens=5000))
    assert (asking.llm_tokens, asking.llm_dollars) == (5000, None)
