"""A campaign's folder: what lies where in it, who may run it, and which changes of its config are refused."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from evo.config import Config, ConfigError, read_config
from evo.evaluation.data import look_ahead
from evo.evaluation.static_check import check_source
from population.fingerprint import fingerprint
from population.reading import seed
from population.store import Store
from population.variant import Outcome, Proposal, Variant, variant_id

DATABASE = "campaign.db"
CONFIG = "config.yaml"
WEIGHTS = "weights"  # of front members and graduates, where they are kept
AGENTS = "agents"  # folders that agents work in
RUNS = "runs"  # workspaces of runs under way
CHANGEABLE = {
    "budget",
    "certification",
    "operators",
    "llm",
    "policy",
    "stopping",
    "voiding",
    "graduation",
    "keep",
    "notify",
    "slots",
    "queue",
    "tune",
    "agent",
    "portfolio",
    "name",
}


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


def create_campaign(config: Config, path: Path, kind: str = "campaign") -> Folder:
    """A new campaign folder: config as run, seed, brief and an empty store. CampaignError when one is there.

    `kind`: "campaign", or "calibration" for one that only measures the seed.
    """
    folder = Folder(path)
    refuse_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(f"{path}: cannot be made: {error.strerror or error}") from error
    with locked(folder):  # two that begin at once must not write over each other
        _create(folder, config, kind)
    return folder


def refuse_folder(path: Path) -> None:
    """CampaignError when no new campaign can be made at this path."""
    if (path / DATABASE).exists():
        raise CampaignError(
            f"{path} holds a campaign already: `evo resume --dir {path}` continues it"
        )
    if path.exists() and not path.is_dir():
        raise CampaignError(f"{path} is a file; give the folder to make")


def look_over(config: Config) -> None:
    """What can be said of data and seed at once. ConfigError or DataError when they cannot be used."""
    objection = check_source(config.train.read_text(encoding="utf-8"))
    if objection:
        raise ConfigError(f"{config.train}: the seed cannot be used: {objection}")
    look_ahead(config.data, [(rung.context, rung.rows) for rung in config.rungs.values()])


def _create(folder: Folder, config: Config, kind: str) -> None:
    path = folder.path
    refuse_folder(path)
    look_over(config)
    shutil.copyfile(config.train, path / "train.py")
    shutil.copyfile(config.brief, path / "brief.md")
    _write_config(folder, config)
    source = (path / "train.py").read_text(encoding="utf-8")
    root = Variant(variant_id(source), source, fingerprint(source))
    draft = folder.database.with_suffix(".new")  # a kill in between leaves no store without a seed
    for stale in path.glob(f"{draft.name}*"):
        stale.unlink()
    with Store.create(draft) as store, store.transaction():
        store.add_proposal(Proposal(1, "seed", (), Outcome.VARIANT, variant=root, idea="the seed"))
        store.set_setting("config", config.model_dump(mode="json"))
        store.set_setting("kind", kind)
    os.replace(draft, folder.database)


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
    return _comparable(folder, read_config(folder.config))


def change_config(folder: Folder, changes: Sequence[str]) -> Config:
    """Write changes like `budget.variants=40` into the folder's config; refuses as config_of."""
    config = _comparable(folder, read_config(folder.config, changes))
    _write_config(folder, config)
    return config


def _write_config(folder: Folder, config: Config) -> None:
    values = config.model_dump(mode="json", exclude_defaults=True)
    values |= {"train": "train.py", "brief": "brief.md"}
    draft = folder.config.with_suffix(".new")  # a kill in between leaves no half of a config
    draft.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    os.replace(draft, folder.config)


def _comparable(folder: Folder, config: Config) -> Config:
    with folder.open_store() as store:
        before, root = store.setting("config"), seed(store)
    now = config.model_dump(mode="json")
    changed = {key for key in now if before and now[key] != before.get(key)} - {"train", "brief"}
    if frozen := sorted(changed - CHANGEABLE - {"data"}):
        raise CampaignError(
            f"{folder.config}: {', '.join(frozen)} changed since this campaign began, so its measurements "
            "would not be comparable; undo the change, or start a new campaign with it"
        )
    if root is not None and variant_id(config.train.read_text(encoding="utf-8")) != root:
        raise CampaignError(
            f"{config.train} is not the seed this campaign began with; put that back with "
            f"`evo export seed -o {config.train} --dir {folder.path}`, or start a new campaign"
        )
    return config
