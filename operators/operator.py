"""What an operator is: one method that turns parents into one proposed child."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np

from operators.history import History, NoHistory
from operators.knowledge import Passage
from operators.llm.prompt_settings import PromptSettings
from population.records import JudgedIdea, Note
from population.variant import OURSELVES, Cost, Estimate


class ParentRule(StrEnum):
    """Which parents an operator asks for."""

    ONE = "one"  # a single parent
    LINE = "line"  # a single parent that is at least two edits away from the seed
    FAILED = "failed"  # a child that failed, as "parent", and what it was made from, as "ancestor"
    PAIR = "pair"  # two parents on separate lines of descent, and their lowest common ancestor
    SEVERAL = "several"  # as PAIR, at times with a third that parted from both at the same ancestor


@dataclass(frozen=True, slots=True)
class Tried:
    """One child already made near here, for an LLM operator's memory."""

    idea: str
    operator: str
    status: str
    effect: float | None  # child minus parent in the first objective; None without a score
    effect_se: float | None = None  # its standard error; None where the spread is not known
    n: int = 0  # blocks that the less measured of the two was measured on, or that both were


@dataclass(frozen=True, slots=True)
class ParentView:
    """A parent as an operator sees it: its source and what is believed of it, by metric name."""

    variant_id: str
    role: str  # "parent", "first", "second", "third" or "ancestor"
    source: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    idea: str = ""
    idea_id: int | None = None
    edits: tuple[Tried, ...] = ()  # since the common ancestor, each against what it edits


@dataclass(frozen=True, slots=True)
class ProposalContext:
    """What an LLM operator may be told beside the parents. Text from variants is data, not instruction."""

    brief: str = ""
    objectives: tuple[str, ...] = ()
    noise_sd: float | None = None  # run-to-run sd of the first objective, when measured
    rung: str = ""  # the proxy rung in words
    tried: tuple[Tried, ...] = ()
    run: str = ""  # the parent's last run in few numbers
    ideas: tuple[JudgedIdea, ...] = ()
    notes: tuple[Note, ...] = ()
    inspirations: tuple[ParentView, ...] = ()  # other good variants, without their sources
    passages: tuple[Passage, ...] = ()
    prompt: PromptSettings = PromptSettings()
    failure: str = ""  # how a failed parent ended, in words
    log_tail: str = ""  # the last lines of its log


@dataclass(frozen=True, slots=True)
class Request:
    """One call of an operator. All randomness comes through `rng`.

    `endpoint` names the model to ask; "": the operator's own choice, if it asks one.
    """

    number: int  # the proposal's
    parents: tuple[ParentView, ...]  # PAIR: first, second, ancestor; FAILED: parent, ancestor
    rng: np.random.Generator
    scene: ProposalContext = ProposalContext()
    endpoint: str = ""
    history: History = field(default_factory=NoHistory)

    def parent(self, role: str) -> ParentView:
        """The parent in this role. Raises KeyError when there is none."""
        for view in self.parents:
            if view.role == role:
                return view
        raise KeyError(role)


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed child: its source, the idea in words, who wrote it, and what it cost."""

    source: str
    idea: str
    author: str = OURSELVES
    model: str = ""
    cost: Cost = Cost()
    idea_id: int | None = None  # a known idea that it tries


class ProposalFailed(Exception):
    """The operator gave no child. `reason` is one sentence for a person; `cost` was spent all the same."""

    def __init__(self, reason: str, cost: Cost | None = None, model: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.cost = cost or Cost()
        self.model = model


class Operator(Protocol):
    """Turns parents into one proposed child."""

    name: str
    kin: ParentRule

    def propose(self, request: Request) -> Draft:
        """The child, or ProposalFailed. May block (LLM); is called from several threads."""
        ...


@runtime_checkable
class MayRest(Protocol):
    """An operator that cannot always work, such as one whose model does not answer."""

    def rests(self) -> bool:
        """Whether another operator should go now."""
        ...


@runtime_checkable
class AsksModels(Protocol):
    """An operator that asks a model and can be told which."""

    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that answer now."""
        ...
