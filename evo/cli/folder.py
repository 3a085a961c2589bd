"""Which campaign a command means, and what can be known of it without starting it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evo.analysis.calibration import CalibrationReport
    from evo.analysis.campaign_view import Record
    from evo.analysis.findings import Findings
    from evo.analysis.ladder import Terms
    from evo.analysis.overview import Overview
    from evo.config import Config
    from population.statistics.noise import Calibration
    from population.store import Store

CAMPAIGNS, CALIBRATIONS = "campaigns", "calibrations"
CALIBRATION = "calibration"  # the kind of a store that only measured the seed
IMPORT = "import"  # the kind of a store whose numbers were taken over from elsewhere
DATABASE, CONFIG, LOCK = "campaign.db", "config.yaml", "lock"
SHIPPED = Path(__file__).resolve().parents[2]  # the folder that holds seed/ and configs/
CHILDREN = 100  # of a campaign whose budget counts none: what greed would keep of them
LIMITS = ("variants", "seconds", "llm_tokens", "llm_dollars")


class NoCampaign(Exception):
    """There is no campaign where one was looked for; the message says how to start one."""


def newest(base: Path) -> Path | None:
    """The campaign in `base` itself or the newest one under its `campaigns`; None without any.

    A calibration is no campaign, wherever it lies, and an import only where there is no campaign.
    """
    if (base / DATABASE).is_file():
        return base
    found = sorted((base / CAMPAIGNS).glob(f"*/{DATABASE}"), key=_touched, reverse=True)
    kinds: dict[str, Path] = {}
    for path in found:
        kind = kind_of(path.parent)
        if kind not in (CALIBRATION, IMPORT):
            return path.parent
        kinds.setdefault(kind, path.parent)
    return kinds.get(IMPORT)


def _touched(database: Path) -> tuple[float, str]:
    """When a store was last written to: what is new stands beside it until a process closes it."""
    beside = database.with_name(f"{database.name}-wal")
    when = [one.stat().st_mtime for one in (database, beside) if one.exists()]
    return max(when, default=0.0), database.parent.name


def is_calibration(folder: Path) -> bool:
    """Whether this folder's store says so; False for one that cannot be read: others tell why."""
    return kind_of(folder) == CALIBRATION


def kind_of(folder: Path) -> str:
    """What a store says it is: campaign, calibration or import; "" for one that cannot be read."""
    from population.store import Store, StoreError

    try:
        with Store.open(folder / DATABASE, read_only=True) as store:
            return str(store.setting("kind") or "")
    except StoreError:
        return ""


def searched_folder(given: Path | None) -> Path:
    """The folder of a campaign that can go on. NoCampaign when there is none, or nothing to go on with."""
    folder = campaign_folder(given)
    if is_calibration(folder):
        raise NoCampaign(
            f"{folder} is a calibration and holds no search; `evo run CONFIG` starts one"
        )
    if kind_of(folder) == IMPORT:
        raise NoCampaign(
            f"{folder} is an import of self-reported measurements: it never ran here and cannot go on; "
            "`evo run CONFIG` starts a search that measures for itself"
        )
    return folder


def campaign_folder(given: Path | None) -> Path:
    """The folder a command means: a path, or the name of one under `campaigns` or `calibrations`.

    NoCampaign when there is none, or when several lie in the folder that was given.
    """
    if given is not None:
        return _meant(given)
    found = newest(Path.cwd())
    if found is None:
        raise NoCampaign(
            "there is no campaign here; `evo run CONFIG` starts one, `evo init DIR` writes a config"
        )
    return found


def _meant(given: Path) -> Path:
    named = [given, *(Path(under) / given for under in (CAMPAIGNS, CALIBRATIONS))]
    for one in named:
        if (one / DATABASE).is_file():
            return one
    inside = [
        one.parent for under in (CAMPAIGNS, "") for one in (given / under).glob(f"*/{DATABASE}")
    ]
    if len(inside) == 1:
        return inside[0]
    where = shlex.quote(str(given))
    if inside:
        last = max(inside, key=lambda one: _touched(one / DATABASE))
        raise NoCampaign(
            f"{given} holds {len(inside)} campaigns (`evo list {where}`); name one of them, such as "
            f"`--dir {shlex.quote(str(last))}`"
        )
    if not os.path.lexists(given) or (given.is_dir() and not any(given.iterdir())):
        hint = f"`evo run CONFIG --dir {where}` starts one, `evo list` shows those that are here"
    else:
        hint = "`evo list` shows those that are here"
    raise NoCampaign(f"{given} holds no campaign (no {DATABASE}); {hint}")


