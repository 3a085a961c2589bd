from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from evo.analysis.campaign_view import Record
from evo.analysis.findings import Findings, find
from evo.analysis.forecast import Plan, RungPlan, RungWork, forecast, outlook, outlook_of
from evo.terminal import sentences
from evo.terminal.live import (
    EventFrame,
    Frame,
    Gap,
    Limit,
    OperatorFrame,
    Score,
    SlotFrame,
    Way,
    draw,
)
from evo.terminal.screens import closing_screen, end_in_words, forecast_screen
from evo.terminal.text import bar, duration, placed, plain, printable, sparkline, value, write_line
from evo.terminal.tree import family_tree
from population.archive import DEFAULT_OBJECTIVES
from population.fingerprint import fingerprint
from population.lineage import Branch, tree
from population.reading import source_of
from population.types import (
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.analysis.built import CONFIG, SEED, Built, finished

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;owned\x07[bold red]loud[/] [link=http://x]y[/link] \u202eevil\r\n\x9b2Jend"


def shown(*screens: RenderableType, width: int = 110, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, highlight=False, markup=False)
    for screen in screens:
        console.print(screen)
    return out.getvalue()


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def findings(built: Built) -> Findings:
    return find(Record.of(built.store), lambda one: source_of(built.store, one))


def closing(built: Built) -> str:
    screen = closing_screen(
        "built", "budget spent", findings(built), DEFAULT_OBJECTIVES[:2], ["evo tree"]
    )
    return unwrapped(shown(screen))


def test_how_far_servers_may_be_apart_is_told_where_the_seed_widened_it() -> None:
    exact = "largest 0.001, mean 5e-05, edge 5e-05, tail 0.1"
    assert sentences.tolerated({"proxy": exact, "larger": "another word"}) == ""
    told = sentences.tolerated({"proxy": exact, "larger": "mean 0.002, edge 0.02, tail 0.3"})
    assert told == (
        "at larger the seed lets servers differ by 0.3 nats in 99.9 % of tokens; a peek can gain 0.02 a "
        "token at most"
    )


def test_a_hostile_idea_prints_literally() -> None:
    line = plain(HOSTILE)
    assert line == "red [bold red]loud[/] [link=http://x]y[/link] evil end"


@given(st.text())
def test_no_text_can_steer_a_terminal(text: str) -> None:
    assert all(letter.isprintable() for letter in plain(text))
    assert all(letter.isprintable() or letter in "\n\t" for letter in printable(text))


def test_a_hostile_idea_steers_no_screen(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.5], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed, "llm_mutate", HOSTILE)
    built.runs(child, [2.4, 2.4], Purpose.SCREEN)
    built.front({child: "candidate"})
    text = closing(built) + shown(family_tree(tree(built.store)[0], {}, {}, None, {}))
    assert "[bold red]loud[/]" in text
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")


def test_a_hostile_event_stays_on_its_line() -> None:
    out = io.StringIO()
    write_line(out, 0.0, "idea: " + HOSTILE)
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_the_closing_screen_says_what_how_sure_and_what_next(tmp_path: Path) -> None:
    built, leader, crashed = finished(tmp_path)
    text = closing(built)
    assert (
        f"On 3 blocks that played no part in choosing it, {leader[:8]}'s val_bpb is 2.4100 against "
        "the seed's 2.5100, 0.1000 better (n=3; lower is better): better than the seed." in text
    )
    assert (
        "interval of the difference: 0.0752 to 0.1248 better (n=3 pairs, t with 2 degrees of freedom)"
        in text
    )
    assert "LR 0.1 → 0.3" in text
    assert (
        f"At larger: {leader[:8]}'s val_bpb is 2.1000 against the seed's 2.2000, 0.1000 better "
        "(n=1; lower is better): looks better; 1 pair is too few to tell." in text
    )
    assert f"1 crashed, the last ({crashed[:8]}): NameError: boom" in text
    assert text.endswith("Next evo tree")


def test_the_closing_screen_begins_with_the_gain_in_words_and_ends_with_what_to_do(
    tmp_path: Path,
) -> None:
    built, leader, _ = finished(tmp_path)
    verdict = {
        "number": 1,
        "champion": built.seed,
        "pairs": 3,
        "log_e": 3.5,
        "verdict": "certified",
    }
    built.store.add_decision("verdict", leader, verdict)
    text = closing(built)
    parts = (
        "What was found 4.0 % fewer bits per byte than the seed, certified on fresh blocks",
        "How sure that is Certified by 3 pairs of runs on fresh blocks: chance alone ",
        "in at most one of 33 campaigns (e-value).",
        "What changed 1 LR 0.1 -> 0.2",
        "nudge: 0.070 better (n=1) compared with its parent",
        "Whether it held at larger rungs The gain seems to hold: 4.5 % fewer bits per byte. At larger:",
        "What is worth knowing against it",
        "Next evo tree",
    )
    places = [text.index(part.replace("0.070", "0.0700")) for part in parts]
    assert places == sorted(places)


def test_a_gain_that_no_race_proved_is_not_called_certified(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    lost = {"number": 1, "champion": built.seed, "pairs": 4, "log_e": 0.1, "verdict": "futile"}
    built.store.add_decision("verdict", leader, lost)
    text = closing(built)
    assert "4.0 % fewer bits per byte than the seed on 3 fresh blocks, not certified" in text
    assert "Certified by" not in text


def test_the_closing_screen_says_what_speaks_against_the_leader(tmp_path: Path) -> None:
    built = Built(tmp_path)
    config = {
        **CONFIG,
        "rungs": {"proxy": {"depth": 2, "budget": 8.0}, "larger": {}},
        "clock": "cpu_seconds",
        "constraints": [{"name": "weights_mb", "at_most": 32}],
    }
    built.store.set_setting("config", config)
    built.run(built.seed, 2.5, 0, Purpose.CALIBRATE, more={"weights_mb": 0.5})
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.3, more={"weights_mb": 16.0})
    built.front({child: "candidate"})
    text = closing(built)
    assert "Size: 16 MB of weights, 32 times the seed's 0.5 (weights_mb at most 32)." in text
    assert "It has not run at larger." in text
    assert "at proxy (depth 2, context 128, 8 cpu seconds): what wins there need not win" in text


def test_ideas_of_a_bank_are_told_as_recorded_elsewhere_and_measured_here(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.5], Purpose.CALIBRATE)
    made = SEED.replace("0.1", "0.2")
    origin = json.dumps({"id": "a" * 16, "author": "language model", "bank": "shared"})
    built.store.add_proposal(
        Proposal(
            2,
            "transplant",
            (Parent(built.seed, "parent"),),
            Outcome.VARIANT,
            variant=Variant(variant_id(made), made, fingerprint(made)),
            idea="a warmer start",
            origin=origin,
        )
    )
    built.runs(variant_id(made), [2.4, 2.4], Purpose.SCREEN)
    built.front({variant_id(made): "candidate"})
    assert (
        "The idea of step 1 was recorded from a language model in an earlier campaign; what it gains was "
        "measured here and now." in closing(built)
    )
    built.number = 2
    plain_child = built.child(made.replace("0.2", "0.3"), variant_id(made), "nudge", "LR up")
    built.runs(plain_child, [2.2, 2.2], Purpose.SCREEN)
    built.front({plain_child: "candidate"})
    assert "The idea of step 1 was recorded" in closing(built)


