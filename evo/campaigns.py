"""The campaigns that lie in folders: which there are, what each one is, and where it stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evo.analysis.calibration import CalibrationReport
    from evo.analysis.campaign_view import Record
    from evo.analysis.findings import Findings
    from evo.analysis.forecast import RuleProgress
    from evo.analysis.ladder import Terms
    from evo.analysis.overview import Overview
    from evo.config import Config
    from evo.search.halting import StopSettings
    from population.statistics.noise import Calibration
    from population.store import Store

CAMPAIGNS, CALIBRATIONS, ABLATIONS = "campaigns", "calibrations", "ablations"
CALIBRATION = "calibration"  # the kind of a store that only measured the seed
ABLATION = "ablation"  # of one that measured which of a champion's edits matter
IMPORT = "import"  # the kind of a store whose numbers were taken over from elsewhere
DATABASE, CONFIG, LOCK = "campaign.db", "config.yaml", "lock"
CHILDREN = 100  # of a campaign whose budget counts none: what greed would keep of them
DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # a folder of projects, each with campaigns/NAME
LIMITS = ("variants", "seconds", "llm_tokens", "llm_dollars")


def newest(base: Path) -> Path | None:
    """The campaign in `base` itself or the one under its `campaigns` that was begun last; None without any.

    Not the one written to last: of two that run, that changes from second to second. Calibrations and ablations
    are no campaigns, and an import is one only where there is no other.
    """
    if (base / DATABASE).is_file():
        return base
    found = [path.parent for path in (base / CAMPAIGNS).glob(f"*/{DATABASE}")]
    kinds = {path: kind_of(path) for path in found}
    searched = [path for path in found if kinds[path] not in (CALIBRATION, ABLATION, IMPORT)]
    imported = [path for path in found if kinds[path] == IMPORT]
    return max(searched or imported, key=_began, default=None)


def _began(folder: Path) -> tuple[float, tuple[float, str]]:
    """When a campaign was begun, as its store says; of those that cannot say it, when they were written to."""
    from population.store import Store, StoreError

    when = touched(folder / DATABASE)
    try:
        with Store.open(folder / DATABASE, read_only=True) as store:
            first = store.query("SELECT created FROM proposals ORDER BY number LIMIT 1")
    except StoreError:
        first = []
    return (first[0][0] if first else 0.0), when


def touched(database: Path) -> tuple[float, str]:
    """When a store was last written to: what is new stands beside it until a process closes it."""
    beside = database.with_name(f"{database.name}-wal")
    when = [one.stat().st_mtime for one in (database, beside) if one.exists()]
    return max(when, default=0.0), database.parent.name


def is_calibration(folder: Path) -> bool:
    """Whether this folder's store says so; False for one that cannot be read: others tell why."""
    return kind_of(folder) == CALIBRATION


def kind_of(folder: Path) -> str:
    """What a store says it is: campaign, calibration, ablation or import; "" for one that cannot be read."""
    from population.store import Store, StoreError

    try:
        with Store.open(folder / DATABASE, read_only=True) as store:
            return str(store.setting("kind") or "")
    except StoreError:
        return ""


def no_search_in(folder: Path) -> str:
    """Why the store in a folder cannot go on as a campaign, in one line; "" where it can."""
    return {
        CALIBRATION: f"{folder} is a calibration and holds no search; `evo run CONFIG` starts one",
        ABLATION: f"{folder} is an ablation and holds no search; `evo ablate` goes on with it",
        IMPORT: (
            f"{folder} is an import of self-reported measurements: it never ran here and cannot go on; "
            "`evo run CONFIG` starts a search that measures for itself"
        ),
    }.get(kind_of(folder), "")


def running_process(folder: Path) -> int | None:
    """The process that runs the campaign; None when nobody holds its lock."""
    from evo.lock import holder_of

    holder = holder_of(folder / LOCK)
    return None if holder is None else holder.pid


def open_to_write(folder: Path) -> Store:
    """The store of a campaign that another process may be running. StoreError as of Store.open.

    Also where an older evotrain runs it: with a newer schema that process could not go on.
    """
    from population.connection import explained, is_older
    from population.store import Store, StoreError

    database = folder / DATABASE
    running = running_process(folder) if database.is_file() else None
    if running not in (None, os.getpid()):
        with explained(database):
            older = is_older(database)
        if older:
            raise StoreError(
                f"{folder}: process {running} runs this campaign with an older evotrain, which cannot go "
                f"on once this one has written; stop it first (kill -INT {running}; nothing is lost), then "
                "`evo resume`"
            )
    return Store.open(database)


