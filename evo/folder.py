"""A campaign's folder: what lies where in it, who may run it, and which changes of its config are refused."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from evo.config import Config, ConfigError, checked, read_plain, unknown_places
from evo.evaluation.data import look_ahead
from evo.evaluation.static_check import MODULES
from evo.evaluation.unseen import MIN_BLOCKS
from evo.files import DRAFT as UNFINISHED
from evo.files import campaign_around, is_its_own, write_file
from evo.lock import Held, Unlockable, hold, is_lock
from evo.old_keys import current
from evo.tasks.folder_copy import look_at
from population.fingerprint import fingerprint
from population.reading import seed
from population.store import Store
from population.types import Outcome, Proposal, Variant, variant_id

DATABASE = "campaign.db"
DRAFT = "campaign.new"  # the store while it is being made
CONFIG = "config.yaml"
LOCK = "lock"
CAMPAIGNS = "campaigns"
WEIGHTS = "weights"  # of front members and graduates, where they are kept
AGENTS = "agents"  # folders that agents work in
DEADLINE = "stop_until"  # the setting: the time of day as it was asked for, and when that is
RUNS = "runs"  # workspaces of runs under way
CHANGEABLE = {
    "budget",
    "stop",
    "certification",
    "operators",
    "llm",
    "policy",
    "stopping",
    "graduation",
    "keep",
    "notify",
    "slots",
    "tune",
    "transplant",
    "islands",
    "agent",
    "portfolio",
    "name",
}

FROZEN = set(Config.model_fields) - CHANGEABLE - {"data", "train", "brief"}  # those have ids


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

    @property
    def lock(self) -> Path:
        """Held by the process that runs the campaign."""
        return self.path / LOCK

    def open_store(self) -> Store:
        """A new connection to the store."""
        return Store.open(self.database)


def create_campaign(config: Config, path: Path, kind: str = "campaign") -> Folder:
    """A new campaign folder: config as run, seed, brief and an empty store. Nothing is left where it fails.

    CampaignError when the folder holds anything. `kind`: "campaign", or "calibration" for one that only
    measures the seed, "ablation" for one that measures the edits of a champion.
    """
    folder = Folder(path)
    refuse_folder(path, config, kind)
    was_there, had_lock = path.exists(), (path / LOCK).exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CampaignError(f"{path}: cannot be made: {error.strerror or error}") from error
    with locked(folder):  # two that begin at once must not write over each other
        try:
            refuse_folder(path, config, kind)
        except CampaignError:
            if not had_lock:
                folder.lock.unlink()
            raise
        try:
            _create(folder, config, kind)
        except BaseException:
            clear(folder, keep=was_there)
            raise
    return folder


def clear(folder: Folder, keep: bool) -> None:
    """Remove what `create_campaign` and a run made; `keep`: the folder itself stays, as it was there before."""
    if not keep:
        shutil.rmtree(folder.path)
        return
    for path in folder.path.iterdir():
        if is_its_own(folder.path.resolve(), path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def refuse_folder(path: Path, config: Config | None = None, kind: str = "campaign") -> None:
    """CampaignError when no new campaign can be made at this path: only an empty folder or none will do.

    `config` of the campaign, where there is one, and its kind: what was meant is then said more precisely.
    """
    shown = shlex.quote(str(path))
    if (path / DATABASE).exists():
        raise CampaignError(
            f"{path} holds a campaign already: `evo resume --dir {shown}` continues it"
        )
    if around := campaign_around(path):
        raise CampaignError(
            f"{path} lies inside the campaign in {around}; give a folder outside of it"
        )
    if path.is_symlink() and not path.exists():
        raise CampaignError(f"{path} is a link that leads to nothing; give the folder to make")
    if path.exists() and not path.is_dir():
        raise CampaignError(f"{path} is a file; give the folder to make")
    above = next(one for one in path.absolute().parents if one.exists())
    if not above.is_dir():
        raise CampaignError(f"{above} is no folder, so {path} cannot lie in it")
    if not path.exists():
        if not os.access(above, os.W_OK | os.X_OK):
            raise CampaignError(f"{path} cannot be made: {above} is write-protected")
        return
    try:
        there = sorted(one.name for one in path.iterdir())
    except OSError as error:
        raise CampaignError(f"{path}: cannot be read: {error.strerror or error}") from error
    if strangers := _strangers(path, there):
        raise CampaignError(_instead(path, there, strangers, config, kind))


def _instead(
    path: Path, there: Sequence[str], strangers: Sequence[str], config: Config | None, kind: str
) -> str:
    """Why a folder with something in it is refused, and what was probably meant."""
    name = config.name.removesuffix(f"-{kind}") if config else "NAME"
    under = f"{kind}s"  # campaigns, calibrations
    default = (
        f"leave out --dir, and {under}/{name}-1 or the next free number is made"
        if config
        else "name one that is not there yet"
    )
    if (path / CAMPAIGNS).is_dir() or any((path / one / DATABASE).is_file() for one in there):
        inside = path / under if (path / CAMPAIGNS).is_dir() else path
        meant = shlex.quote(str(inside / f"{name}-1"))
        return (
            f"{path} holds campaigns; --dir names the new one's own folder, such as `--dir {meant}`, "
            f"or {default}"
        )
    if (path / "campaign.yaml").is_file() and (path / "seed").is_dir():
        meant = shlex.quote(str(path / "campaign.yaml"))
        command = "run" if kind == "campaign" else "calibrate"
        return (
            f"{path} is a folder to start from, as `evo init` writes it, and not one for a campaign; "
            f"`evo {command} {meant}` without --dir makes one under ./{under}"
        )
    if config is not None and path.resolve() == config.train.resolve().parent:
        return (
            f"{path} is where this campaign's seed lies ({config.train.name}), which would be written "
            f"over; {default}"
        )
    held = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
    return (
        f"{path} is not empty ({held}), and a campaign writes a train.py, brief.md and config.yaml of its "
        f"own; give a new folder, or {default}"
    )


def _strangers(path: Path, names: Sequence[str]) -> list[str]:
    """What of these no earlier start of ours left there: a lock, or a creation that was killed."""
    begun = {CONFIG, "train.py", "brief.md", MODULES} if DRAFT in names else set()
    drafts = {one for one in names if one.startswith((DRAFT, UNFINISHED))}
    ours = begun | drafts | ({LOCK} if is_lock(path / LOCK) else set())
    return [
        one for one in names if one not in ours or not (one == MODULES or _is_plain(path / one))
    ]


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def look_over(config: Config) -> None:
    """What can be said of data and seed at once. ConfigError or DataError when they cannot be used."""
    check_seed(config)
    check_data(config)


def check_seed(config: Config) -> None:
    """ConfigError when its static check refuses the seed."""
    source = config.seed_source()
    objection = config.objection_to(source, source)
    if objection:
        raise ConfigError(f"{config.train}: the seed cannot be used: {objection}")


def check_data(config: Config) -> None:
    """DataError when the text cannot be read, or is too little for a rung; TaskError for a task's folder."""
    if config.command is not None:
        look_at(config.command.folder, config.command.paths)
        return
    look_ahead(config.data, [(rung.context, rung.rows) for rung in config.rungs.values()])


