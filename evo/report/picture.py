"""A figure of the page as a PNG, for readers that are no browser: points, lines, bands, bars, axes and names.

Drawn by Pillow, from the same figure that a browser shows: plotly's own way to an image needs a whole browser.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont

from evo.report.page import NEUTRAL

WIDTH = 1000  # pixels
MAX_HEIGHT = 1000
FINER = 2  # times as large while it is drawn: edges come out smooth
LEFT, RIGHT, TOP, BOTTOM = (
    84,
    20,
    34,
    52,
)  # margins in pixels; the legend's lines come on top of that
LETTERS = 15  # pixels high
INK, FAINT = (32, 36, 42), (226, 229, 233)
MAX_NAME = 40  # letters in the legend
MAX_NAMES = 24
TICKS = 6
Point = tuple[float, float]
Colour = tuple[int, int, int, int]


def png_of(figure: go.Figure) -> bytes:
    """The figure's scatter traces as a PNG, WIDTH pixels wide and at most MAX_HEIGHT high."""
    height = min(max(round(figure.layout.height or 0), 300), MAX_HEIGHT)
    image = Image.new("RGB", (WIDTH * FINER, height * FINER), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(LETTERS * FINER)
    top = TOP + _legend(draw, font, figure)
    box = (LEFT, top, WIDTH - RIGHT, height - BOTTOM)
    x, y = _axis(figure, "x", box[0], box[2]), _axis(figure, "y", box[3], box[1])
    _axes(draw, font, figure, box, x, y)
    size = ((box[2] - box[0]) * FINER, (box[3] - box[1]) * FINER)
    inner = image.crop((box[0] * FINER, box[1] * FINER, box[2] * FINER, box[3] * FINER))
    assert inner.size == size
    plot = ImageDraw.Draw(inner, "RGBA")  # what lies outside of the axes is cut off
    second = _Axis(0.0, 1.04, box[3], box[1])
    for trace in figure.data:
        upright = second if trace.yaxis == "y2" else y
        _trace(plot, font, trace, _Place(x, upright, (box[0], box[1])))
    image.paste(inner, (box[0] * FINER, box[1] * FINER))
    small = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    small.quantize(128).save(written, "PNG", optimize=True)
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values from `low` to `high`, at the pixels from `begin` to `end`; of a logarithmic one their log10."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False

    def at(self, value: Any) -> float:
        """The pixel of a value; not finite where it has none."""
        if not isinstance(value, (int, float)) or (self.is_log and value <= 0):
            return math.nan
        place = math.log10(value) if self.is_log else float(value)
        return self.begin + (place - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values on it, each with its name."""
        low, high = sorted((self.low, self.high))
        if self.is_log:
            powers = range(math.ceil(low), math.floor(high) + 1)
            found = [m * 10.0**p for p in (*powers, math.floor(low)) for m in (1, 2, 5)]
            if high - low > 3:
                found = [10.0**p for p in powers]
            return [(one, f"{one:g}") for one in found if low <= math.log10(one) <= high]
        raw = (high - low) / TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first = math.ceil(low / step - 1e-9)
        places = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
        digits = max(0, -math.floor(math.log10(step)) + (step / power == 2.5))
        return [(one, f"{one:,.{min(digits, 8)}f}") for one in places]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where values lie in the picture of the plot."""

    x: _Axis
    y: _Axis
    corner: Point

    def at(self, x: Any, y: Any) -> Point | None:
        found = (self.x.at(x) - self.corner[0]) * FINER, (self.y.at(y) - self.corner[1]) * FINER
        return found if all(abs(one) < 1e6 for one in found) else None


def _axis(figure: go.Figure, name: str, begin: float, end: float) -> _Axis:
    layout = figure.layout[f"{name}axis"]
    is_log = layout.type == "log"
    if layout.range:
        low, high = map(float, layout.range)
    else:
        known = [
            math.log10(one) if is_log else float(one)
            for trace in figure.data
            if name == "x" or trace.yaxis != "y2"
            for one in (trace[name] if trace[name] is not None else ())
            if isinstance(one, (int, float)) and math.isfinite(one) and (one > 0 or not is_log)
        ]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
        low, high = low - room, high + room
    return _Axis(low, high if high != low else low + 1.0, begin, end, is_log)


def _axes(
    draw: ImageDraw.ImageDraw, font: Any, figure: go.Figure, box: Sequence[int], x: _Axis, y: _Axis
) -> None:
    left, top, right, bottom = (one * FINER for one in box)
    for value, name in x.ticks():
        at = x.at(value) * FINER
        draw.line((at, top, at, bottom), FAINT, FINER)
        draw.text((at, bottom + 6 * FINER), name, INK, font, "ma")
    for value, name in y.ticks() if figure.layout.yaxis.showticklabels is not False else ():
        at = y.at(value) * FINER
        draw.line((left, at, right, at), FAINT, FINER)
        draw.text((left - 6 * FINER, at), name, INK, font, "rm")
    draw.rectangle((left, top, right, bottom), None, _colour(NEUTRAL), FINER)
    under = _plain(figure.layout.xaxis.title.text)
    draw.text(((left + right) / 2, bottom + 28 * FINER), under, INK, font, "ma")
    draw.text((8 * FINER, top - 24 * FINER), _plain(figure.layout.yaxis.title.text), INK, font)


def _legend(draw: ImageDraw.ImageDraw, font: Any, figure: go.Figure) -> int:
    """The names of the traces above the plot; how many pixels high they are."""
    x, y = 8.0 * FINER, 6.0 * FINER
    named = [one for one in figure.data if one.name and one.showlegend is not False]
    for trace in named[:MAX_NAMES]:
        name = _plain(trace.name)
        wide = draw.textlength(name, font) + 40 * FINER
        if x > 8 * FINER and x + wide > WIDTH * FINER:
            x, y = 8.0 * FINER, y + 22 * FINER
        middle = y + LETTERS * FINER / 2
        if "markers" in (trace.mode or ""):
            _mark(draw, (x + 8 * FINER, middle), 9.0, _hue(trace), trace.marker.symbol or "circle")
        else:
            draw.line((x, middle, x + 16 * FINER, middle), _hue(trace), 3 * FINER)
        draw.text((x + 22 * FINER, y), name, INK, font)
        x += wide
    return round(y / FINER) + 24 if named else 0


def _trace(draw: ImageDraw.ImageDraw, font: Any, trace: go.Scatter, place: _Place) -> None:
    hue, mode = _hue(trace), trace.mode or ""
    xs, ys = ([] if one is None else list(one) for one in (trace.x, trace.y))
    folds = trace.meta if isinstance(trace.meta, (list, tuple)) else ()  # folded away: not -1
    points = [
        None if k < len(folds) and folds[k] != -1 else place.at(x, y)
        for k, (x, y) in enumerate(zip(xs, ys, strict=True))
    ]
    if trace.fill == "toself" and (edge := [one for one in points if one is not None]):
        draw.polygon(edge, _colour(trace.fillcolor or NEUTRAL))
    elif "lines" in mode:
        for part in _parts(points, trace.line.shape == "hv"):
            _line(draw, part, hue, trace.line.width or 2.0, bool(trace.line.dash))
    if "markers" not in mode:
        return
    sizes, symbol = trace.marker.size or 6, trace.marker.symbol or "circle"
    for k, at in enumerate(points):
        if at is None:
            continue
        for across, bars in ((True, trace.error_x.array), (False, trace.error_y.array)):
            if bars is not None and bars[k]:
                ends = [
                    place.at(xs[k] + s * bars[k], ys[k])
                    if across
                    else place.at(xs[k], ys[k] + s * bars[k])
                    for s in (-1, 1)
                ]
                draw.line([one for one in ends if one is not None], hue, FINER)
        _mark(draw, at, float(sizes if isinstance(sizes, (int, float)) else sizes[k]), hue, symbol)
        if "text" in mode and trace.text:
            draw.text((at[0] + 8 * FINER, at[1]), _plain(trace.text[k]), INK, font, "lm")


def _parts(points: Sequence[Point | None], steps: bool) -> Iterator[list[Point]]:
    """The lines that belong together; with `steps` each level is held until the next point."""
    part: list[Point] = []
    for one in (*points, None):
        if one is None:
            if len(part) > 1:
                yield part
            part = []
            continue
        if steps and part:
            part.append((one[0], part[-1][1]))
        part.append(one)


def _line(
    draw: ImageDraw.ImageDraw, points: Sequence[Point], hue: Colour, width: float, dotted: bool
) -> None:
    wide = max(1, round(width * FINER))
    if not dotted:
        draw.line(list(points), hue, wide, "curve")
        return
    for (x0, y0), (x1, y1) in pairwise(points):
        many = max(1, min(400, round(math.hypot(x1 - x0, y1 - y0) / (6 * FINER))))
        for k in range(many):
            a, b = k / many, (k + 0.55) / many
            ends = (x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + b * (x1 - x0), y0 + b * (y1 - y0))
            draw.line(ends, hue, wide)


def _mark(draw: ImageDraw.ImageDraw, at: Point, size: float, hue: Colour, symbol: str) -> None:
    x, y, r = at[0], at[1], size * FINER / 2
    if symbol in ("x", "x-thin"):
        draw.line((x - r, y - r, x + r, y + r), hue, 2 * FINER)
        draw.line((x - r, y + r, x + r, y - r), hue, 2 * FINER)
    elif symbol.startswith("square"):
        draw.rectangle((x - r, y - r, x + r, y + r), None, hue, 2 * FINER)
    elif symbol.startswith(("diamond", "star", "triangle")):
        corners = {"diamond": 4, "star": 10, "triangle": 3}[symbol.split("-")[0]]
        far = [r if corners != 10 or k % 2 == 0 else 0.45 * r for k in range(corners)]
        turn = math.pi / 2 if symbol.startswith("triangle") else -math.pi / 2
        angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
        edge = [
            (x + d * math.cos(one), y + d * math.sin(one))
            for d, one in zip(far, angles, strict=True)
        ]
        is_open = symbol.endswith("open")
        draw.polygon(edge, None if is_open else hue, hue if is_open else None, 2 * FINER)
    elif symbol.endswith("open"):
        draw.ellipse((x - r, y - r, x + r, y + r), None, hue, 2 * FINER)
    else:
        draw.ellipse((x - r, y - r, x + r, y + r), hue)


def _hue(trace: go.Scatter) -> Colour:
    if trace.fill == "toself":
        return _colour(trace.fillcolor or NEUTRAL)
    markers = "markers" in (trace.mode or "")
    named = (trace.marker.color or trace.marker.line.color) if markers else trace.line.color
    opacity = trace.marker.opacity if markers else trace.opacity
    found = _colour(named if isinstance(named, str) else NEUTRAL)
    part = float(opacity) if isinstance(opacity, (int, float)) else 0.9
    return (*found[:3], round(found[3] * part))


def _colour(said: str) -> Colour:
    """`#RRGGBB` or `rgba(R, G, B, PART)`."""
    if said.startswith("#"):
        return int(said[1:3], 16), int(said[3:5], 16), int(said[5:7], 16), 255
    red, green, blue, *part = (float(one) for one in re.findall(r"[\d.]+", said))
    return round(red), round(green), round(blue), round(255 * (part[0] if part else 1.0))


def _plain(said: Any) -> str:
    """A name in the letters that the font has."""
    text = str(said or "").replace("±", "+-").encode("ascii", "replace").decode()
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "~"
