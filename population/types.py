"""The words of the project as values: what crosses from one package to another.

Every record here is a frozen dataclass and carries its units in its names. Nothing in this file
does anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How one run ended. Only `ok` carries a score; every other status carries a reason."""

    OK = "ok"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    REJECTED = "rejected"
    CHEATED = "cheated"
    STOPPED = "stopped"
    LOST = "lost"


class Purpose(StrEnum):
    """Why a run was made."""

    SCREEN = "screen"
    REMEASURE = "remeasure"
    REFERENCE = "reference"
    CALIBRATE = "calibrate"
    RACE = "race"
    POST = "post"
    FINAL = "final"
    GRADUATE = "graduate"
    ABLATE = "ablate"
    CHECK = "check"
    SHARED = (
        "shared"  # by another group that nobody here vouches for, whatever it was made for there
    )


# Which runs count as what. Nowhere else are purposes put together.
SEARCHED = frozenset(  # the search's runs
    {Purpose.SCREEN, Purpose.REMEASURE, Purpose.RACE, Purpose.CHECK}
)
CHECKS = frozenset({Purpose.CHECK})  # a sceptic's: what others claim, in pairs on fresh blocks
CHOSEN_BY = frozenset(  # figures that choose
    {Purpose.CALIBRATE, Purpose.SCREEN, Purpose.REMEASURE, Purpose.REFERENCE, Purpose.SHARED}
)
FRESH = frozenset({Purpose.RACE, Purpose.FINAL, Purpose.POST})  # on blocks that chose nobody
PUBLISHED = frozenset({Purpose.FINAL, Purpose.POST})  # made once it was decided
GRADUATING = frozenset({Purpose.GRADUATE})
ABLATING = frozenset({Purpose.ABLATE})  # a champion without some of its edits
RACING = frozenset({Purpose.RACE, Purpose.POST})
PROFILED = frozenset({Purpose.CALIBRATE, Purpose.POST})  # then it is asked what takes longest
SEES_TEST = PUBLISHED | GRADUATING
PAIRED = (
    FRESH | GRADUATING | ABLATING | CHECKS
)  # compared in pairs: everyone is asked the same rows on a block
SEARCHING = frozenset(Purpose) - SEES_TEST - ABLATING
SEED_ALONE = (Purpose.CALIBRATE, Purpose.REFERENCE)
# runs that no operator asked for
NOT_PROPOSED = frozenset({Purpose.CALIBRATE, Purpose.FINAL, Purpose.GRADUATE}) | CHECKS
FIRST_RUNS = frozenset({Purpose.SCREEN, Purpose.CALIBRATE})
SCREENED = frozenset({Purpose.SCREEN, Purpose.REMEASURE})


class Phase(StrEnum):
    """What a campaign is busy with. Of several at once the one furthest down this list is named."""

    CALIBRATING = "measuring the seed"
    SEARCHING = "searching"
    RACING = "racing on fresh blocks"
    PUBLISHING = "measuring the new champion afresh"
    COMPARING = "comparing leader and seed"
    GRADUATING = "graduating"
    ABLATING = "measuring which edits matter"


_PHASES = {
    Purpose.CALIBRATE: Phase.CALIBRATING,
    Purpose.RACE: Phase.RACING,
    Purpose.POST: Phase.PUBLISHING,
    Purpose.FINAL: Phase.COMPARING,
    Purpose.GRADUATE: Phase.GRADUATING,
    Purpose.ABLATE: Phase.ABLATING,
}


def phase_of(purposes: Collection[Purpose]) -> Phase | None:
    """The phase that runs for these purposes belong to; None without any."""
    phases = {_PHASES.get(one, Phase.SEARCHING) for one in purposes}
    return next((one for one in reversed(Phase) if one in phases), None)