def seed_bytes(config: Config) -> bytes:
    """The seed as a campaign's folder keeps it: the file as it is, several files as one text."""
    if config.command is None or config.command.alone:
        return config.train.read_bytes()
    return config.seed_source().encode()


def _create(folder: Folder, config: Config, kind: str) -> None:
    path = folder.path
    look_over(config)
    draft = path / DRAFT  # a kill in between leaves no store without a seed
    for stale in (*path.glob(f"{DRAFT}*"), *path.glob(f"{UNFINISHED}*")):
        stale.unlink()
    with Store.create(draft) as store, store.transaction():
        write_file(path / "train.py", seed_bytes(config))
        for module in config.modules:
            write_file(path / MODULES / module.name, module.read_bytes())
        write_file(path / "brief.md", config.brief.read_bytes())
        for name, island in config.islands.items():
            if island.brief is not None:
                write_file(path / brief_of(name), island.brief.read_bytes())
        _write_config(folder, config)
        source = (path / "train.py").read_text(encoding="utf-8-sig")
        root = Variant(variant_id(source), source, fingerprint(source))
        store.add_proposal(Proposal(1, "seed", (), Outcome.VARIANT, variant=root, idea="the seed"))
        store.set_setting("config", config.model_dump(mode="json"))
        store.set_setting("kind", kind)
        store.set_setting(
            "asks_unseen", MIN_BLOCKS
        )  # its scores are of one kind from the first to the last
    os.replace(draft, folder.database)


