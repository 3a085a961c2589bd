"""Which of a champion's edits earn their place: what to run next, and what the runs say.

Four stages, each fixed by the rows of those before it. First the champion without each edit and the seed
with each alone. Where it fails without an edit, then without two that fail on their own: a pair that may go
together is one edit from there on. Then mirror pairs of a factorial design over the strongest, with the others
as they are in the champion. Then what is left of the champion without harm and ballast, in pairs with it on
fresh blocks. Nothing here runs, waits or writes: the state is the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from population.statistics.attribution import (
    AblationReport,
    EditVerdict,
    JudgedEdit,
    PatchVerdict,
)
from population.statistics.factorial import (
    ArmRun,
    FactorialDesign,
    FactorialFit,
    Present,
    fit,
    mirror_design,
)
from population.statistics.intervals import mean_interval

MAX_GROUP = 8  # runs on one block, one after the other in one slot
MIN_CONFIRMING = 3  # pairs of champion and minimal patch: fewer give no interval worth printing
CONFIRMING_SHARE = 0.2  # of the runs, for those pairs
MAX_JOINS = 12  # runs without several edits at once, to see which only go together
USUAL_RUNS = 8  # for each edit and the seed, where nothing else is said


@dataclass(frozen=True, slots=True)
class AblationTerms:
    """What an ablation may spend: `runs` in all, on blocks from `first_block` on, for edits 0 to `edits` - 1.

    `min_gain`: what a difference must be beyond to matter, in the objective's unit; `draws`: the seed of what
    is shuffled.
    """

    edits: int
    runs: int
    first_block: int
    min_gain: float
    draws: int = 0

    @property
    def confirming(self) -> int:
        """Pairs of champion and minimal patch."""
        return max(MIN_CONFIRMING, int(CONFIRMING_SHARE * self.runs) // 2)


@dataclass(frozen=True, slots=True)
class Arms:
    """Runs of several sets of edits on one block, one after the other in one slot."""

    block: int
    present: tuple[Present, ...]


def least_runs(edits: int) -> int:
    """The fewest runs that an ablation of that many edits takes."""
    return 2 * (edits + _chunks(edits)) + 2 * MIN_CONFIRMING


def usual_runs(edits: int) -> int:
    """The runs of an ablation where nothing else is said."""
    return USUAL_RUNS * (edits + 1)


class Ablation:
    """What is to run next and what is known, from the runs recorded; failed and given up ones among them."""

    def __init__(self, terms: AblationTerms, runs: Sequence[ArmRun]) -> None:
        self._terms = terms
        self._every = frozenset(range(terms.edits))
        self._known = {(one.block, one.present): one for one in runs}
        self._design: FactorialDesign | None = None

    def next(self) -> tuple[Arms, ...]:
        """What of the stage under way is still to be run, a slot's share each; empty: all is done."""
        for stage in self._stages():
            missing = [Arms(one.block, self._missing(one)) for one in stage]
            if some := tuple(one for one in missing if one.present):
                return some
        return ()

    def planned(self) -> tuple[Arms, ...]:
        """Every run that is decided so far, done or not."""
        found = list[Arms]()
        for stage in self._stages():
            found += stage
            if any(map(self._missing, stage)):
                break
        return tuple(found)

    def report(self) -> AblationReport:
        """What the runs so far say."""
        searched = self._runs(self._measured_stages())
        fitted = self._fit_of(searched) if any(one.cost is not None for one in searched) else None
        edits = tuple(self._judge(edit, fitted) for edit in sorted(self._every))
        minimal, gains = self._last_patch(fitted)
        loss = mean_interval([-one for one in gains])
        return AblationReport(
            edits,
            fitted,
            self._design.in_words if self._design is not None else "",
            self._design.edits if self._design is not None else (),
            minimal,
            loss,
            len(gains),
            self._patch_verdict(minimal, gains),
            not self.next(),
            self._either(),
        )

    # -- the stages ----------------------------------------------------------------------------------------

    def _stages(self) -> Iterator[list[Arms]]:
        """The stages in order. Each rests on the rows of those before: ask for the next once one is run."""
        yield from self._measured_stages()
        first = 1 + max(arms.block for stage in self._measured_stages() for arms in stage)
        patch, pairs = self._minimal(self._fit()), self._terms.confirming
        half = max(MIN_CONFIRMING, pairs // 2)
        for many in (half, pairs - half):
            if patch == self._every or many < 1:
                return
            yield [self._pair(first + at, patch) for at in range(many)]
            gains = self._gains(patch)
            if self._patch_verdict(patch, gains) is PatchVerdict.WORSE:
                patch = self._with_one_back(patch)
            first += many

    def _measured_stages(self) -> Iterator[list[Arms]]:
        """Those whose runs say what edits do."""
        screen = self._screen()
        yield screen
        if any(map(self._missing, screen)):
            return
        if joins := self._joins(screen):
            yield joins
            if any(map(self._missing, joins)):
                return
        if factorial := self._factorial([*screen, *joins]):
            yield factorial

    def _screen(self) -> list[Arms]:
        """The champion without each edit, and the seed with each edit alone."""
        rng = np.random.default_rng(self._terms.draws)
        edits, chunks = sorted(self._every), _chunks(self._terms.edits)
        parts = [edits[at::chunks] for at in range(chunks)]
        groups = [[self._every, *(self._every - {one} for one in part)] for part in parts]
        alone = [[frozenset[int](), *(frozenset({one}) for one in part)] for part in parts]
        return [
            Arms(self._terms.first_block + at, tuple(one[k] for k in rng.permutation(len(one))))
            for at, one in enumerate(groups + alone)
        ]

    def _left(self, before: Sequence[Arms]) -> int:
        """Runs that are neither made in these stages nor kept for the pairs that confirm."""
        used = sum(len(one.present) for one in before)
        return self._terms.runs - used - 2 * self._terms.confirming

    def _joins(self, screen: Sequence[Arms]) -> list[Arms]:
        """The champion without two at once of those that fail on their own, and without all of them.

        Only where it fails without one of the two: what works on its own needs no partner.
        """
        needed, failing = self._needed(), self._failing()
        tried = [frozenset(one) for one in combinations(sorted(failing), 2) if needed & set(one)]
        tried += [failing] if len(failing) > 2 else []
        tried = [one for one in tried if one != self._every][:MAX_JOINS]
        size, first = MAX_GROUP - 1, screen[-1].block + 1
        while tried and len(tried) + math.ceil(len(tried) / size) > self._left(screen):
            tried.pop()
        groups = [tried[at : at + size] for at in range(0, len(tried), size)]
        return [
            Arms(first + at, (self._every, *(self._every - one for one in group)))
            for at, group in enumerate(groups)
        ]

    def _factorial(self, before: Sequence[Arms]) -> list[Arms]:
        """Mirror pairs over as many of the strongest edits as the runs that are left can tell apart."""
        pairs = self._left(before) // 2
        units, needed = self._units(), self._needed()
        found = self._fit_of(self._runs([list(before)])).effects
        some = [
            found[one] for one, unit in units.items() if one in found and unit != needed & {one}
        ]
        by_size = sorted(some, key=lambda one: -abs(one.gain))
        strongest = [one.edits[0] for one in by_size]
        design = None
        while len(strongest) >= 2 and design is None:
            design = mirror_design(strongest, pairs)
            strongest = strongest if design is not None else strongest[:-1]
        if design is None:
            return []
        self._design = design
        rng = np.random.default_rng([self._terms.draws, 1])
        fixed = self._every - self._all_of(strongest)
        rows = list[Present]()
        while len(rows) < pairs:  # again with the columns dealt anew: other pairs are mixed up
            dealt = dict(zip(strongest, rng.permutation(strongest).tolist(), strict=True))
            turn = (
                design.pairs if not rows else [frozenset(dealt[e] for e in p) for p in design.pairs]
            )
            rows += [turn[at] for at in rng.permutation(len(turn))]
        rows = rows[:pairs]
        groups, first = list[Arms](), before[-1].block + 1
        size = min(MAX_GROUP // 2, len(design.pairs))  # no pair twice on a block
        for at in range(0, len(rows), size):
            arms = list[Present]()
            for place, one in enumerate(rows[at : at + size]):
                other = frozenset(strongest) - one
                mirror = (self._all_of(one) | fixed, self._all_of(other) | fixed)
                arms += mirror if place % 2 == 0 else mirror[::-1]
            groups.append(Arms(first + at // size, tuple(arms)))
        return groups

    def _pair(self, block: int, patch: Present) -> Arms:
        pair = (self._every, patch)
        return Arms(block, pair if block % 2 == 0 else pair[::-1])

    # -- what is known -------------------------------------------------------------------------------------

    def _missing(self, arms: Arms) -> tuple[Present, ...]:
        return tuple(
            one for one in dict.fromkeys(arms.present) if (arms.block, one) not in self._known
        )

    def _runs(self, stages: Sequence[list[Arms]] | Iterator[list[Arms]]) -> list[ArmRun]:
        keys = dict.fromkeys(
            (arms.block, one) for stage in stages for arms in stage for one in arms.present
        )
        return [self._known[one] for one in keys if one in self._known]

    def _fit(self) -> FactorialFit:
        return self._fit_of(self._runs(self._measured_stages()))

    def _fit_of(self, runs: Sequence[ArmRun]) -> FactorialFit:
        """What runs say of each unit, by its first edit; those with a part of a unit say nothing of it."""
        units = self._units()
        whole = [
            ArmRun(
                one.block,
                frozenset(first for first, unit in units.items() if unit <= one.present),
                one.cost,
            )
            for one in runs
            if all(unit <= one.present or not unit & one.present for unit in units.values())
        ]
        return fit(whole, units)

    def _failing(self) -> Present:
        """Edits that the champion fails without, and those that the seed fails with."""
        alone = [one.present for one in self._runs([self._screen()]) if one.cost is None]
        return self._needed() | {edit for one in alone if len(one) == 1 for edit in one}

    def _units(self) -> dict[int, Present]:
        """What is judged as one, by its first edit: mostly an edit, else those that only go together."""
        screen = self._screen()
        runs = [] if any(map(self._missing, screen)) else self._runs([self._joins(screen)])
        gone = [self._every - one.present for one in runs if one.cost is not None]
        unit = {edit: frozenset({edit}) for edit in self._every}
        for pair in sorted((one for one in gone if len(one) == 2), key=sorted):
            joined = frozenset[int]().union(*(unit[edit] for edit in pair))
            unit |= dict.fromkeys(joined, joined)
        rest = frozenset(edit for edit in self._failing() if len(unit[edit]) == 1)
        if rest & self._needed() and self._failing() in gone:
            unit |= dict.fromkeys(rest, rest)
        return {min(one): one for one in sorted(set(unit.values()), key=sorted)}

    def _unit_of(self, edit: int) -> Present:
        return next(unit for unit in self._units().values() if edit in unit)

    def _all_of(self, firsts: Iterable[int]) -> Present:
        """The edits of these units."""
        units = self._units()
        return frozenset[int]().union(*(units[one] for one in firsts))

    def _either(self) -> tuple[tuple[int, int], ...]:
        """Units of which one must stay: without both runs failed, and none ended well.

        Of runs with everything that fails on its own: that may be what needs one of the two.
        """
        units = self._units()
        using = frozenset(edit for edit in self._failing() if frozenset({edit}) in units.values())
        gone = [
            (frozenset(first for first, unit in units.items() if not unit & one.present), one.cost)
            for one in self._runs(self._measured_stages())
            if using <= one.present and one.present
        ]
        ran = [some for some, cost in gone if cost is not None]
        failed = {
            pair for some, cost in gone if cost is None for pair in combinations(sorted(some), 2)
        }
        return tuple(sorted(pair for pair in failed if not any(set(pair) <= one for one in ran)))

    def _needed(self) -> Present:
        """Edits that the champion fails without, by the first stage."""
        gone = [
            self._every - one.present for one in self._runs([self._screen()]) if one.cost is None
        ]
        return frozenset(edit for one in gone if len(one) == 1 for edit in one)

    def _cost(self, block: int, present: Present) -> float | None:
        known = self._known.get((block, present))
        return known.cost if known is not None else None

    def _single(self, edit: int, present: Present, beside: Present) -> float | None:
        """Cost of the second less that of the first, on the block where both were run first."""
        for block in sorted({block for block, one in self._known if one == present}):
            costs = self._cost(block, beside), self._cost(block, present)
            if costs[0] is not None and costs[1] is not None:
                return costs[0] - costs[1]
        return None

    def _judge(self, edit: int, fitted: FactorialFit | None) -> JudgedEdit:
        unit = self._unit_of(edit)
        effect = fitted.effects.get(min(unit)) if fitted is not None else None
        verdict = EditVerdict.BARNACLE
        if unit <= self._needed() and len(unit) == 1:
            verdict = EditVerdict.NEEDED
        elif effect is None or math.isnan(effect.low):
            verdict = EditVerdict.NOT_TOLD
        elif effect.low > 0:
            verdict = EditVerdict.EARNS
        elif effect.high < 0:
            verdict = EditVerdict.HARMFUL
        alone = self._single(edit, frozenset({edit}), frozenset())
        left_out = self._single(edit, self._every, self._every - unit)
        return JudgedEdit(edit, verdict, effect, alone, left_out, unit - {edit})

    # -- the minimal patch ---------------------------------------------------------------------------------

    def _minimal(self, fitted: FactorialFit | None) -> Present:
        """The champion without harm, and without as much ballast as cannot be told to matter.

        Of the edits that show nothing those go first that look least useful, while the loss of all of them
        together is not above `min_gain` beyond doubt.
        """
        judged = [self._judge(first, fitted) for first in self._units()]
        harmful = [one.edit for one in judged if one.verdict is EditVerdict.HARMFUL]
        ballast = [one for one in judged if one.verdict is EditVerdict.BARNACLE]
        gone, either = list[int](), self._either()
        for one in sorted(ballast, key=lambda one: one.effect.gain if one.effect else math.inf):
            left_out = {*harmful, *gone, one.edit}
            if any(set(pair) <= left_out for pair in either):
                continue
            if (
                fitted is not None
                and fitted.loss_without([*gone, one.edit]).low <= self._terms.min_gain
            ):
                gone.append(one.edit)
        return self._every - self._all_of({*harmful, *gone})

    def _with_one_back(self, patch: Present) -> Present:
        """The patch with the most useful of what it leaves out."""
        effects = self._fit().effects
        left_out = [one for one in self._every - patch if one in effects]
        best = max(left_out, key=lambda one: effects[one].gain, default=None)
        return self._every if best is None else patch | self._unit_of(best)

    def _last_patch(self, fitted: FactorialFit | None) -> tuple[Present, list[float]]:
        """The patch that was tried last, and its gains over the champion, a block each."""
        stages = list(self._stages_begun())
        measured = len(list(self._measured_stages()))
        confirming = [arms for stage in stages[measured:] for arms in stage]
        if not confirming:
            return self._minimal(fitted), []
        patch = next(one for one in confirming[-1].present if one != self._every)
        return patch, self._gains(patch)

    def _stages_begun(self) -> Iterator[list[Arms]]:
        """The stages up to the first that is not run to its end."""
        for stage in self._stages():
            yield stage
            if any(map(self._missing, stage)):
                return

    def _gains(self, patch: Present) -> list[float]:
        """What the patch gained over the champion on the blocks that nothing else was run on."""
        measured = {arms.block for stage in self._measured_stages() for arms in stage}
        found = list[float]()
        for block in sorted({block for block, one in self._known if one == patch} - measured):
            costs = self._cost(block, self._every), self._cost(block, patch)
            if costs[0] is not None and costs[1] is not None:
                found.append(costs[0] - costs[1])
        return found

    def _patch_verdict(self, patch: Present, gains: Sequence[float]) -> PatchVerdict:
        if patch == self._every:
            return PatchVerdict.THE_CHAMPION
        found = mean_interval(gains) if len(gains) >= MIN_CONFIRMING else None
        if found is None:
            failed = any(
                one.cost is None for (_, present), one in self._known.items() if present == patch
            )
            return PatchVerdict.WORSE if failed else PatchVerdict.UNTRIED
        if found.high < -self._terms.min_gain:
            return PatchVerdict.WORSE
        if found.low >= -self._terms.min_gain:
            return PatchVerdict.AS_GOOD
        return PatchVerdict.NOT_TOLD_APART


def _chunks(edits: int) -> int:
    """Blocks for one run of each edit, every block with its own reference."""
    return math.ceil(edits / (MAX_GROUP - 1))
