"""What a campaign of many variants costs the process that decides and records, as Markdown tables.

Everything is `evo run`'s own but three stand-ins: runs are drawn instead of trained and end after a while, on
as many slots as asked; children are lines of text instead of programs; most of the history is written at once.

    python benchmarks/cost_of_scale.py make 100000 /tmp/big           # a campaign's folder of that size
    python benchmarks/cost_of_scale.py rows /tmp/big --rows 400       # CPU a recorded measurement from there on
    python benchmarks/cost_of_scale.py rows /tmp/big --slots 1000 --seconds 60
    python benchmarks/cost_of_scale.py read /tmp/big                  # evo top, evo status, evo resume
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evo.config import Config, read_config
from evo.evaluation.local_slots import RunEnded, RunStarted, SlotEvent
from evo.folder import Folder, create_campaign
from evo.runtime.budget import Budget, BudgetSettings, BudgetSpent
from evo.runtime.campaign import Campaign
from evo.runtime.components import Components, LoopSettings
from evo.runtime.decisions import decided_before
from evo.runtime.evaluation_lane import EvaluationLane
from evo.runtime.monitor import Monitor
from evo.runtime.recorder import Recorder
from evo.search.certification import Certification, CertificationSettings
from evo.search.early_stopping import EarlyStopping
from evo.search.halting import StopRules, StopSettings
from evo.search.ladder import Graduation
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings, Scheduler
from evo.search.voiding import Voiding
from operators.operator import Draft
from population.lineage import Lineage
from population.reading import measurements, seed, spent
from population.run_history import RunHistory
from population.selection import NEWEST, choose_parents, population, within_reach
from population.types import (
    CurvePoint,
    Measurement,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)

RUNG = "proxy"
NOISE = 0.003
TRUTHS = "truths.pickle"  # beside the store: what the stand-in runs are drawn from
OPERATORS = ("nudge", "tune", "merge", "transplant")
CHANGES = (  # what is improved by default
    "objectives=[{name: val_bpb, epsilon: 0.001, limit: seed x 1.02}, {name: parameters}, {name: added_nodes}]",
    "constraints=[]",
    "budget.variants=1000000",
    "operators={nudge: 1, merge: 1}",
    "llm=null",
)
BOXES = (
    "objectives=[{name: val_bpb, epsilon: 0.001, limit: seed x 1.02}, {name: parameters, epsilon: 5000}, "
    "{name: added_nodes, epsilon: 20}]"
)
WARM_UP = 60  # rows before counting begins


@dataclass
class World:
    """True score, parameters and syntax nodes of every variant; what its runs show."""

    truths: dict[str, tuple[float, float, float]]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))

    def child(self, parent: str) -> tuple[float, float, float]:
        """A child's truth: one in five gains a little, the others lose more; sizes drift."""
        score, size, nodes = self.truths[parent]
        rng, many = self.rng, max(len(self.truths), 1)
        gain = abs(float(rng.normal(0, 0.02 / math.sqrt(many)))) * (1 if rng.random() < 0.2 else -9)
        return (
            score - gain,
            round(size * float(rng.lognormal(0, 0.05))),
            nodes + int(rng.integers(4)),
        )

    def run(self, one: str) -> dict[str, float]:
        """The numbers of one run."""
        score, size, nodes = self.truths[one]
        shown = score + float(self.rng.normal(0, NOISE))
        return {"val_bpb": shown, "parameters": float(size), "added_nodes": float(nodes)}


def source_of_child(number: int) -> str:
    return f"LR = {0.1 + number * 1e-7:.9f}\n"


# -- A campaign's folder of a given size, written at once.


