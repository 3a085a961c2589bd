"""The ladder of rungs, driven by hand: who goes up, beside whom, on whose word, and across an interruption."""

from __future__ import annotations

import pytest

from evo.search.ladder_settings import ANCESTORS, GraduationSettings, Promotion, work_by_rung
from population.archive import Constraint
from population.ladder import Role, growth_remark
from population.types import Purpose, Status
from tests.campaign.climbing import RUNGS, SETTINGS, Mountain, names

MANUAL = SETTINGS.model_copy(update={"promotion": Promotion.MANUAL})


def test_the_better_half_goes_up_at_every_rung_beside_the_seed_and_the_same_controls() -> None:
    mountain = Mountain()
    graduation = mountain.graduation()
    mountain.climb(graduation)
    controls = set(names(graduation, "mid", Role.CONTROL))
    assert names(graduation, "mid", Role.GRADUATE) == ["v00", "v01", "v02", "v03"]
    assert names(graduation, "target", Role.GRADUATE) == ["v00", "v01"]
    assert len(controls) == 2
    assert mountain.on("mid") == {"seed", "v00", "v01", "v02", "v03", *controls}
    assert mountain.on("target") == {"seed", "v00", "v01", *controls}
    assert {one.block for one in mountain.ran if one.rung == "target"} == {0, 1}


def test_who_goes_up_at_the_next_rung_is_told_by_this_one_and_not_by_the_proxy() -> None:
    mountain = Mountain()
    graduation = mountain.graduation()
    while not mountain.on("mid"):
        mountain.climb(graduation, most=1)
    mountain.gains["v03"] = 0.9
    mountain.climb(graduation)
    assert names(graduation, "target", Role.GRADUATE)[0] == "v03"


def test_controls_come_from_the_middle_off_the_front_and_again_for_the_same_campaign_seed() -> None:
    drawn = []
    for seed in (7, 7, 8, 9, 10):
        mountain = Mountain(variants=30, front=3)
        graduation = mountain.graduation(seed=seed)
        mountain.decide(graduation)
        drawn.append(names(graduation, "mid", Role.CONTROL))
    assert drawn[0] == drawn[1] and len({tuple(one) for one in drawn}) > 2
    middle = {f"v{place:02d}" for place in range(10, 20)}
    assert all(set(one) <= middle for one in drawn)


def test_only_one_of_a_lineage_goes_up() -> None:
    mountain = Mountain(variants=3, front=3)
    mountain.grow("child", "v00", 0.5, 995.0)
    graduation = mountain.graduation()
    mountain.decide(graduation)
    assert names(graduation, "mid", Role.GRADUATE) == ["child", "v01", "v02"]


def test_the_proxy_is_run_once_more_on_blocks_that_chose_nobody() -> None:
    mountain = Mountain()
    mountain.climb(mountain.graduation())
    chose = {
        one.block for one in mountain.ran if one.rung == "proxy" and one.purpose is Purpose.SCREEN
    }
    fresh = [one for one in mountain.ran if one.rung == "proxy" and one.purpose is Purpose.GRADUATE]
    assert {one.block for one in fresh} == {2, 3} and not chose & {2, 3}
    assert len(fresh) == 2 * (1 + 4 + 2)


def test_a_ladder_that_is_done_makes_its_runs_at_the_proxy_once_it_is_to_have_controls() -> None:
    mountain = Mountain()
    none = SETTINGS.model_copy(update={"controls": 0})
    mountain.climb(mountain.graduation(none))
    done = len(mountain.ran)
    mountain.climb(mountain.graduation(SETTINGS))
    made = mountain.ran[done:]
    assert len([one for one in made if one.rung == "proxy"]) == 2 * (1 + 4 + 2)
    assert not {one.key for one in made} & {one.key for one in mountain.ran[:done]}


