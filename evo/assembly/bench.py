"""What measures in a campaign: data, sandbox, slots and rungs, with the start-up of each known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evo.config import SHIPPED, Config, ConfigError, RungSettings, rung_of
from evo.evaluation.data import Dataset, prepare
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.gpu import require_cuda
from evo.evaluation.process import Ended
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.slots import Slot, find_slots
from evo.folder import RUNS
from evo.search.ladder_settings import every_rung
from population.types import Clock, Rung


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures: the evaluator with its slots and rungs."""

    evaluator: Evaluator
    slots: Sequence[Slot]
    rungs: list[Rung]
    dataset: Dataset


def open_bench(
    config: Config,
    work: Path,
    startup: dict[str, float],
    say: Callable[[str], None] = lambda text: None,
) -> Bench:
    """The evaluator of a config, working in a folder.

    `startup` holds the start-up seconds by rung where they are known; what is missing is measured on the
    seed now and added.
    """
    work = work.resolve()  # a sandbox has another working directory
    slots = find_slots(config.slots)
    dataset = prepare(config.data, work / "data")
    sandbox = open_sandbox(config.sandbox, hide=dataset.sources, reach=(work,))
    require_cuda(sandbox, slots)
    seed_source = config.train.read_text(encoding="utf-8")
    harness = SHIPPED / "seed" / "harness.py"

    def evaluator(known: list[Rung]) -> Evaluator:
        every = every_rung(known, config.graduation)
        return Evaluator(dataset, every, sandbox, work / RUNS, seed_source, harness)

    drafts = [_draft_rung(name, one, config.clock, slots[0]) for name, one in config.rungs.items()]
    measuring, rungs = evaluator(drafts), []
    for draft, settings in zip(drafts, config.rungs.values(), strict=True):
        if draft.clock is Clock.TOKENS:
            startup[draft.name] = 0.0
        elif settings.startup_seconds != "auto":
            startup[draft.name] = settings.startup_seconds
        elif draft.name not in startup:
            say(f"measuring what starting costs at rung {draft.name}")
            startup[draft.name] = _startup_of(measuring, draft.name, slots[0], config.train)
        rungs.append(rung_of(draft.name, settings, draft.clock, startup[draft.name]))
    return Bench(evaluator(rungs), slots, rungs, dataset)


def _startup_of(evaluator: Evaluator, rung: str, slot: Slot, seed_file: Path) -> float:
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
