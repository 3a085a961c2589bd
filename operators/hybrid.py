"""Operator `hybrid`: a model sets constants of one structure, shown what the optimiser knows of it.

The optimiser of `tune` learns from all runs of a structure, by any operator, so that it learns from these too.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from operators.llm.answer import Message
from operators.llm_operators import Ask, LlmOperator
from operators.operator import KnobSetting, ParentRule, ProposalContext, Request, RunState
from operators.optimisers.optimiser import Space, from_place
from operators.prompting import again_messages, decimals, differences, messages_about, quoted
from operators.source.blocks import EditError
from operators.source.constants import place, with_settings
from operators.source.knobs import (
    Knob,
    KnobError,
    KnobKind,
    Value,
    at_edge,
    range_text,
    same_value,
    with_ranges,
)

BEST_SHARE = 0.25  # of the scored runs: where the optimiser looks for more
MIN_BEST = 3  # runs before a mean and a standard deviation say anything
MAX_WIDENED_LOG = 10.0  # times beyond the end of a log range; of any other, its width
SHOWN = 6  # of the best runs, and of the last
MAX_LINES = 200  # of a reply are read
_LINE = re.compile(r"^[\s>*`-]{0,12}([^\W\d]\w{0,99})`?\s*=(?!=)\s*(.{1,200}?)[\s`*;,]*$")


class Hybrid(LlmOperator):
    """Asks for values of its parent's constants; what is unknown, out of range or tried is asked again.

    Only about a structure that has scores with several settings: before, the optimiser knows nothing to show.
    """

    as_text = True

    def __init__(self, llm: Ask) -> None:
        super().__init__("hybrid", ParentRule.TUNED, "parent", hybrid_messages, llm)

    def _again(self, messages: tuple[Message, ...], reply: str, reason: str) -> tuple[Message, ...]:
        return again_messages(messages, reply, reason, "hybrid_again.md")

    def _edit(self, request: Request, reply: str) -> str:
        space, values = Space.of(request), read_values(reply)
        try:
            parent = request.parent("parent").source
            knobs = [_reaching(knob, values.get(knob.name)) for knob in space.knobs]
            child = with_ranges(with_settings(parent, knobs, values), knobs)
        except KnobError as error:
            raise EditError(str(error)) from None
        if all(same_value(value, space.start[name]) for name, value in values.items()):
            raise EditError("every value is the parent's: the reply changes nothing")
        if space.was_tried({**space.start, **values}) or request.history.known(child):
            raise EditError("this structure was set so before")
        return child


def _reaching(knob: Knob, value: Value | None) -> Knob:
    """The knob, its range widened to a value beyond the end that the parent stands at, if not far beyond."""
    if isinstance(value, bool | str | None) or not at_edge(knob) or not math.isfinite(value):
        return knob
    low, high = knob.low, knob.high
    if knob.kind is KnobKind.LOG:
        low, high = low / MAX_WIDENED_LOG, high * MAX_WIDENED_LOG
    else:
        low, high = low - (high - low), high + (high - low)
    upwards = place(knob, knob.value) > 0.5
    if knob.high < value <= high and upwards:
        return replace(knob, high=value)
    if low <= value < knob.low and not upwards:
        return replace(knob, low=value)
    return knob


def read_values(reply: str) -> dict[str, Value]:
    """The values of the lines `NAME = value`. EditError without one, or for a name with two values."""
    values: dict[str, Value] = {}
    for line in reply.splitlines()[:MAX_LINES]:
        found = _LINE.match(line)
        if found is None or not found[1].isupper():
            continue
        name, value = found[1], _value(found[2])
        if name in values and not same_value(values[name], value):
            raise EditError(f"{name} has two values, {values[name]!r} and {value!r}")
        values[name] = value
    if not values:
        raise EditError("no line NAME = value in the reply")
    return values


def _value(text: str) -> Value:
    """A Python literal, its comment left out, or a bare word such as the choice of a knob."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.split("#")[0].strip()
    return value if isinstance(value, bool | int | float | str) else text


def hybrid_messages(request: Request) -> tuple[Message, ...]:
    """The prompt: the parent, its constants, and what the optimiser knows. ProposalFailed without any."""
    space = Space.of(request)
    runs = {one.variant_id for one in space.settings if one.own}  # told as runs of this structure
    context = request.context
    tried = tuple(one for one in context.tried if one.variant_id not in runs)
    waiting = tuple(one for one in context.under_way if one.variant_id not in runs)
    request = replace(request, context=replace(context, tried=tried, under_way=waiting))
    lines = constants_in_words(space)
    return messages_about(
        request,
        "hybrid.md",
        "hybrid_system.md",
        columns=columns_of(lines),
        constants=quoted("constants", "\n".join(lines)),
        runs=_runs(space, request.context),
    )