def test_the_next_best_takes_the_place_of_one_that_does_not_build() -> None:
    mountain = Mountain()
    build_fails = {"v01": Status.OUT_OF_MEMORY}
    mountain.fails = lambda one: (
        build_fails.get(one.variant_id) if one.rung == "mid/one-step" else None
    )
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert "v01" not in mountain.on("mid")
    assert names(graduation, "mid", Role.GRADUATE) == ["v00", "v02", "v03", "v04"]
    assert names(graduation, "target", Role.GRADUATE) == ["v00", "v02"]


def test_when_nobody_is_left_to_take_its_place_the_others_go_up() -> None:
    mountain = Mountain(front=2)
    mountain.fails = lambda one: (
        Status.CRASHED if (one.variant_id, one.rung) == ("v00", "mid/one-step") else None
    )
    graduation = mountain.graduation()
    assert mountain.climb(graduation) < 500
    assert names(graduation, "mid", Role.GRADUATE) == ["v01"]


def test_one_of_ten_times_the_size_goes_up_like_any_other() -> None:
    mountain = Mountain(variants=3, front=3)
    mountain.grow("giant", "seed", 0.5, 10_000.0)
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert "giant" in mountain.on("target")


def test_nobody_who_breaks_a_constraint_goes_up_even_where_everybody_does() -> None:
    mountain = Mountain(variants=3, front=3)
    mountain.history.constraints = (Constraint(name="parameters", at_most="seed x 0.985"),)
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert names(graduation, "mid", Role.GRADUATE) == ["v02"]
    mountain = Mountain(variants=3, front=3)
    mountain.history.constraints = (Constraint(name="parameters", at_most=10.0),)
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert not names(graduation, "mid", Role.GRADUATE) and not mountain.on("mid")


def test_a_multiple_of_the_seeds_size_holds_at_every_rung_and_the_next_best_takes_the_place() -> (
    None
):
    mountain = Mountain(variants=6, front=6)
    mountain.history.constraints = (
        Constraint(name="parameters", at_most="seed x 1.1"),
        Constraint(name="parameters", at_most=1000.0),  # a number is meant for the proxy
    )
    grows = {("v01", "mid/one-step"): 9.0}
    mountain.larger = lambda one: grows.get(
        (one.variant_id, one.rung), 3.0 if "/" in one.rung else 1.0
    )
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert names(graduation, "mid", Role.GRADUATE) == ["v00", "v02", "v03", "v04"]
    built = {one.variant_id for one in mountain.ran if one.rung == "mid/one-step"}
    assert "v01" in built and "v01" not in mountain.on("mid")
    found = graduation.ladder.misfit(
        graduation._built("v01", "mid"), graduation._built("seed", "mid"), "mid"
    )
    assert found == "breaks a constraint at mid: 8,910 parameters at most 3,300 (seed x 1.1)"


def test_whether_it_grows_with_depth_is_judged_by_its_own_growth() -> None:
    assert (
        growth_remark((500.0, 1500.0), (100.0, 300.0)) == ""
    )  # five times as large, grows as much
    assert growth_remark((100.0, 180.0), (100.0, 300.0)) == ""
    remark = growth_remark((900.0, 900.0), (100.0, 300.0))
    assert remark == "does not grow with depth: 1 times its size at the proxy, the seed 3 times"
    assert growth_remark((900.0, 900.0), (100.0, 100.0)) == ""  # the rung is no deeper


def test_nothing_runs_where_the_seed_itself_does_not_build() -> None:
    mountain = Mountain()
    mountain.fails = lambda one: (
        Status.CRASHED if one.variant_id == "seed" and one.rung == "mid/one-step" else None
    )
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert mountain.on("mid") == set() and graduation.waiting() == []


def test_one_that_fails_on_a_block_goes_no_further() -> None:
    mountain = Mountain()
    mountain.fails = lambda one: (
        Status.DIVERGED if (one.variant_id, one.rung, one.block) == ("v00", "mid", 1) else None
    )
    graduation = mountain.graduation()
    mountain.climb(graduation)
    assert names(graduation, "target", Role.GRADUATE) == ["v01", "v02"]


