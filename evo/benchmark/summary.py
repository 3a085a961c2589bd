"""The whole outcome of a benchmark, and how it reads as a Markdown table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evo.benchmark.cells import Result
from evo.benchmark.comparison import Bounds, ContestantStanding, standings
from evo.benchmark.contestants import versions, versions_told
from evo.benchmark.settings import BenchConfig
from evo.benchmark.tournament import scale_of

OURS = "ours"
PUBLISHED = "As published: each picks by the best run it saw; surrogate by its belief, ours by that and a race"
SEVERAL = "By the hypervolume that the true values of each recommended set cover"
RACED = "The same with our final race for everyone, on a share of the seconds held back"


@dataclass(frozen=True)
class Summary:
    """Both tables, best first, and what they were made from."""

    config: BenchConfig
    results: Sequence[Result]
    published: Sequence[ContestantStanding]
    raced: Sequence[ContestantStanding]

    @property
    def several(self) -> bool:
        """Whether more than the error is judged: by hypervolume, without a race."""
        return len(self.config.objectives) > 1

    @property
    def asked(self) -> bool:
        """Whether a model was asked."""
        return any(one.cell.asking for one in self.results)

    @property
    def tables(self) -> list[tuple[str, str, Sequence[ContestantStanding]]]:
        """The tables to show: a name, a title and the standings."""
        if self.several:
            return [("published", SEVERAL, self.published)]
        return [("raced", RACED, self.raced), ("published", PUBLISHED, self.published)]

    @property
    def headline(self) -> str:
        """What may be claimed, from the second table alone."""
        mine = compared(self.config)
        others = [one for one in self.raced if one.contestant != mine and one.gap is not None]
        if not others:
            return f"{len(self.raced)} contestants by the true value of what each recommends"
        best = others[0]
        gap = best.gap
        assert gap is not None
        unit = (
            "% of the hypervolume missing" if self.several else "percentage points of true regret"
        )
        told = f"{gap.value:+.2f} {unit} ({gap.low:+.2f} to {gap.high:+.2f})"
        race = "" if self.several else " with the same race"
        if gap.high < 0:
            return f"{_first(mine)} beats {best.contestant}, the best of the others{race}: {told}"
        if gap.low > 0:
            return f"{_first(best.contestant)}{race} beats {mine}: {told} for {mine}"
        return f"{_first(mine)} and {best.contestant}{race} are not told apart: {told}"


def compared(config: BenchConfig) -> str:
    """Who is held against each other contestant: ours, or the first of the file where ours takes no part."""
    return OURS if OURS in config.contestants else config.contestants[0]


def _first(name: str) -> str:
    """A contestant's name as the first word of a sentence."""
    return name if name.endswith(".py") else name[0].upper() + name[1:]


def summarise(config: BenchConfig, results: Sequence[Result]) -> Summary:
    """The summary of these cells; contestants without a cell are left out."""
    landscapes = {one.cell.landscape for one in results}
    scale = {name: scale_of(name, config.objectives) for name in landscapes}
    return Summary(
        config,
        results,
        standings(results, lambda one: one.published, scale, compared(config)),
        standings(results, lambda one: one.raced, scale, compared(config)),
    )


def columns(landscapes: Sequence[str], asked: bool = False, mine: str = OURS) -> list[str]:
    """The heads of a table of standings; `asked`: a model was; `mine`: who is held against the others."""
    return [
        "contestant",
        "IQM of regret",
        *landscapes,
        "optimism",
        f"{mine} is better",
        f"{mine} minus it",
        "runs",
        *(["tokens", "dollars"] if asked else []),
    ]


def row(one: ContestantStanding, landscapes: Sequence[str], asked: bool = False) -> list[str]:
    """One contestant as plain text."""
    dollars = "unknown" if one.llm_dollars is None else f"{one.llm_dollars:.3f}"
    return [
        one.contestant,
        _share(one.regret),
        *(_points(one.by_landscape.get(name)) for name in landscapes),
        _points(one.optimism),
        "" if one.beaten is None else _beaten(one.beaten),
        _points(one.gap, signed=True),
        f"{one.runs:.0f}",
        *([f"{one.llm_tokens:,.0f}", dollars] if asked else []),
    ]


def markdown(summary: Summary) -> str:
    """Both tables in Markdown, with what their columns mean."""
    landscapes, parts = summary.config.landscapes, [f"**{summary.headline}**", "", *legend(summary)]
    for _, title, table in summary.tables:
        heads = columns(landscapes, summary.asked, compared(summary.config))
        rows = [row(one, landscapes, summary.asked) for one in table]
        lines = [heads, ["---"] * len(heads), *rows]
        parts += ["", f"{title}.", "", *(f"| {' | '.join(map(_cell, line))} |" for line in lines)]
    return "\n".join([*parts, ""])


def legend(summary: Summary) -> list[str]:
    """What was run, and how to read the numbers."""
    config = summary.config
    seeds = len({one.cell.seed for one in summary.results})
    several = (
        f"Judged by {', '.join(config.objectives)} together, at true values: percent of the best hypervolume "
        "that is missing, with the reference point at the seed's error and three sds of its run, and at the "
        "largest other values there are. Optimism: the percent that is only reported."
    )
    single = (
        "Judged by the true value of what is recommended. Columns of landscapes: mean true regret in "
        "percentage points. IQM: interquartile mean of regret in percent of the median setting's. Optimism: "
        f"true error less the reported one. Last columns: how likely {compared(config)} has less regret, "
        "and by how much."
    )
    taking = ", every run taking the same" if config.equal_seconds else ""
    return [
        f"{seeds} seeds a contestant and landscape; the seconds of {config.runs} average trainings each, "
        f"re-measurements and races included{taking}; {config.noise} noise; brackets are 95 % intervals. "
        f"{versions_told()}",
        several if summary.several else single,
    ]


def as_values(summary: Summary) -> dict[str, Any]:
    """Everything but the single cells, for `--json`."""
    return {
        "headline": summary.headline,
        "config": summary.config.model_dump(mode="json"),
        "versions": versions(),
        "published": [asdict(one) for one in summary.published],
        "raced": [asdict(one) for one in summary.raced],
        "cells": len(summary.results),
        "cpu_seconds": sum(one.cpu_seconds for one in summary.results),
    }


def _share(bounds: Bounds) -> str:
    return f"{100 * bounds.value:.1f} % [{100 * bounds.low:.1f}, {100 * bounds.high:.1f}]"


def _beaten(bounds: Bounds) -> str:
    if bounds.low == bounds.high and 0 < bounds.value < 1:
        return f"{bounds.value:.0%} (too few seeds for an interval)"
    return f"{bounds.value:.0%} [{bounds.low:.0%}, {bounds.high:.0%}]"


def cpu_time(seconds: float) -> str:
    """CPU seconds in words: 40 CPU seconds, 12 CPU minutes."""
    return f"{seconds:.0f} CPU seconds" if seconds < 120 else f"{seconds / 60:.0f} CPU minutes"


def _points(bounds: Bounds | None, signed: bool = False) -> str:
    if bounds is None:
        return ""
    form = "+.2f" if signed else ".2f"
    return f"{bounds.value:{form}} [{bounds.low:{form}}, {bounds.high:{form}}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