def test_ids_are_grey_on_the_closing_screen(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    screen = closing_screen("built", "done", findings(built), DEFAULT_OBJECTIVES[:2], [])
    before, _, _ = shown(screen, colour=True).partition("Pareto front")
    assert leader[:8] in before
    styles = [part.rpartition("\x1b[")[2] for part in before.split(leader[:8])[:-1]]
    assert all(style.startswith("90m") for style in styles), styles


def test_nothing_is_claimed_from_the_runs_that_chose_the_leader(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.51, 2.52], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.runs(child, [2.3, 2.31, 2.32], Purpose.SCREEN)
    built.front({child: "candidate"})
    text = closing(built)
    assert "These runs also chose it, so the figure flatters" in text
    assert "better than the seed" not in text
    assert "Not known yet" in text


def test_without_a_leader_the_screen_says_so(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.51], Purpose.CALIBRATE)
    built.run(built.child(SEED.replace("0.1", "0.2"), built.seed), 2.9)
    built.front({built.seed: "candidate"})
    assert "nothing better than the seed was found" in closing(built)
    assert "More children: " in closing(built)


def test_a_difference_inside_the_noise_is_not_called_better(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.51], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.4)
    built.front({child: "candidate"})
    built.runs(built.seed, [2.50, 2.40, 2.60], Purpose.FINAL, first=5)
    built.runs(child, [2.45, 2.45, 2.55], Purpose.FINAL, first=5)
    text = closing(built)
    assert "not distinguishable from the seed" in text
    assert "it holds 0, so chance alone could do this" in text
    found = findings(built)
    assert found.needs is not None and found.needs.blocks is not None
    assert f"about {found.needs.blocks} pairs show it" in text


