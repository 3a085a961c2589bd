"""The campaign file: YAML in, a checked frozen Config out; a mistake names the file, the key and the fix."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evo.evaluation.cluster.settings import ClusterSettings, read_slots
from evo.evaluation.data import DataSettings
from evo.evaluation.sandbox.agent_box import AgentSettings
from evo.evaluation.sandbox.sandbox import SandboxSettings
from evo.evaluation.slots import SlotSettings
from evo.evaluation.static_check import modules_beside
from evo.mistakes import blame, in_words, nearest, place_of
from evo.old_keys import BothNames, OldKey, OldKeyWarning, current, name_today
from evo.runtime.budget import BudgetSettings
from evo.runtime.notifier import NotifySettings
from evo.runtime.retention import KeepSettings
from evo.search.certification import CertificationSettings
from evo.search.early_stopping import StoppingSettings
from evo.search.halting import NO_GAIN, StopSettings
from evo.search.ladder_settings import GraduationSettings
from evo.search.scheduler import PolicySettings
from evo.tasks.autoresearch import PREPARE
from evo.tasks.folder_copy import paths_in, read_files
from evo.tasks.problem_folders import EVALUATOR, completed
from evo.tasks.settings import (
    NOT_OF_A_COMMAND,
    NOT_OF_ITS_GROUPS,
    NOT_OF_ITS_RUNG,
    MetricSettings,
    TaskError,
    TaskSettings,
    objection_to,
    refuse_metrics,
    refuse_ranges,
    refuse_unknown,
)
from evo.yaml_reading import RepeatedKey, read_yaml
from operators.llm.settings import LlmSettings
from operators.portfolio import PortfolioSettings
from operators.registry import check_names
from operators.transplant import TransplantSettings
from operators.tune import TuneSettings
from population.archive import DEFAULT_OBJECTIVES, Constraint, Objective
from population.file_set import ADDED, paths_of
from population.islands import IslandRole
from population.metrics import METRICS, SEARCHABLE
from population.types import DERIVED, Clock, Rung

SHIPPED = Path(__file__).resolve().parents[1]  # the folder that holds seed/ and configs/
GRACE_SECONDS = {Clock.CPU_SECONDS: 0.1, Clock.SECONDS: 0.5}  # for saving, beside the file's own
ANSWER_SECONDS = 90.0  # of the wall, for questions and what is slow in a start
WALL_FACTOR = 4.0  # wall seconds per second of CPU budget before a run counts as hanging
KEPT_BY_A_BENCH = (
    "selection.primary_share",
    "tune.primary_share",
)  # where the whole front is judged
MAX_SCEPTIC_SHARE = 0.3  # of all shares: what tests must leave room to what finds
UNDOING = {"revert"}  # operators that propose nothing new
OF_A_BENCH = {"landscapes", "contestants", "campaign"}  # keys that only a benchmark's file has


class ConfigError(Exception):
    """The campaign file cannot be used; the message names the file, the key and the fix."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RungSettings(_Settings):
    """One scale to train at."""

    depth: int = Field(ge=1)
    budget: float = Field(gt=0, description="seconds, CPU seconds or tokens, as `clock` says")
    context: int = Field(default=128, ge=8)
    rows: int = Field(default=256, ge=1, description="hidden chunks that are scored")
    startup_seconds: float | Literal["auto"] = "auto"
    memory_mb: int = Field(default=4096, ge=64)
    set: dict[str, int | float | str] = Field(
        default={}, description="of a command: what stands for {NAME} at this rung"
    )


