"""An ablation decides from its rows alone, and finds what was planted."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import pytest

from evo.search.ablation import Ablation, AblationTerms, least_runs, usual_runs
from population.statistics.attribution import AblationReport, EditVerdict, PatchVerdict
from population.statistics.factorial import ArmRun, Present

# in sds of a run on its block: four good edits, one that harms, six that do nothing
PLANTED = (1.0, 1.5, 2.0, 3.0, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
BLOCK_SD, EDIT_BY_BLOCK_SD = 0.8, 0.3  # what a block does to all, and to what an edit does
MIN_GAIN = 0.25


class StandIn:
    """A trainer with the noise of real ones: blocks, edits that do more on some blocks, and runs."""

    def __init__(
        self,
        draws: int,
        fails: Present = frozenset(),
        together: Sequence[Present] = (),
        either: tuple[int, Present] | None = None,
    ) -> None:
        self._rng = np.random.default_rng(draws)
        self.gains = [PLANTED[at] for at in self._rng.permutation(len(PLANTED))]
        self._levels: dict[int, float] = {}
        self._turns: dict[int, np.ndarray] = {}
        self._fails = fails  # without one of these nothing runs
        self._together = together  # a part of one of these without the rest does not run
        self._either = either  # an edit, and those of which it needs one

    def run(self, block: int, present: Present) -> ArmRun:
        broken = any(one & present and not one <= present for one in self._together)
        user, either = self._either or (-1, frozenset())
        if not self._fails <= present or broken or (user in present and not either & present):
            return ArmRun(block, present, None)
        level = self._levels.setdefault(block, float(BLOCK_SD * self._rng.normal()))
        turns = self._turns.setdefault(block, self._rng.normal(size=len(PLANTED)))
        gains = (g and g + EDIT_BY_BLOCK_SD * turns[at] for at, g in enumerate(self.gains))
        gained = sum(gain for at, gain in enumerate(gains) if at in present)
        return ArmRun(block, present, level - gained + float(self._rng.normal()))


def ablated(terms: AblationTerms, trainer: StandIn) -> tuple[AblationReport, list[ArmRun]]:
    runs = list[ArmRun]()
    while arms := Ablation(terms, runs).next():
        runs += [trainer.run(one.block, present) for one in arms for present in one.present]
    return Ablation(terms, runs).report(), runs


def terms_of(draws: int, runs: int = 0) -> AblationTerms:
    edits = len(PLANTED)
    return AblationTerms(edits, runs or usual_runs(edits), 10, MIN_GAIN, draws)


def right(draws: int) -> int:
    """How many of the eleven edits are judged as they were planted."""
    trainer = StandIn(draws)
    report, runs = ablated(terms_of(draws), trainer)
    assert len(runs) <= usual_runs(len(PLANTED))
    verdicts = {1: EditVerdict.EARNS, 0: EditVerdict.BARNACLE, -1: EditVerdict.HARMFUL}
    want = [verdicts[int(np.sign(gain))] for gain in trainer.gains]
    return sum(one.verdict is verdict for one, verdict in zip(report.edits, want, strict=True))


def test_planted_edits_are_judged_right() -> None:
    assert median(right(draws) for draws in range(3)) >= 10


@pytest.mark.soak
def test_planted_edits_are_judged_right_in_the_median_of_twenty_seeds() -> None:
    assert median(right(draws) for draws in range(20)) >= 10


def test_the_minimal_patch_drops_harm_and_ballast_and_is_tried_on_blocks_of_its_own() -> None:
    trainer = StandIn(3)
    report, runs = ablated(terms_of(3), trainer)
    good = {at for at, gain in enumerate(trainer.gains) if gain > 0}
    bad = {at for at, gain in enumerate(trainer.gains) if gain < 0}
    assert good <= report.minimal and not bad & report.minimal and len(report.minimal) <= 6
    assert report.verdict in (PatchVerdict.AS_GOOD, PatchVerdict.NOT_TOLD_APART)
    tried = {one.block for one in runs if one.present == report.minimal}
    every = frozenset(range(len(PLANTED)))
    there = [one for one in runs if one.block in tried]
    assert {one.present for one in there} == {report.minimal, every}
    assert report.pairs == len(tried) == len(there) // 2 >= 3


def test_what_is_next_follows_from_the_rows_however_far_it_came() -> None:
    trainer, terms = StandIn(1), terms_of(1, 60)
    _, runs = ablated(terms, trainer)
    assert len({(one.block, one.present) for one in runs}) == len(runs), "no run is made twice"
    planned = {
        (one.block, present) for one in Ablation(terms, runs).planned() for present in one.present
    }
    assert planned == {(one.block, one.present) for one in runs}
    for at in range(0, len(runs), 7):
        left = Ablation(terms, runs[:at]).next()
        known = {(one.block, one.present) for one in runs[:at]}
        asked = {(one.block, present) for one in left for present in one.present}
        assert asked and not asked & known and asked <= planned


@pytest.mark.parametrize("edits", [2, 3, 4, 7])
def test_a_budget_is_used_whatever_the_edits(edits: int) -> None:
    runs, terms = list[ArmRun](), AblationTerms(edits, 64, 0, 0.1)
    rng = np.random.default_rng(0)
    while arms := Ablation(terms, runs).next():
        for one in arms:
            for present in one.present:
                runs.append(ArmRun(one.block, present, float(rng.normal()) - 3 * (0 in present)))
    confirmed = Ablation(terms, runs).report().pairs
    assert 64 - 2 <= len(runs) + 2 * (terms.confirming - confirmed) <= 64


def test_an_edit_that_the_rest_fails_without_is_needed_and_stays() -> None:
    trainer = StandIn(2, fails=frozenset({4}))
    report, _ = ablated(terms_of(2), trainer)
    assert report.edits[4].verdict is EditVerdict.NEEDED
    assert 4 in report.minimal and report.complete
    assert 4 not in report.designed


@pytest.mark.parametrize("together", [[{1, 6}], [{0, 3}, {5, 8}], [{2, 4, 9}]])
def test_edits_that_only_work_together_are_joined_and_judged_as_one(
    together: list[set[int]],
) -> None:
    units = [frozenset(one) for one in together]
    trainer = StandIn(2, together=units)
    report, runs = ablated(terms_of(2), trainer)
    assert len(runs) <= usual_runs(len(PLANTED)) and report.complete
    for one in report.edits:
        unit = next((unit for unit in units if one.edit in unit), frozenset({one.edit}))
        assert one.joined == unit - {one.edit}
        assert one.verdict is not EditVerdict.NEEDED and one.effect is not None
        gain = sum(trainer.gains[edit] for edit in unit)
        assert one.effect.low - 1.5 < gain < one.effect.high + 1.5
    for unit in units:
        assert unit <= report.minimal or not unit & report.minimal


def test_an_edit_that_needs_another_is_joined_to_it() -> None:
    """Edit 7 uses what edit 2 brings: it fails alone, and the champion fails without edit 2 alone."""

    class OneWay(StandIn):
        def run(self, block: int, present: Present) -> ArmRun:
            if 7 in present and 2 not in present:
                return ArmRun(block, present, None)
            return super().run(block, present)

    report, _ = ablated(terms_of(4), OneWay(4))
    assert {one.edit: set(one.joined) for one in report.edits if one.joined} == {2: {7}, 7: {2}}


def test_of_two_edits_that_the_champion_needs_one_of_the_patch_keeps_one() -> None:
    gains = StandIn(3).gains
    idle = frozenset([at for at, gain in enumerate(gains) if gain == 0][:2])
    report, _ = ablated(terms_of(3), StandIn(3, either=(gains.index(3.0), idle)))
    assert report.either == (tuple(sorted(idle)),)
    assert idle & report.minimal and report.verdict is not PatchVerdict.WORSE


def test_a_design_without_failures_makes_no_run_for_joining() -> None:
    report, runs = ablated(terms_of(6), StandIn(6))
    assert not any(one.joined for one in report.edits) and report.either == ()
    blocks = {one.block for one in runs if len(one.present) == len(PLANTED) - 1}
    assert len(blocks) <= 2 + report.pairs  # those of the first stage, and of a patch without one


def test_the_smallest_budget_gives_intervals_without_a_factorial() -> None:
    edits = len(PLANTED)
    report, runs = ablated(terms_of(5, least_runs(edits)), StandIn(5))
    assert len(runs) <= least_runs(edits) and report.design == ""
    for one in report.edits:
        assert one.effect is not None and one.effect.low < one.effect.gain < one.effect.high
        assert one.alone is not None and one.left_out is not None


def test_an_edit_whose_runs_all_fail_is_not_called_a_barnacle() -> None:
    terms = AblationTerms(2, 12, 0, 0.01)
    runs = list[ArmRun]()
    while arms := Ablation(terms, runs).next():
        runs += [ArmRun(one.block, present, None) for one in arms for present in one.present]
    verdicts = {one.verdict for one in Ablation(terms, runs).report().edits}
    assert (
        verdicts == {EditVerdict.NEEDED}
        and Ablation(terms, []).report().edits[0].verdict is EditVerdict.NOT_TOLD
    )


def test_a_patch_that_loses_gets_back_what_it_left_out() -> None:
    terms = AblationTerms(4, 60, 0, 0.01)
    every = frozenset(range(4))

    def cost(block: int, present: Present) -> ArmRun:
        """Edit 3 shows nothing but where the patch is tried."""
        late = block > 8
        return ArmRun(block, present, 5.0 - len(present & {0, 1}) - 2.0 * late * (3 in present))

    runs, rng = list[ArmRun](), np.random.default_rng(0)
    while arms := Ablation(terms, runs).next():
        for one in arms:
            for present in one.present:
                shown = cost(one.block, present)
                assert shown.cost is not None
                runs.append(ArmRun(shown.block, present, shown.cost + 0.1 * float(rng.normal())))
    report = Ablation(terms, runs).report()
    tried = {one.present for one in runs if one.block > 8} - {every}
    assert len(tried) >= 2 and max(map(len, tried)) > min(map(len, tried))
    assert report.complete
