"""A desk for a coding agent: a fresh folder, a box of its own, a time limit, and one file taken back."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from evo.evaluation.process import POLL_SECONDS, Ended, Limits, RoleProcess
from evo.evaluation.sandbox.agent_box import PASSWD, AgentBox, AgentSettings
from evo.evaluation.sandbox.sandbox import Bubblewrap
from evo.evaluation.static_check import most_bytes
from evo.files import take_back
from operators.agent import FILE, Worked
from operators.llm.accounting import Hold, TokenBudget, UnlimitedBudget
from operators.llm.answer import one_line
from operators.llm.breaker import PATIENCE, Breaker, Patience
from operators.operator import ProposalFailed
from population.file_set import ADDED, MAX_FILES, join_files, may_be_added
from population.types import Cost, CurvePoint

SAID_BYTES = 64 << 10
COST_BYTES = 4096
WAIT_SECONDS = 0.2
_AT_LIMIT = re.compile(  # the last line of an agent that may do no more for a while
    r"\blimit|quota|too many requests|\b429\b|\bcredits?\b|overloaded|exhausted|capacity",
    re.IGNORECASE,
)
MAX_TOKENS, MAX_DOLLARS = 1 << 53, 1e9  # of one proposal: beyond it nothing is believed


@dataclass(frozen=True, slots=True)
class _Watch:
    stop: Callable[[], bool]

    def started(self, pid: int, started_at: float) -> None:
        """Not kept: it ends with the thread that started it."""

    def progress(self, point: CurvePoint) -> None:
        """It tells none."""

    def hopeless(self) -> str:
        """It is given its time."""
        return ""

    def stopping(self) -> bool:
        return self.stop()


@dataclass(slots=True)
class _Ticket:
    """One turn that the breaker granted; `used` once it heard how that ended."""

    number: int
    used: bool = False


MAX_AGENTS = 1  # that work at the same time
GIVEN = ("BRIEF.md", "HISTORY.md", "harness.py")  # what lies beside the files it may change


class AgentDesk:
    """Runs an agent's command in folders under `folder`, as many at once as the settings say."""

    def __init__(
        self,
        settings: AgentSettings,
        harness: Path,
        folder: Path,
        box: Bubblewrap | None,
        stopping: Callable[[], bool] = lambda: False,
        budget: TokenBudget | None = None,
        environ: Mapping[str, str] | None = None,
        seed: str = "",
        say: Callable[[str], None] = lambda text: None,
        patience: Patience = PATIENCE,
    ) -> None:
        """`box` is open_box()'s, `seed` the campaign's. AgentUnusable when the settings name what is not there.

        `budget` pays what a believed cost file says; `say` hears when the agent begins to rest and when it
        is back.
        """
        self.name = Path(settings.command[0]).name
        self.seconds = settings.seconds
        self.most_bytes = most_bytes(seed)
        self._settings = settings
        self._harness = harness
        self._folder = folder
        self._box = AgentBox(settings, harness, box, os.environ if environ is None else environ)
        self._stopping = stopping
        self._budget = budget if budget and settings.cost_file else UnlimitedBudget()
        self._changed = threading.Condition()
        self._free = MAX_AGENTS
        self._say, self._breaker = say, Breaker(patience, settings.seconds)
        _remove(folder)  # what a kill left behind

    def is_unavailable(self) -> bool:
        """Whether all places are taken, or the agent rests after it failed."""
        return self._free <= 0 or self._breaker.is_unavailable()

    def work(self, files: Mapping[str, str], taken: Sequence[str] = (FILE,)) -> Worked:
        """Let the agent work on these files and take some of them back. Raises ProposalFailed.

        `taken`: paths; with a + before it a pattern of new files.
        """
        hold, cost = Hold(0, 0.0), Cost()
        if not self._budget.reserve(hold):
            raise ProposalFailed("the budget for models is spent")
        try:
            with self._place(), self._entered() as ticket, self._scratch(files) as scratch:
                worked = self._worked(scratch, ticket, taken)
                cost = worked.cost
                return worked
        except ProposalFailed as failed:
            cost = failed.cost
            raise
        finally:
            self._budget.settle(hold, cost.tokens_in + cost.tokens_out, cost.dollars)

    def _worked(self, scratch: Path, ticket: _Ticket, taken: Sequence[str]) -> Worked:
        began, said, failed = time.monotonic(), "", ""
        resting = False
        try:
            said, code = self._run(scratch)
            if code:
                failed = f"the agent ended with exit code {code}: {_last_line(said)}"
                resting = self._failed(ticket, _last_line(said))
            else:
                self._answered(ticket)
        except Ended as end:
            failed = f"the agent was ended: {end.reason}"
        except OSError as error:
            failed = f"the agent could not be started: {error}"
            resting = self._failed(ticket, str(error))
        cost = self._cost(scratch / "work", time.monotonic() - began)
        if failed:
            raise ProposalFailed(failed, cost, resting=resting)
        return Worked(self._taken_back(scratch / "work", taken, cost), said, cost)

    def _taken_back(self, work: Path, taken: Sequence[str], cost: Cost) -> str:
        """The source that these files are. ProposalFailed when one is not what it was."""
        texts, patterns = (
            dict[str, str](),
            [one[len(ADDED) :] for one in taken if one.startswith(ADDED)],
        )
        there = [one for one in taken if not one.startswith(ADDED)]
        for name in [*there, *_added(work, patterns, {*there, *GIVEN})]:
            try:
                folder = Path(os.path.realpath((work / name).parent))
                if not folder.is_relative_to(os.path.realpath(work)):
                    raise ValueError("leads out of its folder")
                texts[name] = take_back(work / name, self.most_bytes)  # refuses a link itself
            except ValueError as error:
                raise ProposalFailed(f"{name} as the agent left it {error}", cost) from None
        if list(taken) == [FILE]:
            return texts[FILE]
        try:
            return join_files(texts)
        except ValueError as error:
            raise ProposalFailed(f"as the agent left them, {error}", cost) from None

    @contextmanager
    def _entered(self) -> Iterator[_Ticket]:
        number = self._breaker.enter()
        if number is None:
            raise ProposalFailed("the agent rests after it failed", resting=True)
        ticket = _Ticket(number)
        try:
            yield ticket
        finally:
            if not ticket.used:
                self._breaker.abandon(number)

    def _failed(self, ticket: _Ticket, said: str) -> bool:
        """Hear that the agent gave up, and whether it rests now: at once where it names a limit."""
        ticket.used, at_limit = True, bool(_AT_LIMIT.search(said))
        seconds = self._breaker.failed(ticket.number, random.random(), at_once=at_limit)
        if seconds is not None:
            self._say(
                f"the agent {self.name} is paused ({one_line(said, 200)}); started again in {seconds:.0f} s, "
                "then ever more rarely; other operators go on"
            )
        return self._breaker.is_unavailable()

    def _answered(self, ticket: _Ticket) -> None:
        ticket.used = True
        if self._breaker.answered(ticket.number):
            self._say(f"the agent {self.name} works again")

    def _run(self, scratch: Path) -> tuple[str, int]:
        """What it said at the end, and its exit code. Raises Ended and OSError."""
        settings = self._settings
        limits = Limits(
            settings.seconds,
            settings.memory_mb << 20,
            settings.processes,
            scratch_bytes=settings.scratch_mb << 20,
        )
        role = RoleProcess(self._box.launch(scratch), {}, limits, _Watch(self._stopping))
        try:
            while role.exit_code is None:
                role.tick(POLL_SECONDS)
            return role.log.text(SAID_BYTES), role.exit_code
        finally:
            role.close()

    def _cost(self, work: Path, seconds: float) -> Cost:
        """Seconds are ours; tokens and dollars are not known, or what a believed file says."""
        unknown = Cost(seconds, dollars=None)
        if not self._settings.cost_file:
            return unknown
        try:
            told = json.loads(take_back(work / self._settings.cost_file, COST_BYTES))
            sent, answered = (int(told.get(name, 0)) for name in ("tokens_in", "tokens_out"))
            dollars = None if told.get("dollars") is None else float(told["dollars"])
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return unknown
        sound = 0 <= sent < MAX_TOKENS and 0 <= answered < MAX_TOKENS
        if not sound or (dollars is not None and not 0 <= dollars < MAX_DOLLARS):
            return unknown
        return Cost(seconds, sent, answered, dollars)

    @contextmanager
    def _place(self) -> Iterator[None]:
        with self._changed:
            while self._free <= 0:
                if self._stopping():
                    raise ProposalFailed("the campaign is being stopped")
                self._changed.wait(WAIT_SECONDS)
            self._free -= 1
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify()

    @contextmanager
    def _scratch(self, files: Mapping[str, str]) -> Iterator[Path]:
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            work = scratch / "work"
            work.mkdir()
            for name, text in files.items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_text(text, encoding="utf-8")
            shutil.copyfile(self._harness, work / "harness.py")
            (work / "harness.py").chmod(0o444)
            (scratch / "passwd").write_text(PASSWD, encoding="utf-8")
            yield scratch
        finally:
            _remove(scratch)


def _added(work: Path, patterns: Sequence[str], known: Collection[str]) -> list[str]:
    """The new files that fit a pattern, in order; one more than a variant may have at most."""
    found = dict[str, None]()
    for pattern in patterns:
        for path in work.glob(pattern):
            name = path.relative_to(work).as_posix()
            if name not in known and may_be_added(name, patterns):
                found[name] = None
            if len(found) > MAX_FILES:
                break
    return sorted(found)


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it said nothing"


def _remove(folder: Path) -> None:
    """Remove a folder that someone else wrote in, also where they took away its rights."""
    for here, names, _ in os.walk(folder):
        for name in names:
            path = os.path.join(here, name)
            if not os.path.islink(path):
                with suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
