"""Beliefs grown row by row are those computed from all rows at once, and so is the front."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from evo.campaign.tally import Tally
from population.archive import DEFAULT_OBJECTIVES, Constraint, admissible, pareto_front
from population.records import Measured
from population.selection import SelectionSettings, population
from population.statistics import estimates, noise_sd
from population.variant import Measurement, Order, Purpose, Status

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


def row(id: int, made: tuple[str, int, int, Purpose, Status, float, int]) -> Measured:
    variant_id, block, repeat, purpose, status, score, size = made
    if variant_id == SEED and status is Status.CHEATED:
        status = Status.OK  # the reference is never disqualified: everything hangs on it
    metrics = {"val_bpb": score, "parameters": float(size), "added_nodes": float(block % 2)}
    order = Order(variant_id, "proxy", block, repeat, purpose)
    return Measured(id, Measurement(order, status, metrics=metrics if status is Status.OK else {}))


@settings(max_examples=300, deadline=None)
@given(st.lists(run, max_size=40, unique_by=lambda one: one[:3]), st.integers(0, 3), st.randoms())
def test_beliefs_grown_row_by_row_are_those_of_all_rows_at_once(runs, swapped, chance):
    rows = [row(number, made) for number, made in enumerate(runs, start=1)]
    order = list(rows)
    for _ in range(min(swapped, len(rows) - 1)):  # two slots that end at once report in any order
        at = chance.randrange(len(order) - 1)
        order[at], order[at + 1] = order[at + 1], order[at]
    tally = Tally(DEFAULT_OBJECTIVES, SEED, CONSTRAINTS)
    for number, one in enumerate(order, start=1):
        tally.add(one)
        if chance.random() < 0.5:  # asked at any moment, so that it grows in any steps
            tally.front("proxy")
            tally.candidates("proxy", chance.randint(0, number))
    for upto in (None, len(rows) // 2, len(rows)):
        seen = [one for one in rows if upto is None or one.id <= upto]
        whole = estimates(seen, SEED)
        assert repr(tally.beliefs("proxy", upto)) == repr(whole)
        assert tally.noise_sd("proxy", "val_bpb", upto) == noise_sd(seen, "val_bpb")
        if SEED not in whole:
            assert tally.front("proxy", upto) == [] == tally.candidates("proxy", upto)
            continue
        front = pareto_front(whole, DEFAULT_OBJECTIVES, whole[SEED], CONSTRAINTS)
        assert tally.front("proxy", upto) == front
        every = tally.candidates("proxy", upto)
        assert [one.variant_id for one in every] == [
            id for id, found in whole.items() if admissible(found, DEFAULT_OBJECTIVES, whole[SEED])
        ]
        newest = SelectionSettings(population=2)
        assert population(tally.candidates("proxy", upto, 2), newest) == population(every, newest)