def columns_of(lines: Sequence[str]) -> str:
    """What stands behind the constants in these lines, in words: nothing that is in none of them."""
    told = "What can be turned, with the parent's value and its range."
    parts = []
    if any("; the best " in one for one in lines):
        parts.append("where the best of them lie (mean, and one standard deviation around it)")
    if any("; in the best " in one for one in lines):
        parts.append("how often the best of them make each choice")
    if not parts:
        return told
    parts.append("the share of all effects that it puts down to the constant")
    what = ", ".join(parts[:-1]) + ", and " + parts[-1]
    return f"{told} After it, what the optimiser makes of the runs of this structure: {what}."


def constants_in_words(space: Space) -> list[str]:
    """Each constant in a line: value, range, where the best runs lie, its share of the effects."""
    scored = sorted(space.own(RunState.SCORED), key=lambda one: one.value)
    best = scored[: max(MIN_BEST, round(BEST_SHARE * len(scored)))]
    lines = []
    for knob, share in zip(space.knobs, space.weights(), strict=True):
        guessed = ", a range guessed around its first value" if knob.name in space.guessed else ""
        belief = _belief(knob, best) if len(best) >= MIN_BEST else ""
        known = f"; {belief}; {share:.0%} of the effects" if belief else ""
        edge = ", at the end of its range" if at_edge(knob) else ""
        lines.append(f"- {knob.name} = {knob.text}, in {range_text(knob)}{guessed}{edge}{known}")
    return lines


def _belief(knob: Knob, best: Sequence[KnobSetting]) -> str:
    """Mean and standard deviation of a constant in the best runs, on its own scale; a choice is counted."""
    values = [one.constants[knob.name] for one in best if knob.name in one.constants]
    values = [one for one in values if knob.holds(one)]
    if len(values) < MIN_BEST:
        return ""
    if knob.kind is KnobKind.CHOICE:
        counts = [(sum(same_value(value, one) for value in values), one) for one in knob.choices]
        return "in the best " + ", ".join(f"{one} {n} times" for n, one in counts if n)
    places = np.array([place(knob, value) for value in values])
    mean, spread = float(places.mean()), float(places.std(ddof=1))
    low, middle, high = (
        from_place(knob, min(max(at, 0.0), 1.0)) for at in (mean - spread, mean, mean + spread)
    )
    return f"the best {middle:g} ({low:g} to {high:g})"


def _runs(space: Space, context: ProposalContext) -> str:
    """The best and the last runs of the structure, and what is told of each."""
    if not any(one.own for one in space.settings):
        return "None yet."
    scored = space.own(RunState.SCORED)
    error = ", ± its standard error," if any(math.isfinite(one.sd) for one in scored) else ""
    objective = context.objectives[0] if context.objectives else "the first objective"
    head = f"Each with {objective}{error} and the constants in which it differs from the parent."
    sign = 1.0 if context.lower_is_better else -1.0
    scored = sorted(space.own(RunState.SCORED), key=lambda one: one.value)
    last = [one for one in space.settings if one.own and one not in scored[:SHOWN]][-SHOWN:]
    parts = [("best", scored[:SHOWN]), ("last", last)]
    told = [
        f"The {name} ones:\n\n"
        + quoted(name, "\n".join(run_line(one, space.start, sign) for one in runs))
        for name, runs in parts
        if runs
    ]
    return "\n\n".join([head, *told])


def run_line(one: KnobSetting, start: Mapping[str, Value], sign: float = 1.0) -> str:
    """One setting: what is believed of it, and where it differs from `start`.

    `sign`: -1 where higher is better, since a setting's value is turned so that lower is.
    """
    return f"- {_result(one, sign)}: {differences(one.constants, start) or 'as the parent'}"


def _result(one: KnobSetting, sign: float) -> str:
    if one.state is not RunState.SCORED:
        return {RunState.FAILED: "failed"}.get(one.state, "not measured yet")
    if not math.isfinite(one.sd):
        return f"{sign * one.value:.6g} (n = {one.n})"
    digits = decimals(one.sd)
    return f"{sign * one.value:.{digits}f} ± {one.sd:.{digits}f} (n = {one.n})"
