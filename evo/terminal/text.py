"""Text on its way to a terminal. What came from a variant is shown as it is read, never obeyed."""

from __future__ import annotations

import io
import math
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.text import Text

from population.metrics import decimals_of
from population.types import MAX_TEXT_CHARS

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST = MAX_TEXT_CHARS
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links: OSC up to its end
    r"|\x1b[P^_X][^\x1b]*(?:\x1b\\)?"  # DCS, PM, APC, SOS
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]?"  # CSI and two-character escapes
)

_COMMANDS = re.compile(
    r"(`evo (?!run|init|doctor|list|calibrate|bench)(?:(?!--dir|`| --set).)*)((?: --set[^`]*)?`)"
)


def plain(text: str) -> str:
    """One printable line: terminal escapes, control and direction marks gone, blanks united."""
    shown = "".join(letter if letter.isprintable() else " " for letter in _ESCAPES.sub("", text))
    return " ".join(shown[:LONGEST].split())


def printable(text: str) -> str:
    """Source or log with its line breaks and tabs, and nothing else that could steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "�"
        for letter in text.replace("\r\n", "\n")
    )


def words(text: str, style: str = "") -> Text:
    """Foreign text for rich: one plain line in which markup is not read."""
    return Text(plain(text), style=style, no_wrap=False)


def placed(text: str, where: str) -> str:
    """The same text with `where` (" --dir FOLDER") in every `evo ...` that is named in it."""
    return _COMMANDS.sub(lambda found: f"{found[1]}{where}{found[2]}", text) if where else text


def short(variant_id: str) -> str:
    """The id as shown: enough digits for a prefix."""
    return variant_id[:8]


def as_text(*parts: RenderableType, width: int) -> str:
    """What a screen shows, as plain text of `width` columns without colours or trailing blanks."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, highlight=False, markup=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def clip(text: str, most: int) -> str:
    """A plain line, shortened to `most` characters."""
    line = plain(text)
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


# -- Numbers in words: the same rounding and the same units on every screen.


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
    decimals = decimals_of(metric)
    if decimals is not None:
        small = 0 < abs(number) < 10 ** (1 - decimals)
        return f"{number:.{decimals + small}f}"
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
    told = value(metric, abs(gain), noise)
    return f"{told} {ways[gain < 0]}" if set(told) - set("0.") else "no difference"


def better_range(
    metric: str, ends: tuple[float, float], noise: float | None = None, ways: Ways = BETTER_WORSE
) -> str:
    """The two ends of a gain: "0.01 to 0.03 better", "0.02 worse to 0.01 better"."""
    low, high = ends
    if low > 0 or high < 0:
        near, far = sorted(ends, key=abs)
        return f"{value(metric, abs(near), noise)} to {better(metric, far, noise, ways)}"
    return f"{better(metric, low, noise, ways)} to {better(metric, high, noise, ways)}"


def mean_and_error(metric: str, mean: float, se: float | None) -> str:
    """A mean ± its standard error, where one is known."""
    if se is None or not math.isfinite(se):
        return value(metric, mean)
    return f"{value(metric, mean, se)} ± {value(metric, se, se)}"


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


# -- Without a terminal: one plain line an event, with its time.


def event_line(at: float, text: str) -> str:
    """The line of one event; `at` in seconds since the epoch."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}  {plain(text)}"


def dated_line(at: float, text: str) -> str:
    """The same with its day, for what is read later."""
    return f"{time.strftime('%Y-%m-%d', time.localtime(at))} {event_line(at, text)}"


def write_line(out: TextIO, at: float, text: str) -> None:
    """Write one event at once, for readers of the pipe. A closed pipe or terminal stops no campaign."""
    try:
        out.write(event_line(at, text) + "\n")
        out.flush()
    except (OSError, ValueError):  # ValueError: the stream is closed
        pass


# -- The dozen words that a newcomer needs, each in a sentence; README has the same.


GLOSSARY = {
    "rung": "a scale to train at: depth, budget, clock, context; the rungs of a campaign are its ladder",
    "proxy": "the first and smallest rung, where the search happens",
    "block": "a seed of initialisation and data order with a tenth of the training text left out, the same for "
    "everyone, so that two variants are compared in pairs; a fresh block played no part in choosing",
    "slot": "what does one run at a time: a GPU, or a core",
    "operator": "what turns parents into a child: an optimiser, a merge, a language model",
    "knob": "a constant of train.py that optimisers may turn: `LR = 0.02 # knob: log 1e-3 1e-1`",
    "standing": "how sure a member of the Pareto front is: candidate (believed), replicated (on 4 blocks or "
    "more), certified",
    "certified": "proven better on fresh blocks, by an e-value",
    "e-value": "evidence that may be looked at after every pair: under chance alone it reaches 20 at most once "
    "in 20 times",
    "champion": "the last variant that was certified; the seed before any",
    "leader": "whom the findings are about: the child of the final comparison, before it the front's best "
    "child (`best` is the front's first, which may be the seed)",
    "selection bias": "by how much the figure of the runs that chose a variant flatters it",
}
NOTE = (
    "A score is what is believed of a variant ± its error: the truth is within twice that 19 times in 20; a "
    "difference is of pairs, ± its standard error."
)
