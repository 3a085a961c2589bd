"""What is known of a parent's very code with other constants: shown before a model proposes nearly the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from operators.briefing_context import effect_in_words
from operators.history import KnobSetting, RunState
from operators.llm.answer import one_line
from operators.operator import Request
from operators.quoting import MAX_IDEA_CHARS
from operators.source.constants import constants, distance, tunable
from operators.source.knobs import Knob, KnobError, Value, same_value
from operators.source.parse import SourceError

MAX_SETTINGS = 8


def nearby(request: Request) -> list[str]:
    """The nearest measured settings of the first parent's structure, one line each, the nearest first.

    Each is told with its effect against the parent ± standard error and n, and what differs in it,
    whoever made it and from whom.
    """
    parent = request.parents[0]
    try:
        start, knobs = constants(parent.source), tunable(parent.source, (), {})
    except (KnobError, SourceError):
        return []
    settings = [one for one in request.history.settings(parent.variant_id) if one.own]
    here = next((one for one in settings if one.variant_id == parent.variant_id), None)
    known = [
        one
        for one in settings
        if one.state is not RunState.WAITING and differences(one.constants, start)
    ]
    known.sort(key=lambda one: _apart(knobs, one.constants, start))
    return [_line(one, here, start) for one in known[:MAX_SETTINGS]]


def differences(values: Mapping[str, Value], start: Mapping[str, Value]) -> str:
    """The constants that are not as in `start`, with their values; "" for none."""
    moved = [
        f"{name} = {values[name]!r}"
        for name, value in start.items()
        if name in values and not same_value(values[name], value)
    ]
    return ", ".join(moved)


def _apart(knobs: Sequence[Knob], values: Mapping[str, Value], start: Mapping[str, Value]) -> float:
    """The largest share of a range between two settings; 1 where one differs in what has no range."""
    turned = {knob.name for knob in knobs}
    fixed = {name: value for name, value in start.items() if name not in turned}
    return 1.0 if differences(values, fixed) else distance(knobs, values, start)


def _line(one: KnobSetting, here: KnobSetting | None, start: Mapping[str, Value]) -> str:
    told = "failed"
    if one.state is RunState.SCORED:
        told = "no comparison"
        if here is not None and here.state is RunState.SCORED:
            se = math.hypot(one.sd, here.sd)
            told = effect_in_words(
                one.value - here.value, se if math.isfinite(se) else None, min(one.n, here.n)
            )
    return f"- {told}: {one_line(differences(one.constants, start), MAX_IDEA_CHARS)}"