class IslandSettings(_Settings):
    """One population of several: its share of the slots, and what of the campaign's own keys it sets again."""

    share: float = Field(default=1.0, gt=0, description="of the slots, beside the others' shares")
    role: IslandRole = IslandRole.EXPLORER
    brief: Path | None = None
    objectives: tuple[Objective, ...] | None = Field(default=None, min_length=1)
    operators: dict[str, float] | None = Field(default=None, min_length=1)
    tune: TuneSettings | None = None
    transplant: TransplantSettings | None = None
    llm: LlmSettings | None = None
    knowledge: Path | None = None

    def set_again(self) -> dict[str, Any]:
        """What it sets of the campaign's keys; a sceptic that names no operators only takes edits back."""
        given = {key: getattr(self, key) for key in type(self).model_fields}
        if self.role is IslandRole.SCEPTIC and self.operators is None:
            given["operators"] = dict.fromkeys(UNDOING, 1.0)
        own = {"share", "role"}
        return {key: one for key, one in given.items() if key not in own and one is not None}


class Config(_Settings):
    """One campaign: where to start, how to measure, what to try, and what it may cost."""

    name: str = Field(default="campaign", pattern=r"^[A-Za-z0-9_.-]+$")
    random_seed: int = Field(default=0, ge=0, description="of every random choice of the campaign")
    task: TaskSettings | None = Field(default=None, description="none: a sealed train.py")
    metrics: dict[str, MetricSettings] = Field(default={}, description="figures of a task, by name")
    train: Path = SHIPPED / "seed" / "train.py"
    brief: Path = SHIPPED / "configs" / "brief.md"
    data: DataSettings = DataSettings()
    allow_repeats: bool = Field(
        default=False, description="let a rung see its text more than twice"
    )
    clock: Clock | Literal["auto"] = "auto"
    rungs: dict[str, RungSettings] = Field(min_length=1)
    slots: int | Literal["auto"] | SlotSettings | ClusterSettings = "auto"
    sandbox: SandboxSettings = SandboxSettings()
    islands: dict[str, IslandSettings] = Field(default={}, description="populations, by name")
    objectives: tuple[Objective, ...] = Field(default=DEFAULT_OBJECTIVES, min_length=1)
    constraints: tuple[Constraint, ...] = ()
    operators: dict[str, float] = Field(
        default={"nudge": 1.0, "tune": 2.0, "merge": 1.0, "revert": 0.5}, min_length=1
    )
    tune: TuneSettings = TuneSettings()
    transplant: TransplantSettings = TransplantSettings()
    agent: AgentSettings | None = None
    portfolio: PortfolioSettings = PortfolioSettings()
    llm: LlmSettings | None = None
    knowledge: Path | None = None
    policy: PolicySettings = PolicySettings()
    certification: CertificationSettings = CertificationSettings()
    graduation: GraduationSettings = GraduationSettings()
    stopping: StoppingSettings = StoppingSettings()
    stop: StopSettings = StopSettings()
    budget: BudgetSettings = BudgetSettings()
    keep: KeepSettings = KeepSettings()
    notify: NotifySettings = NotifySettings()
    exact: bool = Field(
        default=False, description="same rows again; needs clock: tokens and slots: 1"
    )

    @field_validator("sandbox", mode="before")
    @classmethod
    def _mode_alone(cls, given: Any) -> Any:
        return {"mode": given} if isinstance(given, str) else given

    @field_validator("slots", mode="before")
    @classmethod
    def _where(cls, given: Any) -> Any:
        return read_slots(given) if isinstance(given, Mapping) else given

    @field_validator("rungs")
    @classmethod
    def _plain_names(cls, rungs: dict[str, RungSettings]) -> dict[str, RungSettings]:
        if wrong := next((one for one in rungs if DERIVED in one or not one.strip()), None):
            raise ValueError(f"{wrong!r}: the name of a rung holds no {DERIVED!r} and is not empty")
        return rungs

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.exact and (self.slots != 1 or self.clock is not Clock.TOKENS):
            raise ValueError("exact: true needs clock: tokens and slots: 1")
        if isinstance(self.slots, ClusterSettings) and self.command is not None:
            raise ValueError(
                "slots: a task of kind command runs on this machine alone; give a number or auto"
            )
        if not self.budget.model_dump(exclude_none=True):
            raise ValueError(
                "budget: give at least one of variants, seconds, llm_tokens, llm_dollars"
            )
        searched = [("objectives", one.name) for one in self.objectives]
        searched += [("constraints", one.name) for one in self.constraints]
        if self.command is not None:
            self._fits_a_command(searched)
        else:
            self._fits_a_sealed_training(searched)
        self._fits_its_stop()
        check_names(self.operators)
        if self.operators.get("agent") and self.agent is None:
            raise ValueError("operators: agent needs to know which: agent: {command: [...]}")
        if self.operators.get("transplant") and not self.transplant.banks:
            raise ValueError(
                "operators: transplant needs ideas: transplant: {banks: [...]}, files that `evo ideas export` "
                "wrote or folders of campaigns"
            )
        unpriced = (
            [one.name for one in self.llm.endpoints if one.dollars(1, 1) is None]
            if self.llm
            else []
        )
        if self.budget.llm_dollars is not None and unpriced:
            raise ValueError(
                f"budget.llm_dollars cannot be kept: give price_in and price_out of {', '.join(unpriced)}"
            )
        weights = self.operators.values()
        if min(weights) < 0 or not sum(weights):
            raise ValueError("operators: weights must not be negative, and one must be above 0")
        self._fits_islands()
        return self

    def _fits_its_stop(self) -> None:
        stop, names = self.stop, [one.name for one in self.objectives]
        if self.exact and stop.needs_a_clock:
            raise ValueError(
                f"{stop.needs_a_clock}: a clock decides it, so exact: true could not make the same rows "
                "again; use stop.no_certified_gain_for.variants or stop.target"
            )
        if stop.no_certified_gain_for and not self.certification.attempts:
            raise ValueError(
                f"stop.{NO_GAIN}: nothing is certified with certification.attempts: 0; give it 2 or more"
            )
        if unknown := [one for one in stop.target if one not in names]:
            hint = nearest(unknown[0], names)
            raise ValueError(f"stop.target: {unknown[0]!r} is none of the objectives; {hint}")

    def _fits_islands(self) -> None:
        if not self.islands:
            return
        if self.exact and len(self.islands) > 1:
            raise ValueError(
                "islands: an exact campaign has one population; leave exact or islands out"
            )
        sceptics = [one.share for one in self.islands.values() if one.role is IslandRole.SCEPTIC]
        whole = sum(one.share for one in self.islands.values())
        if len(sceptics) == len(self.islands):
            raise ValueError("islands: somebody has to find something: give one the role explorer")
        if sum(sceptics) > MAX_SCEPTIC_SHARE * whole:
            raise ValueError(
                f"islands: sceptics have {sum(sceptics) / whole:.0%} of the shares; at most "
                f"{MAX_SCEPTIC_SHARE:.0%} is left to them, so that the search goes on"
            )
        known = {one.name for one in self.objectives}
        for name, one in self.islands.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", name):
                raise ValueError(
                    f"islands: {name!r} is no name: letters, digits, _ and -, 20 at most"
                )
            new = [it for it in one.operators or {} if it not in UNDOING]
            if one.role is IslandRole.SCEPTIC and new:
                raise ValueError(
                    f"islands.{name}.operators: a sceptic proposes nothing new, so {new[0]} is not for it; "
                    f"known: {', '.join(sorted(UNDOING))}"
                )
            strange = [it.name for it in one.objectives or () if it.name not in known]
            if strange:
                raise ValueError(
                    f"islands.{name}.objectives: {strange[0]} is none of the campaign's; add it to `objectives`"
                )
            try:
                type(self).model_validate(dict(self._with(one)))
            except ValidationError as error:
                told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
                raise ValueError(f"islands.{name}: {told}") from error

    def _with(self, island: IslandSettings) -> Config:
        return self.model_copy(update={**island.set_again(), "islands": {}})

    def of_one_population(self) -> Config:
        """Itself with several islands; a single one is the whole campaign, so that its keys are that one's."""
        return self.populations().get("", self)

    def populations(self) -> dict[str, Config]:
        """What holds in each population, by its island's name; a campaign of one is called ""."""
        if len(self.islands) < 2:
            return {"": self._with(next(iter(self.islands.values()), IslandSettings()))}
        return {name: self._with(one) for name, one in self.islands.items()}

    def _fits_a_sealed_training(self, searched: Sequence[tuple[str, str]]) -> None:
        if self.metrics:
            raise ValueError("metrics: a sealed train.py has its own; they belong to a `task`")
        if named := [name for name, one in self.rungs.items() if one.set]:
            raise ValueError(f"rungs.{named[0]}.set: belongs to a task of kind command")
        for key, name in searched:
            if name in METRICS and METRICS[name].self_reported:
                raise ValueError(
                    f"{key}: {name} is what a variant says of itself, so nothing can be searched by it; "
                    f"leave it out, or take one that we measure: {', '.join(SEARCHABLE)}"
                )
            if name not in SEARCHABLE:
                hint = nearest(name, SEARCHABLE)
                raise ValueError(f"{key}: there is no metric {name!r} to search by; {hint}")

    def _fits_a_command(self, searched: Sequence[tuple[str, str]]) -> None:
        if "objectives" not in self.model_fields_set:
            raise ValueError("objectives: name what to improve, one of `metrics` first")
        if not self.metrics:
            raise ValueError(
                'metrics: say where the score is found: {accuracy: {line: "accuracy: {}"}}'
            )
        assert self.task is not None
        refuse_metrics(self.task, self.metrics, searched)
        given: list[tuple[str, BaseModel, Sequence[str]]] = [("", self, NOT_OF_A_COMMAND)]
        given += [(f"rungs.{name}.", one, NOT_OF_ITS_RUNG) for name, one in self.rungs.items()]
        given += [(f"{one}.", getattr(self, one), keys) for one, keys in NOT_OF_ITS_GROUPS.items()]
        for where, group, keys in given:
            for key in keys:
                default = 1 if key == "depth" else type(group).model_fields[key].default
                if getattr(group, key) != default:
                    raise ValueError(
                        f"{where}{key}: means nothing for a task of kind command; leave it out"
                    )
        refuse_unknown(self.task, [one.set for one in self.rungs.values()])

    @property
    def command(self) -> TaskSettings | None:
        """The task where it is a command, whose figures are self-reported; None where the score is sealed."""
        sealed = self.task is None or self.task.kind == "autoresearch"
        return None if sealed else self.task

    def seed_source(self) -> str:
        """What the campaign begins with: `train`, or all files of a task as one text. TaskError, OSError."""
        text = self.train.read_text(encoding="utf-8-sig")
        task = self.command
        if task is None or task.alone or paths_of(text):  # a campaign's own copy names its files
            return text
        return read_files(task.folder, task.paths, task.alone)

    def objection_to(self, source: str, seed: str) -> str | None:
        """Why a source cannot be run in this campaign, which began with `seed`; None when it may."""
        return objection_to(source, seed, self.task, [one.stem for one in self.modules])

    @cached_property
    def modules(self) -> tuple[Path, ...]:
        """Fixed files that stand beside a train.py in each run, as the seed imports them."""
        if self.command is not None:
            return ()
        stands_in = PREPARE if self.task is not None else ""
        return tuple(one for one in modules_beside(self.train) if one.stem != stands_in)


