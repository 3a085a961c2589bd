"""The family: time on x, one lane a lineage, so that it shows which lines went on and which ended.

Branches that ended are folded into a mark with their count, which the page opens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import plotly.graph_objects as go

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import Ranked
from evo.report.page import GOLD, NEUTRAL, blank, colours, hover
from evo.terminal.tables import standing_in_words
from evo.terminal.text import plus_minus, short
from population.metrics import label

MAX_LANES = 24  # the largest lineages have a lane each, all others share the last
LANE_PIXELS = 34
STEP = 0.5  # of a lane, from one generation to the next
REST = "the rest"
SHARED = "of all islands"  # the seed, and what a person put in
MIN_FOLDED = 40  # fewer variants than this on dead branches are all shown
MAX_COUNTS = 12  # folds with their count beside them; the others tell it when pointed at
YOUNG = 20  # the newest variants are never folded: their branch may go on


@dataclass(frozen=True, slots=True)
class Marked:
    """Who stands out: the way to the leader (seed first), the certified, who ran at upper rungs."""

    way: tuple[str, ...] = ()
    certified: Collection[str] = ()
    graduates: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Folds:
    """Dead branches. `of`: each of their variants, to the living one that they hang from."""

    of: Mapping[str, str]

    def counts(self) -> dict[str, int]:
        """The living variants with a fold, the largest first, each with how many it hides."""
        return dict(Counter(self.of.values()).most_common())


def fold(record: Record, marked: Marked) -> Folds:
    """What is folded: branches without anyone who stands out, is young, waits, or is on the front."""
    births = record.births()
    shown = {record.seed_id, *marked.way, *marked.certified, *marked.graduates, *record.front}
    shown |= {*record.waiting(), *list(births)[-YOUNG:]}
    for one, made in reversed(births.items()):  # children before their parents
        if one in shown and made.parents:
            shown.add(made.parents[0].variant_id)
    dead: dict[str, str] = {}
    for one, made in births.items():
        if one not in shown and made.parents:
            parent = made.parents[0].variant_id
            dead[one] = dead.get(parent, parent)
    return Folds(dead if len(dead) >= MIN_FOLDED else {})


def lineage(
    record: Record,
    folds: Folds,
    places: Mapping[str, tuple[float, float]],
    ranked: Mapping[str, Ranked],
    marked: Marked,
    colour: Mapping[str, str],
) -> go.Figure:
    """Every variant under its first parent; x is the number of its proposal.

    Coloured by operator, by `colour`; by island where there is more than one. The page leaves out what is
    folded: `meta` of a trace says of each point in which fold it lies, -1 in none; the folds are listed in the
    layout's `meta`, each with its variant, its count and its name.
    """
    lowest = _lowest(places, folds)
    figure = blank("proposal", "", height=height_of(places, folds))
    counts = folds.counts()
    number = {one: place for place, one in enumerate(counts)}
    inside = {one: number[under] for one, under in folds.of.items()}
    figure.add_trace(_edges(record, places, places, inside, NEUTRAL, 0.8, "first parent"))
    figure.add_trace(
        _edges(record, places, set(marked.way), inside, GOLD, 3.0, "the way to the leader")
    )
    births = record.births()
    groups = {one: made.operator for one, made in births.items()}
    if any(made.island for made in births.values()):
        groups = {one: made.island or SHARED for one, made in births.items()}
        colour = {SHARED: NEUTRAL, **colours(one for one in groups.values() if one != SHARED)}
    for name, hue in colour.items():
        mine = [one for one, group in groups.items() if group == name]
        figure.add_trace(_dots(record, places, ranked, inside, (name, hue), mine))
    _marks(figure, places, "graduate", "square-open", 15, marked.graduates)
    _marks(figure, places, "certified", "star", 15, marked.certified)
    _folded(figure, places, folds)
    names = {one: short(one) if one != record.seed_id else "the seed" for one in counts}
    listed = [[one, n, f"+{n:,} under {names[one]}"] for one, n in counts.items()]
    figure.update_layout(meta={"folds": listed})
    figure.update_yaxes(
        showticklabels=False, ticks="", range=[lowest + 0.8, -0.8], title={"text": "lineages"}
    )
    return figure


def height_of(places: Mapping[str, tuple[float, float]], folds: Folds) -> int:
    """Of the figure, in pixels."""
    return round(140 + LANE_PIXELS * min(_lowest(places, folds) + 1, MAX_LANES))


def _lowest(places: Mapping[str, tuple[float, float]], folds: Folds) -> float:
    return max(y for one, (_, y) in places.items() if one not in folds.of)


def place_all(record: Record, folds: Folds) -> dict[str, tuple[float, float]]:
    """x, y of each variant: a lane a lineage, the largest first; within it each generation a step lower.

    What is folded lies between its living variant and the next generation.
    """
    births = record.births()
    depth: dict[str, int] = {}
    roots: dict[str, str] = {}
    for one, made in births.items():
        parent = made.parents[0].variant_id if made.parents else None
        depth[one] = 0 if parent is None else depth[parent] + 1
        if one != record.seed_id:
            roots[one] = roots.get(parent or "", one)
    living = {one: root for one, root in roots.items() if one not in folds.of}
    largest = [root for root, _ in Counter(living.values()).most_common(MAX_LANES)]
    lanes = {root: root if root in largest else REST for root in living.values()}
    deepest: dict[str, int] = {}
    for one, root in living.items():
        deepest[lanes[root]] = max(deepest.get(lanes[root], 1), depth[one])
    tops, top = {}, 1.0
    for lane in (*largest, REST):
        tops[lane] = top
        top += 1 + STEP * (deepest.get(lane, 1) - 1)
    places = {record.seed_id: (float(births[record.seed_id].number), 0.0)}
    for one, root in living.items():
        places[one] = (float(births[one].number), tops[lanes[root]] + STEP * (depth[one] - 1))
    levels: dict[str, int] = {}
    for one, under in folds.of.items():
        levels[under] = max(levels.get(under, 1), depth[one] - depth[under])
    for one, under in folds.of.items():
        level = (depth[one] - depth[under]) / (levels[under] + 1)
        places[one] = (float(births[one].number), places[under][1] + STEP * level)
    return places


def _folded(figure: go.Figure, places: Mapping[str, tuple[float, float]], folds: Folds) -> None:
    """A mark with its count for each fold, in the middle of those that it hides."""
    counts = folds.counts()
    if not counts:
        return
    members: dict[str, list[float]] = {}
    for one, under in folds.of.items():
        members.setdefault(under, []).append(places[one][0])
    figure.add_trace(
        go.Scatter(
            x=[median(members[under]) for under in counts],
            y=[places[under][1] + STEP / 2 for under in counts],
            mode="markers+text",
            name="dead branches, folded",
            marker={"symbol": "triangle-down-open", "size": 9, "color": NEUTRAL, "line": {"width": 1.5}},
            text=[
                f"+{n:,}" if place < MAX_COUNTS else "" for place, n in enumerate(counts.values())
            ],
            textposition="middle right",
            textfont={"size": 11},
            hovertext=[
                hover(f"{n:,} on dead branches of {short(under)}", "click to open or to fold")
                for under, n in counts.items()
            ],
            hoverinfo="text",
            customdata=[f"fold {under}" for under in counts],
        )
    )  # fmt: skip


def _edges(
    record: Record,
    places: Mapping[str, tuple[float, float]],
    chosen: Collection[str],
    inside: Mapping[str, int],
    hue: str,
    width: float,
    name: str,
) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    of: list[int] = []
    for one, made in record.births().items():
        if not made.parents or one not in chosen or made.parents[0].variant_id not in chosen:
            continue
        (x0, y0), (x1, y1) = places[made.parents[0].variant_id], places[one]
        xs += [x0, x1, None]
        ys += [y0, y1, None]
        of += 3 * [inside.get(one, -1)]
    return go.Scatter(
        x=xs, y=ys, mode="lines", name=name, line={"color": hue, "width": width}, meta=of,
        opacity=0.35 if width < 1 else 0.9, hoverinfo="skip",
    )  # fmt: skip


def _dots(
    record: Record,
    places: Mapping[str, tuple[float, float]],
    ranked: Mapping[str, Ranked],
    inside: Mapping[str, int],
    named: tuple[str, str],
    mine: Sequence[str],
) -> go.Scatter:
    """A group of variants, by its name and its colour."""
    (name, hue), births = named, record.births()
    metric = record.objective.name
    texts = []
    for one in mine:
        score = plus_minus(metric, *ranked[one].told(metric)) if one in ranked else "no score"
        standing = standing_in_words(ranked[one], record.seed_id) if one in ranked else ""
        idea = "the seed" if one == record.seed_id else births[one].idea
        texts.append(
            hover(f"{one[:8]}  {births[one].made_by}  {standing}", f"{label(metric)} {score}", idea)
        )
    return go.Scatter(
        x=[places[one][0] for one in mine],
        y=[places[one][1] for one in mine],
        mode="markers",
        name=name,
        marker={
            "color": hue,
            "size": [11 if one in record.front else 7 for one in mine],
            "opacity": [0.95 if one in ranked else 0.3 for one in mine],
        },
        text=texts,
        hoverinfo="text",
        customdata=mine,
        meta=[inside.get(one, -1) for one in mine],
    )


def _marks(
    figure: go.Figure,
    places: Mapping[str, tuple[float, float]],
    name: str,
    symbol: str,
    size: int,
    ids: Collection[str],
) -> None:
    chosen = [one for one in ids if one in places]
    if not chosen:
        return
    figure.add_trace(
        go.Scatter(
            x=[places[one][0] for one in chosen],
            y=[places[one][1] for one in chosen],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": size, "color": GOLD, "line": {"width": 1.5}},
            hoverinfo="skip",
            customdata=chosen,
        )
    )
