"""The live view: one calm screen, drawn from a Frame."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evo.terminal.text import (
    bar,
    better,
    clock,
    count,
    duration,
    plain,
    plus_minus,
    sparkline,
    words,
)
from population.metrics import label

ACCENT, GOOD, BAD, FAINT = "cyan", "green", "red", "bright_black"
LABEL, BAR_WIDTH, CURVE_WIDTH, EVENTS, BETWEEN = 13, 22, 20, 6, 2
CURVE, MIN_CURVE = (
    5,
    4,
)  # its place among a slot's cells, and below how many letters it says nothing
LOUD = {
    "error": BAD,
    "warning": BAD,
    "waiting": "yellow",
    "request": ACCENT,
    "budget": ACCENT,
    "end": ACCENT,
}


def draw(frame: Frame) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [
        _Headline(frame),
        Text(),
        _limits(frame.limits),
        Text(),
        _Slots(frame.slots),
        Text(),
        _standing(frame),
    ]
    if frame.operators:
        parts += [Text(), _operators(frame.operators)]
    if frame.events:
        parts += [Text(), Rule(style=FAINT), _events(frame.events[-EVENTS:])]
    if frame.notice:
        parts.append(words(frame.notice, "yellow"))
    return Group(*parts)


def _grid(*widths: int | None) -> Table:
    """What finds no room goes on below: a label that is cut names nothing."""
    grid = Table.grid(padding=(0, BETWEEN))
    for width in widths:
        grid.add_column(width=width, overflow="fold")
    return grid


@dataclass(frozen=True, slots=True)
class _Rows:
    """Cells side by side, a column at least as wide as `least` says; on a narrow terminal some give way.

    `gives_way`: their places, the first to go first. `folds`: whether the last column may go on below.
    """

    rows: Sequence[Sequence[Text]]
    least: Sequence[int]
    gives_way: Sequence[int]
    folds: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = {
            place: max(least, *(row[place].cell_len for row in self.rows), 0)
            for place, least in enumerate(self.least)
        }
        needed = dict(widths)
        if self.folds:
            needed[len(widths) - 1] = self.least[-1]
        for place in self.gives_way:
            if sum(needed.values()) + BETWEEN * (len(needed) - 1) <= options.max_width:
                break
            del widths[place], needed[place]
        grid = _grid(
            *(
                None if self.folds and place == len(self.least) - 1 else wide
                for place, wide in widths.items()
            )
        )
        for row in self.rows:
            grid.add_row(*(row[place] for place in widths))
        yield grid


@dataclass(frozen=True, slots=True)
class _Headline:
    """The name, what goes on and for how long; how far it has come beside it, or below on a narrow terminal."""

    frame: Frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        frame = self.frame
        head = Text.assemble(
            (plain(frame.name), "bold"),
            "  ",
            (frame.phase, ACCENT),
            "  ",
            (clock(frame.seconds), FAINT),
        )
        way = Text("" if frame.way is None else _way(frame.way), FAINT)
        if way and head.cell_len + BETWEEN + way.cell_len <= options.max_width:
            head.append(" " * BETWEEN).append(way)
            way = Text()
        yield from filter(None, (head, way))


def _way(way: Way) -> str:
    """run 7 of about 20, about 4 min left."""
    at = min(way.done + 1, way.runs)
    return f"run {at} of about {way.runs}, about {duration(way.seconds_left)} left"


def _limits(limits: Sequence[Limit]) -> RenderableType:
    rows = [
        (
            Text(limit.name, FAINT),
            _meter(limit.used / limit.limit if limit.limit else 1.0),
            Text(limit.text),
        )
        for limit in limits
    ]
    return _Rows(rows, (LABEL, BAR_WIDTH, BAR_WIDTH), (1,), folds=True)


def _meter(part: float, width: int = BAR_WIDTH, style: str = ACCENT) -> Text:
    return Text(bar(part, width), style=f"{style} on grey15")


@dataclass(frozen=True, slots=True)
class _Slots:
    """A line a slot; on a narrow terminal the curve gives way first, then the loss, never an id."""

    slots: Sequence[SlotFrame]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        told = [_slot(slot) for slot in self.slots]
        needed = [max((one[place].cell_len for one in told), default=0) for place in range(7)]
        widths = [max(pair) for pair in zip(needed, (LABEL, 8, 20, 11, 5, 0, 11), strict=True)]
        if sum(widths) + CURVE_WIDTH + 12 > options.max_width:
            widths = needed
        widths[CURVE] = min(CURVE_WIDTH, max(0, options.max_width - sum(widths) - 12))
        if widths[CURVE] < MIN_CURVE:
            widths[CURVE] = MIN_CURVE
        for slot, cells in zip(self.slots, told, strict=True):
            cells[CURVE] = Text(sparkline(slot.losses, widths[CURVE]), ACCENT)
        yield _Rows(told, widths, (CURVE, 6, 4, 2))


def _slot(slot: SlotFrame) -> list[Text]:
    """Its cells; the curve, which takes what room there is, is left empty."""
    if not slot.who:
        return [Text(plain(slot.name), FAINT), Text("free", FAINT), *(Text() for _ in range(5))]
    finite = [loss for loss in slot.losses if math.isfinite(loss)]
    return [
        Text(plain(slot.name), FAINT),
        Text(plain(slot.who), "bold"),
        Text(f"{slot.purpose} {plain(slot.rung)}·{slot.block}"),
        _training(slot.progress),
        Text(clock(slot.seconds), FAINT, justify="right"),
        Text(),
        Text(f"{finite[-1]:.3f} nats" if finite else "", justify="right"),
    ]


def _training(progress: float | None) -> Text:
    """The share of the training budget used; in words before and after."""
    if progress is None:
        return Text("starting", FAINT)
    return Text("scoring", ACCENT) if progress >= 1 else _meter(progress, BAR_WIDTH // 2)


def _standing(frame: Frame) -> RenderableType:
    grid = _grid(LABEL, 8)
    grid.add_column(overflow="fold")
    if frame.seed is not None:
        line = _score(frame.seed).append("  as believed", FAINT)
        grid.add_row(Text("seed", FAINT), Text(""), line)
    if frame.best is not None:
        grid.add_row(
            Text("believed best", FAINT),
            Text(plain(frame.best.who), "bold"),
            _score(frame.best),
        )
        if (gap := frame.gap) is not None:
            style = GOOD if gap.gain > 0 else FAINT
            line = Text(better(frame.best.metric, gap.gain, gap.se), style)
            metric = f" in {gap.metric}" if gap.metric not in ("", frame.best.metric) else ""
            proof = "certified" if gap.certified else "not yet proven"
            than = f" than the seed{metric} on {count(gap.n, 'block')}, {proof}"
            grid.add_row(Text(), Text(), line.append(than, FAINT))
    front = (
        f"{count(frame.front_size, 'variant')}, {count(frame.waiting, 'child', 'children')} waiting"
    )
    grid.add_row(Text("front", FAINT), Text(""), Text(front))
    return grid


def _score(score: Score) -> Text:
    told = plus_minus(score.metric, score.mean, score.error, score.n)
    return Text(f"{label(score.metric)} {told}")


def _operators(operators: Sequence[OperatorFrame]) -> RenderableType:
    rows = [
        (
            Text(plain(one.name), FAINT),
            Text(count(one.children, "child", "children")),
            Text(f"{one.failed} failed" if one.failed else "", FAINT),
            Text(f"{one.better} beat a parent"),
            Text(f"{one.on_front} on front", GOOD if one.on_front else FAINT),
        )
        for one in operators
    ]
    return _Rows(rows, (LABEL, 12, 10, 16, 10), (2, 4, 3))


def _events(events: Sequence[EventFrame]) -> RenderableType:
    lines = []
    for event in events:
        at = time.strftime("%H:%M:%S", time.localtime(event.at))
        line = Text.assemble((at, FAINT), "  ", (plain(event.text), LOUD.get(event.kind, "")))
        line.no_wrap, line.overflow = True, "ellipsis"
        lines.append(line)
    return Group(*lines)


# -- One moment of a running campaign, as values: what the live view draws.


@dataclass(frozen=True, slots=True)
class Limit:
    """One budget: what is used of it. `text` says both in words."""

    name: str
    used: float
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class SlotFrame:
    """What one slot does; `who` is "" while it is free. `losses` in nats, as the variant told them.

    `progress` is the share of the training budget used, None before the first step.
    """

    name: str
    who: str = ""
    rung: str = ""
    block: int = 0
    purpose: str = ""
    seconds: float = 0.0
    progress: float | None = None
    losses: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """What is believed of one variant in the first objective by its n blocks, ± its error as in `evo top`."""

    who: str
    metric: str
    mean: float
    error: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much the best is better than the seed in a metric, mean over `n` common blocks.

    `se`: the standard error of that mean; None below two.
    """

    gain: float
    n: int
    se: float | None = None
    metric: str = ""  # where it is another than that of the scores beside it
    certified: bool = False  # the best, on fresh blocks


@dataclass(frozen=True, slots=True)
class Way:
    """How far a campaign has come: runs recorded, about how many in all, seconds to its end."""

    done: int
    runs: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One line of what happened; `at` in seconds since the epoch."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class OperatorFrame:
    """What an operator did: children measured, how many beat their parent in one run, on the front."""

    name: str
    children: int
    failed: int
    better: int
    on_front: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment. `notice` is one line that wants attention, "" for none."""

    name: str
    phase: str
    seconds: float
    limits: Sequence[Limit]
    slots: Sequence[SlotFrame]
    best: Score | None
    seed: Score | None
    minimise: bool
    front_size: int
    waiting: int
    events: Sequence[EventFrame]
    operators: Sequence[OperatorFrame]
    notice: str = ""
    gap: Gap | None = None
    way: Way | None = None