def rung_of(
    name: str, settings: RungSettings, clock: Clock, startup_seconds: float, cold: float = 0.0
) -> Rung:
    """A rung with every default filled in. `cold`: what a start costs that finds nothing compiled."""
    timed = clock is not Clock.TOKENS
    starts = startup_seconds + 2 * max(startup_seconds, cold)  # of three roles
    total = starts + settings.budget if timed else 600.0
    factor = 1.1 if clock is Clock.SECONDS else WALL_FACTOR
    return Rung(
        name=name,
        depth=settings.depth,
        budget=settings.budget,
        clock=clock,
        context=settings.context,
        rows=settings.rows,
        startup_seconds=startup_seconds if timed else 0.0,
        grace_seconds=GRACE_SECONDS.get(clock, 0.0),
        memory_mb=settings.memory_mb,
        wall_seconds=total * factor + ANSWER_SECONDS,
    )


def limited_rung(name: str, settings: RungSettings) -> Rung:
    """The rung of a command: it has no budget to train in, but a limit of wall seconds."""
    return Rung(
        name=name,
        depth=settings.depth,
        budget=settings.budget,
        clock=Clock.SECONDS,
        context=0,
        rows=0,
        startup_seconds=0.0,
        grace_seconds=0.0,
        memory_mb=settings.memory_mb,
        wall_seconds=settings.budget,
    )


