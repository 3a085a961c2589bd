"""What an ablation found, in 80 columns: a line an edit, then what to make of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from evo.terminal.tables import FAINT, one_line, table_of
from evo.terminal.text import better_range, clip, count, duration, value, words
from population.statistics.attribution import (
    AblationReport,
    EditVerdict,
    JudgedEdit,
    PatchVerdict,
)
from population.statistics.factorial import FactorialEffect

MAX_INTERACTIONS = 3
MAX_NAMED = 6
STYLES = {EditVerdict.EARNS: "green", EditVerdict.HARMFUL: "red", EditVerdict.NEEDED: "green"}


def ablation_screen(
    found: AblationReport, ideas: Sequence[Sequence[str]], metric: str, min_gain: float
) -> list[RenderableType]:
    """The edits with effects and verdicts, the design, what acts together, and the minimal patch."""
    table = table_of(
        ("edit", "right"), ("verdict", "left"), ("gain in it", "left"), ("idea", "left")
    )
    for one in found.edits:
        effect = one.effect
        table.add_row(
            str(one.edit + 1),
            Text(one.verdict.value, STYLES.get(one.verdict, FAINT)),
            "–" if effect is None else _gain(effect, metric),
            one_line(words(" + ".join(ideas[one.edit]))),
        )
    lines = [
        *_verdicts(found, metric),
        *_together(found, metric),
        *patch_lines(found, metric, min_gain),
    ]
    return [table, Text(""), *map(words, lines)]


def _gain(effect: FactorialEffect, metric: str) -> str:
    """ "+.012 [+.004, +.020]": what the champion would lose without it."""
    if math.isnan(effect.gain):
        return "not told"
    if math.isnan(effect.low):
        return _signed(effect.gain, metric, None)
    noise = (effect.high - effect.low) / 4
    ends = ", ".join(_signed(one, metric, noise) for one in (effect.low, effect.high))
    return f"{_signed(effect.gain, metric, noise)} [{ends}]"


def _signed(number: float, metric: str, noise: float | None) -> str:
    return f"{'-' if number < 0 else '+'}{value(metric, abs(number), noise)}"


def _verdicts(found: AblationReport, metric: str) -> list[str]:
    said = [
        f"gain: what the champion would lose in {metric} without the edit, with a 95 % interval"
    ]
    meanings = {
        EditVerdict.EARNS: "earns its place",
        EditVerdict.HARMFUL: "harmful: better without",
        EditVerdict.BARNACLE: "barnacle, nothing that can be measured",
        EditVerdict.NEEDED: "needed: the rest fails without",
        EditVerdict.NOT_TOLD: "not told, too few runs ended well",
    }
    for verdict, meaning in meanings.items():
        if some := [one for one in found.edits if one.verdict is verdict]:
            smallest = _smallest(some, metric) if verdict is EditVerdict.BARNACLE else ""
            said.append(f"{meaning}: {_numbers([one.edit for one in some])}{smallest}")
    return said


def _smallest(edits: Sequence[JudgedEdit], metric: str) -> str:
    """How large an effect would have been seen."""
    halves = [(one.effect.high - one.effect.low) / 2 for one in edits if one.effect is not None]
    known = [one for one in halves if math.isfinite(one)]
    return f" (± {value(metric, max(known), max(known))} would have been seen)" if known else ""


def _together(found: AblationReport, metric: str) -> list[str]:
    fitted, said = found.fitted, list[str]()
    if fitted is None:
        return ["no run has a score yet"]
    if found.design:
        of = "all" if len(found.designed) == len(found.edits) else _numbers(found.designed)
        said.append(
            f"factorial over {of}: {found.design}; a run's sd beside blocks and edits "
            f"{value(metric, fitted.run_sd, fitted.run_sd)} ({fitted.freedom} degrees of freedom)"
        )
    units = dict.fromkeys(one.joined | {one.edit} for one in found.edits if one.joined)
    said += [
        f"{_numbers(sorted(unit))} only go together: without one alone the rest fails"
        for unit in units
    ]
    said += [
        f"{a + 1} or {b + 1} must stay: without both the rest fails"
        for a, b in found.either[:MAX_NAMED]
    ]
    for one in fitted.pairs[:MAX_INTERACTIONS]:
        more = "" if one.edits in fitted.taken_in else ", within chance"
        also = next((group for group in fitted.confounded if one.edits in group), ())
        mixed = [f"{a + 1} x {b + 1}" for a, b in also if (a, b) != one.edits]
        more += f"; or {', '.join(mixed[:MAX_NAMED])}: not told apart" if mixed else ""
        said.append(f"{one.edits[0] + 1} x {one.edits[1] + 1} together: {_gain(one, metric)}{more}")
    if fitted.hidden:
        pairs = ", ".join(f"{a + 1} x {b + 1}" for a, b in fitted.hidden[:MAX_NAMED])
        left = len(fitted.hidden) - MAX_NAMED
        more = f" and {left} more" if left > 0 else ""
        said.append(f"not told from single edits or blocks: {pairs}{more}")
    return said


def patch_lines(found: AblationReport, metric: str, min_gain: float) -> list[str]:
    """What the minimal patch is, and how it stands to the champion on fresh blocks."""
    size, every = len(found.minimal), len(found.edits)
    if found.verdict is PatchVerdict.THE_CHAMPION:
        return ["minimal patch: the whole champion; no edit can be left out"]
    noun = "edit" if size == 1 else "edits"
    what = f"{noun} {_numbers(sorted(found.minimal))}" if size else "nothing at all"
    said = f"minimal patch: {what} ({size} of {every})"
    if found.loss is None:
        return [f"{said}; {found.verdict.value}"]
    noise = (found.loss.high - found.loss.low) / 4
    gains = better_range(metric, (-found.loss.high, -found.loss.low), noise)
    told = {
        PatchVerdict.AS_GOOD: f"as good as the champion, at most {value(metric, min_gain, min_gain)} worse",
        PatchVerdict.NOT_TOLD_APART: "not told apart from the champion",
        PatchVerdict.WORSE: "worse than the champion",
    }.get(found.verdict, found.verdict.value)
    return [
        f"{said}: {told}",
        f"on {count(found.pairs, 'fresh block')} it is {gains} than the champion",
    ]


def _numbers(edits: Sequence[int]) -> str:
    return ", ".join(str(one + 1) for one in edits)


def plan_lines(
    edits: int, form_only: Sequence[str], runs: int, slots: int, minutes: float | None, least: int
) -> list[str]:
    """What an ablation is about to do."""
    took = (
        ""
        if minutes is None
        else f", about {duration(60 * minutes / slots)} on {count(slots, 'slot')}"
    )
    said = [
        f"{count(edits, 'edit')}, {count(runs, 'run')}{took} "
        f"(--runs changes it: {least} at least, more make intervals shorter)"
    ]
    if form_only:
        named = "; ".join(clip(one, 40) for one in form_only[:2])
        said.append(f"left out, comments or layout alone: {named}")
    return said