def brief_of(island: str) -> str:
    """What the brief of an island is called in a campaign's folder."""
    return f"brief-{island}.md"


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold a campaign for this process alone. CampaignError when another one runs it, or nothing can lock."""
    try:
        with hold(folder.lock):
            yield
    except Held as error:
        raise CampaignError(
            f"{folder.path} is being run by {error.holder}; "
            f"`evo stop --dir {shlex.quote(str(folder.path))}` stops it"
        ) from error
    except Unlockable as error:
        raise CampaignError(str(error)) from error


def config_of(folder: Folder, changes: Sequence[str] = ()) -> Config:
    """The folder's config with `changes`; refuses those that would make its measurements incomparable."""
    return _comparable(folder, changes)


def change_config(folder: Folder, changes: Sequence[str]) -> Config:
    """Write changes like `budget.variants=40` into the folder's config; refuses as config_of."""
    config = config_of(folder, changes)
    _write_config(folder, config)
    if any(one.startswith(("stop.until=", "stop=")) for one in changes):
        with (
            folder.open_store() as store
        ):  # the same time of day again means the next one from now on
            store.set_setting(DEADLINE, None)
    return config


def _write_config(folder: Folder, config: Config) -> None:
    values = config.model_dump(mode="json", exclude_defaults=True)
    for name, island in values.get("islands", {}).items():
        own = folder.path / brief_of(name)
        if "brief" in island and own.exists():
            island["brief"] = own.name
    write_values(folder.config, values)


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Write a campaign's config.yaml: these keys, with the seed and the brief that lie beside it."""
    whole = {**values, "train": "train.py", "brief": "brief.md"}
    write_file(path, yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))


def _comparable(folder: Folder, changes: Sequence[str]) -> Config:
    """The config with `changes`; what may not change stands as the campaign was run, whatever the version."""
    with Store.open(folder.database, read_only=True) as store:
        stored: dict[str, Any] = store.setting("config") or {}
        root = seed(store)
    stored, _ = current(stored)
    raw = read_plain(folder.config, changes)
    for place in unknown_places(stored):  # a key of another version: it means nothing here
        if _at(raw, place) == _at(stored, place):
            _drop(raw, place)
        _drop(stored, place)
    begun = {key: value for key, value in stored.items() if key in FROZEN}
    config = checked(_completed(begun, raw), folder.config, changes)
    now = config.model_dump(mode="json")
    try:  # a key that is newer than the campaign: it ran with what is the default today
        free = {key: value for key, value in now.items() if key not in FROZEN}
        before = Config.model_validate({**free, **begun}).model_dump(mode="json")
    except ValidationError:
        before = {**now, **begun}
    if frozen := sorted(key for key in FROZEN if now[key] != before[key]):
        raise CampaignError(
            f"{folder.config}: {', '.join(frozen)} changed since this campaign began, so its measurements "
            "would not be comparable; undo the change, or start a new campaign with it"
        )
    if root is not None and variant_id(config.seed_source()) != root:
        where = shlex.quote(str(config.train)), shlex.quote(str(folder.path))
        put_back = "evo export seed -o {} --force --dir {}".format(*where)
        raise CampaignError(
            f"{config.train} is not the seed this campaign began with; put that back with "
            f"`{put_back}`, or start a new campaign"
        )
    return config


def _completed(begun: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The file's keys, and those it leaves to their defaults as they were when the campaign began."""
    whole = {key: _over(value, raw[key]) if key in raw else value for key, value in begun.items()}
    rungs = raw.get("rungs")
    if isinstance(rungs, dict) and "rungs" in whole:  # one that is left out there is not put back
        whole["rungs"] = {name: whole["rungs"][name] for name in rungs}
    return {**raw, **whole}


def _over(begun: Any, said: Any) -> Any:
    if isinstance(begun, dict) and isinstance(said, dict):
        both = {key: _over(begun[key], said[key]) for key in said if key in begun}
        return {**begun, **said, **both}
    if isinstance(begun, list) and isinstance(said, list) and len(begun) == len(said):
        return [_over(*pair) for pair in zip(begun, said, strict=True)]
    return said


def _at(values: Any, place: Sequence[int | str]) -> Any:
    for part in place:
        inside = part in values if isinstance(values, dict) else isinstance(values, list)
        if not inside or (isinstance(part, int) and part >= len(values)):
            return None
        values = values[part]
    return values


def _drop(values: Any, place: Sequence[int | str]) -> None:
    group = _at(values, place[:-1])
    if isinstance(group, dict):
        group.pop(place[-1], None)
