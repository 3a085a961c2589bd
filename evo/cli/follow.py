"""A campaign in the foreground: the view beside it, signals, and the way out."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from evo.cli.app import FAILED, STOPPED
from evo.terminal.live import EventFrame, Frame, Gap, Limit, OperatorFrame, Score, SlotFrame, Way
from evo.terminal.text import duration, placed, short, write_line
from population.reading import proposals
from population.store import Store, StoreError
from population.types import CampaignState, Outcome, Purpose, rung_in_words

if TYPE_CHECKING:
    from evo.analysis.forecast import Plan
    from evo.runtime.campaign import Campaign
    from evo.runtime.components import Ending
    from evo.runtime.monitor import Notice, SlotView
    from population.types import ProposalRow


FIRST = "stopping: the runs under way finish first; once more (Ctrl-C) ends them now"
SECOND = "ending now; what was measured is kept"
FRAMES_A_SECOND = 2  # the slots need the cores


class Follower:
    """Runs one campaign in the main thread, where signals arrive; a view thread looks on."""

    def __init__(
        self,
        campaign: Campaign,
        name: str,
        live: bool,
        to_stderr: bool = False,
        plan: Plan | None = None,
        where: str = "",
    ) -> None:
        self._campaign = campaign
        self._name = name
        self._live = live
        self._plan = plan
        self._where = where  # " --dir FOLDER" for commands to type
        self._out = sys.stderr if to_stderr else sys.stdout
        self._frames: Frames | None = None
        self.asked = 0  # how often a signal asked to stop
        self.signal = 0  # the first that did

    def run(self) -> Ending:
        """Run the campaign to its end, seen."""
        with self._signals(), self._live_view() if self._live else self._plain_lines():
            return self._campaign.run()

    def exit_code(self, ending: Ending) -> int:
        """0 finished, 128 and its number by a signal, 3 stopped early by a person or a guard, 2 failed."""
        if ending.state is CampaignState.FAILED:
            return FAILED
        if ending.complete or not self._campaign.components.stopping.is_set():
            return 0
        return 128 + self.signal if self.signal else STOPPED

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        applied = [
            one for one in wanted if signal.getsignal(one) is not signal.SIG_IGN
        ]  # nohup stays in force
        before = {one: signal.signal(one, self._stop) for one in applied}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: it takes no lock that the main thread may hold, so it tells nobody but the view."""
        self.asked += 1
        self.signal = self.signal or number
        if self.asked > 2:
            os._exit(128 + number)  # it does not end: leave; `evo resume` ends what is left
        self._campaign.stop(now=self.asked > 1)
        notice = FIRST if self.asked == 1 else SECOND
        if self._frames is not None:
            self._frames.notice = notice
        else:
            with contextlib.suppress(OSError):
                os.write(2, f"evo: {notice}\n".encode())

    @contextlib.contextmanager
    def _plain_lines(self) -> Iterator[None]:
        listeners, lock = self._campaign.components.board.listeners, threading.Lock()

        def tell(event: Notice) -> None:
            with lock:
                write_line(self._out, event.at, placed(event.text, self._where))

        listeners.append(tell)
        try:
            yield
        finally:
            listeners.remove(tell)

    @contextlib.contextmanager
    def _live_view(self) -> Iterator[None]:
        from rich.console import Console
        from rich.live import Live

        from evo.terminal.live import draw

        frames = self._frames = Frames(self._campaign, self._name, self._plan)
        console = Console(highlight=False, markup=False, file=self._out)
        view = Live(
            get_renderable=lambda: draw(frames.frame()),
            console=console,
            refresh_per_second=FRAMES_A_SECOND,
            transient=True,
            vertical_overflow="crop",
        )
        view.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a closed terminal must not hide how it ended
                view.stop()


def say_line(text: str, to_stderr: bool = False) -> None:
    """One line before the view is up."""
    write_line(sys.stderr if to_stderr else sys.stdout, time.time(), text)


