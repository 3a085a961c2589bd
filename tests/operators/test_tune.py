"""The optimiser's operator: told everything, by whomever; few constants at a time; nothing twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from operators.operator import Draft, ProposalFailed, Request, RunState
from operators.optimisers.optimiser import Method, Space
from operators.source.constants import NEAR, constants, distance, tunable
from operators.source.knobs import read_knobs, with_knobs
from operators.tune import Tune, TuneSettings
from population.fingerprint import fingerprint
from tests.operators.histories import FakeHistory, setting
from tests.operators.samples import SEED, SMALL, request

METHODS = [Tune(TuneSettings(method=method)) for method in Method]


def asked(source: str, history: FakeHistory, seed: int = 0) -> Request:
    return replace(request(source, seed=seed), history=history)


def rate(value: float) -> str:
    return with_knobs(SMALL, {"MATRIX_LR": value})


def changed(draft: Draft, source: str) -> set[str]:
    before, after = constants(source), constants(draft.source)
    return {name for name in before if before[name] != after[name]}


@pytest.fixture(params=METHODS, ids=list(Method))
def tune(request: pytest.FixtureRequest) -> Tune:
    return request.param


def landscape(source: str) -> float:
    """Best at 0.004 for the matrices; nothing else matters."""
    return float(np.log(constants(source)["MATRIX_LR"] / 0.004) ** 2)


def test_it_changes_nothing_but_literals(tune: Tune) -> None:
    for seed in range(5):
        draft = tune.propose(asked(SMALL, FakeHistory([setting(SMALL, 1.0)], seed=SMALL), seed))
        values = {name: constants(draft.source)[name] for name in changed(draft, SMALL)}
        assert values and draft.source == with_knobs(SMALL, values)


def test_tpe_turns_one_to_three_constants_and_says_what_it_knew() -> None:
    history = FakeHistory([setting(SMALL, 1.0), setting(rate(0.03), 1.1)], seed=SMALL)
    drafts = [METHODS[0].propose(asked(SMALL, history, seed)) for seed in range(12)]
    assert {len(changed(draft, SMALL)) for draft in drafts} == {1, 2, 3}
    assert all("(tpe, 2 runs told)" in draft.idea for draft in drafts)


def test_tpe_turns_all_of_a_few_constants_at_once() -> None:
    few = "A = 5  # knob: int 0 9\nB = 5  # knob: int 0 9\nC = 5  # knob: int 0 9\nD = 5  # knob: int 0 9\n"
    history = FakeHistory([setting(few, 1.0)], seed=few)
    drafts = [METHODS[0].propose(asked(few, history, seed)) for seed in range(12)]
    assert max(len(changed(draft, few)) for draft in drafts) == 4


def test_what_others_measured_teaches_it(tune: Tune) -> None:
    """Forty settings made by anyone: its next ones lie nearer the optimum than the parent does."""
    rng = np.random.default_rng(0)
    sources = [SMALL] + [rate(float(np.exp(rng.uniform(*np.log([1e-3, 1e-1]))))) for _ in range(40)]
    history = FakeHistory([setting(one, landscape(one)) for one in sources], seed=SMALL)
    parent = min(sources, key=landscape)
    children = [tune.propose(asked(parent, history, seed)).source for seed in range(30)]
    turned = [
        landscape(one)
        for one in children
        if constants(one)["MATRIX_LR"] != constants(parent)["MATRIX_LR"]
    ]
    assert len(turned) >= 5
    assert np.median(turned) < landscape(SMALL) / 2


def test_with_all_objectives_weighed_it_looks_at_both_ends_of_the_front() -> None:
    """The first objective wants A small, the second wants it large: one share of 1 sees the first alone."""
    source = "A = 50  # knob: int 0 99\n"
    sources = [with_knobs(source, {"A": value}) for value in range(5, 100, 10)]
    runs = [setting(one, constants(one)["A"], others=(-constants(one)["A"],)) for one in sources]

    def means(share: float) -> list[float]:
        tune = Tune(primary_share=share)
        history = FakeHistory(runs, seed=source)
        drafts = [tune.propose(asked(sources[4], history, seed)) for seed in range(40)]
        assert all(("all objectives weighed" in one.idea) == (share < 1) for one in drafts)
        return [constants(one.source)["A"] for one in drafts]

    alone, weighed = means(1.0), means(0.0)
    assert np.mean(alone) < 30 and np.quantile(alone, 0.9) < 60
    assert np.quantile(weighed, 0.1) < 30 and np.quantile(weighed, 0.9) > 70


def test_weighing_is_not_squeezed_by_one_setting_that_is_far_off() -> None:
    space = Space.of(asked(SMALL, FakeHistory([setting(SMALL, 1.0)], seed=SMALL)))
    sources = [rate(0.02 + 0.001 * k) for k in range(6)]
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 900.0]
    runs = [
        setting(one, value, others=(-value,)) for one, value in zip(sources, values, strict=True)
    ]
    near = [setting(one, k, others=(-k,)) for k, one in enumerate(sources)]
    weighed = [
        [
            one.value
            for one in replace(space, settings=told).weighed(np.random.default_rng(3)).settings
        ]
        for told in (runs, near)
    ]
    assert weighed[0] == pytest.approx(weighed[1])


def test_weighing_needs_every_objective_and_leaves_what_has_no_score() -> None:
    space = Space.of(asked(SMALL, FakeHistory([setting(SMALL, 1.0)], seed=SMALL)))
    rng = np.random.default_rng(0)
    runs = [
        setting(SMALL, 1.0, others=(3.0,)),
        setting(rate(0.03), 2.0, others=(3.0,)),
        setting(rate(0.05), None),
    ]
    best, worst, waiting = replace(space, settings=runs).weighed(rng).settings
    assert best.value == 0.0 and 0 < worst.value < 1 and np.isnan(waiting.value)
    assert replace(space, settings=runs[2:]).weighed(rng).settings == runs[2:]


def test_the_constants_that_mattered_are_turned_most() -> None:
    others = [with_knobs(SMALL, {"WARMUP": at / 20}) for at in range(10) if at != 2]
    rates = [rate(0.002 * 1.5**at) for at in range(9)]
    history = FakeHistory(
        [
            setting(SMALL, landscape(SMALL)),
            *(setting(one, landscape(one)) for one in others + rates),
        ],
        seed=SMALL,
    )
    turned: Counter[str] = Counter()
    for seed in range(40):
        turned.update(changed(METHODS[0].propose(asked(SMALL, history, seed)), SMALL))
    assert turned["MATRIX_LR"] > 2 * turned["WARMUP"]
    assert set(turned) > {"MATRIX_LR", "WARMUP"}, "what was never turned gets its chance"


def test_a_run_under_way_is_not_proposed_again(tune: Tune) -> None:
    history = FakeHistory([setting(SMALL, 1.0)], seed=SMALL)
    first = tune.propose(asked(SMALL, history)).source
    history.all_settings = [*history.all_settings, setting(first, None)]
    assert history.all_settings[1].state is RunState.WAITING
    again = tune.propose(asked(SMALL, history)).source
    knobs = tunable(SMALL, (), {})
    assert distance(knobs, constants(again), constants(first)) > NEAR


def test_a_known_child_is_not_made_again(tune: Tune) -> None:
    history = FakeHistory([setting(SMALL, 1.0)], seed=SMALL)
    for _ in range(8):
        child = fingerprint(tune.propose(asked(SMALL, history)).source)
        assert child not in history.made
        history.made.add(child)


def test_it_gives_up_with_a_reason_where_everything_is_known() -> None:
    source = "A = True  # knob: choice True False\n"
    other = "A = False  # knob: choice True False\n"
    history = FakeHistory([setting(source, 1.0), setting(other, 2.0)], seed=source)
    with pytest.raises(ProposalFailed, match="tried before"):
        METHODS[0].propose(asked(source, history))


def test_a_failed_setting_counts_as_worse_than_the_worst() -> None:
    settings = [
        setting(SMALL, 1.0),
        setting(rate(0.03), 2.0),
        setting(rate(0.1), None, failed=True),
        setting(rate(0.05), None),
    ]
    space = Space.of(asked(SMALL, FakeHistory(settings, seed=SMALL)))
    assert [one.value for one in space.told()] == [1.0, 2.0, 2.5]
    assert [one.value for one in space.told(waiting=True)] == [1.0, 2.0, 2.5, 2.0]


def test_relatives_are_moved_to_the_level_the_structure_began_at() -> None:
    edited = SMALL.replace("x + 1", "x + 2")
    settings = [
        setting(edited, 5.0),
        setting(edited.replace("0.02", "0.01"), 4.0),
        setting(rate(0.03), 1.5, own=False),
        setting(rate(0.04), 1.0, own=False),
    ]
    space = Space.of(asked(edited, FakeHistory(settings, seed=SMALL)))
    assert [one.value for one in space.relatives()] == [5.0, 5.5]


# -- numbers without a remark ------------------------------------------------------------------------

ADDED = SMALL.replace(
    "# Training", "CAP = 15.0\nHEADS = 3\nEMA = 0.99\nON = 1\nSHIFT = -2\n\n# Training"
)


def test_a_number_that_came_without_a_remark_is_turned_in_a_guessed_range() -> None:
    knobs = {knob.name: knob for knob in tunable(ADDED, constants(SMALL), {})}
    guessed = {name: (knob.kind.value, knob.low, knob.high) for name, knob in knobs.items()}
    assert guessed["CAP"] == ("log", 3.75, 60.0)
    assert guessed["HEADS"] == ("int", 1, 12)
    assert guessed["EMA"] == ("float", pytest.approx(0.96), pytest.approx(0.9975))
    assert set(knobs) == {*constants(SMALL), "CAP", "HEADS", "EMA"}, "flags and signs are let be"


def test_the_idea_says_that_a_range_is_guessed() -> None:
    history = FakeHistory([setting(ADDED, 1.0)], seed=SMALL)
    ideas = [METHODS[0].propose(asked(ADDED, history, seed)).idea for seed in range(40)]
    (about, *_) = [idea for idea in ideas if idea.startswith("CAP")]
    assert "range guessed around its first value: CAP in log 3.75 60" in about


def test_a_guess_stays_where_the_structure_began() -> None:
    turned = ADDED.replace("CAP = 15.0", "CAP = 55.0")
    history = FakeHistory([setting(ADDED, 1.0), setting(turned, 0.9)], seed=SMALL)
    space = Space.of(asked(turned, history))
    (cap,) = [knob for knob in space.knobs if knob.name == "CAP"]
    assert (cap.low, cap.high) == (3.75, 60.0)


def test_the_seeds_own_plain_numbers_are_let_be() -> None:
    space = Space.of(asked(SEED, FakeHistory([setting(SEED, 1.0)])))
    assert {knob.name for knob in space.knobs} == {knob.name for knob in read_knobs(SEED)}