def test_each_step_waits_for_a_word_and_only_the_approved_go_up() -> None:
    mountain = Mountain()
    graduation = mountain.graduation(MANUAL)
    mountain.climb(graduation)
    assert mountain.on("mid") == set() and mountain.on("proxy") >= {"seed", "v00"}
    assert [(one.variant_id, one.rung) for one in graduation.waiting()] == [
        (f"v{place:02d}", "mid") for place in range(4)
    ]
    assert mountain.say(graduation, "approve", "v02", "mid")
    mountain.climb(graduation)
    controls = set(names(graduation, "mid", Role.CONTROL))
    assert mountain.on("mid") == {"seed", "v02", *controls}
    assert [one.variant_id for one in graduation.waiting()] == ["v00", "v01", "v03", "v02"]
    assert mountain.on("target") == set()
    assert mountain.say(graduation, "approve", "v02", "target")
    mountain.climb(graduation)
    assert mountain.on("target") == {"seed", "v02", *controls}


def test_one_approved_late_is_compared_anew_for_the_next_rung() -> None:
    mountain = Mountain()
    graduation = mountain.graduation(MANUAL)
    mountain.climb(graduation)
    for one in ("v02", "v00", "v01"):
        mountain.say(graduation, "approve", one, "mid")
        mountain.climb(graduation)
    assert names(graduation, "target", Role.GRADUATE) == ["v00", "v01"]


def test_a_vetoed_variant_is_neither_parent_nor_member_nor_graduate_and_the_next_best_takes_its_place() -> (
    None
):
    mountain = Mountain()
    graduation = mountain.graduation(MANUAL)
    mountain.climb(graduation)
    assert mountain.say(graduation, "veto", "v00")
    mountain.climb(graduation)
    assert [one.variant_id for one in graduation.waiting()] == ["v01", "v02", "v03", "v04"]
    assert "v00" not in mountain.history.front("proxy")
    assert "v00" not in [one.variant_id for one in mountain.history.candidates("proxy")]
    again = mountain.graduation(MANUAL)
    assert [one.variant_id for one in again.waiting()] == ["v01", "v02", "v03", "v04"]
    assert mountain.say(graduation, "unveto", "v00")
    assert "v00" in mountain.history.front("proxy")
    assert not graduation.ladder.is_approved("v00", "mid")
    assert not mountain.say(graduation, "veto", "seed")


def test_a_veto_in_the_middle_of_the_ladder_ends_the_way_up() -> None:
    mountain = Mountain()
    graduation = mountain.graduation()
    while "v00" not in mountain.on("target"):
        mountain.climb(graduation, most=1)
    before = len(mountain.ran)
    mountain.say(graduation, "veto", "v00")
    mountain.climb(graduation)
    assert "v00" not in {one.variant_id for one in mountain.ran[before:]}
    assert names(graduation, "target", Role.GRADUATE)[0] == "v01"


@pytest.mark.parametrize("settings", [SETTINGS, MANUAL])
@pytest.mark.parametrize("cut", [1, 9, 17, 26, 33, 41])
def test_a_ladder_that_was_killed_goes_on_and_repeats_nothing(
    settings: GraduationSettings, cut: int
) -> None:
    def whole(every: int) -> Mountain:
        mountain = Mountain()
        for _ in range(4):  # a word from time to time, in both alike
            while mountain.climb(mountain.graduation(settings), most=every) == every:
                pass
            for one in mountain.graduation(settings).waiting()[:2]:
                mountain.say(mountain.graduation(settings), "approve", one.variant_id, one.rung)
        return mountain

    once, cut_up = whole(500), whole(cut)
    assert cut_up.ran == once.ran and len(set(cut_up.keys())) == len(cut_up.keys())
    assert cut_up.decided == once.decided


