"""What measures in a campaign: data, sandbox, slots and rungs, with the start-up of each known."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from evo.config import SHIPPED, Config, ConfigError, RungSettings, limited_rung, rung_of
from evo.evaluation.cluster.cluster_slots import ClusterSlots, startup_at_a_worker
from evo.evaluation.cluster.connection import ClusterUnavailable, Connection
from evo.evaluation.cluster.settings import ClusterSettings
from evo.evaluation.cluster.worker import Kit
from evo.evaluation.data import Dataset, prepare
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.gpu import require_cuda
from evo.evaluation.local_slots import LocalSlots, Slots
from evo.evaluation.process import Ended
from evo.evaluation.sandbox.landlock import Unboxed
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.evaluation.slots import Slot, find_slots, host_class
from evo.folder import RUNS
from evo.search.ladder_settings import every_rung
from evo.tasks.autoresearch import STAND_IN
from evo.tasks.command import CommandEvaluator
from evo.tasks.folder_copy import take_snapshot
from evo.tasks.interpreters import interpreter, make_environment
from evo.tasks.settings import TaskSettings
from population.types import Clock, Rung

COLD = ", cold"  # behind a rung's name: what the first start cost the seed, which compiles there


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures: the evaluator with its slots and rungs.

    `dataset` of a sealed train.py, `task` of a command: one of them is there. `cluster`: where the slots are
    elsewhere; the evaluator then measures nothing itself.
    """

    evaluator: Evaluator | CommandEvaluator
    slots: Sequence[Slot]
    rungs: list[Rung]
    dataset: Dataset | None = None
    cluster: Connection | None = None

    @property
    def host_class(self) -> str:
        """What decides how its slots compute; on a cluster, of the first worker."""
        return host_class(self.slots[0]) if self.cluster is None else self.cluster.host_class

    @property
    def notices(self) -> Sequence[Callable[[], str]]:
        """Each says what is new of the slots, "" while nothing is."""
        return () if self.cluster is None else (self.cluster.news,)

    def open_slots(self) -> Slots:
        """The slots, ready to be started."""
        if self.cluster is not None and isinstance(self.evaluator, Evaluator):
            kit = partial(Kit.of, self.evaluator)
            keep, tolerances = self.evaluator.keep_weights, self.evaluator.tolerances
            return ClusterSlots(self.cluster, kit, keep, tolerances)
        return LocalSlots(self.evaluator, self.slots)

    @property
    def data_id(self) -> str:
        """Stands for all that scores depend on beside the source: text and modules, or the user's folder."""
        if isinstance(self.evaluator, CommandEvaluator):
            return self.evaluator.snapshot.id
        modules = [path for path in self.evaluator.beside if path != STAND_IN]
        if not modules:
            return self.evaluator.dataset.id
        said = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in modules)
        return f"{self.evaluator.dataset.id}-{hashlib.sha256(said).hexdigest()[:8]}"

    @property
    def hidden(self) -> tuple[Path, ...]:
        """What nobody who proposes may read."""
        return () if self.dataset is None else self.dataset.sources


def open_bench(
    config: Config,
    work: Path,
    startup: dict[str, float],
    say: Callable[[str], None] = lambda text: None,
    known_class: str = "",
) -> Bench:
    """The evaluator of a config, working in a folder.

    `startup` holds the start-up seconds by rung where they are known, and under "RUNG, cold" what the first
    start cost where the seed compiles; what is missing is measured on the seed now and added.
    `known_class`: the host class of a cluster's workers, if any.
    """
    work = work.resolve()  # a sandbox has another working directory
    if isinstance(config.slots, ClusterSettings):
        return _open_cluster(config, config.slots, work, startup, say, known_class)
    most_memory = max(one.memory_mb for one in config.rungs.values())
    slots = find_slots(config.slots, memory_mb=most_memory)
    if config.command is not None:
        return _open_command(config, config.command, work, slots, say)
    dataset = prepare(config.data, work / "data")
    sandbox = open_sandbox(config.sandbox, hide=dataset.sources, reach=(work,))
    require_cuda(sandbox, slots)

    def measured(evaluator: Evaluator, rung: str) -> tuple[float, float]:
        return _startup_of(evaluator, rung, slots[0], config.train)

    rungs, evaluator = _evaluators(config, dataset, sandbox, work, slots[0], startup, say, measured)
    return Bench(evaluator, slots, rungs, dataset)


