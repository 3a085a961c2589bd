"""A structure's study: what reaches the model, what it wants run, and that only the rows decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.operator import KnobSetting, RunState
from operators.optimisers.optimiser import Method, Space
from operators.optimisers.study import FIRST, MAX_TOLD, Fits, Study, axis_of, point_of, value_at
from operators.source.constants import constants
from operators.source.knobs import read_knobs, same_value, with_knobs
from operators.tune import Tune, TuneSettings
from tests.operators.histories import FakeHistory, setting
from tests.operators.samples import SEED, SMALL, request

FEW = "A = 5  # knob: int 0 9\nB = 5  # knob: int 0 9\nC = 5  # knob: int 0 9\n"


def few(*values: int) -> str:
    return with_knobs(FEW, dict(zip("ABC", values, strict=True)))


def bowl(source: str) -> float:
    a, b, c = constants(source).values()
    return 0.1 * ((a - 7) ** 2 + (b - 2) ** 2) + 0.01 * c


def measured(source: str, row: int, value: float | None = None, **more: object) -> KnobSetting:
    """One setting as its runs showed it."""
    mean = bowl(source) if value is None else value
    known = replace(setting(source, mean), row=row, measured=(mean,), seconds=1.0)
    return replace(known, **more)  # type: ignore[arg-type]


def some(count: int, seed: int = 0) -> list[KnobSetting]:
    rng = np.random.default_rng(seed)
    sources = dict.fromkeys([FEW, *(few(*rng.integers(0, 10, size=3)) for _ in range(9 * count))])
    return [measured(one, at) for at, one in enumerate(list(sources)[:count], 1)]


def study_of(
    known: Sequence[KnobSetting], fits: Fits | None = None, seed: int = 0, source: str = FEW
) -> Study:
    history = FakeHistory(known, seed=source)
    space = Space.of(replace(request(source), history=history))
    rng = np.random.default_rng(seed)
    return Study(space, rng, lambda row: history.settings("", row), None, fits)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_value_is_found_again_at_its_place(data: st.DataObject) -> None:
    knob = data.draw(
        st.sampled_from([*read_knobs(SMALL), *read_knobs("N = 4  # knob: choice 1 2 4")])
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    axis = axis_of(knob)
    value = value_at(knob, float(axis.draw(1, rng)[0]))
    assert knob.holds(value)
    again = value_at(knob, point_of(knob, value))
    assert same_value(again, value)


def test_plain_means_reach_the_model_and_not_beliefs_shrunk_to_the_parent() -> None:
    known = [replace(one, value=0.5, sd=0.001) for one in some(20)]  # as if all were the same
    study = study_of(known)
    np.testing.assert_allclose(study.told.means, [one.measured[0] for one in known])
    believed = study.believed()
    best = min(known, key=lambda one: one.measured[0])
    assert min(believed, key=lambda one: believed[one][0]) == best.variant_id


def test_it_climbs_to_the_best_setting_there_is_in_few_runs() -> None:
    known, fits = some(FIRST), Fits()
    for row in range(FIRST + 1, FIRST + 16):
        values = next(study_of(known, fits, row).suggestions())
        known.append(measured(with_knobs(FEW, dict(values)), row))
    assert min(bowl(one.variant_id) for one in known) == pytest.approx(0.0, abs=0.021)


def test_many_fits_are_made_for_few_settings_and_few_for_many() -> None:
    known, fits = some(60), Fits()
    for count in range(FIRST, len(known) + 1, 5):
        study_of(known[:count], fits).repeats()
    assert 5 <= len(fits.known) <= 10


def test_what_it_wants_depends_on_the_rows_alone() -> None:
    known, grown = some(30), Fits()
    for count in range(FIRST, len(known), 2):
        study_of(known[:count], grown).repeats()
    after, afresh = study_of(known, grown), study_of(known, Fits())
    np.testing.assert_array_equal(after.model.theta, afresh.model.theta)
    assert after.repeats() == afresh.repeats()
    assert list(after.suggestions())[:5] == list(afresh.suggestions())[:5]


def test_settings_beyond_the_cap_are_not_told() -> None:
    rng = np.random.default_rng(0)
    rows = [few(*map(int, one)) for one in np.argwhere(np.ones((10, 10, 10)))]
    known = [measured(rows[at], row) for row, at in enumerate(rng.permutation(MAX_TOLD + 40), 1)]
    assert len(study_of(known).told) == MAX_TOLD
    assert study_of(known).scored[0].row == 41


def test_those_who_may_be_best_are_run_again_and_settled_ones_are_not() -> None:
    """All 27 settings were run: two are level ahead of the rest, and one of these was run to the end."""
    small = "A = 0  # knob: int 0 2\nB = 0  # knob: int 0 2\nC = 0  # knob: int 0 2\n"
    sources = [
        with_knobs(small, dict(zip("ABC", map(int, at), strict=True)))
        for at in np.argwhere(np.ones((3, 3, 3)))
    ]
    known = [measured(one, row, 2.0, n=3, squares=0.02) for row, one in enumerate(sources, 1)]
    known[5] = replace(known[5], measured=(1.0,))
    known[20] = replace(known[20], measured=(1.05,))
    study = study_of(known, source=small)
    wanted = study.repeats()
    assert wanted is not None and set(wanted[:2]) == {sources[5], sources[20]}
    settled = [replace(one, n=24) for one in known]
    assert study_of(settled, source=small).repeats() == ()


def test_a_failure_bends_no_belief_and_keeps_others_away() -> None:
    def fails(source: str) -> bool:
        return int(constants(source)["A"]) >= 7

    known = [
        replace(one, state=RunState.FAILED, measured=(), value=np.nan, n=0)
        if fails(one.variant_id)
        else one
        for one in some(70)
    ]
    able = [one for one in known if one.state is RunState.SCORED]
    with_failures, without = study_of(known), study_of(able)
    np.testing.assert_array_equal(with_failures.told.means, without.told.means)
    np.testing.assert_array_equal(with_failures.model.theta, without.model.theta)
    bold = next(without.suggestions())
    assert int(bold["A"]) >= 7  # where it goes while it does not know of the failures
    failed = list[bool]()
    for row in range(71, 76):
        made = with_knobs(FEW, dict(next(study_of(known, seed=row).suggestions())))
        failed.append(fails(made))
        state = RunState.FAILED if fails(made) else RunState.SCORED
        known.append(measured(made, row, state=state, n=int(not fails(made))))
    assert sum(failed) <= 1


def test_a_new_structure_begins_with_what_its_relatives_showed() -> None:
    new = f"{FEW}x = [1]\n"
    relatives = [replace(one, own=False, structure="parent") for one in some(30)]
    child = measured(new, 31, bowl(FEW), edits=frozenset({"x"}))
    history = FakeHistory([*relatives, child], seed=FEW)
    tune = Tune(TuneSettings(method=Method.GP))
    ask = replace(request(new), history=history)
    draft = tune.propose(ask)
    assert bowl(draft.source) < bowl(FEW) / 4


def test_a_train_py_of_many_knobs_is_begun_with_small_changes() -> None:
    history = FakeHistory([setting(SEED, 1.0)], seed=SEED)
    tune = Tune(TuneSettings(method=Method.GP))
    drafts = [tune.propose(replace(request(SEED, seed=seed), history=history)) for seed in range(8)]
    before = constants(SEED)
    turned = [
        sum(value != before[name] for name, value in constants(one.source).items())
        for one in drafts
    ]
    assert max(turned) <= 6 and min(turned) >= 1
    assert all("(gp, 1 run told)" in one.idea for one in drafts)


def test_for_several_objectives_it_fills_the_front_and_for_the_first_alone_its_end() -> None:
    """The first objective wants A small, the second large."""
    source = "A = 40  # knob: int 20 60\nB = 3  # knob: int 0 6\n"

    def run(row: int, one: str) -> KnobSetting:
        a = int(constants(one)["A"])
        pair = (1.0 + a / 60, 2.0 - a / 60)
        return replace(measured(one, row, pair[0]), measured=pair, values=pair)

    def between(primary_share: float) -> int:
        """How many of ten settings lie where nobody was yet, between both ends of the front."""
        sources = [with_knobs(source, {"A": a, "B": a % 7}) for a in (40, *range(20, 30))]
        known = [run(row, one) for row, one in enumerate(sources, 1)]
        tune = Tune(TuneSettings(method=Method.GP), primary_share)
        for row in range(12, 22):
            asked = replace(request(source, seed=row), history=FakeHistory(known, seed=source))
            known.append(run(row, tune.propose(asked).source))
        return sum(30 <= int(constants(one.variant_id)["A"]) < 40 for one in known[11:])

    assert between(primary_share=0.0) >= 4 > between(primary_share=1.0)
