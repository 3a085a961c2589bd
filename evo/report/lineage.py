"""The family: time on x, one lane a lineage, so that it shows which lines went on and which ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import Ranked
from evo.report.page import GOLD, NEUTRAL, blank, hover
from evo.terminal.tables import standing_in_words
from evo.terminal.text import plus_minus
from population.lineage import Lineage
from population.metrics import label

MAX_LANES = 24  # the largest lineages have a lane each, all others share the last
LANE_PIXELS = 34
STEP = 0.5  # of a lane, from one generation to the next
REST = "the rest"


@dataclass(frozen=True, slots=True)
class Marked:
    """Who stands out: the way to the leader (seed first), the certified, who ran at upper rungs."""

    way: tuple[str, ...] = ()
    certified: Collection[str] = ()
    graduates: Collection[str] = ()


def lineage(
    record: Record,
    family: Lineage,
    ranked: Mapping[str, Ranked],
    marked: Marked,
    colour: Mapping[str, str],
) -> go.Figure:
    """Every variant under its first parent; x is the number of its proposal."""
    places = _places(record, family)
    lowest = max(y for _, y in places.values())
    height = 140 + LANE_PIXELS * min(lowest + 1, MAX_LANES)
    figure = blank("proposal", "", height=round(height))
    figure.add_trace(_edges(record, places, places, NEUTRAL, 0.8, "first parent"))
    figure.add_trace(_edges(record, places, set(marked.way), GOLD, 3.0, "the way to the leader"))
    for operator, hue in colour.items():
        figure.add_trace(_dots(record, places, ranked, operator, hue))
    _marks(figure, places, "graduate", "square-open", 15, marked.graduates)
    _marks(figure, places, "certified", "star", 15, marked.certified)
    figure.update_yaxes(
        showticklabels=False, ticks="", range=[lowest + 0.8, -0.8], title={"text": "lineages"}
    )
    return figure


def _places(record: Record, family: Lineage) -> dict[str, tuple[float, float]]:
    """x, y of each variant: a lane a lineage, the largest first; within it each generation a step lower."""
    births = record.births()
    depth: dict[str, int] = {}
    for one, made in births.items():
        depth[one] = depth[made.parents[0].variant_id] + 1 if made.parents else 0
    roots = {one: family.lineage_root(one) for one in births if one != record.seed_id}
    largest = [root for root, _ in Counter(roots.values()).most_common(MAX_LANES)]
    deepest: dict[str, int] = {}
    for one, root in roots.items():
        lane = root if root in largest else REST
        deepest[lane] = max(deepest.get(lane, 1), depth[one])
    tops, top = {}, 1.0
    for lane in (*largest, REST):
        tops[lane] = top
        top += 1 + STEP * (deepest.get(lane, 1) - 1)
    places = {record.seed_id: (float(births[record.seed_id].number), 0.0)}
    for one, root in roots.items():
        lane = root if root in largest else REST
        places[one] = (float(births[one].number), tops[lane] + STEP * (depth[one] - 1))
    return places


def _edges(
    record: Record,
    places: Mapping[str, tuple[float, float]],
    chosen: Collection[str],
    hue: str,
    width: float,
    name: str,
) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for one, made in record.births().items():
        if not made.parents or one not in chosen or made.parents[0].variant_id not in chosen:
            continue
        (x0, y0), (x1, y1) = places[made.parents[0].variant_id], places[one]
        xs += [x0, x1, None]
        ys += [y0, y1, None]
    return go.Scatter(
        x=xs, y=ys, mode="lines", name=name, line={"color": hue, "width": width},
        opacity=0.35 if width < 1 else 0.9, hoverinfo="skip",
    )  # fmt: skip


def _dots(
    record: Record,
    places: Mapping[str, tuple[float, float]],
    ranked: Mapping[str, Ranked],
    operator: str,
    hue: str,
) -> go.Scatter:
    births = record.births()
    mine = [one for one, made in births.items() if made.operator == operator]
    metric = record.objective.name
    texts = []
    for one in mine:
        score = plus_minus(metric, *ranked[one].told(metric)) if one in ranked else "no score"
        standing = standing_in_words(ranked[one], record.seed_id) if one in ranked else ""
        idea = "the seed" if one == record.seed_id else births[one].idea
        texts.append(hover(f"{one[:8]}  {operator}  {standing}", f"{label(metric)} {score}", idea))
    return go.Scatter(
        x=[places[one][0] for one in mine],
        y=[places[one][1] for one in mine],
        mode="markers",
        name=operator,
        marker={
            "color": hue,
            "size": [11 if one in record.front else 7 for one in mine],
            "opacity": [0.95 if one in ranked else 0.3 for one in mine],
        },
        text=texts,
        hoverinfo="text",
        customdata=mine,
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
