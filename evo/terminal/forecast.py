"""The forecast in words, before anything runs."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.text import Text

from evo.analysis.forecast import Forecast
from evo.terminal.numbers import count, duration, megabytes
from evo.terminal.tables import FAINT, pairs
from evo.terminal.text import plain


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
        ("expected end", _end(one, now)),
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


def _end(one: Forecast, now: float) -> str:
    if one.seconds is None:
        return "–"
    day = "%H:%M" if one.seconds < 12 * 3600 else "%a %d %b %H:%M"
    return f"in about {duration(one.seconds)}, at {time.strftime(day, time.localtime(now + one.seconds))}"
