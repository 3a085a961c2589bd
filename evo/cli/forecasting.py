"""From a config to the plan that a forecast is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evo.analysis.forecast import Plan, RungPlan
    from evo.analysis.record import Record
    from evo.config import Config, RungSettings
    from evo.evaluation.slots import Slot
    from evo.search.certification import CertificationSettings


def plan_of(config: Config, record: Record | None = None) -> Plan:
    """What a config is about to do; `record` when a campaign goes on. ConfigError for impossible slots."""
    from evo.analysis.forecast import Plan
    from evo.config import ConfigError
    from evo.evaluation.slots import find_slots
    from evo.search.ladder_settings import work_by_rung
    from evo.search.scheduler import seed_runs

    try:
        slots = find_slots(config.slots)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    named = zip(config.rungs, config.rung_settings(), strict=True)
    rungs = [_rung_plan(name, settings, record) for name, settings in named]
    return Plan(
        slots=len(slots),
        rungs=rungs,
        seed_runs=seed_runs(
            config.policy, config.budget.seconds, len(slots), rungs[0].training_seconds or 0.0
        ),
        remeasure_share=config.policy.remeasure_share,
        race_share=config.policy.held_back,
        reference_every=config.policy.reference_every,
        race_runs=_race_runs(config.certification),
        final_blocks=config.policy.final_blocks,
        ladder=work_by_rung(config.graduation, list(config.rungs)),
        variants=config.budget.variants,
        seconds=config.budget.seconds,
        llm_operators=asking(config),
        llm_resting=resting(config),
        llm_tokens=config.budget.llm_tokens,
        llm_dollars=config.budget.llm_dollars,
        measured_variants=record.spent.variants - 1 if record is not None else 0,
        asks_before_ladder=config.graduation.promotion == "manual",
        warnings=warnings(config, slots),
    )


def warnings(config: Config, slots: Sequence[Slot]) -> list[str]:
    """What a person should know before it starts, each in a sentence."""
    from evo.analysis.record import UNPROTECTED
    from operators.registry import names_with_llm
    from population.variant import Clock

    found = [UNPROTECTED] if config.sandbox.mode == "none" else []
    timed = any(rung.clock is Clock.SECONDS for rung in config.rung_settings())
    if timed and slots[0].device == "cpu":
        found.append(
            f"clock: seconds, and no GPU can be used here: this would train on {len(slots)} CPU slots of one "
            f"core each, at depth {next(iter(config.rungs.values())).depth}, and other load on them would "
            "change the scores; for a machine without a GPU see configs/quickstart.yaml (clock: cpu_seconds)"
        )
    asks = names_with_llm(config.operators)
    if config.llm is not None and not asks and not config.operators.get("agent"):
        names = ", ".join(one.name for one in config.llm.endpoints)
        found.append(
            f"llm: no operator asks a model: {names} is never used (operators: llm_mutate: 1)"
        )
    limits = [
        f"budget.{name}" for name in ("llm_tokens", "llm_dollars") if getattr(config.budget, name)
    ]
    if limits and config.llm is None and config.agent is None:
        found.append(f"{', '.join(limits)}: limits nothing, there is no llm in the config")
    return found


def must_fit(disk_mb: float | None, where: Path) -> None:
    """ConfigError when a campaign would need more disk than is free where its folder is to be."""
    import psutil

    from evo.config import ConfigError
    from evo.terminal.numbers import megabytes

    there = next(one for one in (where, *where.absolute().parents) if one.exists())
    free = psutil.disk_usage(str(there)).free / (1 << 20)
    if disk_mb is not None and disk_mb > free:
        raise ConfigError(
            f"{where}: about {megabytes(disk_mb)} are needed and {megabytes(free)} are free: lower "
            "budget.variants, or give a folder on a larger disk with --dir"
        )


def _race_runs(settings: CertificationSettings) -> int:
    """What certification takes at most: every pair of every attempt, and those after a success."""
    return 2 * settings.attempts * (settings.most_pairs + settings.post_pairs)


def _rung_plan(name: str, settings: RungSettings, record: Record | None) -> RungPlan:
    from evo.analysis.forecast import RungPlan
    from evo.analysis.progress import run_seconds

    timed = settings.clock is None or settings.clock.value != "tokens"
    return RungPlan(
        name=name,
        train_seconds=settings.budget if timed else None,
        startup_seconds=None if settings.startup_seconds == "auto" else settings.startup_seconds,
        measured_seconds=run_seconds(record.runs(), name) if record is not None else None,
    )


def resting(config: Config) -> str:
    """Which operators rest because no endpoint has its key, in words; "" when none does."""
    from operators.llm.settings import missing_keys
    from operators.registry import names_with_llm

    names = names_with_llm(config.operators)
    if not names or asking(config):
        return ""
    missing = missing_keys(config.llm, os.environ) if config.llm else ()
    why = f"{', '.join(missing)} is not set" if missing else "there is no llm in the config"
    return f"{', '.join(names)} rest: {why}"


def asking(config: Config) -> tuple[str, ...]:
    """The operators that will really ask a model: none while no endpoint has its key."""
    from operators.llm.settings import missing_keys
    from operators.registry import names_with_llm

    llm = config.llm
    if llm is None or len(missing_keys(llm, os.environ)) >= len(
        {one.key_env for one in llm.endpoints}
    ):
        return ()
    return names_with_llm(config.operators)