def test_a_final_comparison_whose_runs_failed_is_not_called_still_to_come(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.51], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.4)
    built.front({child: "candidate"})
    built.run(child, 2.4, 5, Purpose.FINAL)
    built.run(built.seed, None, 5, Purpose.FINAL, status=Status.REJECTED)
    text = closing(built)
    assert "still to come" not in text
    assert "gave no pair of scores: the seed rejected on block 5" in text


def test_every_sentence_about_a_difference_carries_its_n(tmp_path: Path) -> None:
    built, _, _ = finished(tmp_path)
    found = findings(built)
    told = sentences.found(found) + [sentences.graduation(one) for one in found.graduates]
    assert all("n=" in line for line in told)


FRAME = Frame(
    name="night",
    phase="searching",
    seconds=75,
    limits=[Limit("variants", 5, 20, "5 of 20")],
    slots=[
        SlotFrame("cpu0", "abcd1234", "proxy", 2, "screen", 12.0, 0.5, [5.0, 3.0, math.nan, 2.0]),
        SlotFrame("cpu1"),
        SlotFrame("cpu2", "abcd1235", "proxy", 0, "screen", 12.0, 1.0, [2.0]),
        SlotFrame("cpu3", "abcd1236", "proxy", 0, "screen", 1.0),
    ],
    best=Score("abcd1234", "val_bpb", 2.4, 0.004, 2),
    seed=Score("seed", "val_bpb", 2.5, math.nan, 4),
    minimise=True,
    front_size=3,
    waiting=1,
    events=[EventFrame(0.0, "measured", "screen \x1b[2Jabcd1234 [red]x[/red]")],
    operators=[OperatorFrame("nudge", 4, 1, 2, 1)],
    notice="",
    gap=Gap(0.09, 2),
    way=Way(7, 20, 300.0),
)


def test_the_live_view_shows_slots_best_front_events_and_operators() -> None:
    text = shown(draw(FRAME))
    for part in (
        "5 of 20",
        "abcd1234",
        "screen proxy·2",
        "2.000",
        "free",
        "0.0900 better than the seed on 2 blocks",
        "run 8 of about 20, about 5 min left",
        "scoring",
        "starting",
        "3 variants",
    ):
        assert part in text, part
    assert "not yet proven" in text
    assert "2 beat a parent" in text and "1 on front" in text
    assert "[red]x[/red]" in text and "\x1b" not in text


def test_the_live_view_bears_a_campaign_that_has_nothing_yet() -> None:
    empty = replace(FRAME, best=None, seed=None, events=[], operators=[], limits=[], slots=[])
    assert "searching" in shown(draw(empty))


