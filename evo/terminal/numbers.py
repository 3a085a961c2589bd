"""Numbers in words: the same rounding and the same units on every screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
MAX_DECIMALS = 5
Ways = tuple[str, str]  # what a positive difference is called, and a negative one
BETTER_WORSE: Ways = ("better", "worse")


def duration(seconds: float | None) -> str:
    """45 s, 12 min, 3 h 20 min, 2 d 4 h, 3 years; a dash when not known."""
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
    days = hours // 24
    if days < 730:
        return f"{days} d {hours % 24} h"
    years = days / 365.25
    return f"{years:,.0f} years" if years < 1e6 else "a million years or more"


def clock(seconds: float) -> str:
    """Elapsed time as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def value(metric: str, number: float | None, noise: float | None = None) -> str:
    """A metric with as many digits as say something: two of the `noise`, where its standard error is known."""
    if number is None or not math.isfinite(number):
        return "–"
    if noise is not None and 0 < noise < math.inf:
        return f"{number:,.{_decimals(noise)}f}"
    if metric.endswith("bpb"):
        return f"{number:.5f}" if 0 < abs(number) < 0.001 else f"{number:.4f}"
    if abs(number - round(number)) < 1e-9 or abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def _decimals(noise: float) -> int:
    return min(max(1 - math.floor(math.log10(noise)), 0), MAX_DECIMALS)


def better(
    metric: str, gain: float | None, noise: float | None = None, ways: Ways = BETTER_WORSE
) -> str:
    """A difference in words, whichever way the metric points: "0.012 better", "0.012 worse"."""
    if gain is None or not math.isfinite(gain):
        return "–"
    return f"{value(metric, abs(gain), noise)} {ways[gain < 0]}" if gain else "no difference"


def better_range(
    metric: str, ends: tuple[float, float], noise: float | None = None, ways: Ways = BETTER_WORSE
) -> str:
    """The two ends of a gain: "0.01 to 0.03 better", "0.02 worse to 0.01 better"."""
    low, high = ends
    if low > 0 or high < 0:
        near, far = sorted(ends, key=abs)
        return f"{value(metric, abs(near), noise)} to {better(metric, far, noise, ways)}"
    return f"{better(metric, low, noise, ways)} to {better(metric, high, noise, ways)}"


def plus_minus(metric: str, mean: float, se: float | None, n: int) -> str:
    """mean ± standard error of the mean, and n; without one only what is known."""
    if se is None or not math.isfinite(se):
        return f"{value(metric, mean)}  n={n}"
    return f"{value(metric, mean, se)} ± {value(metric, se, se)}  n={n}"


def share(number: float | None) -> str:
    """A share as a percentage."""
    return "–" if number is None else f"{100 * number:.0f} %"


def megabytes(number: float | None) -> str:
    """MB, GB or TB."""
    if number is None:
        return "–"
    for unit in ("MB", "GB"):
        if number < 1024:
            return f"{number:.0f} MB" if unit == "MB" else f"{number:.1f} GB"
        number /= 1024
    return f"{number:,.1f} TB"


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
