"""The scheduler with one slot and no threads, for tables and simulations where a run takes no time.

while request := search.next():
    history.add(...)  # the row of this run
    search.tell(request)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from evo.search.halting import StopRules
from evo.search.scheduler import Scheduler, SearchState
from population.types import Decision, RunRequest


class SynchronousSearch:
    """One run after the other, as the scheduler has it. A child is proposed only once a slot wants one.

    `propose`: the id of a new child, None when there will be none any more; `is_over`: whether the budget
    of the search is spent; `allows`: whether a run can be paid for; `at_end` is called once, between the
    search and what follows it. `rules`: what else ends the search; there is no clock here, so only rows do.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        propose: Callable[[], str | None],
        is_over: Callable[[], bool],
        allows: Callable[[RunRequest], bool] = lambda request: True,
        at_end: Callable[[], None] = lambda: None,
        rules: StopRules | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.decisions: list[Decision] = []
        self._propose, self._is_over, self._allows = propose, is_over, allows
        self._at_end: Callable[[], None] | None = at_end
        self._due = deque[RunRequest]()
        self._ready: tuple[str, ...] = ()
        self._gave_up = False
        self._rules = rules

    def is_over(self) -> bool:
        """Whether the search proper has ended: what follows it may still be to run."""
        halted = self._rules is not None and self._rules.halted is not None
        return self._gave_up or halted or self._is_over()

    def next(self) -> RunRequest | None:
        """The next run, both of a pair before anything else; None when nothing is left to run."""
        while not self._due:
            if self._rules is not None and (halt := self._rules.next()):
                self.decisions.append(halt)
            over = self.is_over()
            if over and self._at_end is not None:
                self._at_end()
                self._at_end = None
            step = self.scheduler.next(SearchState({}, self._ready, over, self._allows))
            self.decisions += step.decisions
            self._due.extend(step.runs)
            if not step.runs:
                if over or self._ready:
                    return None
                child = self._propose()
                self._gave_up = child is None
                self._ready = () if child is None else (child,)
        return self._due.popleft()

    def tell(self, request: RunRequest) -> None:
        """The row of this run is in the history."""
        self._ready = tuple(one for one in self._ready if one != request.variant_id)
        self.decisions += self.scheduler.tell(request)