def test_a_notice_is_seen() -> None:
    assert "stopping: wait" in shown(draw(replace(FRAME, notice="stopping: wait")))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_the_live_view_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in shown(draw(FRAME), width=width).splitlines())


def test_80_columns_cut_no_id_number_or_label_of_the_live_view() -> None:
    text = shown(draw(replace(FRAME, gap=Gap(0.0901, 12, 0.0123, "unseen_bpb"))), width=80)
    slots = [line.rstrip() for line in text.splitlines() if line.startswith("cpu")]
    assert len(slots) == 4 and not any("…" in line for line in slots)
    for part in ("abcd1234  screen proxy·2", "0:12", "2.000 nats", "believed best", "front"):
        assert part in text, part
    said = "0.090 better than the seed in unseen_bpb on 12 blocks, not yet proven"
    assert said in unwrapped(text)


def test_how_far_a_campaign_has_come_goes_whole_below_its_name_where_both_have_no_room() -> None:
    frame = replace(
        FRAME, phase="measuring the new champion afresh", seconds=1392, way=Way(33, 40, 120.0)
    )
    way = "run 34 of about 40, about 2 min left"
    first, second, *_ = shown(draw(frame), width=80).splitlines()
    assert (first, second) == ("night  measuring the new champion afresh  23:12", way)
    assert shown(draw(frame), width=110).splitlines()[0].endswith(f"23:12  {way}")


def test_the_closing_screen_asks_for_no_longer_run_where_the_difference_is_shown(
    tmp_path: Path,
) -> None:
    built, leader, _ = finished(tmp_path)
    assert "What a longer run would need" not in closing(built)
    for block, bpb in enumerate((2.1, 2.9, 2.4), start=9):
        built.run(built.seed, 2.5, block, Purpose.FINAL)
        built.run(leader, bpb, block, Purpose.FINAL)
    assert "What a longer run would need" in closing(built)


def test_on_a_narrow_terminal_columns_of_the_live_view_give_way_before_a_letter_is_cut() -> None:
    slot = replace(FRAME.slots[0], name="node17.example:cuda:3", rung="larger_by_far")
    crowded = replace(
        FRAME,
        slots=[*FRAME.slots, slot],
        limits=[
            Limit("dollars of models", 1, 10, "1.23 of 10.00 dollars, 3 h 20 min of 8 h left, more")
        ],
        operators=[OperatorFrame("a_coding_agent_of_ones_own", 123, 45, 67, 8)],
    )
    names = ("node17.example:cuda:3  abcd1234", "dollars of models", "a_coding_agent_of_ones_own")
    for width in (60, 80):
        text = shown(draw(crowded), width=width)
        assert "…" not in text and all(name in text for name in names)
        assert all(len(line) <= width for line in text.splitlines())
    assert "45 failed" not in shown(draw(crowded), width=80)
    assert "45 failed" in shown(draw(crowded), width=110)


def test_a_lineage_deeper_than_the_stack_can_be_drawn_to_a_depth() -> None:
    branch = Branch("f" * 64, "nudge", "")
    for _ in range(5000):
        branch = Branch("e" * 64, "nudge", "", (branch,))
    text = shown(family_tree(branch, {}, {}, 2, {}))
    assert "… 4998 more" in text


def test_the_forecast_names_every_figure_of_a_start() -> None:
    plan = Plan(2, (RungPlan("proxy", 8.0, 2.0),), 4, 0.2, 3, variants=20, seconds=None)
    text = unwrapped(shown(forecast_screen("night", "campaigns/night-1", forecast(plan), 0.0)))
    for part in (
        "slots 2",
        "seconds a child 15 s",
        "children an hour 384",
        "children 20",
        "disk about",
    ):
        assert part in text, part
    assert "0 tokens, 0 dollars" in text and "expected end in about" in text


