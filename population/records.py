"""The records a store gives back: rows as values, with the ids and times that recording added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from population.variant import Cost, Estimate, Measurement, Outcome, Parent, RunRequest


@dataclass(frozen=True, slots=True)
class MeasurementRow:
    """A measurement with its place in the order of recording."""

    id: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposal as recorded, with the id of its variant instead of the source."""

    number: int
    operator: str
    parents: tuple[Parent, ...]
    outcome: Outcome
    reason: str
    variant_id: str | None
    idea: str
    author: str
    model: str
    cost: Cost
    seen: int
    created_at: float  # seconds since the epoch
    idea_id: int | None = None  # the row of `ideas` it tries


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run in flight. pid is None until the slot has started its process."""

    order: RunRequest
    slot: str
    pid: int | None
    pid_started_at: float | None
    started_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What the campaign decided about a variant, with its evidence; `created_at` since the epoch."""

    id: int
    kind: str
    variant_id: str | None
    detail: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class RequestRow:
    """What another process asked of the campaign; `created_at` in seconds since the epoch."""

    id: int
    kind: str
    detail: Any
    author: str
    created_at: float

    @property
    def name(self) -> str:
        """How it is called beside what stands: w7 waits, 7 stands."""
        return f"w{self.id}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in plain words; `created_at` in seconds since the epoch."""

    id: int
    kind: str
    text: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What a campaign has used up. `dollars` leaves out proposals and calls of unknown price."""

    proposals: int
    variants: int
    measurements: int
    tokens_in: int
    tokens_out: int
    dollars: float
    price_unknown: int  # proposals and calls whose price is not known
    slot_seconds: float


@dataclass(frozen=True, slots=True)
class LlmCallRow:
    """One request to a model that has ended, without its texts. `dollars` is None for an unknown price."""

    proposal_number: int  # 0: for no proposal
    operator: str  # that the proposal is by; "" for no proposal, or for one that a kill cut off
    parts: Mapping[str, int]  # about how many tokens of the prompt each
    endpoint: str
    model: str
    outcome: str  # "ok", or what went wrong
    tokens_in: int
    tokens_out: int
    dollars: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A variant on the front: its standing, what is believed of it in the first objective, and what its
    runs average to there (None: not told).
    """

    variant_id: str
    standing: str
    estimate: Estimate
    measured: Estimate | None = None


@dataclass(frozen=True, slots=True)
class JudgedIdea:
    """An idea and what its children say of it.

    `effect` is child minus parent in val_bpb on the blocks both ran on, the mean of `n` children; its
    standard error is None below two.
    """

    id: int
    text: str
    author: str
    created_at: float  # seconds since the epoch
    children: int
    ok: int
    failed: int
    waiting: int
    n: int
    effect: float | None
    effect_se: float | None


@dataclass(frozen=True, slots=True)
class Note:
    """A research note that stands; `evidence` are ids of variants, times in seconds since the epoch."""

    id: int
    text: str
    author: str
    evidence: tuple[str, ...]
    seen: int
    created_at: float
    edited_at: float | None