def read_config(path: Path, changes: Sequence[str] = ()) -> Config:
    """The config in a YAML file, `changes` like `budget.variants=40` applied. ConfigError when it is wrong."""
    raw = read_plain(path, changes)
    if "rungs" not in raw and (of_a_bench := OF_A_BENCH & set(raw)):
        raise ConfigError(
            f"{path} is a benchmark's file (it has {', '.join(sorted(of_a_bench))}): "
            f"`evo bench {shlex.quote(str(path))}` plays it; a campaign's file has rungs"
        )
    return checked(raw, path, changes)


def read_plain(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The keys and values of a YAML file, `changes` applied, nothing checked. ConfigError.

    Old keys come under today's names; an OldKeyWarning says of each what to write instead.
    """
    if path.is_dir():
        there = path / "campaign.yaml"
        fix = f": {there} is the campaign file in it" * there.is_file()
        fix = fix or "; give the campaign file"
        raise ConfigError(f"{path} is a folder{fix}")
    raw = _parsed(_text_of(path, str(path)), str(path)) or {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(raw).__name__}")
    raw = _of_today(raw, str(path))
    for change in changes:
        _apply(raw, change)
    return raw


def checked(raw: Mapping[str, Any], path: Path, changes: Sequence[str] = ()) -> Config:
    """A Config from plain values; relative paths are taken from the file's folder."""
    try:
        values = _with_task(dict(raw), path.parent.resolve())
    except TaskError as error:
        raise ConfigError(f"{path}: {error}") from error
    values = _placed(values, path)
    if isinstance(values.get("islands"), dict):
        values["islands"] = {
            name: _placed(one, path) if isinstance(one, dict) else one
            for name, one in values["islands"].items()
        }
    if isinstance(values.get("data"), dict):
        values["data"] = {
            key: _from(path.parent, key, value) for key, value in values["data"].items()
        }
    by_key = keys_of(changes)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(in_words(error.errors(), Config, values, str(path), by_key)) from error
    for key in ("train", "brief"):
        named = getattr(config, key)
        _text_of(named, f"{blame(key, str(path), by_key)}: {key}: {named}")
    for name, island in config.islands.items():
        if island.brief is not None:
            _text_of(island.brief, f"{path}: islands.{name}.brief: {island.brief}")
    try:
        refuse_ranges(config.task, config.seed_source())
    except TaskError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def _placed(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values of a campaign or an island, their paths taken from the file's folder."""
    found = {
        key: (path.parent / values[key]).resolve()
        for key in ("train", "brief", "knowledge")
        if isinstance(values.get(key), str)
    }
    return with_banks(with_replay({**values, **found}, path), path)


def _with_task(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with the folder of a task, and the file that evolves as the campaign's seed."""
    task = values.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("folder", ""), str):
        return values
    where = (folder / Path(task.get("folder", "")).expanduser()).resolve()
    if task.get("kind") in EVALUATOR:
        values = completed(values, where)
        task = values["task"]
    files = paths_in(where, task.get("files", ["train.py"]))
    there = [one for one in files if isinstance(one, str) and not one.startswith(ADDED)]
    if "train" not in values and there:
        values["train"] = str(where / there[0])
    brief = "brief-autoresearch.md" if task.get("kind") == "autoresearch" else "brief-task.md"
    values.setdefault("brief", str(SHIPPED / "configs" / brief))
    rungs = values.get("rungs")
    if isinstance(rungs, dict):
        values["rungs"] = {
            name: {"depth": 1, **one} if isinstance(one, dict) else one
            for name, one in rungs.items()
        }
    return {**values, "task": {**task, "folder": str(where), "files": files}}


def keys_of(changes: Sequence[str]) -> dict[str, str]:
    """The changes that --set gave, by today's name of their key."""
    return {name_today(change.partition("=")[0]): change for change in changes}


def unknown_places(values: Mapping[str, Any]) -> list[tuple[int | str, ...]]:
    """Where plain values of another version hold keys that are none of today's."""
    try:
        Config.model_validate(values)
    except ValidationError as error:
        wrong = [one for one in error.errors() if one["type"] == "extra_forbidden"]
        return [place_of(one, values) for one in wrong]
    return []


def with_replay(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values with `llm.replay` taken from the file's folder; a folder there stands for its store."""
    llm = values.get("llm")
    if not isinstance(llm, dict) or not isinstance(llm.get("replay"), str):
        return values
    replay = path.parent.resolve() / llm["replay"]
    store = replay / "campaign.db" if replay.is_dir() else replay
    return {**values, "llm": {**llm, "replay": str(store)}}


def with_banks(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values with `transplant.banks` taken from the file's folder."""
    given = values.get("transplant")
    if not isinstance(given, dict) or not isinstance(banks := given.get("banks"), list | tuple):
        return values
    folder = path.parent.resolve()
    found = [str(folder / one) if isinstance(one, str) else one for one in banks]
    return {**values, "transplant": {**given, "banks": found}}


def _text_of(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{name}: no file there") from error
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})") from error


UNSPACED = re.compile(r"[{,]\s*[\w.-]+:[^\s/]")  # {nudge:1}, which YAML takes for one name


def _parsed(text: str, name: str) -> Any:
    try:
        found = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark and "\n" in text else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        kind = "" if isinstance(error, RepeatedKey) else f"not YAML{place}: "
        raise ConfigError(f"{name}: {kind}{said}") from error
    if isinstance(found, dict) and None in found.values() and UNSPACED.search(text):
        raise ConfigError(f"{name}: YAML needs a blank after each colon, as in {{nudge: 1}}")
    return found


def _from(folder: Path, key: str, value: Any) -> Any:
    """A file name or glob of the data group, or a list of them, taken from the config's folder."""
    if key not in {"path", "shards", "bytes_per_token"}:
        return value
    if isinstance(value, list):
        return [_from(folder, key, one) for one in value]
    return str(folder.resolve() / value) if isinstance(value, str) else value


def _apply(raw: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    *groups, last = key.split(".")
    if not equals or not last or not all(groups):
        raise ConfigError(f"--set {change}: write it as key=value, for example budget.variants=40")
    given: Any = {last: _parsed(value, f"--set {change}")}
    for part in reversed(groups):
        given = {part: given}
    given = _of_today(given, f"--set {change}")
    for part in groups:
        given = given.get(part, {})
    here: Any = raw if given else {}  # a key that is gone changes nothing
    for part in groups:
        if here.get(part) is None:
            here[part] = {}
        here = here[part]
        if not isinstance(here, dict):
            raise ConfigError(f"--set {change}: {part} holds no keys; give it whole: {part}=...")
    here.update(given)


def _of_today(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values under today's keys, with advice on those that are old."""
    old: list[OldKey] = []
    try:
        raw, found = current(raw)
        old += found
        if isinstance(raw.get("ours"), dict):  # a benchmark's file: how ours differs from `evo run`
            raw["ours"], found = current(raw["ours"], keep=KEPT_BY_A_BENCH)
            old += [replace(one, place=("ours", *one.place)) for one in found]
    except BothNames as error:
        raise ConfigError(f"{source}: {error}") from error
    for one in old:
        warnings.warn(f"{source}: {one.advice()}", OldKeyWarning, stacklevel=2)
    return raw
