"""What a campaign remembers for its operators: asked for only by those that need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from operators.source.knobs import Value


class RunState(StrEnum):
    """How far a variant has come."""

    WAITING = "waiting"  # not measured yet
    SCORED = "scored"
    FAILED = "failed"  # it ran and ended badly


@dataclass(frozen=True, slots=True)
class KnobSetting:
    """One variant as its constants by name, and what is believed of its first objective.

    `value` is turned so that less is better and NaN without a score; `sd` is of that mean, NaN while no
    noise is known. `values`: every objective likewise, empty without a score. `own`: of the structure asked
    for, else of a relative: a structure that is a parent or a child of it.
    """

    variant_id: str
    structure: str  # its knob-free fingerprint
    constants: Mapping[str, Value]
    state: RunState
    value: float
    sd: float
    n: int
    own: bool = True
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One variant of a line of descent along first parents, and what is believed as in Setting."""

    variant_id: str
    source: str
    idea: str
    value: float
    sd: float


class History(Protocol):
    """Answers about variants by their id. Called from several threads."""

    def settings(self, variant_id: str) -> Sequence[KnobSetting]:
        """All variants of its structure and of its relatives, oldest first: told whoever made them."""
        ...

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        """The variant, its first parent, and so on up to the seed."""
        ...

    def seed_source(self) -> str:
        """The source that everything descends from."""
        ...

    def known(self, source: str) -> bool:
        """Whether code that differs from it in form at most was made before."""
        ...


class NoHistory:
    """For operators that are tried outside a campaign."""

    def settings(self, variant_id: str) -> Sequence[KnobSetting]:
        """Nothing was measured."""
        return ()

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        """Nobody came before."""
        return ()

    def seed_source(self) -> str:
        """No seed."""
        return ""

    def known(self, source: str) -> bool:
        """Nothing was made before."""
        return False