def make(many: int, path: Path) -> None:
    """Children of the best so far, one run each on block 0; every seventh run is of a good one again."""
    folder = create_campaign(read_config(Path("configs/quickstart.yaml"), CHANGES), path)
    rng = np.random.default_rng(3)
    with folder.open_store() as store:
        root = seed(store)
        assert root is not None
        world, blocks = World({root: (2.0, 1e5, 0.0)}), {root: 4}
        best, at, runs = [root], time.time() - 40 * many, list[tuple[str, int, Purpose]]()
        runs += [(root, block, Purpose.CALIBRATE) for block in range(4)]
        born = []
        for number in range(2, many + 1):
            parent = best[int(rng.integers(len(best)))]
            source = source_of_child(number)
            child = variant_id(source)
            world.truths[child] = world.child(parent)
            born.append((number, child, source, parent, OPERATORS[number % len(OPERATORS)]))
            runs.append((child, 0, Purpose.SCREEN))
            blocks[child] = 1
            if world.truths[child][0] < world.truths[best[-1]][0]:
                best = [*best[-19:], child]
            if number % 6 == 0:
                again = best[int(rng.integers(len(best)))]
                if again != root and blocks[again] < 6:
                    runs.append((again, blocks[again], Purpose.REMEASURE))
                    blocks[again] += 1
        db = store._connection
        db.execute("PRAGMA synchronous = OFF")
        with store.transaction():
            db.executemany(
                "INSERT INTO variants (id, fingerprint, created, source) VALUES (?, ?, ?, ?)",
                [(child, str(number), at, source) for number, child, source, _, _ in born],
            )
            db.executemany(
                """INSERT INTO proposals (number, operator, author, model, idea, outcome, reason, variant_id,
                seconds, tokens_in, tokens_out, dollars, seen, created, idea_id)
                VALUES (?, ?, 'evotrain', '', ?, 'variant', '', ?, 0.02, 0, 0, 0, ?, ?, NULL)""",
                [
                    (number, operator, f"LR to {number}", child, number, at + 40 * number)
                    for number, child, _, _, operator in born
                ],
            )
            db.executemany(
                "INSERT INTO parents (proposal_number, variant_id, role, position) VALUES (?, ?, 'parent', 0)",
                [(number, parent) for number, _, _, parent, _ in born],
            )
            curve = json.dumps([[k / 20, 5.0 - k / 10, k * 1000] for k in range(20)])
            db.executemany(
                """INSERT INTO measurements (id, variant_id, rung, block, repeat, purpose, status, reason, slot,
                host, device, started_at, wall_seconds, cpu_seconds, train_wall_seconds,
                self_reported_steps, self_reported_tokens, recorded, facts, curve, log_tail)
                VALUES (?, ?, ?, ?, 0, ?, 'ok', '', ?, 'here', 'cpu', ?, 38.0, 37.0, 30.0, 100, 100000, ?,
                '{}', ?, '')""",
                [
                    (
                        id,
                        one,
                        RUNG,
                        block,
                        purpose.value,
                        f"slot{id % 4}",
                        at + 40 * id,
                        at + 40 * id,
                        curve,
                    )
                    for id, (one, block, purpose) in enumerate(runs, 1)
                ],
            )
            db.executemany(
                "INSERT INTO scores (measurement_id, name, value) VALUES (?, ?, ?)",
                [
                    (id, name, value)
                    for id, (one, _, _) in enumerate(runs, 1)
                    for name, value in world.run(one).items()
                ],
            )
            db.executemany(
                "INSERT INTO events (kind, text, created) VALUES ('measured', ?, ?)",
                [(f"screen {one[:8]} on block {block}", at) for one, block, _ in runs],
            )
            store.add_event("start", "started with 4 slots")
    (path / TRUTHS).write_bytes(pickle.dumps(world.truths))
    config = read_config(folder.config)
    history = history_of(folder, config, Lineage())[0]
    with folder.open_store() as store, store.transaction():
        proof = Certification(CertificationSettings(), history, RUNG)
        store.set_front(RUNG, history.members(RUNG, proof.proven()))
        store.set_beliefs(RUNG, history.moved_beliefs(RUNG, whole=True))
    print(f"{path}: {many:,} variants, {len(runs):,} runs, {len(history.front(RUNG))} on the front")


def history_of(folder: Folder, config: Config, lineage: Lineage) -> tuple[RunHistory, Lineage]:
    """What `evo resume` reads of a store."""
    with folder.open_store() as store:
        lineage = Lineage.of(store)
        root = seed(store)
        assert root is not None
        history = RunHistory(config.objectives, root, config.constraints, lineage)
        for row in measurements(store, statuses=list(Status)):
            history.add(row)
    return history, lineage


# -- Stand-ins.


