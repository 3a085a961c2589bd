"""Histories written by hand: settings with values, lines of descent, sources that are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operators.operator import Ancestor, KnobSetting, Left, RunState, Transplanted
from operators.source.constants import constants
from operators.source.knobs import with_knobs
from population.fingerprint import fingerprint, knob_free_fingerprint
from population.types import Estimate
from tests.operators.samples import SEED

SD = 0.005


def setting(
    source: str,
    value: float | None,
    own: bool = True,
    failed: bool = False,
    others: tuple[float, ...] = (),
) -> KnobSetting:
    """One variant by its source; None: not measured, or failed. `others`: its objectives beside the first."""
    state = (
        RunState.SCORED if value is not None else RunState.FAILED if failed else RunState.WAITING
    )
    number = math.nan if value is None else value
    structure = knob_free_fingerprint(source)
    n = int(value is not None)
    values = () if value is None else (value, *others)
    return KnobSetting(source, structure, constants(source), state, number, SD, n, own, values)


def line_of(*sources: str, values: Sequence[float] = ()) -> list[Ancestor]:
    """A line from its newest source to its oldest."""
    numbers = values or [1.0] * len(sources)
    return [
        Ancestor(f"{at:064x}", source, f"edit {len(sources) - 1 - at}", value, SD)
        for at, (source, value) in enumerate(zip(sources, numbers, strict=True))
    ]


@dataclass
class FakeHistory:
    """What it is given."""

    all_settings: Sequence[KnobSetting] = ()
    lines: Mapping[str, Sequence[Ancestor]] = field(default_factory=dict)
    seed: str = SEED
    made: set[str] = field(default_factory=set)  # fingerprints
    tried: Sequence[Transplanted] = ()

    def settings(self, variant_id: str, as_of: int | None = None) -> Sequence[KnobSetting]:
        return [one for one in self.all_settings if as_of is None or one.row <= as_of]

    def left(self) -> Left | None:
        return None

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        return next(iter(self.lines.values()), ())

    def seed_source(self) -> str:
        return self.seed

    def ranges(self) -> Mapping[str, str]:
        return {}

    def known(self, source: str) -> bool:
        return fingerprint(source) in self.made

    def transplants(self, variant_id: str) -> Sequence[Transplanted]:
        return self.tried

    def forbidden(self, found: Mapping[str, Estimate]) -> str:
        over = found.get("parameters")
        return "parameters at most 100" if over is not None and over.mean > 100 else ""


def plain_history(source: str) -> FakeHistory:
    """A parent that was measured, two edits after the seed."""
    warmer = with_knobs(source, {"WARMUP": 0.03})
    before = with_knobs(warmer, {"MATRIX_LR": 0.05})
    return FakeHistory(
        [setting(source, 1.0), setting(before, 1.1)], {"": line_of(source, warmer, before)}
    )