class CampaignState(StrEnum):
    """How far a campaign is. Of one that ended, the value begins the event that says so."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting for your approval"
    COMPLETE = "complete"

    @classmethod
    def of_ending(cls, text: str) -> CampaignState:
        """The state that the text of a recorded ending stands for."""
        begins = {one.value: one for one in (cls.FAILED, cls.STOPPED, cls.WAITING)}
        begins["waiting for your word"] = cls.WAITING  # as older stores have it
        return next((one for begin, one in begins.items() if text.startswith(begin)), cls.COMPLETE)

    @property
    def wants_resume(self) -> bool:
        """Whether there is more to do, without anyone's word."""
        return self not in (CampaignState.RUNNING, CampaignState.WAITING, CampaignState.COMPLETE)


MAX_TEXT_CHARS = 20_000  # of an idea or a note; tables and prompts show less of it
OURSELVES = "evotrain"  # the author of what no model and no person wrote
REPAIR = (
    "llm_repair"  # the operator whose parent has failed; what that was made from stands beside it
)


class Outcome(StrEnum):
    """The outcome of one proposal."""

    VARIANT = "variant"  # a new variant, waiting to be measured
    DUPLICATE = "duplicate"  # its fingerprint is already known
    INVALID = "invalid"  # it does not parse, or a static check rejected it
    FAILED = "failed"  # the operator gave no source (server down, reply not an edit, ...)


class Clock(StrEnum):
    """What a rung's budget is counted in."""

    SECONDS = "seconds"
    CPU_SECONDS = "cpu_seconds"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Rung:
    """A scale to train at. `budget` is in the unit of `clock`; `rows` hidden chunks are scored."""

    name: str
    depth: int
    budget: float
    clock: Clock
    context: int
    rows: int
    startup_seconds: (
        float  # CPU or wall seconds (as the clock counts) before the budget starts; 0 for tokens
    )
    grace_seconds: float  # beyond budget x 1.02, for saving, and what its file takes to be written
    memory_mb: int  # cap of the whole process tree
    wall_seconds: float  # hard limit of the whole run, its servers too, whatever the clock says


DERIVED = "/"  # in the name of a rung that is made from another one
# Blocks of a campaign that was merged into another lie SITE apart: what its machine does to everyone is a part
# of what a block does, so that nobody is compared across machines. Block 3 of the second one is 2_000_003.
SITE = 1_000_000
AGAIN = 1_000_000  # added to the repeat of a run each time that one of it was voided
ONE_STEP = "/one-step"  # ends the name of a rung at which a variant is only built
SHARE = "/x"  # followed by the share of another rung's budget


def share_rung(rung: str, share: float) -> str:
    """The name of the rung that is this one with a share of its budget; itself for all of it."""
    return rung if share == 1.0 else f"{rung}{SHARE}{share:g}"


def rung_in_words(name: str) -> str:
    """A rung's name as people read it: "larger", "larger, one step", "larger, 25 % of its budget"."""
    rung, _, made = name.partition(DERIVED)
    if name.endswith(ONE_STEP):
        return f"{rung}, one step"
    return (
        f"{rung}, {100 * float(made[1:]):.0f} % of its budget"
        if made.startswith(SHARE[1:])
        else name
    )


