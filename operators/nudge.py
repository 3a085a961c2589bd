"""Operator `nudge`: one to three knobs of one parent, each moved a little within its range."""

from __future__ import annotations

import math

import numpy as np

from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.source.constants import tunable, with_settings
from operators.source.knobs import (
    Knob,
    KnobError,
    KnobKind,
    Value,
    rounded,
    sound_knobs,
)

MAX_KNOBS = 3
STEP = 0.12  # sd of a step as a share of the range (of its logarithm for `log`)
_DRAWS = 50  # at a bound half the draws are clipped back to where they came from


class Nudge:
    """Changes 1 to 3 knobs of its parent."""

    name = "nudge"
    parent_rule = ParentRule.ONE

    def propose(self, request: Request) -> Draft:
        """The parent with some knobs moved, or constants within guessed ranges where it has no knob.

        Raises ProposalFailed when none can move.
        """
        source, rng = request.parent("parent").source, request.rng
        ranges = request.history.ranges()
        try:
            knobs = sound_knobs(source) if not ranges else ()
            knobs = knobs or tunable(source, (), {}, ranges)
        except KnobError as error:
            raise ProposalFailed(str(error)) from None
        moves: dict[str, Value] = {}
        wanted = int(rng.integers(1, MAX_KNOBS + 1))
        for index in rng.permutation(len(knobs)):
            knob = knobs[int(index)]
            value = moved(knob, rng)
            if value is not None:
                moves[knob.name] = value
            if len(moves) == wanted:
                break
        if not moves:
            raise ProposalFailed("the parent has no knob that can move")
        old = {knob.name: knob.value for knob in knobs}
        idea = ", ".join(f"{name} {old[name]} -> {value}" for name, value in moves.items())
        return Draft(with_settings(source, knobs, moves), idea)


def moved(knob: Knob, rng: np.random.Generator) -> Value | None:
    """Another value of this knob, or None when there is none."""
    if knob.kind is KnobKind.CHOICE:
        others = [choice for choice in knob.choices if choice != knob.value]
        return others[int(rng.integers(len(others)))] if others else None
    for _ in range(_DRAWS):
        value = _step(knob, float(knob.value), rng)
        if value != knob.value and knob.holds(value):
            return value
    return None


def _step(knob: Knob, value: float, rng: np.random.Generator) -> int | float:
    value = min(max(value, knob.low), knob.high)
    if knob.kind is KnobKind.LOG:
        low, high = math.log(knob.low), math.log(knob.high)
        step = STEP * (high - low) * rng.standard_normal()
        value = math.exp(min(max(math.log(value) + step, low), high))
    elif knob.whole:
        size = max(1, round(abs(STEP * (knob.high - knob.low) * rng.standard_normal())))
        value += size if rng.integers(2) else -size
    else:
        value += STEP * (knob.high - knob.low) * rng.standard_normal()
    return rounded(knob, value)