def fresh_folder(base: Path, name: str, under: str = CAMPAIGNS) -> Path:
    """campaigns/<name>-<n> with the first n that is free."""
    taken = 1
    while os.path.lexists(base / under / f"{name}-{taken}"):
        taken += 1
    return base / under / f"{name}-{taken}"


def take_folder(base: Path, name: str, under: str) -> Path:
    """`fresh_folder`, made: of two that ask at once, each gets its own."""
    while True:
        path = fresh_folder(base, name, under)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


@contextmanager
def opened(given: Path | None) -> Iterator[tuple[Path, Store]]:
    """The folder that is meant and its store, for reading."""
    from population.store import Store

    folder = campaign_folder(given)
    with Store.open(folder / DATABASE, read_only=True) as store:
        yield folder, store


def running_process(folder: Path) -> int | None:
    """The process that runs the campaign; None when nobody holds its lock."""
    from evo.lock import holder_of

    holder = holder_of(folder / LOCK)
    return None if holder is None else holder.pid


def ask(folder: Path, kind: str, detail: Mapping[str, object], author: str | None = None) -> None:
    """Ask something of the campaign: of the process that runs it, or of the next one that does."""
    from population.store import Store

    with Store.open(folder / DATABASE) as store:
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
        if manual in ("manual", "auto") and isinstance(blocks, int) and blocks > 0:
            return Terms(manual == "manual", blocks)
    return Terms()


def findings_of(store: Store, record: Record, changes: bool = True) -> Findings:
    """The findings of what is recorded so far; `changes`: also what differs in the leader's source."""
    from evo.analysis.findings import find
    from population.reading import source_of

    return find(record, (lambda variant_id: source_of(store, variant_id)) if changes else None)


def overview_of(folder: Path, store: Store, changes: bool = True) -> Overview:
    """Where the campaign stands; `changes`: also what differs in the leader's source."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.overview import overview
    from evo.analysis.ranking import prompts
    from population.reading.traces import calls

    record = Record.of(store)
    limits = limits_of(folder, record)
    findings, terms = findings_of(store, record, changes), terms_of(folder, record)
    asked = prompts(calls(store))
    running, proof = running_process(folder), certifies(folder, record)
    calibrates = store.setting("kind") == CALIBRATION
    answer = calibration_of(record) if calibrates else None
    given = (record, findings, str(folder), running, limits, terms, asked, proof)
    return overview(*given, calibrates, answer)


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
    root = variant_id(config.train.read_text(encoding="utf-8"))
    found = (base / CALIBRATIONS).glob(f"*/{DATABASE}")
    for path in sorted(found, key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            with Store.open(path, read_only=True) as store:
                record = Record.of(store)
                kind = store.setting("kind")
        except StoreError:
            continue
        same = all(record.config.get(key) == wanted[key] for key in ("clock", "data"))
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


def at(folder: Path) -> str:
    """ " --dir FOLDER" for a command to type, "" where the folder is the default anyway."""
    default = newest(Path.cwd())
    same = default is not None and default.resolve() == folder.resolve()
    return "" if same else f" --dir {shlex.quote(str(folder))}"


def next_command(one: Overview) -> str:
    """The next useful command for a campaign in this state."""
    from population.types import CampaignState

    where = at(Path(one.folder))
    if is_calibration(Path(one.folder)):
        return "evo run CONFIG"
    if one.imported is not None:
        return f"evo report{where}"
    if one.running is not None:
        return f"evo top{where}"
    if one.state is CampaignState.WAITING:
        return f"evo approve{where}"
    if one.state.wants_resume:
        return f"evo resume{where}"
    if one.findings.leader_id is None:  # over, and a resume would only spend more
        return f"evo report{where}"
    return f"evo show leader{where}"


def named(store: Store, text: str) -> str:
    """The variant that a person means. Of `best`, stderr tells where it is not whom the findings are about."""
    from evo.cli.app import complain
    from population.reading import compared, leader, resolve, seed

    found = resolve(store, text)
    first = leader(store) if text == "best" else None
    if first is not None and first != found:
        who = "the seed" if found == seed(store) else found[:8]
        why = "the final comparison was with" if compared(store) else "the front's best child is"
        complain(f"best is {who} here; {why} {first[:8]}, which `leader` names")
    elif text == "best" and found == seed(store):
        complain("best is the seed: no child is on the front")
    return found


def remark_on(record: Record) -> None:
    """Say above what is shown that its numbers were reported by others, where they are."""
    if record.imported is not None:
        from evo.terminal.imported import REMARK

        print(f"({REMARK})")
