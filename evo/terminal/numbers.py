"""Numbers in words: the same rounding and the same units on every screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"


def duration(seconds: float | None) -> str:
    """45 s, 12 min, 3 h 20 min, 2 d 4 h; a dash when not known."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def clock(seconds: float) -> str:
    """Elapsed time as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def value(metric: str, number: float | None) -> str:
    """A metric with as many digits as say something."""
    if number is None or not math.isfinite(number):
        return "–"
    if metric.endswith("bpb"):
        return f"{number:.5f}" if 0 < abs(number) < 0.001 else f"{number:.4f}"
    if abs(number - round(number)) < 1e-9 or abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def signed(metric: str, number: float | None) -> str:
    """A difference in a metric, with its sign."""
    if number is None or not math.isfinite(number):
        return "–"
    return ("+" if number >= 0 else "−") + value(metric, abs(number))


def plus_minus(metric: str, mean: float, sd: float | None, n: int) -> str:
    """mean ± sd of the mean, and n; without an sd only what is known."""
    if sd is None or not math.isfinite(sd):
        return f"{value(metric, mean)}  n={n}"
    return f"{value(metric, mean)} ± {value(metric, sd)}  n={n}"


def share(number: float | None) -> str:
    """A share as a percentage."""
    return "–" if number is None else f"{100 * number:.0f} %"


def megabytes(number: float | None) -> str:
    """MB or GB."""
    if number is None:
        return "–"
    return f"{number / 1024:.1f} GB" if number >= 1024 else f"{number:.0f} MB"


def count(number: int, one: str, many: str = "") -> str:
    """1 variant, 2 variants."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in at most `width` characters; what is not finite leaves a gap.

    The highest tenth is drawn alike: a loss falls steeply at first, and what comes then must be seen.
    """
    finite = sorted(one for one in values if math.isfinite(one))
    if not finite or width < 1:
        return ""
    low, high = finite[0], finite[int(0.9 * (len(finite) - 1))]
    step = max(1.0, len(values) / width)
    places = [int(place * step) for place in range(min(width, len(values)))]
    return "".join(_bar(values[place], low, high) for place in places)


def shares_line(parts: Sequence[float]) -> str:
    """Shares from 0 to 1 as a curve, one character each."""
    return "".join(_bar(part, 0.0, 1.0) for part in parts)


def _bar(number: float, low: float, high: float) -> str:
    if not math.isfinite(number):
        return " "
    if high <= low:
        return BARS[0]
    return BARS[min(len(BARS) - 1, int((number - low) / (high - low) * len(BARS)))]


def bar(part: float, width: int) -> str:
    """A filled bar of `width` characters with eighths, for a share from 0 to 1."""
    eighths = round(min(max(part, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    edge = " ▏▎▍▌▋▊▉"[rest] if full < width else ""
    return ("█" * full + edge).ljust(width)[:width]
