"""What a campaign is made of: the parts it is handed, how it runs, and what its lanes share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from evo.evaluation.local_slots import Slots
from evo.proposals.proposer import Proposes
from evo.runtime.budget import Budget
from evo.runtime.monitor import Monitor
from evo.runtime.recorder import Recorder
from evo.runtime.retention import KeptWeights
from evo.search.early_stopping import EarlyStopping
from evo.search.halting import StopRules
from evo.search.scheduler import Scheduler
from evo.search.voiding import Voiding
from population.ladder import Ladder, LadderEntry
from population.lineage import Lineage
from population.run_history import RunHistory
from population.store import Store
from population.types import CampaignState, Decision

MAX_WAITING = 1  # children waiting or in the making, beyond one a slot


class Stop(Enum):
    """How a campaign was told to stop."""

    NO = 0
    CLEANLY = 1  # runs under way finish
    NOW = 2  # runs under way are killed; nothing that was measured is lost


@dataclass(frozen=True, slots=True)
class Components:
    """What a campaign is made of; `proxy` is the first rung's name."""

    open_store: Callable[[], Store]
    proposer: Proposes
    slots: Slots
    history: RunHistory
    lineage: Lineage
    scheduler: Scheduler
    budget: Budget
    board: Monitor
    recorder: Recorder
    stopping: (
        threading.Event
    )  # set once someone asked the campaign to stop: nobody waits or retries then
    proxy: str
    stop: StopRules | None = None
    early: EarlyStopping | None = None
    voiding: Voiding | None = None
    weights: KeptWeights | None = None
    guards: Sequence[Callable[[], str]] = ()  # each says why to stop, "" while there is no reason
    notices: Sequence[Callable[[], str]] = ()  # each says what is new, "" while nothing is
    live: Callable[[], None] | None = None  # shows other processes what runs
    review: Callable[[Sequence[LadderEntry], Ladder], Sequence[Decision]] | None = None  # by models
    closing: Sequence[Callable[[], None]] = ()  # called as the campaign ends, records still open


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How the loop runs.

    queue: children ready or in the making beyond one a slot; exact: same rows again, whatever the timing;
    search, finish: whether there is a search, and whether final comparison and graduation follow it.
    """

    exact: bool = False
    queue: int = MAX_WAITING
    search: bool = True
    finish: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a campaign ended, and why in words."""

    state: CampaignState
    reason: str
    halt: Decision | None = None  # the rule of its own that ended the search

    @property
    def complete(self) -> bool:
        """Whether nothing is left for `evo resume`."""
        return self.state is CampaignState.COMPLETE


@dataclass(slots=True)
class Shared:
    """What the lanes share: one lock with its condition, the record lane, the board, and the stop sign."""

    recorder: Recorder
    board: Monitor
    changed: threading.Condition = field(
        default_factory=lambda: threading.Condition(threading.RLock())
    )
    stop: Stop = Stop.NO
    reason: str = ""  # why it was stopped, when not on request
    failure: str = ""  # why the campaign cannot go on, when that is our own fault

    def say(self, kind: str, text: str) -> None:
        """Show an event and record it."""
        event = self.board.tell(kind, text)
        self.recorder.submit(lambda store: store.add_event(event.kind, event.text))


# -- The children that wait for their first run, in the order in which they are to have it.


class ReadyQueue:
    """Ids of children, each at most once. Not thread-safe: guarded by its owner's lock."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._waiting))

    def __contains__(self, child: str) -> bool:
        return child in self._waiting

    def add(self, children: Iterable[str]) -> None:
        """Children that wait after all others; one that waits already keeps its place."""
        self._waiting.extend(one for one in dict.fromkeys(children) if one not in self._waiting)

    def put_first(self, child: str) -> None:
        """A child that is to run before all others, whether it waited or not."""
        self.remove(child)
        self._waiting.appendleft(child)

    def remove(self, child: str) -> bool:
        """A child that waits no longer; whether it did."""
        if child not in self._waiting:
            return False
        self._waiting.remove(child)
        return True