def test_the_forecast_says_how_long_a_race_for_proof_may_take_on_top() -> None:
    plan = Plan(2, (RungPlan("proxy", 8.0, 2.0),), 4, 0.2, 3, variants=20, seconds=None)
    raced = replace(plan, race_runs=24)
    text = unwrapped(shown(forecast_screen("night", "campaigns/night-1", forecast(raced), 0.0)))
    assert "certification up to 24 runs more, as races need them: up to 3 min more" in text
    assert forecast(raced).seconds == forecast(plan).seconds
    assert ", or up to 3 min later for certification" in text


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (64, "fresh rows for 64 blocks, at most 20 needed disk"),
        (9, "for 9 blocks, at most 20 needed: beyond that rows are asked again, and each run says"),
        (0, "fresh rows none: pairs are compared on the rows that are always asked; add text"),
        (None, "20; "),
    ],
)
def test_the_forecast_says_how_long_rows_that_nobody_was_asked_will_do(
    held: int | None, says: str
) -> None:
    plan = Plan(2, (RungPlan("proxy", 8.0, 2.0),), 4, 0.2, 3, variants=20, seconds=None)
    race = replace(plan, race_share=0.5, leaders=4)
    plan = replace(race, fresh_blocks=16, fresh_blocks_held=held)
    foreseen = forecast(plan)
    assert foreseen.fresh_blocks == 16 + 4, "12 race runs: two blocks of four, then two of two"
    text = unwrapped(shown(forecast_screen("night", "here", foreseen, 0.0)))
    assert says in text
    assert ("fresh rows" in text) == (held is not None)


def test_the_forecast_says_which_operators_rest_and_why() -> None:
    rests = "llm_mutate unavailable: OPENAI_API_KEY is not set"
    plan = Plan(
        2, (RungPlan("proxy", 8.0, 2.0),), 4, 0.2, 3, 20, seconds=None, llm_unavailable=rests
    )
    text = unwrapped(shown(forecast_screen("night", "here", forecast(plan), 0.0)))
    assert f"none: {rests}; 0 tokens, 0 dollars" in text


def test_the_outlook_shrinks_with_every_run_and_agrees_with_the_forecast() -> None:
    rungs = (RungPlan("proxy", 8.0, measured_seconds=10.0), RungPlan("larger", 24.0, 2.0))
    work = {"larger": RungWork(2, 2)}
    plan = Plan(2, rungs, 4, 0.2, 3, variants=20, seconds=None, ladder=work)
    expected = forecast(plan)
    start = outlook(plan, 0, 0, 0.0)
    assert start is not None and start.runs == expected.runs
    assert start.seconds_left == pytest.approx(expected.seconds, rel=0.15)
    later = outlook(plan, 10, 2, 100.0)
    assert later is not None and later.runs == start.runs + 2
    assert later.seconds_left == pytest.approx(start.seconds_left - 50.0 + 10.0)
    over = outlook(plan, 100, 0, 1e6)
    assert over is not None and (over.runs, over.seconds_left) == (100, 0.0)


def test_runs_that_nobody_planned_take_no_time_from_those_to_come() -> None:
    plan = Plan(1, (RungPlan("proxy", 8.0),), 4, 0.2, 3, variants=20, seconds=None)
    before = [_measured(Purpose.SCREEN, place) for place in range(10)]
    after = [
        _measured(purpose, place) for purpose in (Purpose.POST, Purpose.CHECK) for place in range(8)
    ]
    start, later = outlook_of(plan, before), outlook_of(plan, before + after)
    assert start is not None and later is not None
    assert later.seconds_left == pytest.approx(start.seconds_left) and start.seconds_left > 60
    assert later.runs == start.runs + 16


def _measured(purpose: Purpose, block: int) -> Measurement:
    request = RunRequest("child", "proxy", block, 0, purpose)
    return Measurement(request, Status.OK, metrics={"val_bpb": 2.0}, wall_seconds=10.0)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("stopped; `evo resume` goes on", "stopped; `evo resume --dir x` goes on"),
        ("`evo resume --set a.b=3`", "`evo resume --dir x --set a.b=3`"),
        (
            "`evo approve ID`, then `evo graduate`",
            "`evo approve ID --dir x`, then `evo graduate --dir x`",
        ),
        ("`evo stop --dir y`", "`evo stop --dir y`"),
        ("`evo run CONFIG` starts one", "`evo run CONFIG` starts one"),
    ],
)
def test_a_suggested_command_names_the_folder_it_is_meant_for(text: str, there: str) -> None:
    assert placed(text, " --dir x") == there
    assert placed(text, "") == text


