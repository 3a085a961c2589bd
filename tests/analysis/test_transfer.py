"""The ladder's report over stores written by hand: counts, ranks, edits, time to reach, cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.edits import kinds_of_edit
from evo.analysis.ladder import Terms
from evo.analysis.ladder_report import LadderReport, ladder_report
from evo.terminal import ladder as transferring
from evo.terminal.ladder import ladder_screen
from population.ladder import LadderState
from population.reading import source_of
from population.types import Purpose, Status
from tests.terminal.test_screens import shown, unwrapped

from .built import CONFIG, SEED, Built, choose

SHIPPED = (Path(__file__).parents[2] / "seed" / "train.py").read_text()


def climbed(built: Built, blocks: int = 2) -> LadderReport:
    terms = Terms(manual=False, blocks=blocks)
    return ladder_report(Record.of(built.store), terms, lambda one: source_of(built.store, one))


def graduate(
    built: Built,
    name: str,
    proxy: float,
    target: float,
    role: str = "graduate",
    parent: str = "",
    fresh: bool = True,
) -> str:
    """A variant with these gains over the seed on two fresh blocks at each end, or at the target alone."""
    one = built.child(f"{SEED}{name} = 1\n", parent or built.seed, "nudge", name)
    built.run(one, 2.5 - proxy)
    if role:
        choose(built, one, role=role)
    built.run(one, 3.0, 0, Purpose.GRADUATE, "larger/one-step")
    if fresh:
        built.runs(one, [2.5 - proxy, 2.52 - proxy], Purpose.GRADUATE, first=9)
    for block in range(2):
        built.run(one, 2.2 - target + 0.001 * block, block, Purpose.GRADUATE, "larger")
    return one


@pytest.fixture
def built(tmp_path: Path) -> Built:
    built = Built(tmp_path)
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    built.run(built.seed, 3.0, 0, Purpose.GRADUATE, "larger/one-step")
    built.runs(built.seed, [2.5, 2.52], Purpose.GRADUATE, first=9)
    for block in range(2):
        built.run(built.seed, 2.2 + 0.001 * block, block, Purpose.GRADUATE, "larger")
    return built


def test_graduates_that_beat_the_seed_at_the_proxy_are_counted_at_the_target_beside_controls(
    built: Built,
) -> None:
    graduate(built, "a", 0.1, 0.05)
    graduate(built, "b", 0.1, -0.05)
    graduate(built, "c", -0.1, 0.05)  # did not hold at the proxy: not among the tried
    graduate(built, "d", 0.0, 0.01, role="control")
    found = climbed(built).transfer
    assert found is not None and found.promotions is not None
    one = found.promotions
    assert (one.held, one.tried, one.controls_held, one.controls_tried) == (1, 2, 1, 1)
    assert (found.n, found.agreement, found.overlap, found.informative) == (4, None, None, False)
    assert [(held.name, held.held, held.tried, held.rate) for held in found.by_operator] == [
        ("nudge", 1, 2, None)
    ]
    told = " ".join(transferring.transferred(found, "val_bpb"))
    assert "Of 2 graduates that beat the seed on fresh blocks at proxy, 1 beat it at larger" in told
    assert "of 1 control, 1 (95 % interval" in told
    assert "not informative at this n" in told


def test_from_ten_variants_on_ranks_are_given_with_chance_levels_and_regret(built: Built) -> None:
    for place in range(12):
        graduate(built, f"v{place}", 0.01 * place + 0.001, 0.005 * place)
    found = climbed(built).transfer
    assert found is not None and found.agreement is not None and found.overlap is not None
    assert found.agreement.tau.value == pytest.approx(1.0) and found.informative
    assert (found.overlap.overlap, found.overlap.expected) == (3, pytest.approx(9 / 12))
    assert found.regret == {1: 0.0, 3: 0.0}
    assert found.by_operator[0].rate is not None
    told = " ".join(transferring.transferred(found, "val_bpb"))
    assert "Kendall's tau-b is 1.00" in told and "not informative" not in told


def test_a_proxy_that_misleads_costs_regret_and_is_called_uninformative(built: Built) -> None:
    for place in range(12):
        graduate(built, f"v{place}", 0.01 * place, 0.01 * ((place * 5) % 12))
    found = climbed(built).transfer
    assert found is not None and not found.informative
    assert found.regret[1] == pytest.approx(0.11 - 0.01 * (55 % 12))
    assert "the proxy is not informative at this n" in " ".join(
        transferring.transferred(found, "val_bpb")
    )


def test_a_ratio_is_given_only_where_the_proxy_gain_is_certain(built: Built) -> None:
    sure = graduate(built, "sure", 0.1, 0.05)
    unsure = graduate(built, "unsure", 0.0, 0.05)
    built.run(unsure, 2.4, 11, Purpose.GRADUATE)
    built.run(built.seed, 2.5, 11, Purpose.GRADUATE)
    found = climbed(built).transfer
    assert found is not None
    ratios = {one.variant_id: one.ratio for one in found.pairs}
    assert ratios[unsure] is None
    assert ratios[sure] is not None and ratios[sure].value == pytest.approx(0.5)


def test_each_edit_on_the_way_to_the_best_is_shown_at_both_ends(built: Built) -> None:
    first = graduate(built, "first", 0.05, 0.04, role="")
    best = graduate(built, "best", 0.09, 0.01, parent=first)
    choose(built, first, role="ancestor", basis={"best": best})
    found = climbed(built).transfer
    assert found is not None
    assert [(one.parent_id, one.variant_id) for one in found.edits] == [
        (built.seed, first),
        (first, best),
    ]
    second = found.edits[1]
    assert second.proxy is not None and second.target is not None
    assert second.proxy.difference == pytest.approx(-0.04)
    assert second.target.difference == pytest.approx(0.03)


def test_a_step_over_several_edits_is_not_credited_to_the_last(built: Built) -> None:
    between = built.child(SEED + "between = 1\n", built.seed)
    best = graduate(built, "best", 0.09, 0.05, parent=between)
    found = climbed(built).transfer
    assert found is not None
    (edit,) = found.edits
    assert (edit.parent_id, edit.variant_id, edit.edits) == (built.seed, best, 2)
    assert "2 edits together, the last:" in transferring.edits(found.edits, "val_bpb")[0]


def test_blocks_of_the_final_comparison_are_common_blocks_at_the_proxy(built: Built) -> None:
    best = graduate(built, "best", 0.09, 0.05, fresh=False)
    for one, score in ((best, 2.4), (built.seed, 2.5)):
        built.run(one, score, 20, Purpose.FINAL)
    found = climbed(built).transfer
    assert found is not None
    (edit,) = found.edits
    assert edit.proxy is not None and edit.proxy.difference == pytest.approx(-0.1)


def test_the_screen_says_how_far_everyone_is(built: Built) -> None:
    ran = graduate(built, "ran", 0.1, 0.05)
    waits = built.child(SEED + "x = 2\n", built.seed)
    choose(built, waits)
    failed = built.child(SEED + "x = 3\n", built.seed)
    choose(built, failed)
    built.run(failed, 3.0, 0, Purpose.GRADUATE, "larger/one-step")
    built.run(failed, None, 0, Purpose.GRADUATE, "larger", Status.DIVERGED, "loss is nan")
    big = built.child(SEED + "x = 4\n", built.seed)
    choose(built, big)
    built.run(big, 2.0, 0, Purpose.SCREEN, more={"parameters": 900.0})
    built.run(big, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": 900.0})
    broken = built.child(SEED + "x = 5\n", built.seed)
    choose(built, broken)
    built.run(broken, None, 0, Purpose.GRADUATE, "larger/one-step", Status.CRASHED, "no such width")
    one = climbed(built)
    states = {step.variant_id: step.state for step in one.steps}
    assert states == {
        ran: LadderState.RAN,
        waits: LadderState.TO_BUILD,
        failed: LadderState.FAILED,
        big: LadderState.TO_RUN,
        broken: LadderState.NOT_BUILT,
    }
    text = unwrapped(shown(ladder_screen(one)))
    assert "x 9.00" in text
    assert "no such width" in text
    assert "diverged: loss is nan" in text
    assert "Slot time: proxy" in text and "larger" in text


def test_one_that_does_not_grow_with_depth_goes_up_and_is_marked(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE, more={"parameters": 100.0})
    built.run(built.seed, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": 300.0})
    flat = built.child(SEED + "x = 4\n", built.seed)
    choose(built, flat)
    built.run(flat, 2.0, 0, Purpose.SCREEN, more={"parameters": 900.0})
    built.run(flat, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": 900.0})
    found = climbed(built)
    (step,) = found.steps
    assert step.state is LadderState.TO_RUN and step.scale == 3.0
    assert (
        step.remark == "does not grow with depth: 1 times its size at the proxy, the seed 3 times"
    )
    assert "the seed 3 times" in unwrapped(shown(ladder_screen(found)))


def test_where_the_seed_itself_failed_that_is_said_beside_everyone(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    built.run(built.seed, 3.0, 0, Purpose.GRADUATE, "larger/one-step")
    graduate(built, "ran", 0.1, 0.05)
    for block in range(2):
        built.run(
            built.seed, None, block, Purpose.GRADUATE, "larger", Status.TIMED_OUT, "still running"
        )
    (step,) = climbed(built).steps
    assert (
        step.state is LadderState.RAN and "the seed gave no score there (timed_out" in step.reason
    )


def test_time_to_reach_comes_with_its_interval_and_beside_it_in_tokens(built: Built) -> None:
    best = graduate(built, "best", 0.1, 0.05)
    built.store.add_decision("time to reach", best, {"rung": "larger", "shares": [0.6, 1.0]})
    assert climbed(built).reaching is not None
    for who, ends in ((built.seed, (2.4, 2.3)), (best, (2.21, 2.16))):
        built.run(who, {built.seed: 2.2, best: 2.15}[who], 2, Purpose.GRADUATE, "larger")
        for block in range(3):
            for share, score in zip((0.6, 0.8), ends, strict=True):
                rung = f"larger/x{share}"
                built.run(who, score + 0.001 * block, block, Purpose.GRADUATE, rung)
    found = climbed(built).reaching
    assert found is not None and found.budget is not None and found.missing == ""
    assert found.budget.blocks == 3 and 0.6 < (found.budget.value or 0) < 0.8
    assert [level.share for level in found.levels] == [0.6, 0.8, 1.0]
    assert found.self_reported_tokens is None, "these runs told no tokens"
    told = " ".join(transferring.reached(found))
    assert f"{best[:8]} reaches the seed's final val_bpb at larger with 6" in told
    assert "n=3 paired blocks" in told


def test_what_is_not_reached_is_said_and_not_extrapolated(built: Built) -> None:
    best = graduate(built, "best", 0.1, -0.05)
    built.store.add_decision("time to reach", best, {"rung": "larger", "shares": [0.6, 1.0]})
    for who, score in ((built.seed, 2.4), (best, 2.35)):
        built.run(who, 2.25 if who == best else 2.2, 2, Purpose.GRADUATE, "larger")
        for block in range(3):
            built.run(who, score, block, Purpose.GRADUATE, "larger/x0.6")
    found = climbed(built).reaching
    assert found is not None and found.budget is not None and found.budget.value is None
    assert "not within 100 % of the seed's budget" in " ".join(transferring.reached(found))


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("MATRIX_LR = 0.04 ", "MATRIX_LR = 0.05 ", ("knob",)),
        ("inverse = norm.add_(1e-6)", "inverse = norm.add_(1e-5)", ("architecture",)),
        (
            "momentum.lerp_(gradient, 1 - MOMENTUM)",
            "momentum.mul_(MOMENTUM).add_(gradient)",
            ("optimiser",),
        ),
        (
            "return max(progress, 1e-3) / WARMUP",
            "return (max(progress, 1e-3) / WARMUP) ** 2",
            ("schedule",),
        ),
        (
            "return BATCH_TOKENS * math.sqrt(horizon / REFERENCE_TOKENS)",
            "return BATCH_TOKENS",
            ("data",),
        ),
        ("# Written out, not torch.optim", "# By hand, not torch.optim", ()),
    ],
)
def test_the_kind_of_an_edit_is_read_from_where_it_stands(
    before: str, after: str, kinds: tuple[str, ...]
) -> None:
    assert before in SHIPPED
    assert kinds_of_edit(SHIPPED, SHIPPED.replace(before, after, 1)) == kinds


def test_without_a_graduate_at_the_target_nothing_is_said_of_fresh_blocks(built: Built) -> None:
    graduate(built, "worse", -0.1, -0.05)
    found = climbed(built).transfer
    assert found is not None and found.promotions is None
    (line,) = transferring.transferred(found, "val_bpb")
    assert "fresh" not in line and "no control, has run at larger" in line
    assert "graduation.controls: 2" in line


def test_a_ladder_without_runs_of_its_own_at_the_proxy_says_what_makes_them(built: Built) -> None:
    built.store.set_setting("config", CONFIG | {"graduation": {"controls": 0}})
    graduate(built, "a", 0.1, 0.05, fresh=False)
    said = unwrapped(shown(ladder_screen(climbed(built), " --dir campaigns/x")))
    assert "(graduation.controls: 0)" in said and "nothing can be said" not in said
    assert "`evo resume --dir campaigns/x --set graduation.controls=2` makes these runs" in said