def ask(folder: Path, kind: str, detail: Mapping[str, object], author: str | None = None) -> None:
    """Ask something of the campaign: of the process that runs it, or of the next one that does."""
    with open_to_write(folder) as store:
        store.add_request(kind, detail, author=author or login_name())


def login_name() -> str:
    """Who sits here; "user" for a uid without a name, as in some containers."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "user"


def config_values(folder: Path, record: Record) -> Mapping[str, object]:
    """The config in force: the folder's where it can be read, else as first run. Without defaults."""
    try:
        raw = _parsed((folder / CONFIG).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        raw = None
    return record.config if raw is None else raw


@cache  # a command asks for several parts of it
def _parsed(text: str) -> Mapping[str, object] | None:
    """The keys of a config by their present names; None for a text that `evo resume` would not take."""
    import yaml

    from evo.old_keys import BothNames, current
    from evo.yaml_reading import read_yaml

    try:
        raw = read_yaml(text, quick=True)
        return current(raw)[0] if isinstance(raw, dict) else None
    except (ValueError, yaml.YAMLError, BothNames):
        return None


def limits_of(folder: Path, record: Record) -> dict[str, float | None]:
    """The budgets in force."""
    budget = config_values(folder, record).get("budget")
    found = budget if isinstance(budget, dict) else record.config.get("budget", {})
    return {
        name: value if isinstance(value := found.get(name), int | float) else None
        for name in LIMITS
    }


def certifies(folder: Path, record: Record) -> bool:
    """Whether the config in force asks for proof: by default it does."""
    found = config_values(folder, record).get("certification")
    return not isinstance(found, dict) or found.get("attempts") != 0


def terms_of(folder: Path, record: Record) -> Terms:
    """What of the ladder's settings in force the figures need, read without building the settings."""
    from evo.analysis.ladder import Terms

    for values in (config_values(folder, record), record.config):
        said = values.get("graduation") or {}
        if not isinstance(said, Mapping):
            continue
        manual, blocks = said.get("promotion", "manual"), said.get("blocks", Terms().blocks)
        known = manual in ("manual", "auto", "review")
        if known and isinstance(blocks, int) and blocks > 0:
            reviewers = tuple(map(str, said.get("reviewers") or ()))
            return Terms(manual != "auto", blocks, reviewers if manual == "review" else ())
    return Terms()


def findings_of(store: Store, record: Record, changes: bool = True) -> Findings:
    """The findings of what is recorded so far; `changes`: also what differs in the leader's source."""
    from evo.analysis.findings import find
    from population.reading import source_of

    return find(record, (lambda variant_id: source_of(store, variant_id)) if changes else None)


def overview_of(
    folder: Path, store: Store, changes: bool = True, record: Record | None = None
) -> Overview:
    """Where the campaign stands; `changes`: also what differs in the leader's source.

    `record`: what was read of this store already.
    """
    from evo.analysis.campaign_view import Record
    from evo.analysis.overview import overview
    from population.reading.traces import calls

    record = record or Record.of(store)
    limits = limits_of(folder, record)
    findings, terms = findings_of(store, record, changes), terms_of(folder, record)
    asked = calls(store)
    running, proof = running_process(folder), certifies(folder, record)
    calibrates = store.setting("kind") == CALIBRATION
    answer = calibration_of(record) if calibrates else None
    given = (record, findings, str(folder), running, limits, terms, asked, proof)
    return overview(*given, calibrates, answer, stops_of(folder, store, record))


def stops_of(
    folder: Path, store: Store, record: Record, settings: StopSettings | None = None
) -> list[RuleProgress]:
    """How far each rule of the `stop` in force is, from rows and this machine's clock.

    The rule that ended the search comes as it was recorded then. `settings`: those to come, where others are.
    """
    said = config_values(folder, record).get("stop")
    if record.imported is not None or (settings is None and not said):
        return []
    import time

    from pydantic import ValidationError

    from evo.search.certification import BEGUN, ENDED
    from evo.search.halting import HALTED, StopSettings, next_time, progress_so_far
    from population.reading import decisions

    try:
        settings = settings or StopSettings.model_validate(said)
    except ValidationError:
        return []  # `evo resume` says what is wrong with it
    now, (row, seconds) = time.time(), store.setting("certified_gain", (0, 0.0))
    known, until = store.setting("stop_until") or {}, settings.until
    soon = next_time(now, until) if until else None
    deadline = known.get("at") if known.get("until") == until else soon
    return progress_so_far(
        settings,
        record.objectives,
        record.seed_id,
        record.at_proxy(),
        {one: record.believed[one] for one in record.front if one in record.believed},
        decisions(store, (BEGUN, ENDED, HALTED)),
        now,
        deadline,
        record.seconds_spent - (seconds if row else 0.0),
    )


def calibration_of(record: Record) -> Calibration | CalibrationReport | None:
    """What the seed's runs say, of their noise or of a grid of rungs; None for too few of them."""
    from evo.analysis.calibration import ladder_of, noise_of
    from evo.search.certification import CertificationSettings, rule_of

    settings = CertificationSettings.model_validate(record.config.get("certification") or {})
    proof = settings.or_default()
    children = (record.config.get("budget") or {}).get("variants") or CHILDREN
    noise = noise_of(record, children, lambda run_sd: rule_of(proof, run_sd))
    return noise or (
        ladder_of(record) if len({r.request.rung for r in record.runs()}) > 1 else None
    )


def matching_calibration(base: Path, config: Config) -> tuple[Path, Calibration] | None:
    """The newest calibration under `base` of this seed, data, clock and first rung; None without one."""
    from evo.analysis.calibration import CalibrationReport
    from evo.analysis.campaign_view import Record
    from population.store import Store, StoreError
    from population.types import variant_id

    wanted = config.model_dump(mode="json")
    proxy = next(iter(wanted["rungs"]))
    root = variant_id(config.seed_source())
    found = (base / CALIBRATIONS).glob(f"*/{DATABASE}")
    for path in sorted(found, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            with Store.open(path, read_only=True) as store:
                record = Record.of(store)
                kind = store.setting("kind")
        except StoreError:
            continue
        same = all(
            (record.config.get(key) or None) == (wanted[key] or None)
            for key in ("clock", "data", "task", "metrics")
        )
        rung = (record.config.get("rungs") or {}).get(proxy)
        if (
            kind != CALIBRATION
            or record.seed_id != root
            or not same
            or rung != wanted["rungs"][proxy]
        ):
            continue
        answer = calibration_of(record)
        if answer is not None and not isinstance(answer, CalibrationReport):
            return path.parent, answer
    return None


# -- The campaigns under a folder, at a glance.


@dataclass(frozen=True, slots=True)
class Listed:
    """One store. `best`: mean and its error at the proxy, as in `evo top`; None before any.

    children: with a run at the proxy, as in `evo status`.
    """

    folder: Path
    kind: str
    state: str
    metric: str
    best: float | None
    best_error: float | None
    children: int
    began: float | None  # seconds since the epoch
    running: int | None  # the process that runs it


def listed(base: Path) -> list[Listed]:
    """The campaigns, calibrations, ablations and imports in a folder and below it, the newest first."""
    return newest_first(look_into(folder) for folder in folders(base))


def folders(base: Path) -> list[Path]:
    """Where a campaign's database lies, in a folder and below it."""
    return [path.parent for depth in DEPTHS for path in base.glob(f"{depth}{DATABASE}")]


def newest_first(found: Iterable[Listed]) -> list[Listed]:
    """In the order of a list."""
    return sorted(found, key=lambda one: one.began or 0.0, reverse=True)


def look_into(folder: Path) -> Listed:
    """One campaign at a glance; its state says why where it cannot be read."""
    from population.store import Store, StoreError

    running = running_process(folder)
    try:
        with Store.open(folder / DATABASE, read_only=True) as store:
            return _read(folder, store, running)
    except (StoreError, OSError) as error:
        state = f"cannot be read: {error}"
        return Listed(folder, "?", state, "", None, None, 0, None, running)


def _read(folder: Path, store: Store, running: int | None) -> Listed:
    from evo.analysis.campaign_view import Record
    from evo.analysis.overview import measured_children
    from evo.analysis.ranking import front_of, ranking

    record = Record.of(store)
    metric = record.objective.name
    best = next((one.told(metric) for one in front_of(record, ranking(record))), None)
    ((began,),) = store.query("SELECT min(created) FROM proposals")
    kind = store.setting("kind") or "campaign"
    return Listed(
        folder,
        kind,
        _state(store, kind, running),
        metric,
        None if best is None else best[0],
        None if best is None else best[1],
        measured_children(record),
        began,
        running,
    )


def _state(store: Store, kind: str, running: int | None) -> str:
    if running is not None:
        return f"running, process {running}"
    if kind == "import":
        return "self-reported"
    last = "SELECT kind, text FROM events WHERE kind IN ('start', 'end', 'failure') ORDER BY id DESC LIMIT 1"
    for event, text in store.query(last):
        return "interrupted" if event == "start" else str(text).split(";")[0]
    return "not started"