def test_a_search_that_went_on_chooses_again_and_keeps_the_controls() -> None:
    mountain = Mountain()
    graduation = mountain.graduation()
    mountain.climb(graduation)
    controls = names(graduation, "mid", Role.CONTROL)
    mountain.grow("better", "seed", 0.8)
    mountain.climb(graduation)
    assert names(graduation, "mid", Role.GRADUATE)[0] == "better"
    assert names(graduation, "mid", Role.CONTROL) == controls
    assert names(graduation, "target", Role.GRADUATE)[0] == "better"


def test_the_best_at_the_target_brings_the_steps_that_led_to_it() -> None:
    mountain = Mountain(variants=3, front=3)
    for name, parent, gain in (
        ("one", "seed", 0.4),
        ("two", "one", 0.35),
        ("three", "two", 0.6),
        ("four", "three", 0.7),
    ):
        mountain.grow(name, parent, gain, 990.0)
    settings = SETTINGS.model_copy(update={"controls": 1})
    graduation = mountain.graduation(settings)
    mountain.climb(graduation)
    assert mountain.on("target") >= {"four", "one", "three"}
    assert "two" not in mountain.on("target"), "it was worse than its parent"


def test_the_best_and_the_seed_are_trained_with_shares_of_the_targets_budget() -> None:
    mountain = Mountain()
    settings = SETTINGS.model_copy(update={"budget_shares": (0.6, 0.9, 1.0)})
    mountain.climb(mountain.graduation(settings))
    for rung in ("target/x0.6", "target/x0.9"):
        runs = [one for one in mountain.ran if one.rung == rung]
        assert {(one.variant_id, one.block) for one in runs} == {
            (name, block) for name in ("seed", "v00") for block in range(3)
        }
    whole = [one for one in mountain.ran if one.rung == "target" and one.variant_id == "v00"]
    assert {one.block for one in whole} == {0, 1, 2} and len(whole) == 3


def test_no_share_is_trained_for_one_that_is_worse_than_the_seed_at_the_target() -> None:
    mountain = Mountain()
    settings = SETTINGS.model_copy(update={"budget_shares": (0.6, 1.0)})
    graduation = mountain.graduation(settings)
    while not mountain.on("mid"):
        mountain.climb(graduation, most=1)
    mountain.gains = {one: -0.1 if one != "seed" else 0.0 for one in mountain.gains}
    mountain.climb(graduation)
    assert graduation.ladder.reaching is None and mountain.on("target/x0.6") == set()


def test_a_free_slot_may_run_the_seed_ahead_where_nobody_is_asked() -> None:
    mountain = Mountain()
    taken = mountain.history.measured
    graduation = mountain.graduation()
    ahead = []
    while (request := graduation.ahead(taken)) is not None:
        mountain.run(request)
        ahead.append((request.variant_id, request.rung))
    assert set(ahead) == {("seed", one + end) for one in RUNGS[1:] for end in ("", "/one-step")}
    assert len(ahead) == 6
    assert mountain.graduation(MANUAL).ahead(taken) is None
    mountain.climb(graduation)
    assert len(set(mountain.keys())) == len(mountain.keys())


def test_the_most_that_the_ladder_takes_is_what_it_takes_when_all_goes_well() -> None:
    mountain = Mountain()
    settings = SETTINGS.model_copy(update={"budget_shares": (0.5, 1.0)})
    foreseen = work_by_rung(settings, RUNGS)
    mountain.climb(mountain.graduation(settings))
    for rung in RUNGS:
        graduating = [one for one in mountain.ran if one.purpose is Purpose.GRADUATE]
        built = sum(one.rung == f"{rung}/one-step" for one in graduating)
        lone = ANCESTORS if rung == "target" else 0  # nobody here has an ancestor but the seed
        assert foreseen[rung].builds == built + lone
        whole = sum(one.rung == rung for one in graduating)
        shared = sum(one.rung == f"{rung}/x0.5" for one in graduating)
        assert foreseen[rung].runs >= whole + 0.5 * shared
    assert work_by_rung(settings, RUNGS[:1]) == {}
