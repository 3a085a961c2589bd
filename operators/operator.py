"""What a campaign remembers for its operators: asked for only by those that need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np

from operators.knowledge import Passage
from operators.llm.settings import PromptSettings
from operators.source.knobs import Value
from population.types import OURSELVES, Cost, Estimate, JudgedIdea, Note


class RunState(StrEnum):
    """How far a variant has come."""

    WAITING = "waiting"  # not measured yet
    SCORED = "scored"
    FAILED = "failed"  # it ran and ended badly


@dataclass(frozen=True, slots=True)
class KnobSetting:
    """One variant as its constants by name, and what is believed of its first objective.

    `value` is with the sign that makes lower better and NaN without a score; `sd` is of that mean, NaN while no
    noise is known. `values`: every objective likewise, empty without a score. `own`: of the structure asked
    for, else of a relative: a structure that is a parent or a child of it. What was measured itself, no belief:
    `measured`, the mean of each objective with the same sign, `squares` of the first's `n` blocks about it, the
    `seconds` of a run, and the id of the first `row`. `edits`: what tells its structure from the seed's.
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
    measured: tuple[float, ...] = ()
    squares: float = 0.0
    seconds: float = 0.0
    row: int = 0
    edits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Left:
    """What a search may still spend, where its runs differ in what they take."""

    seconds: float
    runs: float


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One variant of a line of descent along first parents, and what is believed as in Setting."""

    variant_id: str
    source: str
    idea: str
    value: float
    sd: float


@dataclass(frozen=True, slots=True)
class Transplanted:
    """One child that tries an idea of a bank: how far it is, and by how much it changed the first objective.

    `effect`: child minus parent as believed, with the sign that makes lower better, NaN without a score; `se`
    likewise, NaN while no noise is known. `inherited`: whether the parent asked for is it or descends from it.
    """

    idea: str  # the bank's id
    state: RunState
    effect: float
    se: float
    inherited: bool


class History(Protocol):
    """Answers about variants by their id. Called from several threads."""

    def settings(self, variant_id: str, as_of: int | None = None) -> Sequence[KnobSetting]:
        """All variants of its structure and of its relatives, oldest first, by any operator.

        `as_of`: as they were when this row was the last.
        """
        ...

    def left(self) -> Left | None:
        """What may still be spent; None where all runs take the same."""
        ...

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        """The variant, its first parent, and so on up to the seed."""
        ...

    def seed_source(self) -> str:
        """The source that everything descends from."""
        ...

    def ranges(self) -> Mapping[str, str]:
        """The ranges that the campaign's file gives constants, by name."""
        ...

    def known(self, source: str) -> bool:
        """Whether code that differs from it in form at most was made before."""
        ...

    def transplants(self, variant_id: str) -> Sequence[Transplanted]:
        """Every child so far that tries an idea of a bank, oldest first; the variant is who may inherit."""
        ...

    def forbidden(self, found: Mapping[str, Estimate]) -> str:
        """The first constraint that a variant of these values would break, in words; "" for none."""
        ...


class NoHistory:
    """For operators that are tried outside a campaign."""

    def settings(self, variant_id: str, as_of: int | None = None) -> Sequence[KnobSetting]:
        """Nothing was measured."""
        return ()

    def left(self) -> Left | None:
        """Nothing is known of it."""
        return None

    def line(self, variant_id: str) -> Sequence[Ancestor]:
        """Nobody came before."""
        return ()

    def seed_source(self) -> str:
        """No seed."""
        return ""

    def ranges(self) -> Mapping[str, str]:
        """None is given."""
        return {}

    def known(self, source: str) -> bool:
        """Nothing was made before."""
        return False

    def transplants(self, variant_id: str) -> Sequence[Transplanted]:
        """Nothing was tried."""
        return ()

    def forbidden(self, found: Mapping[str, Estimate]) -> str:
        """Nothing is."""
        return ""


# -- What an operator is: one method that turns parents into one proposed child.


class ParentRule(StrEnum):
    """Which parents an operator asks for."""

    ONE = "one"  # a single parent
    TUNED = "tuned"  # a single parent whose structure has a score with other constants, too
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
    effect_se: float | None = (
        None  # its standard error; None where the standard deviation is not known
    )
    n: int = 0  # blocks that the less measured of the two was measured on
    value: float | None = None  # the child's own, where `effect` is known
    reason: str = ""  # why it failed
    variant_id: str = ""


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
    why: str = ""  # why it is worth an edit: the best, behind it, or ahead of it in what
    larger: tuple[str, ...] = ()  # its results at larger rungs, each in words


@dataclass(frozen=True, slots=True)
class ProposalContext:
    """What an LLM operator may be shown besides the parents. Text from variants is data, not instruction."""

    brief: str = ""
    contract: str = ""  # what the script can rely on
    may_add: tuple[str, ...] = ()  # patterns of files that a variant may have beside the seed's
    objectives: tuple[str, ...] = ()
    lower_is_better: bool = True  # in the first of them
    trade: str = ""  # what a loss in one objective has to buy in another, in words
    constraints: tuple[str, ...] = ()  # each in words
    noise_sd: float | None = None  # run-to-run sd of the first objective, when measured
    rung: str = ""  # the proxy rung in words
    tried: tuple[Tried, ...] = ()
    run: str = ""  # the parent's last run in few numbers
    dearest: str = ""  # the operations that take longest in it, or in the nearest it descends from
    ideas: tuple[JudgedIdea, ...] = ()
    under_way: tuple[Tried, ...] = ()  # children that are not measured yet, the newest first
    awaited: tuple[
        str, ...
    ] = ()  # operators that ask a model about the same parents at this moment
    notes: tuple[Note, ...] = ()
    leader: ParentView | None = None  # the best variant, where it is none of the parents
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
    context: ProposalContext = ProposalContext()
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
    origin: str = ""  # JSON: the line of an idea bank that it tries, and the bank's name


class ProposalFailed(Exception):
    """The operator gave no child. `reason` is one sentence for a person; `cost` was spent all the same.

    `resting`: what it asks takes a rest and comes back, which says nothing of the search.
    """

    def __init__(
        self, reason: str, cost: Cost | None = None, model: str = "", resting: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cost = cost or Cost()
        self.model = model
        self.resting = resting


class Operator(Protocol):
    """Turns parents into one proposed child."""

    name: str
    parent_rule: ParentRule

    def propose(self, request: Request) -> Draft:
        """The child, or ProposalFailed. May block (LLM); is called from several threads."""
        ...


@runtime_checkable
class MayBeUnavailable(Protocol):
    """An operator that cannot always work, such as one whose model does not answer."""

    def is_unavailable(self) -> bool:
        """Whether another operator should go now."""
        ...


@runtime_checkable
class AsksModels(Protocol):
    """An operator that asks a model and can be told which."""

    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that answer now."""
        ...
