"""The front holds what nothing dominates, whatever the order, and nothing beyond the limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from population.archive import (
    DEFAULT_OBJECTIVES,
    Constraint,
    Direction,
    Objective,
    pareto_front,
    standings,
)
from population.types import Estimate

METRICS = ("loss", "size", "speed")
OBJECTIVES = (
    Objective(name="loss", epsilon=0.1),
    Objective(name="size", epsilon=1),
    Objective(name="speed", direction=Direction.MAXIMISE),
)
VALUES = st.sampled_from([0.0, 0.04, 0.1, 0.25, 1.0, 1.5, 2.0]) | st.floats(-5, 5)
POPULATIONS = st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=12)


def believed(*values: float) -> dict[str, Estimate]:
    return {name: Estimate(value, 0.1, 1) for name, value in zip(METRICS, values, strict=False)}


def named(points: list[tuple[float, ...]]) -> dict[str, dict[str, Estimate]]:
    return {f"v{k:02}": believed(*point) for k, point in enumerate(points)}


def dominates(a: dict[str, Estimate], b: dict[str, Estimate]) -> bool:
    ours = [objective.to_minimise(a) for objective in OBJECTIVES]
    theirs = [objective.to_minimise(b) for objective in OBJECTIVES]
    return ours != theirs and all(x <= y for x, y in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("minimise", "maximise"), ("minimize", "maximize"), ("min", "max"), ("Lower", " higher ")],
)
def test_a_direction_is_read_in_every_usual_word(lower: str, higher: str) -> None:
    ways = [Objective(name="x", direction=one).lower_is_better for one in (lower, higher)]  # type: ignore[arg-type]
    assert ways == [True, False]
    with pytest.raises(ValueError, match="minimise"):
        Objective(name="x", direction="down")  # type: ignore[arg-type]


@given(POPULATIONS)
def test_no_member_is_dominated_by_anything(points: list[tuple[float, ...]]) -> None:
    everyone = named(points)
    front = pareto_front(everyone, OBJECTIVES, everyone["v00"])
    assert front
    assert not [(a, b) for b in front for a in everyone if dominates(everyone[a], everyone[b])]


@given(POPULATIONS, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(
    points: list[tuple[float, ...]], random: object
) -> None:
    everyone = named(points)
    ids = list(everyone)
    random.shuffle(ids)  # type: ignore[attr-defined]
    shuffled = {id: everyone[id] for id in ids}
    seed = everyone["v00"]
    assert pareto_front(shuffled, OBJECTIVES, seed) == pareto_front(everyone, OBJECTIVES, seed)


@given(POPULATIONS)
def test_without_boxes_whatever_is_off_the_front_is_dominated_or_equal(
    points: list[tuple[float, ...]],
) -> None:
    everyone = named(points)
    fine = tuple(one.model_copy(update={"epsilon": 0.0}) for one in OBJECTIVES)
    front = set(pareto_front(everyone, fine, everyone["v00"]))
    for id, found in everyone.items():
        beaten = [a for a in front if dominates(everyone[a], found) or everyone[a] == found]
        assert (id in front) or beaten


def test_in_one_box_the_better_first_objective_stays() -> None:
    everyone = named([(1.04, 5.2, 1.0), (1.02, 5.9, 1.0), (1.06, 5.0, 1.0)])
    assert pareto_front(everyone, OBJECTIVES, everyone["v00"]) == ["v01"]


def test_the_front_is_sorted_by_the_first_objective() -> None:
    everyone = named([(3.0, 1.0, 1.0), (1.0, 3.0, 1.0), (2.0, 2.0, 1.0)])
    assert pareto_front(everyone, OBJECTIVES, everyone["v00"]) == ["v01", "v02", "v00"]


def test_nothing_beyond_its_limit_is_on_the_front() -> None:
    objectives = (Objective(name="loss", limit="seed x 1.02"), Objective(name="size"))
    everyone = named([(2.0, 100.0), (2.03, 50.0), (2.05, 1.0)])
    assert pareto_front(everyone, objectives, everyone["v00"]) == ["v00", "v01"]
    fixed = (Objective(name="loss", limit=2.01), Objective(name="size"))
    assert pareto_front(everyone, fixed, everyone["v00"]) == ["v00"]
    upwards = Objective(name="speed", direction=Direction.MAXIMISE, limit="seed*.5")
    assert upwards.admits(believed(0, 0, 1.0), believed(0, 0, 2.0))
    assert not upwards.admits(believed(0, 0, 0.9), believed(0, 0, 2.0))


def test_a_variant_without_a_finite_value_never_enters() -> None:
    everyone = named([(2.0, 1.0, 1.0), (math.nan, 0.0, 9.0), (-math.inf, 0.0, 9.0), (1.0, 2.0)])
    assert pareto_front(everyone, OBJECTIVES, everyone["v00"]) == ["v00"]
    assert pareto_front({}, OBJECTIVES, everyone["v00"]) == []


def test_feasible_beats_infeasible_and_little_beats_much_violation() -> None:
    small = (Constraint(name="size", at_most=10),)
    everyone = named([(2.0, 9.0, 1.0), (1.0, 11.0, 9.0)])
    seed = everyone["v00"]
    assert pareto_front(everyone, OBJECTIVES, seed, small) == ["v00"]
    too_big = named([(2.0, 12.0, 1.0), (1.0, 20.0, 9.0)])
    assert pareto_front(too_big, OBJECTIVES, seed, small) == ["v00"]
    half = (Constraint(name="size", at_most="seed x 0.5", at_least="seed x 0.1"),)
    halves = named([(2.0, 9.0, 1.0), (1.0, 4.5, 1.0), (0.5, 0.5, 1.0)])
    assert pareto_front(halves, OBJECTIVES, seed, half) == ["v01"]
    missing = (Constraint(name="memory", at_most=1),)
    assert half[0].excess({}, seed) == math.inf
    assert pareto_front(everyone, OBJECTIVES, seed, missing) == pareto_front(
        everyone, OBJECTIVES, seed
    )


def test_four_blocks_make_a_member_replicated() -> None:
    found = standings(["a", "b", "c"], {"a": 4, "b": 3, "d": 9})
    assert found == {"a": "replicated", "b": "candidate", "c": "candidate"}


@pytest.mark.parametrize("limit", ["sed x 2", "seed + 1", "", "2x", math.nan, "seed x -1"])
def test_an_unreadable_limit_is_refused_in_words(limit: object) -> None:
    with pytest.raises(ValidationError, match=r"seed x 1\.02|finite"):
        Objective(name="loss", limit=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"epsilon": -1}, {"epsilon": math.nan}, {"direction": "down"}, {"wurst": 1}]
)
def test_wrong_settings_of_an_objective_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Objective.model_validate({"name": "loss", **wrong})


def test_a_constraint_has_a_range_with_room_in_it() -> None:
    for wrong in ({}, {"at_least": 2, "at_most": 1}, {"at_most": math.inf}):
        with pytest.raises(ValidationError):
            Constraint.model_validate({"name": "size", **wrong})


def test_a_constraint_is_told_with_the_numbers_that_it_comes_to() -> None:
    seed = {"parameters": Estimate(1000.0, math.nan, 1)}
    both = Constraint(name="parameters", at_least="seed x 0.5", at_most=2500.0)
    assert both.told(seed) == "parameters at least 500 (seed x 0.5) and at most 2,500"
    assert both.told() == "parameters at least seed x 0.5 and at most 2,500"
    assert both.beside_seed() == Constraint(name="parameters", at_least="seed x 0.5")
    assert Constraint(name="parameters", at_most=2500.0).beside_seed() is None
    speed = Objective(name="serve_tokens_per_second", limit="seed x 0.9")
    assert speed.limit_as_constraint() == Constraint(
        name="serve_tokens_per_second", at_least="seed x 0.9"
    )


def test_a_tiny_model_cannot_own_the_default_front() -> None:
    def one(bpb: float, parameters: float, added: float) -> dict[str, Estimate]:
        found = {"val_bpb": bpb, "parameters": parameters, "added_nodes": added}
        return {name: Estimate(value, math.nan, 1) for name, value in found.items()}

    seed, bigram, better = one(2.0, 1e6, 0), one(3.5, 65536, 0), one(1.9, 1e6, 40)
    everyone = {"seed": seed, "bigram": bigram, "better": better}
    assert pareto_front(everyone, DEFAULT_OBJECTIVES, seed) == ["better", "seed"]


def test_an_objective_points_the_way_of_its_metric_where_nothing_else_is_said() -> None:
    assert not Objective(name="serve_tokens_per_second").lower_is_better
    assert Objective(name="serve_tokens_per_second", direction=Direction.MINIMISE).lower_is_better
    assert Objective(name="val_bpb").lower_is_better and Objective(name="anything").lower_is_better
