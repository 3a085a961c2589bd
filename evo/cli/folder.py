"""Which campaign a command means, and what can be known of it without starting it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evo.analysis.findings import Findings
    from evo.analysis.overview import Overview
    from evo.analysis.record import Record
    from population.store import Store

CAMPAIGNS = "campaigns"
DATABASE, CONFIG, LOCK = "campaign.db", "config.yaml", "lock"
LIMITS = ("variants", "seconds", "llm_tokens", "llm_dollars")


class NoCampaign(Exception):
    """There is no campaign where one was looked for; the message says how to start one."""


def newest(base: Path) -> Path | None:
    """The campaign in `base` itself or the newest one under its `campaigns`; None without any."""
    if (base / DATABASE).is_file():
        return base
    found = sorted(
        (base / CAMPAIGNS).glob(f"*/{DATABASE}"),
        key=lambda path: (path.stat().st_mtime, path.parent.name),
    )
    return found[-1].parent if found else None


def campaign_folder(given: Path | None) -> Path:
    """The folder a command means. NoCampaign when there is none."""
    if given is not None:
        if not (given / DATABASE).is_file():
            raise NoCampaign(
                f"{given} holds no campaign (no {DATABASE}); `evo run CONFIG --dir {given}` starts one"
            )
        return given
    found = newest(Path.cwd())
    if found is None:
        raise NoCampaign(
            "there is no campaign here; `evo run CONFIG` starts one, `evo init DIR` writes a config"
        )
    return found


def fresh_folder(base: Path, name: str) -> Path:
    """campaigns/<name>-<n> with the first n that is free."""
    taken = 1
    while (base / CAMPAIGNS / f"{name}-{taken}").exists():
        taken += 1
    return base / CAMPAIGNS / f"{name}-{taken}"


@contextmanager
def opened(given: Path | None) -> Iterator[tuple[Path, Store]]:
    """The folder that is meant and its store, for reading."""
    from population.store import Store

    folder = campaign_folder(given)
    with Store.open(folder / DATABASE, read_only=True) as store:
        yield folder, store


def running_process(folder: Path) -> int | None:
    """The process that runs the campaign; None when nobody holds its lock."""
    try:
        with open(folder / LOCK, encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = lock.read().strip()
                return int(text) if text.isdigit() else 0
    except OSError:
        return None
    return None


def limits_of(folder: Path, record: Record) -> dict[str, float | None]:
    """The budgets in force: the folder's config where it can be read, else the config as first run."""
    import yaml

    budget: object = None
    try:
        raw = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        budget = raw.get("budget") if isinstance(raw, dict) else None
    except (OSError, yaml.YAMLError):
        pass  # then as it was first run
    found: Mapping[str, object] = (
        budget if isinstance(budget, dict) else record.config.get("budget", {})
    )
    return {
        name: value if isinstance(value := found.get(name), int | float) else None
        for name in LIMITS
    }


def findings_of(store: Store, record: Record) -> Findings:
    """The findings of what is recorded so far."""
    from evo.analysis.findings import find
    from population.reading import source_of

    return find(record, lambda variant_id: source_of(store, variant_id))


def overview_of(folder: Path, store: Store) -> Overview:
    """Where the campaign stands."""
    from evo.analysis.overview import overview
    from evo.analysis.record import Record

    record = Record.of(store)
    limits = limits_of(folder, record)
    return overview(
        record, findings_of(store, record), str(folder), running_process(folder), limits
    )


def at(folder: Path) -> str:
    """ " --dir FOLDER" for a command to type, "" where the folder is the default anyway."""
    default = newest(Path.cwd())
    same = default is not None and default.resolve() == folder.resolve()
    return "" if same else f" --dir {folder}"


def next_command(one: Overview) -> str:
    """The next useful command for a campaign in this state."""
    where = at(Path(one.folder))
    if one.running is not None:
        return f"evo top{where}"
    if "approve" in one.phase:
        return f"evo approve {one.findings.leader_id or 'ID':.8}{where}"
    if (
        one.phase.startswith(("interrupted", "stopped", "not started"))
        or one.findings.leader_id is None
    ):
        return f"evo resume{where}"
    return f"evo show best{where}"
