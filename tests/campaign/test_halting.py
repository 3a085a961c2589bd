"""A campaign that ends by its own rule: decided from rows and a clock that is handed in, and kept."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.assembly.campaign import build_campaign
from evo.config import ConfigError, read_config
from evo.folder import Folder, change_config, config_of, create_campaign
from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from evo.search.certification import Certification, CertificationSettings
from evo.search.halting import (
    HALTED,
    StopRules,
    StopSettings,
    StopState,
    next_time,
    progress_of,
    way_on,
)
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings, Scheduler
from evo.search.synchronous import SynchronousSearch
from population.archive import DEFAULT_OBJECTIVES, Objective
from population.lineage import Lineage
from population.reading import decisions, measurements
from population.run_history import RunHistory
from population.types import Estimate, Measurement, MeasurementRow, Purpose, RunRequest, Status
from tests.campaign.fakes import make_campaign, make_store
from tests.campaign.real import write_config
from tests.campaign.test_certifying import FakeNoise

LOSS = (Objective(name="val_bpb"),)
TWICE = CertificationSettings(attempts=2, most_pairs=8)
PLENTY = BudgetSettings(variants=400)
POLICY = PolicySettings(seed_blocks=4, seed_repeats=0, final_blocks=1, race_share=0)
positive = st.floats(0.01, 1e4)
settings = st.builds(
    StopSettings,
    no_certified_gain_for=st.dictionaries(st.just("hours"), positive)
    | st.dictionaries(st.just("variants"), st.integers(1, 1000)),
    target=st.dictionaries(st.just("val_bpb"), st.floats(0, 4)),
    until=st.none() | st.just("07:00"),
)


def is_over(asked: StopSettings, state: StopState) -> bool:
    return any(one.is_reached for one in progress_of(asked, LOSS, state))


@given(settings, st.integers(0, 1000), positive, positive, positive, positive)
def test_more_time_and_more_children_never_begin_a_search_again(
    asked: StopSettings, children: int, seconds: float, now: float, deadline: float, more: float
) -> None:
    before = StopState(children, seconds, now=now, deadline=deadline)
    after = StopState(children + int(more), seconds + more, now=now + more, deadline=deadline)
    assert is_over(asked, after) or not is_over(asked, before)


@given(st.floats(0, 4e9), st.integers(0, 23), st.integers(0, 59))
def test_until_is_the_next_such_time_of_day_after_the_start(after: float, h: int, m: int) -> None:
    found = next_time(after, f"{h:02d}:{m:02d}")
    assert after < found <= after + 26 * 3600  # a day of summer time's end has 25 hours
    told = datetime.fromtimestamp(found)
    assert (told.hour, told.minute, told.second) == (h, m, 0) or told.hour in (h - 1, h + 1)
    assert found - after <= 25 * 3600 or told.date() > datetime.fromtimestamp(after).date()


def test_until_lies_across_midnight_when_the_campaign_begins_after_it() -> None:
    evening = datetime(2026, 3, 3, 22, 15).timestamp()
    assert datetime.fromtimestamp(next_time(evening, "07:00")) == datetime(2026, 3, 4, 7)
    assert datetime.fromtimestamp(next_time(evening, "22:15")) == datetime(2026, 3, 4, 22, 15)
    assert datetime.fromtimestamp(next_time(evening, "23:00")) == datetime(2026, 3, 3, 23)


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        (Estimate(1.40, 0.01, 4), True),
        (Estimate(1.49, 0.01, 4), False),  # not with its whole interval
        (Estimate(1.40, 0.01, 1), False),  # one run that may have been lucky
        (Estimate(1.40, 0.0, 1), True),  # without noise one run says it
        (Estimate(1.40, math.nan, 9), False),
    ],
)
def test_a_target_is_reached_by_the_whole_interval_of_what_is_believed(
    found: Estimate, reached: bool
) -> None:
    asked = StopSettings(target={"val_bpb": 1.5})
    state = StopState(believed={"a" * 64: {"val_bpb": found}})
    (one,) = progress_of(asked, LOSS, state)
    assert one.is_reached is reached and "aaaaaaaa" in one.words


def test_several_targets_are_to_be_reached_by_one_variant_each_in_its_direction() -> None:
    both = (Objective(name="val_bpb"), Objective(name="speed", direction="maximise"))
    asked = StopSettings(target={"val_bpb": 1.5, "speed": 10})
    good, slow = Estimate(1.4, 0.0, 1), Estimate(9.0, 0.0, 1)
    state = StopState(believed={"a": {"val_bpb": good, "speed": slow}})
    assert not progress_of(asked, both, state)[0].is_reached
    state = StopState(believed={"a": {"val_bpb": good, "speed": Estimate(11.0, 0.0, 1)}})
    assert progress_of(asked, both, state)[0].variant_id == "a"


# -- in the loop -----------------------------------------------------------------------------------


def halts(store) -> list:
    return decisions(store, (HALTED,))


def test_a_campaign_without_a_gain_ends_by_itself_and_finishes_what_follows_a_search(
    tmp_path: Path,
) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    stop = StopSettings(no_certified_gain_for={"variants": 12})
    proof = CertificationSettings(attempts=2, most_pairs=2)  # too few to prove anything
    made = {"evaluator": FakeNoise(gain=0.02), "policy": POLICY, "budget": PLENTY, "stop": stop}
    ending = make_campaign(open_store, certification=proof, **made).run()
    with open_store() as store:
        (halt,) = halts(store)
        ran = [row.measurement.request.purpose for row in measurements(store)]
    assert ending.complete and ending.halt is not None
    assert ending.reason.startswith("stop.no_certified_gain_for.variants: 12 of 12 children")
    assert halt.detail["rule"] == "no_certified_gain_for.variants"
    assert 12 <= ran.count(Purpose.SCREEN) < 24 and Purpose.RACE in ran and Purpose.FINAL in ran
    again = make_campaign(open_store, certification=proof, **made).run()
    with open_store() as store:  # the search does not begin again
        later = [row.measurement.request.purpose for row in measurements(store)]
        assert later.count(Purpose.SCREEN) == ran.count(Purpose.SCREEN) and len(halts(store)) == 1
    assert again.reason == ending.reason


def test_children_are_counted_from_the_last_certified_gain_also_by_a_later_process(
    tmp_path: Path,
) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    made = {"evaluator": FakeNoise(gain=0.05), "policy": POLICY, "certification": TWICE}
    campaign = make_campaign(open_store, budget=BudgetSettings(variants=24), **made)
    campaign.run()
    wins = campaign.components.scheduler.certification.wins
    assert wins, "a gain is certified"
    live = campaign.components.stop
    stop = StopSettings(no_certified_gain_for={"variants": 12})
    later = make_campaign(open_store, budget=PLENTY, stop=stop, **made)
    assert later.components.stop._state(None, None, None) == live._state(None, None, None)
    assert later.components.scheduler.certification.wins == wins
    ending = later.run()
    with open_store() as store:
        screens = [
            row.id
            for row in measurements(store)
            if row.measurement.request.purpose is Purpose.SCREEN
        ]
        gained, _ = store.setting("certified_gain")
    assert ending.halt is not None and "since the last certified gain" in ending.reason
    assert sum(one > gained for one in screens) >= 12 and gained > 0


def test_a_target_ends_a_campaign_with_who_reached_it(tmp_path: Path) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    stop = StopSettings(target={"val_bpb": 1.9})
    made = {"evaluator": FakeNoise(gain=0.3), "policy": POLICY, "budget": PLENTY}
    ending = make_campaign(open_store, stop=stop, certification=TWICE, **made).run()
    assert ending.complete and ending.halt is not None
    with open_store() as store:
        (halt,) = halts(store)
    assert halt.variant_id and halt.variant_id[:8] in ending.reason


def test_past_its_time_a_campaign_makes_no_child_and_a_later_time_lets_it_go_on(
    tmp_path: Path,
) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    stop = StopSettings(until="07:00")
    ending = make_campaign(open_store, stop=stop, deadline=1.0).run()
    assert ending.reason.startswith("stop.until: 1970-01-0") and ending.complete
    with open_store() as store:
        before = [row.measurement.request.purpose for row in measurements(store)]
    assert set(before) == {Purpose.CALIBRATE}
    assert make_campaign(open_store, stop=stop, deadline=1.0).run().halt is not None
    ending = make_campaign(open_store, stop=stop, deadline=9e9).run()
    assert ending.halt is None and "variants" in ending.reason


def test_hours_are_those_that_the_campaign_ran_since_its_last_certified_gain() -> None:
    asked = StopSettings(no_certified_gain_for={"hours": 2})
    history = RunHistory(LOSS, "seed")
    proof = Certification(TWICE, history, "proxy")
    rules = StopRules(asked, history, proof, "proxy")
    assert rules.next(now=0.0, seconds=7199.0) is None
    assert rules.next(now=0.0, seconds=None) is None  # nobody counts them here
    for purpose, who, row in ((Purpose.RACE, "seed", 1), (Purpose.RACE, "a", 2)):
        request = RunRequest(who, "proxy", 7, 0, purpose)
        history.add(MeasurementRow(row, Measurement(request, Status.OK, metrics={"val_bpb": 1.0})))
    proof.wins.append(("a", "seed", 7))
    assert rules.note_gain(7000.0) == (2, 7000.0) and rules.note_gain(7100.0) is None
    assert rules.next(now=0.0, seconds=7200.0) is None
    halt = rules.next(now=0.0, seconds=14200.0)
    assert halt is not None and "2 of 2 hours since the last certified gain" in halt.detail["words"]
    assert way_on(halt) == "--set stop.no_certified_gain_for.hours=4"


def test_the_search_without_threads_ends_by_the_same_rules() -> None:
    history, lineage = RunHistory(DEFAULT_OBJECTIVES, "seed"), Lineage()
    proof = Certification(TWICE, history, "proxy")
    graduation = Graduation(GraduationSettings(), history, lineage, ["proxy"])
    scheduler = Scheduler(POLICY, history, "proxy", proof, graduation)
    names = iter(f"v{number}" for number in range(100))
    asked = StopSettings(no_certified_gain_for={"variants": 5})
    rules = StopRules(asked, history, proof, "proxy")
    search = SynchronousSearch(scheduler, lambda: next(names), lambda: False, rules=rules)
    row = 0
    while (request := search.next()) is not None:
        row += 1
        score = 2.0 + 0.01 * (hash((request.variant_id, request.block)) % 7)
        metrics = {"val_bpb": score, "parameters": 1.0}
        history.add(MeasurementRow(row, Measurement(request, Status.OK, metrics=metrics)))
        search.tell(request)
    screens = history.rows("proxy", purposes={Purpose.SCREEN})
    assert len(screens) == 5 and search.is_over()
    assert [one.kind for one in search.decisions].count(HALTED) == 1


def test_an_exact_campaign_halts_at_the_same_child_every_time(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        open_store = make_store(tmp_path / f"{name}.db")
        stop = StopSettings(no_certified_gain_for={"variants": 7})
        make_campaign(
            open_store,
            evaluator=FakeNoise(gain=0.0),
            certification=TWICE,
            policy=POLICY,
            budget=PLENTY,
            slots=1,
            loop=LoopSettings(exact=True),
            stop=stop,
        ).run()
        with open_store() as store:
            found.append([row.measurement.request for row in measurements(store)])
            assert len(halts(store)) == 1
    assert found[0] == found[1]


# -- in the config ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("stop.until=25:00", "stop.until: should be a local time of day from 00:00 to 23:59"),
        ("stop.until=7", "stop.until"),
        ("stop.target.val_bbp=1", "'val_bbp' is none of the objectives; did you mean 'val_bpb'?"),
        ("stop.no_certified_gain_for.days=1", "holds variants, hours or both, not 'days'"),
        ("stop.no_certified_gain_for.variants=0", "variants: should be a number above 0"),
        ("stop.no_certified_gain_for.variants=1.5", "variants: should be a whole number"),
        ("stop.no_certified_gain_for=5", "stop.no_certified_gain_for: should be keys and values"),
        ("stop.untl=07:00", "did you mean 'until'?"),
    ],
)
def test_a_rule_that_cannot_be_meant_names_its_key_and_the_fix(
    tmp_path: Path, change: str, told: str
) -> None:
    path = write_config(tmp_path, certification={"attempts": 2})
    with pytest.raises(ConfigError) as caught:
        read_config(path, [change])
    assert told in str(caught.value) and "stop." in str(caught.value)


def test_what_a_clock_decides_is_refused_where_the_same_rows_are_to_come_again(
    tmp_path: Path,
) -> None:
    exact = {"exact": True, "slots": 1, "clock": "tokens", "certification": {"attempts": 2}}
    for stop in ({"until": "07:00"}, {"no_certified_gain_for": {"hours": 1}}):
        with pytest.raises(ConfigError, match=r"stop\.\w+.*exact: true.*variants or stop.target"):
            read_config(write_config(tmp_path, stop=stop, **exact))
    read_config(write_config(tmp_path, stop={"target": {"val_bpb": 1}}, **exact))


def test_a_gain_that_nobody_may_certify_is_no_rule(tmp_path: Path) -> None:
    stop = {"no_certified_gain_for": {"variants": 5}}
    with pytest.raises(ConfigError, match=r"certification\.attempts: 0; give it 2 or more"):
        read_config(write_config(tmp_path, stop=stop))


def test_the_same_time_asked_for_again_means_the_next_one(tmp_path: Path) -> None:
    def rules(folder: Folder) -> StopRules:
        found = build_campaign(folder, config_of(folder), LoopSettings()).components.stop
        assert found is not None
        return found

    config = write_config(tmp_path, stop={"until": "07:00"}, sandbox={"mode": "none"})
    folder = create_campaign(read_config(config), tmp_path / "c")
    now = datetime.now().timestamp()
    assert rules(folder).next(now) is None and rules(folder).next(now + 26 * 3600) is not None
    with folder.open_store() as store:  # begun long ago: every later process knows that it is past
        store.set_setting("stop_until", {"until": "07:00", "at": 1.0})
    halt = rules(folder).next(now)
    assert halt is not None and way_on(halt) == "--set stop.until=07:00"
    change_config(folder, ["budget.variants=11"])
    assert rules(folder).next(now) is not None
    change_config(folder, ["stop.until=07:00"])
    assert rules(folder).next(now) is None