def variant_id(source: str) -> str:
    """The identity of a variant: the sha256 of its source, 64 hex digits."""
    return hashlib.sha256(source.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Variant:
    """One source of train.py. `fingerprint` is the same for sources that differ only in form."""

    id: str
    source: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Parent:
    """One parent of a proposal.

    Roles: `parent` (one), `first` and `second` (merge, crossover), `third` (some crossovers), `ancestor`.
    """

    variant_id: str
    role: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a proposal cost: the operator's wall seconds, tokens, dollars (None: price unknown)."""

    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """One attempt to make a child, whatever its outcome.

    `seen` is the id of the last measurement it was shown. `resting`: it failed since what it asked takes a
    rest; this is not recorded.
    """

    number: int
    operator: str
    parents: tuple[Parent, ...]
    outcome: Outcome
    reason: str = ""
    variant: Variant | None = None
    idea: str = ""
    author: str = OURSELVES
    model: str = ""
    cost: Cost = Cost()
    seen: int = 0
    idea_id: int | None = None  # the row of `ideas` it tries; None: a new one, if it states one
    origin: str = ""  # JSON: the line of an idea bank that it tries, and the bank's name
    resting: bool = False
    island: str = ""  # whose proposal it is; "" where there is one population


@dataclass(frozen=True, slots=True)
class RunKey:
    """What a run is to show: a request without its purpose."""

    variant_id: str
    rung: str
    block: int
    repeat: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run to make: the key of the measurement that will show what it did."""

    variant_id: str
    rung: str
    block: int
    repeat: int
    purpose: Purpose

    @property
    def key(self) -> RunKey:
        """The same for a run that is made again because an earlier one was voided."""
        return RunKey(self.variant_id, self.rung, self.block, self.repeat % AGAIN)


@dataclass(frozen=True, slots=True)
class Decision:
    """Something the campaign or a person decided about a variant, with what it rests on; a row each."""

    kind: str
    variant_id: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a training curve as the variant told it: progress 0..1, loss in nats, tokens."""

    progress: float
    loss: float
    tokens: int


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """What one hidden document cost the model: bits over `bytes` scored bytes."""

    document: str
    bits: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run showed. `metrics` holds finite numbers only; it is empty unless status is ok.

    Metrics: the rows of `population.metrics`.
    `facts` are the sandbox's. Other self-reported values say so in their names.
    """

    request: RunRequest
    status: Status
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    documents: tuple[DocumentScore, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    slot: str = ""
    host: str = ""
    device: str = ""
    started_at: float = 0.0  # seconds since the epoch
    wall_seconds: float = 0.0  # the slot's, from taking the request to the last process gone
    cpu_seconds: float = 0.0  # the supervisor's reading of the train role's process tree
    train_wall_seconds: float = 0.0  # progress 0 to finish
    self_reported_steps: int = 0
    self_reported_tokens: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
    log_tail: str = ""  # the last lines of the train role; never anything from a serving role


@dataclass(frozen=True, slots=True)
class Estimate:
    """What we believe of one metric of a variant at a rung; sd is of the mean, NaN while n is 1."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True, slots=True)
class LlmCall:
    """One request to a model and what came back. No key is ever in `prompt` or `reply`."""

    endpoint: str
    model: str
    prompt: str
    reply: str
    tokens_in: int
    tokens_out: int
    dollars: float | None
    seconds: float
    outcome: str  # "ok", or what went wrong
    proposal_number: int = 0
    parts: Mapping[str, int] = field(
        default_factory=dict
    )  # about how many tokens of the prompt each
    again_because: str = ""  # why the answer before it could not be used; "": a first question
    estimated: bool = (
        False  # the tokens are not, or not wholly, what the server told: rather too many
    )


# -- The records a store gives back: rows as values, with the ids and times that recording added.


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
    bank: str = ""  # the idea bank that this idea is from; "" for none
    recorded_from: str = ""  # its author, as that bank says
    island: str = ""  # whose proposal it was; "": of one population, or a person's

    @property
    def made_by(self) -> str:
        """The operator, and on which island where there are several."""
        return f"{self.operator} on {self.island}" if self.island else self.operator


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run in flight. pid is None until the slot has started its process."""

    request: RunRequest
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
class Claim:
    """An idea that one author works on; until: seconds since the epoch, when others may take it."""

    id: int
    author: str
    text: str
    until: float


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
    again_because: str = ""  # why the answer before it could not be used; "": a first question
    estimated: bool = False  # the tokens are not, or not wholly, what the server told


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A variant on the front: its standing, and what is believed of it in the first objective."""

    variant_id: str
    standing: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class JudgedIdea:
    """An idea and what its children say of it.

    `effect` is child minus parent, the mean of `n` children, and None where the reader did not ask for it; its
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
    n: int = 0
    effect: float | None = None
    effect_se: float | None = None


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