class DrawnSlots:
    """As many slots as wanted; a run is drawn, and ends `seconds` after it began, give or take a quarter."""

    def __init__(self, world: World, size: int, seconds: float, most: int) -> None:
        self.world, self._size, self._seconds, self._most = world, size, seconds, most
        self._free = [f"slot{k}" for k in range(size)]
        self._ends: list[tuple[float, int, str, list[RunRequest]]] = []
        self._events: list[SlotEvent] = []
        self._uncollected: dict[str, int] = {}
        self._changed, self._closed = threading.Condition(), False
        self._order = itertools.count()
        self.ended = 0
        self.marks: list[
            tuple[int, float, float, float]
        ] = []  # ended, CPU, seconds, busy slot seconds
        self._busy = 0.0
        self.stop: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        return self._size

    def start(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        threading.Thread(target=self._work, daemon=True).start()

    def capacity(self) -> int:
        with self._changed:
            return len(self._free)

    def submit(self, runs: Sequence[tuple[RunRequest, str]]) -> None:
        with self._changed:
            slot, requests = self._free.pop(), [request for request, _ in runs]
            self._uncollected[slot] = len(requests)
            began = time.monotonic()
            takes = self._seconds * float(self.world.rng.uniform(0.75, 1.25)) * len(requests)
            self._busy += takes
            heapq.heappush(self._ends, (began + takes, next(self._order), slot, requests))
            self._events += [RunStarted(one, slot) for one in requests]
            self._changed.notify_all()
        self._wake()

    def results(self) -> list[SlotEvent]:
        with self._changed:
            found, self._events = self._events, []
            for one in found:
                if isinstance(one, RunEnded):
                    self.ended += 1
                    self._uncollected[one.measurement.slot] -= 1
                    if not self._uncollected[one.measurement.slot]:
                        self._free.append(one.measurement.slot)
            self.marks.append((self.ended, time.process_time(), time.monotonic(), self._busy))
            if self.ended >= self._most:
                self.stop()
            return found

    def cancel(self, request: RunRequest, reason: str = "") -> None:
        pass

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._ends or self._ends[0][0] > time.monotonic()):
                    left = self._ends[0][0] - time.monotonic() if self._ends else None
                    self._changed.wait(left)
                if self._closed and not self._ends:
                    return
                _, _, slot, requests = heapq.heappop(self._ends)
                curve = tuple(CurvePoint(k / 20, 5.0 - k / 10, k * 1000) for k in range(20))
                for request in requests:
                    run = Measurement(
                        request, Status.OK, metrics=self.world.run(request.variant_id), curve=curve, slot=slot,
                        host="here", device="cpu", started_at=time.time(), wall_seconds=38.0,
                        cpu_seconds=37.0, train_wall_seconds=30.0, self_reported_tokens=100_000,
                    )  # fmt: skip
                    self._events.append(RunEnded(run))
            self._wake()


class DrawnChildren:
    """Proposals whose parents are chosen as `evo run` does it, and whose children are one line of text."""

    def __init__(self, world: World, history: RunHistory, lineage: Lineage) -> None:
        self.world, self.history, self.lineage = world, history, lineage
        self.cpu, self._turn = 0.0, threading.Lock()

    def propose(self, number: int, as_of: int | None, may_ask: bool = True) -> Proposal:
        with self._turn:
            began = time.thread_time()
            operator = OPERATORS[number % len(OPERATORS)]
            able = population(self.history.candidates(RUNG, as_of, NEWEST))
            gain = self.history.usual_gain(RUNG, operator, as_of)
            able = able if gain is None else within_reach(able, gain)
            parent = self.history.seed_id
            if able:
                parent = choose_parents(able, 1, self.world.rng)[0].variant_id
            source = source_of_child(number)
            child = Variant(variant_id(source), source, str(number))
            self.world.truths[child.id] = self.world.child(parent)
            seen, made = self.history.last_id(), (Parent(parent, "parent"),)
            self.cpu += time.thread_time() - began
            return Proposal(number, operator, made, Outcome.VARIANT, variant=child, seen=seen)

    def judge(
        self, number: int, operator: str, parents: Sequence[Parent], draft: Draft
    ) -> Proposal:
        raise NotImplementedError

    def is_unavailable(self, may_ask: bool = True) -> bool:
        return False

    def answers_awaited(self) -> list[float]:
        return []


def campaign_of(
    folder: Folder, slots: int, seconds: float, most: int, boxes: bool
) -> tuple[Campaign, DrawnSlots]:
    """The campaign in a folder with its stand-ins; `boxes`: with an epsilon for every objective."""
    config = read_config(folder.config, [BOXES] if boxes else [])
    world = World(pickle.loads((folder.path / TRUTHS).read_bytes()), np.random.default_rng())
    history, lineage = history_of(folder, config, Lineage())
    with folder.open_store() as store:
        decided, used = decided_before(store), spent(store)
    proof = Certification(CertificationSettings(), history, RUNG, decided)
    drawn = DrawnSlots(world, slots, seconds, most)
    scheduler = Scheduler(
        PolicySettings(),
        history,
        RUNG,
        proof,
        Graduation(GraduationSettings(), history, lineage, [RUNG], 0, proof.proven),
        decided=decided,
    )
    first = history.objectives[0]
    components = Components(
        open_store=folder.open_store,
        proposer=DrawnChildren(world, history, lineage),
        slots=drawn,
        history=history,
        lineage=lineage,
        scheduler=scheduler,
        budget=Budget(BudgetSettings(variants=10**7), BudgetSpent(variants=used.variants - 1)),
        stop=StopRules(StopSettings(), history, proof, RUNG, None, decided, (0, 0.0)),
        early=EarlyStopping(
            config.stopping, history.seed_id, first.name, first.turned, lambda one: "", decided
        ),
        voiding=Voiding(history.seed_id),
        board=Monitor([f"slot{k}" for k in range(slots)]),
        recorder=Recorder(folder.open_store, print),
        stopping=threading.Event(),
        proxy=RUNG,
    )
    return Campaign(components, LoopSettings()), drawn


