"""The one place that knows the concrete classes: from a config and a folder to a campaign that can run."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evo.campaign.board import Board
from evo.campaign.budget import Budget, Spent
from evo.campaign.campaign import Campaign
from evo.campaign.graduation import Graduation, build_rung
from evo.campaign.leftovers import end_leftovers
from evo.campaign.parts import LoopSettings, Parts
from evo.campaign.policy import Policy
from evo.campaign.proposing import Proposer, Surroundings
from evo.campaign.tally import Tally
from evo.config import SHIPPED, Config, ConfigError, checked, read_config, rung_of
from evo.evaluation.data import Dataset, prepare
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.sandbox import Sandbox
from evo.evaluation.slots import Slot, find_slots
from evo.evaluation.source_check import check_source
from operators.llm.client import LlmContext
from operators.portfolio import Portfolio
from operators.registry import build_operators, without_llm
from population.fingerprint import fingerprint
from population.lineage import Lineage
from population.reading import Measured, measurements, proposals, seed, spent
from population.store import Store
from population.variant import Clock, Outcome, Proposal, Rung, Status, Variant, variant_id

DATABASE = "campaign.db"
CONFIG = "config.yaml"
CHANGEABLE = {"budget", "operators", "llm", "policy", "graduation", "slots", "queue", "name"}


class CampaignError(Exception):
    """The campaign folder cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A campaign's folder and what lies where in it."""

    path: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.path / DATABASE

    @property
    def config(self) -> Path:
        """The config as run."""
        return self.path / CONFIG

    def open_store(self) -> Store:
        """A new connection to the store."""
        return Store.open(self.database)


def create_campaign(config: Config, path: Path) -> Folder:
    """A new campaign folder: config as run, seed, brief and an empty store. CampaignError when one is there."""
    folder = Folder(path)
    if folder.database.exists():
        raise CampaignError(f"{path} holds a campaign already: `evo resume --dir {path}` continues it")
    path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config.train, path / "train.py")
    shutil.copyfile(config.brief, path / "brief.md")
    values = config.model_dump(mode="json", exclude_defaults=True) | {"train": "train.py", "brief": "brief.md"}
    folder.config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    source = (path / "train.py").read_text(encoding="utf-8")
    objection = check_source(source)
    if objection:
        raise ConfigError(f"{config.train}: the seed cannot be used: {objection}")
    root = Variant(variant_id(source), source, fingerprint(source))
    with Store.create(folder.database) as store, store.transaction():
        store.add_proposal(Proposal(0, "seed", (), Outcome.VARIANT, variant=root, idea="the seed"))
        store.set_setting("config", config.model_dump(mode="json"))
    return folder


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold a campaign for this process alone. CampaignError when another one runs it."""
    with open(folder.path / "lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise CampaignError(
                f"{folder.path} is being run by process {holder}; `evo stop --dir {folder.path}` stops it"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def config_of(folder: Folder) -> Config:
    """The folder's config; refuses changes that would make its measurements incomparable."""
    config = read_config(folder.config)
    with folder.open_store() as store:
        before = store.setting("config")
        now = config.model_dump(mode="json")
        changed = {key for key in now if before and now[key] != before.get(key) and key not in {"train", "brief"}}
        if frozen := sorted(changed - CHANGEABLE - {"data"}):
            raise CampaignError(
                f"{folder.config}: {', '.join(frozen)} changed since this campaign began, so its measurements "
                "would not be comparable; undo the change, or start a new campaign with it"
            )
    return config


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures: the evaluator with its slots and rungs."""

    evaluator: Evaluator
    slots: list[Slot]
    rungs: list[Rung]
    dataset: Dataset


def open_bench(config: Config, work: Path, seed_source: str, startup: dict[str, float]) -> Bench:
    """The evaluator of a config. `startup`: seconds by rung where known; what is missing is measured now."""
    slots = find_slots(config.slots)
    dataset = prepare(config.data, work / "data")
    sandbox = Sandbox.choose(config.sandbox)
    rungs = [_draft_rung(name, one, slots[0]) for name, one in zip(config.rungs, config.rung_settings(), strict=True)]

    def evaluator(known: list[Rung]) -> Evaluator:
        every = {rung.name: rung for one in known for rung in (one, build_rung(one))}
        return Evaluator(dataset, every, sandbox, work / "runs", seed_source, SHIPPED / "seed" / "harness.py")

    measuring = evaluator(rungs)
    for place, (name, settings) in enumerate(zip(config.rungs, config.rung_settings(), strict=True)):
        clock = rungs[place].clock
        if clock is Clock.TOKENS:
            continue
        if settings.startup_seconds != "auto":
            startup[name] = settings.startup_seconds
        if name not in startup:
            startup[name] = measuring.measure_startup(rungs[place], slots[0])
        rungs[place] = rung_of(name, settings, clock, startup[name])
    return Bench(evaluator(rungs), slots, rungs, dataset)


def _draft_rung(name: str, settings: Any, slot: Slot) -> Rung:
    clock = settings.clock or (Clock.SECONDS if slot.device != "cpu" else Clock.CPU_SECONDS)
    return rung_of(name, settings, clock, startup_seconds=30.0)


def build_campaign(
    folder: Folder, config: Config, loop: LoopSettings, say: Callable[[str], None] = lambda text: None
) -> Campaign:
    """A campaign ready to run (or to go on) in its folder. Hold `locked(folder)` while it runs."""
    source = (folder.path / "train.py").read_text(encoding="utf-8")
    with folder.open_store() as store:
        left = end_leftovers(store)
        if left:
            say(f"ended {left} runs that an earlier process left behind; they are measured again")
        startup = dict(store.setting("startup_seconds", {}))
        bench = open_bench(config, folder.path, source, startup)
        store.set_setting("startup_seconds", startup)
        seed_id = seed(store)
        assert seed_id is not None, "create_campaign() records the seed"
        tally, lineage = _known(store, config, seed_id)
        used = spent(store)
        budget = Budget(
            config.budget,
            Spent(used.variants, store.setting("seconds_spent", 0.0), used.tokens, used.dollars),
        )
    policy = Policy(config.policy, tally, bench.rungs[0].name)
    graduation = Graduation(config.graduation, tally, bench.rungs, lineage.root)
    board = Board([slot.name for slot in bench.slots])
    parts = Parts(
        open_store=folder.open_store,
        evaluator=bench.evaluator,
        proposer=None,  # type: ignore[arg-type]  # set below: its LLM client records through the campaign
        slots=bench.slots,
        tally=tally,
        lineage=lineage,
        policy=policy,
        graduation=graduation,
        budget=budget,
        board=board,
        proxy=bench.rungs[0].name,
    )
    return Campaign(parts, loop)


def _known(store: Store, config: Config, seed_id: str) -> tuple[Tally, Lineage]:
    """Everything recorded so far, in memory."""
    tally, lineage = Tally(config.objectives, seed_id), Lineage()
    for row in measurements(store, statuses=list(Status)):
        tally.add(row)
    for made in proposals(store):
        if made.outcome is Outcome.VARIANT and made.variant_id:
            lineage.add(made.variant_id, made.parents)
    return tally, lineage
