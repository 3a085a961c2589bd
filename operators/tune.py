"""Operator `tune`: a few constants of one structure, set by an optimiser that knows all its measurements.

One study a structure. It learns from the structure's own measurements, by any operator; of its relatives only
the best: what was good there is worth a try here, but what was bad there may be good here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.optimisers.optimiser import Method, Parzen, Space, suggest_cmaes
from operators.optimisers.study import Fits, Study
from operators.source.constants import with_settings
from operators.source.knobs import KnobKind, Value, range_text, same_value

MAX_KNOBS = 3  # TPE sets that many at once: most of twenty are fine where they are ...
FEW_KNOBS = 6  # ... but all of so few, as TPE does by itself (measured: docs/benchmark.md)
RELATIVES = 3  # of the relatives' settings are told to TPE
MAX_OBSERVATIONS = 200  # measured settings that the optimiser is told, the newest
PRIMARY_SHARE = 1.0  # of the proposals, for the first objective alone
DRAWS = 12  # suggestions before it is said that everything near was tried


class TuneSettings(BaseModel):
    """How constants are optimised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Field(default=Method.TPE, description="the optimiser")


class Tune:
    """Sets constants of its parent by what an optimiser makes of all measured settings.

    `primary_share`: of its proposals, for the first objective alone; the others weigh all at random.
    """

    name = "tune"
    parent_rule = ParentRule.ONE

    def __init__(
        self, settings: TuneSettings | None = None, primary_share: float = PRIMARY_SHARE
    ) -> None:
        self._settings, self._primary_share = settings or TuneSettings(), primary_share
        self._fits = Fits()

    def propose(self, request: Request) -> Draft:
        """The parent with other constants. ProposalFailed when it has none, or all near was tried."""
        source, space = request.parent("parent").source, Space.of(request)
        share = self._primary_share
        weighs = share < 1 and request.rng.random() >= share
        for values in islice(self._suggestions(request, space, weighs), DRAWS):
            moved = {
                name: value
                for name, value in values.items()
                if not same_value(value, space.start[name])
            }
            if not moved or space.was_tried({**space.start, **moved}):
                continue
            child = with_settings(source, space.knobs, moved)
            if not request.history.known(child):
                return Draft(child, idea_of(moved, space, self._settings.method, weighs))
        raise ProposalFailed("all that the optimiser suggests was tried before")

    def _suggestions(
        self, request: Request, space: Space, weighs: bool
    ) -> Iterator[Mapping[str, Value]]:
        """One suggestion after the other."""
        if self._settings.method is Method.GP:
            return study_of(request, space, self._fits).suggestions(weighs)
        suggest = self._suggester(space.weighed(request.rng) if weighs else space, request.rng)
        return iter(suggest, None)

    def _suggester(
        self, space: Space, rng: np.random.Generator
    ) -> Callable[[], Mapping[str, Value]]:
        """What gives one suggestion after the other."""
        relatives = space.relatives()
        numeric = [knob for knob in space.knobs if knob.kind is not KnobKind.CHOICE]
        if self._settings.method is Method.CMAES and len(numeric) > 1:
            own = space.told()[-MAX_OBSERVATIONS:]
            return lambda: suggest_cmaes(numeric, own, relatives, space.start, rng)
        told = [*relatives[:RELATIVES], *space.told(waiting=True)[-MAX_OBSERVATIONS:]]
        if len(space.knobs) <= FEW_KNOBS:
            return Parzen(space.knobs, told, rng).suggest
        return lambda: Parzen(space.drawn(MAX_KNOBS, rng), told, rng).suggest()


def study_of(request: Request, space: Space, fits: Fits) -> Study:
    """What the surrogate makes of a request's parent and all around it."""
    history, variant_id = request.history, request.parent("parent").variant_id
    return Study(
        space, request.rng, lambda row: history.settings(variant_id, row), history.left(), fits
    )


def idea_of(moved: Mapping[str, Value], space: Space, method: Method, weighed: bool = False) -> str:
    """What was turned, by which optimiser, for what, and which ranges are guesses."""
    moves = ", ".join(f"{name} {space.start[name]} -> {value}" for name, value in moved.items())
    guesses = [
        f"{knob.name} in {range_text(knob)}"
        for knob in space.knobs
        if knob.name in space.guessed and knob.name in moved
    ]
    said = f"; range guessed around its first value: {', '.join(guesses)}" if guesses else ""
    goal = ", all objectives weighed" if weighed else ""
    told = len(space.told())
    runs = f", {told} {'run' if told == 1 else 'runs'} told" if told else ""
    return f"{moves} ({method}{runs}{goal}{said})"