def profile_lane(file: str) -> None:
    """Have cProfile's figures of the evaluation lane written when it ends."""
    import cProfile

    profiler, work = cProfile.Profile(), EvaluationLane._work

    def profiled(self: EvaluationLane) -> None:
        profiler.enable()
        work(self)
        profiler.disable()
        profiler.dump_stats(file)

    EvaluationLane._work = profiled  # type: ignore[method-assign]


def rows(path: Path, slots: int, seconds: float, many: int, profile: str, boxes: bool) -> None:
    """CPU a recorded measurement, in the whole process; how busy the slots were; memory."""
    folder = Folder(path)
    if profile:
        profile_lane(profile)
    before = time.process_time()
    campaign, drawn = campaign_of(folder, slots, seconds, many + WARM_UP, boxes)
    read = time.process_time() - before
    known = len(campaign.components.lineage.after(0))
    campaign_stopped = list[float]()

    def stop() -> None:
        if not campaign_stopped:
            campaign_stopped.append(time.process_time())
            campaign.stop()

    drawn.stop = stop
    campaign.run()
    marks = [one for one in drawn.marks if one[0] >= WARM_UP and one[0] <= many + WARM_UP]
    (first, cpu0, at0, _), (last, cpu1, at1, _) = marks[0], marks[-1]
    proposer = campaign.components.proposer
    assert isinstance(proposer, DrawnChildren)
    proposing = proposer.cpu
    each = (cpu1 - cpu0) / (last - first)
    elapsed = at1 - at0
    busy = (last - first) * seconds / (slots * elapsed) if seconds else math.nan
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    front = len(campaign.components.history.front(RUNG))
    print(
        "| variants | slots | front | rows | CPU ms a row | of it choosing parents | busy | memory MB "
        "| reading s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {known:,} | {slots} | {front} | {last - first} | {1000 * each:.1f} "
        f"| {1000 * proposing / many:.1f} | {busy:.1%} | {memory:,.0f} | {read:.1f} |"
    )


def read(path: Path) -> None:
    """Wall and CPU seconds of the commands that read a campaign, each in a process of its own."""
    print("| command | seconds | CPU seconds | memory MB |")
    print("|---|---|---|---|")
    evo = Path(sys.executable).with_name("evo")
    for words in (["top"], ["status"]):
        timed([str(evo), *words, "--dir", str(path)], f"evo {' '.join(words)}")
    timed([sys.executable, __file__, "first", str(path)], "evo resume, to its first decision")


def timed(command: Sequence[str], name: str) -> None:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    cpu = used.ru_utime + used.ru_stime
    wall = time.perf_counter() - began
    failed = "" if status == 0 else f" (ended with {status})"
    print(f"| {name}{failed} | {wall:.1f} | {cpu:.1f} | {used.ru_maxrss / 1024:,.0f} |", flush=True)


def first(path: Path) -> None:
    """What `evo resume` does up to the first decision: the campaign is built and the scheduler asked."""
    import evo.cli.folder  # noqa: F401 - a command has imported it by then
    from evo.assembly.campaign import build_campaign
    from evo.folder import config_of
    from evo.search.synchronous import SynchronousSearch

    folder = Folder(path)
    began = time.process_time()
    campaign = build_campaign(folder, config_of(folder), LoopSettings())
    built = time.process_time()
    with folder.open_store() as store:
        campaign._proposals.take_up(store)
        campaign._evaluations.take_up(store)
    taken = time.process_time()
    SynchronousSearch(campaign.components.scheduler, lambda: None, lambda: False).next()
    now = time.process_time()
    print(
        f"build {built - began:.2f} take up {taken - built:.2f} decide {now - taken:.2f}",
        file=sys.stderr,
    )
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "rows", "read", "first"))
    parser.add_argument("given", nargs="+")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.0, help="that a run takes")
    parser.add_argument("--boxes", action="store_true", help="an epsilon for every objective")
    parser.add_argument(
        "--profile", default="", help="a file for cProfile's figures of the evaluation lane"
    )
    given = parser.parse_args()
    path = Path(given.given[-1])
    if given.what == "make":
        make(int(given.given[0]), path)
    elif given.what == "rows":
        rows(path, given.slots, given.seconds, given.rows, given.profile, given.boxes)
    elif given.what == "read":
        read(path)
    else:
        first(path)


if __name__ == "__main__":
    main()