def leave(code: int) -> None:
    """End this process although threads of a campaign that was told to end now may still hang."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a closed terminal
            stream.flush()
    os._exit(code)


# -- From a running campaign to a Frame: from memory, with one small read of new proposals a measurement.


EVENTS = 8


@dataclass(slots=True)
class _Family:
    """What the proposals so far say, by operator and by child."""

    last_number: int = 0
    births: dict[str, ProposalRow] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def read(self, store: Store) -> None:
        for made in proposals(store, after=self.last_number):
            self.last_number = made.number
            if made.outcome is Outcome.VARIANT and made.variant_id is not None:
                self.births.setdefault(made.variant_id, made)
            else:
                self.failed[made.operator] = self.failed.get(made.operator, 0) + 1


@dataclass(frozen=True, slots=True)
class _Standing:
    """What only a new measurement can change, or a certificate."""

    best: Score | None = None
    seed: Score | None = None
    front_size: int = 0
    measured: int = 0  # children
    waiting: frozenset[str] = frozenset()
    operators: tuple[OperatorFrame, ...] = ()
    gap: Gap | None = None
    way: Way | None = None


class Frames:
    """Draws up frames of one campaign; `notice` may be set from a signal handler."""

    def __init__(self, campaign: Campaign, name: str, plan: Plan | None = None) -> None:
        self.notice = ""
        self._components = campaign.components
        self._name = name
        self._plan = plan
        self._family = _Family()
        self._lock = threading.Lock()
        self._seen = (-1, 0)
        self._standing = _Standing()

    def frame(self) -> Frame:
        """This moment. Called from the view's thread, never from a signal handler."""
        board, history = self._components.board, self._components.history
        with self._lock:
            seen = (history.last_id(), len(self._components.scheduler.certification.certified))
            if seen != self._seen:
                self._seen = seen
                self._standing = self._stand()
            standing = self._standing
        views = board.slots()
        taken = {view.request.variant_id for view in views if view.request is not None}
        return Frame(
            name=self._name,
            phase=board.phase,
            seconds=self._components.budget.spent().seconds,
            limits=self._limits(standing.measured),
            slots=[self._slot(view) for view in views],
            best=standing.best,
            seed=standing.seed,
            minimise=history.objectives[0].lower_is_better,
            front_size=standing.front_size,
            waiting=len(standing.waiting - taken),
            events=[EventFrame(one.at, one.kind, one.text) for one in board.events(EVENTS)],
            operators=standing.operators,
            notice=self.notice,
            gap=standing.gap,
            way=standing.way,
        )

    def _limits(self, measured: int) -> list[Limit]:
        spent, limits = self._components.budget.spent(), self._components.budget.limits
        found = []
        if limits.variants is not None:
            text = f"{measured:,} of {limits.variants:,} measured, {spent.variants:,} proposed"
            found.append(Limit("variants", measured, limits.variants, text))
        if limits.seconds is not None:
            text = f"{duration(spent.seconds)} of {duration(limits.seconds)}"
            found.append(Limit("time", spent.seconds, limits.seconds, text))
        if limits.llm_tokens is not None:
            text = f"{spent.llm_tokens:,} of {limits.llm_tokens:,}"
            found.append(Limit("LLM tokens", spent.llm_tokens, limits.llm_tokens, text))
        if limits.llm_dollars is not None:
            text = f"{spent.llm_dollars:.2f} of {limits.llm_dollars:.2f}"
            found.append(Limit("LLM dollars", spent.llm_dollars, limits.llm_dollars, text))
        if (rules := self._components.stop) is not None:
            for rule in rules.progress(time.time(), spent.seconds):
                found.append(Limit("ends by", rule.part or 0.0, 1.0, rule.line))
        return found

    def _slot(self, view: SlotView) -> SlotFrame:
        request = view.request
        if request is None:
            return SlotFrame(view.name)
        points = list(view.points)
        return SlotFrame(
            name=view.name,
            who=self._who(request.variant_id),
            rung=rung_in_words(request.rung),
            block=request.block,
            purpose=request.purpose.value,
            seconds=time.monotonic() - view.since,
            progress=points[-1].progress if points and math.isfinite(points[-1].progress) else None,
            losses=[point.loss for point in points],
        )

    def _who(self, variant_id: str) -> str:
        return "seed" if variant_id == self._components.history.seed_id else short(variant_id)

    def _stand(self) -> _Standing:
        history, proxy = self._components.history, self._components.proxy
        try:
            with self._components.open_store() as store:
                self._family.read(store)
        except StoreError:
            pass  # someone holds the database: the next measurement brings the next try
        front = history.front(proxy)
        screened = {row.measurement.request.variant_id for row in history.rows(proxy)}
        others = [one for one in front[:1] if one != history.seed_id]
        return _Standing(
            gap=self._gap(others[0]) if others else None,
            way=self._way(),
            best=self._score(front[0]) if front else None,
            seed=self._score(history.seed_id),
            front_size=len(front),
            measured=len(screened - {history.seed_id}),
            waiting=frozenset(self._family.births.keys() - screened),
            operators=tuple(self._operators(front)),
        )

    def _gap(self, variant_id: str) -> Gap | None:
        from evo.analysis.findings import shown_beside_seed

        history, proxy = self._components.history, self._components.proxy
        pair = (variant_id, history.seed_id)
        rows = [row for one in pair for row in history.rows(proxy, variant_id=one)]
        found = shown_beside_seed(rows, *pair, proxy, history.objectives[0])
        if found is None:
            return None
        certified = variant_id in self._components.scheduler.certification.proven()
        return Gap(found.gain, found.n, found.se, found.metric, certified)

    def _way(self) -> Way | None:
        from evo.analysis.forecast import outlook_of

        if self._plan is None:
            return None
        history = self._components.history
        runs = [row.measurement for rung in history.rungs() for row in history.rows(rung)]
        found = outlook_of(self._plan, runs)
        return None if found is None else Way(len(runs), found.runs, found.seconds_left)

    def _score(self, variant_id: str) -> Score | None:
        history, proxy = self._components.history, self._components.proxy
        metric = history.objectives[0].name
        found = history.believed(variant_id, proxy).get(metric)
        if found is None:
            return None
        error = history.error(variant_id, proxy, metric)
        return Score(self._who(variant_id), metric, found.mean, error, found.n)

    def _operators(self, front: list[str]) -> list[OperatorFrame]:
        """Children measured, and how many beat their parent: by the same rule as in `evo status`."""
        from evo.analysis.effects_of_edits import better_than_parents

        births, history, proxy = (
            self._family.births,
            self._components.history,
            self._components.proxy,
        )
        rows = history.rows(proxy)
        better = better_than_parents(rows, births, proxy, history.objectives[0])
        children = {
            row.measurement.request.variant_id
            for row in rows
            if row.measurement.request.purpose is Purpose.SCREEN
        }
        by_operator: dict[str, list[str]] = {name: [] for name in self._family.failed}
        for child, made in births.items():
            if child in children:
                by_operator.setdefault(made.operator, []).append(child)
        return [
            OperatorFrame(
                name=name,
                children=len(made),
                failed=self._family.failed.get(name, 0),
                better=sum(one in better for one in made),
                on_front=sum(one in front for one in made),
            )
            for name, made in by_operator.items()
        ]
