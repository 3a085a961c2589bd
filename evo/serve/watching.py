"""One campaign as a browser watches it: new runs as they come, the whole again where that costs little CPU."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import Course, course_of
from evo.analysis.ranking import Ranked, ranking
from evo.campaigns import (
    Listed,
    findings_of,
    folders,
    look_into,
    newest_first,
    overview_of,
    running_process,
    touched,
)
from evo.files import LIVE
from evo.folder import CONFIG, DATABASE
from evo.report.contents import page_of
from evo.report.figures import courses, run_in_words
from evo.report.page import Page, render_figure
from evo.report.variant_details import diff_from_parent, dossier
from evo.terminal.text import count, short, value
from population.metrics import label
from population.reading import first_proposal, measurements, resolve, seed, source_of
from population.reading.traces import first_curve
from population.store import Store, StoreError
from population.types import ProposalRow

LEAST_SECONDS = 2.0  # between two readings of the whole campaign
CPU_SHARE = 0.003  # of one core, for reading it again, and as much for new runs
POINTS = 64  # of a curve


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The campaign as it was read; `number` counts readings, `last` is the id of its newest measurement."""

    number: int
    page: Page
    record: Record
    ranked: Mapping[str, Ranked]
    state: tuple[int, ...]
    last: int
    figures: dict[str, str] = field(default_factory=dict)  # as JSON, those that were looked at


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that was recorded after a reading."""

    id: int
    place: (
        int | None
    )  # among the proxy's runs, from 1, as in the figure of progress; None at another rung
    score: float | None
    variant_id: str
    operator: str
    text: str  # for a hover label, escaped


class Listing:
    """The campaigns under a folder: each is read again where it was written to, and seldom if that is dear."""

    def __init__(self, base: Path) -> None:
        self._base, self._lock = base, threading.Lock()
        self._known: dict[Path, tuple[object, int | None, float, Listed]] = {}
        self._next, self._found = 0.0, list[Listed]()  # monotonic: when to look again

    def read(self) -> list[Listed]:
        """All of them, the newest first."""
        with self._lock:
            if time.monotonic() >= self._next:
                self._found = newest_first(map(self._look, folders(self._base)))
                self._next = time.monotonic() + LEAST_SECONDS
            return self._found

    def _look(self, folder: Path) -> Listed:
        written, running = touched(folder / DATABASE), running_process(folder)
        if folder in self._known:
            before, ran, due, one = self._known[folder]
            if running == ran and (written == before or time.monotonic() < due):
                return one
        began = time.thread_time()
        one = look_into(folder)
        due = time.monotonic() + (time.thread_time() - began) / CPU_SHARE
        # as it stands now: opening a database may leave a file beside it, which is no news
        self._known[folder] = (touched(folder / DATABASE), running, due, one)
        return one


class Watched:
    """One campaign's folder. Methods read files and compute: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._reading: Snapshot | None = None
        self._next = 0.0  # monotonic: when it may be read again
        self._new = list[NewRun]()  # since `_new_after`, read up to `_new_state`
        self._new_after: Snapshot | None = None
        self._new_state, self._next_new = tuple[int, ...](), 0.0
        self._made: dict[
            tuple[str, str], dict[str, Any]
        ] = {}  # by variant and rung: what a slot shows of it

    def reading(self) -> Snapshot:
        """The newest reading: made again where rows were added, seldom enough to stay below `CPU_SHARE`."""
        with self._lock:
            last = self._reading
            if last is not None and (time.monotonic() < self._next or last.state == self._state()):
                return last
            began = time.thread_time()
            state = self._state()
            with Store.open(self.folder / DATABASE, read_only=True) as store:
                record = Record.of(store)
                page = page_of(
                    store,
                    record,
                    overview_of(self.folder, store, record=record),
                    lambda one: source_of(store, one),
                    self._config(),
                    live=True,
                )
                ranked = {one.variant_id: one for one in ranking(record)}
            cpu = time.thread_time() - began
            self._next = time.monotonic() + max(LEAST_SECONDS, cpu / CPU_SHARE)
            number = 1 if last is None else last.number + 1
            newest = max((row.id for row in record.attempts), default=0)
            self._reading = Snapshot(number, page, record, ranked, state, newest)
            return self._reading

    def figure(self, name: str) -> str | None:
        """A figure of the newest reading as JSON, drawn when it is first asked for; None for another name."""
        reading = self.reading()
        with self._lock:
            if name not in reading.figures:
                began = time.thread_time()
                drawn = render_figure(reading.page, name)
                if drawn is None:
                    return None
                reading.figures[name] = drawn
                self._next += (time.thread_time() - began) / CPU_SHARE
            return reading.figures[name]

    def new_runs(self) -> tuple[Snapshot, Sequence[NewRun]]:
        """The newest reading and the runs recorded since: of the store only those rows are read."""
        reading = self.reading()
        with self._lock:
            if self._new_after is not reading:
                self._new, self._new_after, self._new_state = [], reading, reading.state
            state = self._state()
            if state != self._new_state and time.monotonic() >= self._next_new:
                began = time.thread_time()
                with Store.open(self.folder / DATABASE, read_only=True) as store:
                    self._new = [*self._new, *_recorded_since(store, reading, self._new)]
                self._new_state = state
                self._next_new = time.monotonic() + (time.thread_time() - began) / CPU_SHARE
            return reading, self._new

    def look(self) -> tuple[dict[str, Any], Snapshot | None, Sequence[NewRun]]:
        """What runs now and what is new; no reading while someone holds the database: the next look tells."""
        now = self.now()
        try:
            return now, *self.new_runs()
        except StoreError:
            return now, None, ()

    def dossier(self, named: str) -> dict[str, Any] | None:
        """What a click on a variant opens. UnknownVariant for what is no id or beginning of one."""
        found = self.reading()
        with Store.open(self.folder / DATABASE, read_only=True) as store:
            one = resolve(store, named)
            return dossier(store, found.record, found.ranked, partial(source_of, store), one)

    def now(self) -> dict[str, Any]:
        """What the slots do, as the campaign wrote it a moment ago; no slots where nothing runs.

        A campaign that was killed leaves its file: without a process there is nothing to show.
        """
        if running_process(self.folder) is None:
            return {"phase": "", "slots": []}
        try:
            written = json.loads((self.folder / LIVE).read_text(encoding="utf-8"))
            return {
                "phase": str(written["phase"]),
                "slots": [self._slot(one) for one in written["slots"]],
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {"phase": "", "slots": []}

    def _slot(self, said: Mapping[str, Any]) -> dict[str, Any]:
        if "variant" not in said:
            return {"name": str(said["name"])}
        known = self._known(str(said["variant"]), str(said["rung"]))
        return {**said, **known}

    def _known(self, variant_id: str, rung: str) -> dict[str, Any]:
        """Idea, diff and the curves beside it: they do not change while it runs, so they are read once."""
        key = (variant_id, rung)
        if key not in self._made:
            with Store.open(self.folder / DATABASE, read_only=True) as store:
                root = seed(store)
                made = first_proposal(store, variant_id)
                found: dict[str, Any] = {"who": "seed" if variant_id == root else short(variant_id)}
                if root is not None and root != variant_id:
                    found["seed_curve"] = first_curve(store, root, rung, POINTS)
                if made is not None and made.parents:
                    found |= _beside(store, made, rung)
            if len(self._made) > 200:
                self._made.clear()
            self._made[key] = found
        return self._made[key]

    def _state(self) -> tuple[int, ...]:
        """What changes when anything is written: size and time of the database and of what is beside it."""
        found: list[int] = []
        for name in (DATABASE, f"{DATABASE}-wal"):
            try:
                about = (self.folder / name).stat()
            except OSError:
                continue
            if about.st_size:  # reading leaves an empty one, which is no news
                found += [about.st_mtime_ns, about.st_size]
        return tuple(found)

    def _config(self) -> str:
        try:
            return (self.folder / CONFIG).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"(config.yaml cannot be read: {error})"


def _recorded_since(store: Store, reading: Snapshot, known: Sequence[NewRun]) -> Iterator[NewRun]:
    """The runs after those of a reading and those that are `known`, in order."""
    record = reading.record
    metric, births = record.objective.name, record.births()
    place = len(record.at_proxy()) + sum(one.place is not None for one in known)
    for row in measurements(store, after=known[-1].id if known else reading.last):
        request, score = row.measurement.request, row.measurement.metrics.get(metric)
        made = births.get(request.variant_id) or first_proposal(store, request.variant_id)
        operator, idea = ("", "") if made is None else (made.operator, made.idea)
        at_proxy = request.rung == record.proxy
        place += at_proxy
        text = run_in_words(row, metric, idea)
        yield NewRun(row.id, place if at_proxy else None, score, request.variant_id, operator, text)


def told(reading: Snapshot, new: Sequence[NewRun], after: int) -> dict[str, Any]:
    """The new runs of which a page does not know yet, those after an id, and what all of them come to."""
    runs = [astuple(one) for one in new if one.id > after]
    return {"runs": runs, "said": _in_words(reading, new)}


def _in_words(reading: Snapshot, new: Sequence[NewRun]) -> str:
    objective = reading.record.objective
    children = len({one.variant_id for one in new} - set(reading.record.births()))
    said = f"{count(len(new), 'run')} since this page was put together"
    if children:
        said += f", {count(children, 'new child', 'new children')}"
    scored = [one for one in new if one.place is not None and one.score is not None]
    if not scored:
        return said
    best = min(scored, key=lambda one: objective.turned(one.score or 0.0))
    score = value(objective.name, best.score)
    return f"{said}; best of these runs: {short(best.variant_id)}, {label(objective.name)} {score}"


def _beside(store: Store, made: ProposalRow, rung: str) -> dict[str, Any]:
    """Of a child: what it is, and its parent's curve."""
    parent = made.parents[0].variant_id
    return {
        "idea": made.idea,
        "operator": made.operator,
        "diff": diff_from_parent(made, lambda one: source_of(store, one)),
        "parent_curve": first_curve(store, parent, rung, POINTS),
    }


# -- Several campaigns beside each other: what each had found at equal slot time.


def compared(chosen: Sequence[tuple[str, Listed]]) -> go.Figure:
    """The figure of the campaigns that were ticked, each by its key."""
    return courses([_course(key, one) for key, one in chosen])


def _course(key: str, one: Listed) -> Course:
    with Store.open(one.folder / DATABASE, read_only=True) as store:
        record = Record.of(store)
        return course_of(key, record, findings_of(store, record, changes=False).final)
