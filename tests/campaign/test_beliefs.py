"""Beliefs grown row by row are those computed from all rows at once, and so is the front."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.search.certification import Certification, CertificationSettings
from population import beliefs
from population.archive import (
    DEFAULT_OBJECTIVES,
    Constraint,
    Direction,
    Objective,
    admissible,
    front_among,
    nearest,
    pareto_front,
)
from population.beliefs import RungBeliefs
from population.lineage import Birth
from population.run_history import ROWS_OF_A_LOOK, RunHistory
from population.selection import population
from population.statistics import noise_sd
from population.statistics.blocks import BlockMeans
from population.statistics.posteriors import Posteriors
from population.types import Estimate, Measurement, MeasurementRow, Purpose, RunRequest, Status
from tests.at_once import estimates
from tests.counting import lines_run

SEED = "seed"
CONSTRAINTS = (Constraint(name="parameters", at_most=2.5),)
run = st.tuples(
    st.sampled_from([SEED, *"abcde"]),
    st.integers(0, 4),
    st.integers(0, 1),
    st.sampled_from([Purpose.SCREEN, Purpose.REMEASURE, Purpose.FINAL]),
    st.sampled_from([*[Status.OK] * 6, Status.CRASHED, Status.CRASHED, Status.CHEATED]),
    st.floats(2.0, 2.03),
    st.integers(1, 3),
)


def row(id: int, made: tuple[str, int, int, Purpose, Status, float, int]) -> MeasurementRow:
    variant_id, block, repeat, purpose, status, score, size = made
    if variant_id == SEED and status is Status.CHEATED:
        status = Status.OK  # the reference is never disqualified: everything hangs on it
    metrics = {"val_bpb": score, "parameters": float(size), "added_nodes": float(block % 2)}
    request = RunRequest(variant_id, "proxy", block, repeat, purpose)
    return MeasurementRow(
        id, Measurement(request, status, metrics=metrics if status is Status.OK else {})
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(run, max_size=40, unique_by=lambda one: one[:3]), st.integers(0, 3), st.randoms())
def test_beliefs_grown_row_by_row_are_those_of_all_rows_at_once(runs, swapped, chance):
    rows = [row(number, made) for number, made in enumerate(runs, start=1)]
    order = list(rows)
    for _ in range(min(swapped, len(rows) - 1)):  # two slots that end at once report in any order
        at = chance.randrange(len(order) - 1)
        order[at], order[at + 1] = order[at + 1], order[at]
    history = RunHistory(DEFAULT_OBJECTIVES, SEED, CONSTRAINTS)
    for number, one in enumerate(order, start=1):
        history.add(one)
        if chance.random() < 0.5:  # asked at any moment, so that it grows in any steps
            history.front("proxy")
            history.candidates("proxy", chance.randint(0, number))
    for as_of in (None, len(rows) // 2, len(rows)):
        seen = [one for one in rows if as_of is None or one.id <= as_of]
        whole = estimates(seen, SEED)
        assert repr(history.beliefs("proxy", as_of)) == repr(whole)
        assert history.noise_sd("proxy", "val_bpb", as_of) == noise_sd(seen, "val_bpb")
        if SEED not in whole:
            assert history.front("proxy", as_of) == [] == history.candidates("proxy", as_of)
            continue
        front = pareto_front(whole, DEFAULT_OBJECTIVES, whole[SEED], CONSTRAINTS)
        assert history.front("proxy", as_of) == front
        every = history.candidates("proxy", as_of)
        assert [one.variant_id for one in every] == [
            id for id, found in whole.items() if admissible(found, DEFAULT_OBJECTIVES, whole[SEED])
        ]
        assert population(history.candidates("proxy", as_of, 2), 2) == population(every, 2)


@dataclass
class Births:
    """A family written by hand."""

    known: dict[str, Birth] = field(default_factory=dict)

    def birth_of(self, variant_id: str) -> Birth | None:
        return self.known.get(variant_id)


FAMILY = Births(
    {
        "a": Birth("nudge", (SEED,)),
        "b": Birth("nudge", ("a",)),
        "c": Birth("bold", (SEED,)),
        "d": Birth("merge", ("b", "c"), SEED),
        "e": Birth("bold", ("d",)),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(run, max_size=40, unique_by=lambda one: one[:3]), st.randoms())
def test_posteriors_depend_on_the_rows_alone_not_on_when_they_were_asked_for(runs, chance):
    rows = [row(number, made) for number, made in enumerate(runs, start=1)]
    history = RunHistory(DEFAULT_OBJECTIVES, SEED, CONSTRAINTS, FAMILY)
    for number, one in enumerate(rows, start=1):
        history.add(one)
        if chance.random() < 0.5:
            history.front("proxy", chance.choice([None, number // 2, number]))
            history.believed(chance.choice("abcde"), "proxy")
    for as_of in (len(rows) // 2, len(rows), None):
        afresh = RunHistory(DEFAULT_OBJECTIVES, SEED, CONSTRAINTS, FAMILY)
        for one in rows[:as_of]:
            afresh.add(one)
        assert repr(history.beliefs("proxy", as_of)) == repr(afresh.beliefs("proxy"))
        assert history.front("proxy", as_of) == afresh.front("proxy")


def screened(variant_id: str, score: float, id: int, block: int = 0) -> MeasurementRow:
    metrics = {"val_bpb": score, "parameters": 7.0 + len(variant_id), "added_nodes": 0.0}
    request = RunRequest(variant_id, "proxy", block, 0, Purpose.SCREEN)
    return MeasurementRow(id, Measurement(request, Status.OK, metrics=metrics))


def test_an_ancestor_measured_after_its_descendant_moves_the_front_as_if_it_had_come_first():
    scores = [(SEED, 2.0, 0), (SEED, 2.2, 1), (SEED, 1.8, 2), ("e", 1.9, 0), ("c", 2.34, 0)]
    rows = [screened(name, score, at, block) for at, (name, score, block) in enumerate(scores, 1)]
    history = RunHistory(DEFAULT_OBJECTIVES, SEED, (), FAMILY)
    for one in rows:
        history.add(one)
    assert history.front("proxy")
    late = screened("a", 2.27, 6)  # what "e" is centred on from now on
    history.add(late)
    afresh = RunHistory(DEFAULT_OBJECTIVES, SEED, (), FAMILY)
    for one in [*rows, late]:
        afresh.add(one)
    assert history.front("proxy") == afresh.front("proxy") == [SEED]


def failing(variant_id: str, id: int) -> MeasurementRow:
    request = RunRequest(variant_id, "proxy", 0, 0, Purpose.SCREEN)
    return MeasurementRow(id, Measurement(request, Status.CRASHED, "boom"))


def a_family(rng, n, sd=0.005, gain=0.1, direction=Direction.MINIMISE):
    """A history of n children of the seed, one run each, and their true gains over it."""
    family, turn = Births(), 1.0 if direction is Direction.MINIMISE else -1.0
    history = RunHistory((Objective(name="val_bpb", direction=direction),), SEED, (), family)
    for block in range(6):
        history.add(screened(SEED, 2.0 + sd * rng.normal(), block + 1, block))
    truth = {}
    for k in range(n):
        kind, name = rng.random(), f"child{k}"
        effect = abs(rng.normal()) if kind < gain else 0.0 if kind < 0.4 else -abs(rng.normal(0, 5))
        family.known[name] = Birth("nudge", (SEED,))
        truth[name] = sd * effect
        for block in range(1 + (k % 5 == 0)):  # one in five on a second block: shows the noise
            score = 2.0 - turn * truth[name] + sd * rng.normal()
            history.add(screened(name, score, 2 * k + block + 7, block))
    return history, truth, turn


@pytest.mark.parametrize("direction", list(Direction))
def test_the_top_hundredth_of_children_is_as_good_as_the_campaign_believes(direction):
    believed, true, plain = [], [], []
    for world in range(8):
        history, truth, turn = a_family(np.random.default_rng(world), 400, direction=direction)
        beliefs, means = history.beliefs("proxy"), estimates(history.rows("proxy"), SEED)
        seed = beliefs[SEED]["val_bpb"].mean
        gains = {one: turn * (seed - beliefs[one]["val_bpb"].mean) for one in truth}
        for one in sorted(gains, key=gains.__getitem__)[-4:]:
            believed.append(gains[one])
            true.append(truth[one])
            plain.append(turn * (seed - means[one]["val_bpb"].mean))
    sd = 0.005
    assert np.mean(believed) == pytest.approx(np.mean(true), abs=0.25 * sd)
    assert np.mean(plain) > np.mean(true) + sd  # what shrinking is for


def test_of_two_equally_good_runs_the_one_measured_more_often_is_believed_more():
    history, _, _ = a_family(np.random.default_rng(3), 100)
    family = history._family
    id = 1000
    for name, blocks in (("once", 1), ("often", 5)):
        family.known[name] = Birth("nudge", (SEED,))
        for block in range(blocks):
            id += 1
            history.add(screened(name, 1.985 + 0.001 * (block % 2), id, block))
    once, often = (history.believed(one, "proxy")["val_bpb"] for one in ("once", "often"))
    assert often.mean < once.mean < history.believed(SEED, "proxy")["val_bpb"].mean
    assert history.front("proxy")[0] == "often"


def test_children_of_an_operator_that_often_fails_are_believed_less():
    def belief(failures: int) -> float:
        history, _, _ = a_family(np.random.default_rng(4), 200)
        for k in range(failures):
            history._family.known[f"lost{k}"] = Birth("bold", (SEED,))
            history.add(failing(f"lost{k}", 1000 + k))
        history._family.known["good"] = Birth("bold", (SEED,))
        history.add(screened("good", 1.985, 5000))
        return history.believed("good", "proxy")["val_bpb"].mean

    assert belief(0) < belief(200)


def test_what_is_measured_exactly_is_never_shrunk():
    history, _, _ = a_family(np.random.default_rng(5), 50)
    exact = RunHistory(DEFAULT_OBJECTIVES, SEED, (), history._family)
    for one in history.rows("proxy"):
        exact.add(one)
    for name, found in exact.beliefs("proxy").items():
        assert found["parameters"].mean == 7.0 + len(name)


def test_a_merge_is_believed_to_have_both_its_parents_gains_until_it_is_measured_well():
    history, _, _ = a_family(np.random.default_rng(6), 100)
    family, id = history._family, 2000
    for name, level in (("left", 1.98), ("right", 1.97)):
        family.known[name] = Birth("nudge", (SEED,))
        for block in range(8):
            id += 1
            history.add(screened(name, level + 0.0005 * (-1) ** block, id, block))
    family.known["both"] = Birth("merge", ("left", "right"), SEED)
    history.add(screened("both", 1.955, id + 1))
    parents = (history.believed(one, "proxy")["val_bpb"].mean for one in ("left", "right", SEED))
    left, right, seed = parents
    family.known["alone"] = Birth("merge", ("left", SEED), SEED)
    history.add(screened("alone", 1.955, id + 2))
    both, alone = (history.believed(one, "proxy")["val_bpb"].mean for one in ("both", "alone"))
    assert left + right - seed < both < 1.955  # between what it should be and what it showed
    assert both < alone - 0.002


def test_a_measurement_after_2000_variants_costs_no_walk_through_all_of_them():
    rng = np.random.default_rng(7)
    history, truth, _ = a_family(rng, 200)
    names, id, cost = list(truth), 10_000, []

    def take_in(row: MeasurementRow) -> None:
        history.add(row)
        history.front("proxy")
        history.candidates("proxy", None, 20)

    for k in range(1800):
        name, parent = f"late{k}", names[int(rng.integers(len(names)))]
        history._family.known[name] = Birth("nudge", (parent,))
        names.append(name)
        id += 1
        row = screened(name, 2.0 + 0.005 * rng.normal(), id)
        if k < 1750:
            take_in(row)
        else:
            cost.append(lines_run(lambda row=row: take_in(row)))
    assert (
        np.median(cost) < 20_000
    )  # half of it now; one that looks at everybody takes ten times that
    assert history._known("proxy", None)._beliefs["val_bpb"]._fits < 40


@dataclass
class ABlockWorld:
    """The seed on blocks 0 to 3, of which block 0 is easy, and children of it on block 0 alone."""

    direction: Direction = Direction.MINIMISE
    repeats: int = 3  # of the seed on block 0
    family: Births = field(default_factory=Births)

    def __post_init__(self) -> None:
        self.turn = 1.0 if self.direction is Direction.MINIMISE else -1.0
        objective = Objective(name="val_bpb", direction=self.direction)
        self.history = RunHistory((objective,), SEED, (), self.family)
        self.id = 0
        for block, effect in enumerate((-0.06, 0.01, 0.02, 0.03)):
            for repeat in range(self.repeats if block == 0 else 1):
                self.run(SEED, effect + 0.001 * (repeat - 1), block, repeat)

    def run(self, variant_id: str, worse: float, block: int = 0, repeat: int = 0) -> None:
        self.id += 1
        order = RunRequest(variant_id, "proxy", block, repeat, Purpose.SCREEN)
        metrics = {"val_bpb": 2.0 + self.turn * worse}
        self.history.add(MeasurementRow(self.id, Measurement(order, Status.OK, metrics=metrics)))

    def child(self, name: str, worse: float) -> None:
        self.family.known[name] = Birth("nudge", (SEED,))
        self.run(name, -0.06 + worse)

    def gain(self, name: str) -> float:
        seed, child = (self.history.believed(one, "proxy")["val_bpb"].mean for one in (SEED, name))
        return self.turn * (seed - child)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_child_that_lost_to_the_seed_on_an_easy_block_is_not_believed_better(direction, repeats):
    world = ABlockWorld(direction, repeats)
    for k in range(30):
        world.child(f"lost{k}", 0.003 + 0.0005 * k)
    assert world.history.front("proxy") == [SEED]
    assert all(world.gain(f"lost{k}") < 0 for k in range(30))
    assert world.history.members("proxy")[0].variant_id == SEED
    world.child("won", -0.02)
    assert world.history.front("proxy") == ["won"] and world.gain("won") > 0
    for block, effect in ((1, 0.01), (2, 0.02), (3, 0.03)):  # re-measured: still as its pairs say
        world.run("won", effect - 0.02 + 0.002 * (-1) ** block, block)
    assert world.history.front("proxy") == ["won"]
    assert all(world.gain(f"lost{k}") < 0 for k in range(30))


def test_a_loss_to_the_parent_is_not_believed_a_gain_however_well_its_operator_does():
    world = ABlockWorld()
    for k in range(60):
        world.child(f"won{k}", -0.04 - 0.001 * k)
    world.child("lost", 0.0005)
    seed, lost = (world.history.believed(one, "proxy")["val_bpb"].mean for one in (SEED, "lost"))
    assert lost > seed


def test_what_is_believed_is_told_when_it_moves_and_taken_back_with_the_last_score():
    world = ABlockWorld()
    world.child("won", -0.02)
    world.child("other", 0.01)
    told = world.history.moved_beliefs("proxy")
    assert told == world.history.beliefs("proxy") and told.keys() == {SEED, "won", "other"}
    assert world.history.moved_beliefs("proxy") == {}
    world.child("late", 0.0)
    assert world.history.moved_beliefs("proxy").keys() == {"late"}
    request = RunRequest("won", "proxy", 1, 0, Purpose.REMEASURE)
    world.history.add(MeasurementRow(99, Measurement(request, Status.CHEATED, "it cheated")))
    assert world.history.moved_beliefs("proxy") == {"won": {}}


def test_with_many_variants_a_row_looks_at_a_few_and_the_last_word_is_of_all(monkeypatch):
    world, told, looks = ABlockWorld(), {}, [0]
    each_once = RungBeliefs.each_once

    def counted(self, variant_ids):
        asked = list(variant_ids)
        looks[0] += len(asked)
        return each_once(self, asked)

    monkeypatch.setattr(RungBeliefs, "each_once", counted)
    rng = np.random.default_rng(1)
    for number in range(240):
        world.child(f"child {number}", float(rng.normal(0.0, 0.02)))
        moved = world.history.moved_beliefs("proxy")
        told |= moved
        looks[0] = looks[0] if number >= 200 else 0
    assert f"child {number}" in moved, "the newest is told at once"
    assert 40 < looks[0] <= 40 * 3 * ROWS_OF_A_LOOK, "all of them, with every row: 40 * 220"
    told |= world.history.moved_beliefs("proxy", whole=True)
    assert told == world.history.beliefs("proxy")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-0.1, 0.1), min_size=4, max_size=4),
    st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=6),
)
def test_children_on_one_block_of_the_seeds_stand_to_it_as_their_pairs_do(effects, differences):
    seed = [("seed", 2.0 + effect, block) for block, effect in enumerate(effects)]
    children = [(f"c{k}", 2.0 + effects[0] + one, 0) for k, one in enumerate(differences)]
    runs = [screened(name, bpb, at, block) for at, (name, bpb, block) in enumerate(seed + children)]
    found = estimates(runs, SEED)
    for k, one in enumerate(differences):
        gap = found[f"c{k}"]["val_bpb"].mean - found[SEED]["val_bpb"].mean
        assert gap == pytest.approx(one, abs=1e-9)


def noisy_descent(many: int) -> tuple[list[MeasurementRow], Births]:
    """Rows of a long search: children of late ones, most of them worse, the best measured again."""
    rng, family = np.random.default_rng(11), Births()
    truth, rows = {SEED: (2.0, 1.0e5, 0)}, list[MeasurementRow]()
    best = [SEED]

    def measure(one: str, block: int, purpose: Purpose) -> None:
        score, size, nodes = truth[one]
        metrics = {"val_bpb": score + float(rng.normal(0, 0.003)), "parameters": size}
        request = RunRequest(one, "proxy", block, 0, purpose)
        told = Measurement(request, Status.OK, metrics={**metrics, "added_nodes": float(nodes)})
        rows.append(MeasurementRow(len(rows) + 1, told))

    for block in range(3):
        measure(SEED, block, Purpose.CALIBRATE)
    for number in range(many):
        parent = best[int(rng.integers(len(best)))]
        score, size, nodes = truth[parent]
        gain = abs(float(rng.normal(0, 0.002))) * (1 if rng.random() < 0.2 else -4)
        one = f"v{number}"
        truth[one] = (
            score - gain,
            size * float(rng.lognormal(0, 0.05)),
            nodes + int(rng.integers(4)),
        )
        family.known[one] = Birth("nudge", (parent,))
        measure(one, number % 3, Purpose.SCREEN)
        if truth[one][0] < truth[best[-1]][0]:
            best = [*best[-9:], one]
            measure(one, 3 + number, Purpose.REMEASURE)
    return rows, family


def test_the_front_among_those_near_it_is_the_front_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, family = noisy_descent(400)
    whole = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    monkeypatch.setattr(beliefs, "MAX_NEAR", 40)
    near = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    asked = 0
    for one in rows:
        with monkeypatch.context() as patch:
            patch.setattr(beliefs, "MAX_NEAR", 10**6)
            whole.add(one)
        near.add(one)
        if one.id % 5 == 0:
            asked += 1
            assert near.front() == whole.front(), one.id
    assert asked > 80 and len(near.front()) > 5


def test_a_row_looks_at_no_more_variants_for_the_front_the_more_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beliefs, "MAX_NEAR", 30)
    looked: list[int] = []

    def counted(points):
        looked.append(len(points))
        return front_among(points)

    monkeypatch.setattr(beliefs, "front_among", counted)
    rows, family = noisy_descent(600)
    known = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    for one in rows:
        known.add(one)
        known.front()
    assert len(known) == 601 and max(looked[:300]) > 60, "all of few"
    assert max(looked[300:]) < 250, "and no more of many"


def test_a_row_costs_no_more_steps_the_more_variants_there_are() -> None:
    objectives = (
        Objective(name="val_bpb", epsilon=0.001),
        Objective(name="parameters", epsilon=3e4),
    )
    screens, family = noisy_descent(1500)
    history, cost = RunHistory(objectives, SEED, family=family), list[int]()
    proof = Certification(CertificationSettings(), history, "proxy")

    def take_in(row: MeasurementRow) -> None:
        history.add(row)
        history.members("proxy", proof.proven())
        history.moved_beliefs("proxy")
        history.candidates("proxy", newest=20)
        history.rows("proxy", row.id - 1, {Purpose.CALIBRATE})

    for one in screens:
        run = one.measurement
        if run.request.block > 2:
            continue
        again = replace(run.request, block=3 + one.id % 3, purpose=Purpose.REMEASURE)
        several = [run.request, again] if one.id % 4 == 0 else [run.request]
        for request in several:
            row = MeasurementRow(10 * one.id + request.block, replace(run, request=request))
            if one.id % 25 < 3:
                cost.append(lines_run(lambda row=row: take_in(row)))
            else:
                history.add(row)
    fifth = len(cost) // 5
    early, late = np.median(cost[fifth : 2 * fifth]), np.median(cost[-fifth:])
    assert late < 1.3 * early


def test_fits_look_at_the_newest_children_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beliefs, "MAX_FITTED", 50)
    looked: list[int] = []

    def counted(self, children, failed):
        looked.append(len(list(children)) + len(list(failed)))

    monkeypatch.setattr(Posteriors, "learn", counted)
    rows, family = noisy_descent(300)
    known = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    for one in rows:
        known.add(one)
    assert len(looked) > 40 and max(looked) == 50


def test_what_blocks_do_is_asked_anew_by_a_twentieth_more_runs_whenever_estimates_are_asked_for() -> (
    None
):
    rng, asked, unasked = np.random.default_rng(5), BlockMeans(SEED), BlockMeans(SEED)
    for number in range(400):
        for block in (0, 1):
            value = 2.0 + 0.1 * block + float(rng.normal(0, 0.01))
            for means in (asked, unasked):
                means.add(SEED if number == 0 else f"v{number}", block, value)
            asked.estimate(SEED)
    unasked.estimate(SEED)
    assert unasked.changes == 1
    assert repr(asked.estimate("v3")) == repr(unasked.estimate("v3"))
    assert 60 < asked.changes < 120, "with every one of 400: as many"


def test_who_is_near_the_front_follows_when_those_on_it_are_disqualified_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beliefs, "MAX_NEAR", 30)
    rows, family = noisy_descent(200)
    known = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    for one in rows:
        known.add(one)
    gone = set[str]()
    for _ in range(8):
        best = next(one for one in known.front() if one != SEED)
        assert best not in gone
        gone.add(best)
        request = RunRequest(best, "proxy", 9999, 0, Purpose.REMEASURE)
        known.add(MeasurementRow(len(rows) + len(gone), Measurement(request, Status.CHEATED)))
        assert best not in known.front()


def test_whoever_is_let_in_late_comes_to_the_front_however_many_were_measured_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beliefs, "MAX_NEAR", 30)
    rows, family = noisy_descent(300)
    whole = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), family=family)
    for one in rows:
        whole.add(one)
    early = whole.front()[-2]  # measured long before the end
    left_out = {early}
    known = RungBeliefs(SEED, DEFAULT_OBJECTIVES, (), left_out, family)
    for one in rows:
        known.add(one)
    assert early not in known.front()
    left_out.clear()
    known.add(rows[-1])
    assert early in known.front()


def test_the_nearest_to_the_front_are_its_layers_feasible_ones_first() -> None:
    def at(score: float, size: float) -> dict[str, Estimate]:
        pairs = {"val_bpb": score, "parameters": size}
        return {name: Estimate(value, 0.0, 1) for name, value in pairs.items()}

    objectives = (Objective(name="val_bpb"), Objective(name="parameters"))
    found = {"best": at(1.0, 2.0), "small": at(2.0, 1.0), "second": at(1.5, 3.0), "last": at(3, 4)}
    found |= {"broken": at(0.5, 9.0), "nan": at(float("nan"), 1.0)}
    limits = (Constraint(name="parameters", at_most=5.0),)
    seed = at(2.0, 2.0)
    order = nearest(found, objectives, seed, limits, 9)
    assert order == ["best", "small", "second", "last", "broken", "nan"]
    assert nearest(found, objectives, seed, limits, 2) == order[:4], "twice the front of two"
    assert nearest({}, objectives, seed, limits, 2) == []