def test_while_only_the_seed_is_measured_nothing_is_said_of_children(tmp_path: Path) -> None:
    built = Built(tmp_path)
    assert "Nothing has been measured yet" in closing(built)
    built.run(built.seed, 2.5, purpose=Purpose.CALIBRATE)
    text = closing(built)
    assert "Only the seed has been measured" in text and "nothing better" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.21, "4.2 s"),
        (45, "45 s"),
        (600, "10 min"),
        (12000, "3 h 20 min"),
        (187200, "2 d 4 h"),
        (None, "–"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_keep_the_digits_that_say_something() -> None:
    assert value("val_bpb", 2.51234) == "2.5123"
    assert value("val_bpb", 0.000312) == "0.00031"
    assert value("parameters", 65536.0) == "65,536"
    assert value("val_bpb", math.nan) == "–"


@given(st.lists(st.floats(width=32)), st.integers(min_value=1, max_value=30))
def test_a_curve_never_outgrows_its_place(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= width


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(min_value=1, max_value=40))
def test_a_bar_always_has_its_width(part: float, width: int) -> None:
    assert len(bar(part, width)) == width


def test_the_loss_of_a_slot_carries_its_unit() -> None:
    assert shown(draw(FRAME), width=120).count("2.000 nats") == 2


def test_the_forecast_tells_what_waits_for_a_persons_word() -> None:
    rungs = (RungPlan("proxy", 300.0, 3.0), RungPlan("larger", 1200.0, 3.0))
    work = {"larger": RungWork(4, 12)}
    plan = Plan(1, rungs, 4, 0.2, 3, None, seconds=28_800.0, ladder=work)
    alone, asked = forecast(plan), forecast(replace(plan, asks_before_ladder=True))
    assert alone.seconds is not None and asked.seconds is not None
    assert alone.seconds - asked.seconds == pytest.approx(12 * 1208.0) == asked.ladder_seconds
    text = unwrapped(shown(forecast_screen("night", "here", asked, 0.0)))
    assert "then it waits for your `evo approve`, and what goes up takes up to 4 h 02 min" in text
    assert "evo approve" not in shown(forecast_screen("night", "here", alone, 0.0))


def test_far_dates_have_a_year_and_absurd_ones_are_left_out() -> None:
    plan = Plan(1, (RungPlan("proxy", 8.0, 2.0),), 4, 0.2, 3, 1, seconds=None)
    for variants, told in ((10, ", at"), (20_000_000, " years, at"), (10**15, " years")):
        one = forecast(replace(plan, variants=variants))
        text = unwrapped(shown(forecast_screen("night", "here", one, 0.0)))
        assert told in text, variants
    assert text.endswith("in about a million years or more")
    later = forecast(replace(plan, variants=2_000_000))
    text = unwrapped(shown(forecast_screen("night", "here", later, 0.0)))
    assert re.search(r", at \w+ \d\d \w+ \d{4} \d\d:\d\d", text)


def test_a_run_that_ends_itself_is_forecast_by_its_limit_until_one_was_measured() -> None:
    plan = Plan(2, [RungPlan("proxy", 600.0)], 4, 0.2, 0, 10, None, ends_itself=True)
    told = forecast(plan)
    assert told.at_most and end_in_words(told, 0.0).startswith("at the latest in ")
    measured = replace(plan, rungs=[replace(plan.rungs[0], measured_seconds=2.0)])
    assert not forecast(measured).at_most
    assert end_in_words(forecast(measured), 0.0).startswith("in about ")