def _open_cluster(
    config: Config,
    settings: ClusterSettings,
    work: Path,
    startup: dict[str, float],
    say: Callable[[str], None],
    known_class: str,
) -> Bench:
    """A bench whose slots are the workers of a cluster; start-up is measured at one of them."""
    dataset = prepare(config.data, work / "data")
    connection = Connection(settings, say)
    connection.host_class = known_class
    try:
        connection.open()
        slots = [one.slot for one in connection.members.values()]

        def measured(evaluator: Evaluator, rung: str) -> tuple[float, float]:
            return startup_at_a_worker(connection, evaluator, rung)

        nothing_runs_here = Unboxed(config.sandbox)
        rungs, evaluator = _evaluators(
            config, dataset, nothing_runs_here, work, slots[0], startup, say, measured
        )
    except (ClusterUnavailable, OSError, TimeoutError, ValueError) as error:
        connection.close()
        raise ConfigError(str(error)) from error
    return Bench(evaluator, slots, rungs, dataset, connection)


def _evaluators(
    config: Config,
    dataset: Dataset,
    sandbox: Sandbox,
    work: Path,
    slot: Slot,
    startup: dict[str, float],
    say: Callable[[str], None],
    measured: Callable[[Evaluator, str], tuple[float, float]],
) -> tuple[list[Rung], Evaluator]:
    """The rungs with their start-up, and the evaluator that measures at them."""
    seed_source = config.seed_source()
    harness = SHIPPED / "seed" / "harness.py"

    def evaluator(known: list[Rung]) -> Evaluator:
        every = every_rung(known, config.graduation)
        return Evaluator(
            dataset,
            every,
            sandbox,
            work / RUNS,
            seed_source,
            harness,
            beside=(*([] if config.task is None else [STAND_IN]), *config.modules),
            check=config.objection_to,
        )

    drafts = [_draft_rung(name, one, config.clock, slot) for name, one in config.rungs.items()]
    measuring, rungs = evaluator(drafts), []
    for draft, settings in zip(drafts, config.rungs.values(), strict=True):
        if draft.clock is Clock.TOKENS:
            startup[draft.name] = 0.0
        elif settings.startup_seconds != "auto":
            startup[draft.name] = settings.startup_seconds
        elif draft.name not in startup:
            say(f"measuring what starting costs at rung {draft.name}")
            startup[draft.name], cold = measured(measuring, draft.name)
            if cold:
                startup[draft.name + COLD] = cold
        cold = startup.get(draft.name + COLD, 0.0)
        rungs.append(rung_of(draft.name, settings, draft.clock, startup[draft.name], cold))
    made = evaluator(rungs)
    made.compiled = measuring.compiled
    for name in config.rungs:
        if name + COLD in startup:
            made.compiled.cold_seconds[name] = startup[name + COLD]
    return rungs, made


def _open_command(
    config: Config,
    task: TaskSettings,
    work: Path,
    slots: Sequence[Slot],
    say: Callable[[str], None],
) -> Bench:
    make_environment(task, say)
    snapshot = take_snapshot(task.folder, task.paths, work / "data")
    for name, text in task.texts(config.seed_source()).items():  # as it was when the campaign began
        (snapshot.path / name).write_text(text, encoding="utf-8")
    sandbox = open_sandbox(config.sandbox, reach=(work,), with_image=False)
    if interpreter(task)[0] == Path(sys.executable):  # what another Python has, its script will say
        require_cuda(sandbox, slots)
    rungs = [limited_rung(name, one) for name, one in config.rungs.items()]
    every = {one.name: one for one in rungs}
    sets = {name: one.set for name, one in config.rungs.items()}
    evaluator = CommandEvaluator(
        task, config.metrics, every, sandbox, work / RUNS, snapshot, sets=sets
    )
    return Bench(evaluator, slots, rungs)


def _startup_of(
    evaluator: Evaluator, rung: str, slot: Slot, seed_file: Path
) -> tuple[float, float]:
    try:
        return evaluator.measure_startup(rung, slot)
    except Ended as end:
        raise ConfigError(
            f"{seed_file}: the seed fails at rung {rung}: {end.status}, {end.reason}"
        ) from end


def _draft_rung(
    name: str, settings: RungSettings, given: Clock | Literal["auto"], slot: Slot
) -> Rung:
    of_the_device = Clock.SECONDS if slot.device != "cpu" else Clock.CPU_SECONDS
    clock = of_the_device if given == "auto" else given
    return rung_of(name, settings, clock, startup_seconds=30.0)
