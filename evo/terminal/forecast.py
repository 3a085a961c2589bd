"""The forecast in words, before anything runs."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.text import Text

from evo.analysis.forecast import Forecast
from evo.terminal.numbers import count, duration, megabytes
from evo.terminal.tables import FAINT, pairs
from evo.terminal.text import plain

MAX_DATED_SECONDS = 1000 * 365.25 * 86400  # a date beyond it says nothing


def forecast_screen(name: str, where: str, one: Forecast, now: float) -> RenderableType:
    """What is about to happen; `now` in seconds since the epoch."""
    rows: list[tuple[str, Text | str]] = [
        ("folder", plain(where)),
        ("slots", f"{one.slots}"),
        ("seconds a child", _seconds(one)),
        (
            "children an hour",
            "–" if one.children_an_hour is None else f"{one.children_an_hour:.0f}",
        ),
        ("children", _children(one)),
        *(
            [("certification", f"up to {one.race_runs} runs more, as races need them")]
            if one.race_runs
            else []
        ),
        ("disk", f"about {megabytes(one.disk_mb)}" if one.disk_mb is not None else "–"),
        ("language model", _model(one)),
        ("expected end", end_in_words(one, now)),
        *(("", Text(plain(warning), "red")) for warning in one.warnings),
    ]
    return Group(Text.assemble((plain(name), "bold"), ("  forecast", FAINT)), pairs(rows))


def _seconds(one: Forecast) -> str:
    if one.seconds_a_run is None:
        return "not known before the first run: the clock counts tokens"
    source = (
        "measured in this campaign" if one.measured else "estimated: start-up, training, scoring"
    )
    upper = [f"{plain(name)} {duration(at)}" for name, at in list(one.by_rung.items())[1:]]
    return f"{duration(one.seconds_a_run)} ({source})" + (f"; {', '.join(upper)}" if upper else "")


def _children(one: Forecast) -> str:
    if one.children == 0:
        return f"none: only the seed is measured; {count(one.runs or 0, 'run')}"
    if one.children is None or one.runs is None:
        return "until the language model's budget is spent"
    ends = {"variants": "", "seconds": ", the time limit"}.get(one.ends_by, "")
    return f"{one.children:,}{ends}; {count(one.runs, 'run')} with re-measuring, comparison and graduation"


def _model(one: Forecast) -> str:
    if not one.llm_operators:
        why = plain(one.llm_resting) or "every operator works without one"
        return f"none: {why}; 0 tokens, 0 dollars"
    tokens = "no token ceiling" if one.llm_tokens is None else f"at most {one.llm_tokens:,} tokens"
    dollars = (
        "no dollar ceiling" if one.llm_dollars is None else f"at most {one.llm_dollars:.2f} dollars"
    )
    return f"{', '.join(map(plain, one.llm_operators))}: {tokens}, {dollars}"


def end_in_words(one: Forecast, now: float) -> str:
    """When it ends, and what still comes after a person's word; `now` in seconds since the epoch."""
    if one.seconds is None:
        return "–"
    told = f"in about {duration(one.seconds)}{_at(now, one.seconds)}"
    if one.ladder_seconds is None:
        return told
    climbing = duration(one.ladder_seconds)
    return f"{told}; then it waits for your `evo approve`, and what goes up takes up to {climbing} more"


def _at(now: float, seconds: float) -> str:
    """When that is: the day from half a day on, the year from half a year on."""
    if seconds > MAX_DATED_SECONDS:
        return ""
    day = "%a %d %b %Y %H:%M" if seconds > 183 * 86400 else "%a %d %b %H:%M"
    day = "%H:%M" if seconds < 12 * 3600 else day
    return f", at {time.strftime(day, time.localtime(now + seconds))}"
