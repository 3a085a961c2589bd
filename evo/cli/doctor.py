"""`evo doctor`, `evo slots`, `evo brief check`: whether machine, config and brief are fit, and the slots."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import FAILED, JsonOption, app, complain, show, show_json

if TYPE_CHECKING:
    from evo.config import Config
    from evo.evaluation.sandbox.sandbox import SandboxSettings
    from evo.evaluation.slots import Slot
    from evo.tasks.brief import BriefReading
    from operators.llm.client import Examined
    from operators.llm.settings import Endpoint

NEEDS_PYTHON = (3, 11)
REACH_SECONDS = 5.0
MAX_ANSWER_SECONDS = 60.0  # for a small question
LIMITS = ("max_tokens", "max_completion_tokens")  # of an answer, as servers call them
MAX_REPLY_BYTES = 4_000_000
ANSWERS = "answers"
NEEDED = ("config", "slots")  # without these nobody can look at workers
PROMISE = "sandbox."  # before the name of what it holds
DEFAULT_SERVER = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the machine. `ok` is None where there is nothing to be right or wrong."""

    name: str
    ok: bool | None
    text: str


@app.command(epilog="Example: evo doctor configs/gpu.yaml")
def doctor(
    config_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]", help="A campaign file: its seed, data, rungs, models, slots, disk."
        ),
    ] = None,
    on_workers: Annotated[
        bool,
        typer.Option(
            "--on-workers",
            help="Look where the workers of CONFIG's cluster are: once a host, as a task of one of them.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Whether this machine is fit, alone or for a config: python, torch, devices, sandbox, data, models, disk.

    Each model of a config is asked one small question, for a minute at most: how it answers, how fast, how
    it counts tokens, what that costs. On a cluster, the machines that matter are its workers' (--on-workers).
    Exit code 1: something is wrong.
    """
    if on_workers:
        _must_name_a_cluster(config_file)
    looks: list[Callable[[], list[Check]]] = [_python, _torch]
    looks += [] if on_workers else [_devices, lambda: _sandbox(config_file)]
    looks += [_data, _endpoint] if config_file is None else [lambda: _for_config(config_file)]
    checks = [check for look in looks for check in look()]
    hosts: list[HostChecks] = []
    if (
        on_workers
        and config_file
        and all(one.ok is not False for one in checks if one.name in NEEDED)
    ):
        hosts, more = _on_workers(config_file)
        checks += more
    every = [*checks, *(one for host in hosts for one in host.checks)]
    if as_json:
        told = {"ok": all(check.ok is not False for check in every), "checks": checks}
        show_json(told | ({"hosts": hosts} if on_workers else {}))
    else:
        from rich.text import Text

        from evo.terminal.tables import pairs
        from evo.terminal.text import plain

        marks = {
            True: ("ok    ", "green"),
            False: ("wrong ", "red"),
            None: ("–     ", "bright_black"),
        }
        rows = [(_shown(one), Text.assemble(marks[one.ok], plain(one.text))) for one in checks]
        for host in hosts:
            rows.append((host.host, Text(plain(f"runs at {', '.join(host.workers)}"))))
            rows += [
                (f"  {_shown(one)}", Text.assemble(marks[one.ok], plain(one.text)))
                for one in host.checks
            ]
        show(pairs(rows))
    if any(check.ok is False for check in every):
        raise typer.Exit(1)


def _shown(one: Check) -> str:
    """What belongs to the sandbox stands below it."""
    return f"  {one.name.removeprefix(PROMISE)}" if one.name.startswith(PROMISE) else one.name


def _python() -> list[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    return [Check("python", sys.version_info[:2] >= NEEDS_PYTHON, f"{found}, needed 3.11 or later")]


def _torch() -> list[Check]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return [Check("torch", True, version("torch"))]
    except PackageNotFoundError:
        return [Check("torch", False, "not installed: pip install torch")]


def _devices() -> list[Check]:
    from evo.evaluation.slots import survey_slots

    try:
        found = survey_slots()
    except ValueError as error:
        return [Check("devices", False, str(error))]
    kind = "GPU" if found.slots[0].device != "cpu" else "core, no GPU"
    names = ", ".join(slot.name for slot in found.slots)
    checks = [Check("devices", True, f"{len(found.slots)} slots, one a {kind}: {names}")]
    for why, told in itertools.groupby(found.left_out, key=lambda one: one[1]):
        checks.append(Check("not used", None, f"{', '.join(name for name, _ in told)}: {why}"))
    return checks


@app.command(epilog="Example: evo slots configs/cluster.yaml")
def slots(
    config_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]", help="A campaign file: on its cluster, if it names one."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Where runs would be: each slot with its device, and what gives none, with why not."""
    from evo.config import ConfigError, read_config
    from evo.evaluation.cluster.connection import ClusterUnavailable, survey_cluster
    from evo.evaluation.cluster.settings import ClusterSettings
    from evo.evaluation.slots import SlotSettings, host_class, survey_slots

    config = read_config(config_file) if config_file else None
    try:
        if config is not None and isinstance(config.slots, ClusterSettings):
            found, left_out = survey_cluster(config.slots)
        else:
            memory_mb = (
                max((one.memory_mb for one in config.rungs.values()), default=0) if config else None
            )
            wanted = config.slots if config else "auto"
            assert not isinstance(wanted, ClusterSettings)
            settings = wanted if isinstance(wanted, SlotSettings) else SlotSettings(wanted)
            survey = survey_slots(memory_mb=memory_mb, settings=settings)
            most = settings.count if isinstance(settings.count, int) else None
            found = {one.name: host_class(one) for one in survey.slots[:most]}
            left_out = [*survey.left_out]
            left_out += [(one.name, f"slots: {most}") for one in survey.slots[len(found) :]]
    except (ClusterUnavailable, ValueError) as error:
        raise ConfigError(str(error)) from error
    if as_json:
        out = [{"name": name, "why": why} for name, why in left_out]
        show_json(
            {"slots": [{"name": one, "host_class": found[one]} for one in found], "left_out": out}
        )
        return
    from evo.terminal.tables import pairs
    from evo.terminal.text import plain

    show(pairs([(name, plain(what)) for name, what in found.items()]))
    if left_out:
        show(pairs([(name, plain(f"not used: {why}")) for name, why in left_out]))


def _sandbox(config_file: Path | None) -> list[Check]:
    """The box that a campaign begun in this folder would get, by this config or by default."""
    from evo.config import ConfigError, read_config
    from evo.evaluation.sandbox.sandbox import SandboxSettings

    settings = SandboxSettings()
    with contextlib.suppress(ConfigError):  # what is wrong with it is said further down
        settings = read_config(config_file).sandbox if config_file else settings
    return _box(settings, Path.cwd())


def _box(settings: SandboxSettings, folder: Path, slots: Sequence[Slot] = ()) -> list[Check]:
    """The box of these settings for work in a folder, and whether CUDA works inside at each slot."""
    from evo.evaluation.gpu import require_cuda
    from evo.evaluation.sandbox.probe import open_sandbox
    from evo.evaluation.sandbox.sandbox import SandboxUnavailable

    try:
        box = open_sandbox(settings, reach=(folder,))
        require_cuda(box, slots)
    except SandboxUnavailable as error:
        return [Check("sandbox", False, str(error))]
    facts = [
        Check(f"{PROMISE}{name}", None if how.startswith("none") else True, how)
        for name, how in box.facts.items()
        if name != "sandbox"
    ]
    return [Check("sandbox", box.name != "none" or None, f"in force: {box.name}"), *facts]


def _data() -> list[Check]:
    from evo.evaluation.documents import DataSettings, read_text
    from evo.tokens.shards import DataError

    try:
        text = read_text(DataSettings())
    except DataError as error:
        return [Check("data", False, str(error))]
    return [
        Check("data", True, f"embedded corpus, {len(text.documents)} documents, checksum holds")
    ]


def _endpoint() -> list[Check]:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    address = os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_SERVER
    if not key:
        return [
            Check("LLM", None, "OPENAI_API_KEY is not set: operators that need no model are used")
        ]
    answer, _ = _ask(address, key)
    text = f"{address} {answer}".replace(key, "…")
    return [Check("LLM", answer == ANSWERS, text)]


def _ask(address: str, key: str) -> tuple[str, list[str]]:
    """Ask a server for its list of models, once: what it says, never the key, and the names it lists."""
    import http.client
    import urllib.error
    import urllib.request

    if not address.startswith(("http://", "https://")):
        return "is not an http address", []
    asked = urllib.request.Request(
        f"{address.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=REACH_SECONDS) as reply:
            told = ANSWERS if reply.status == 200 else f"answers with status {reply.status}"
            return told, _models(reply.read(MAX_REPLY_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (401, 403):
                return f"refuses the key (status {error.code})", []
            return (ANSWERS if error.code == 404 else f"answers with status {error.code}"), []
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        return f"cannot be reached: {error}", []


def _models(body: bytes) -> list[str]:
    """The names in a list of models; [] for anything else."""
    try:
        listed = json.loads(body)["data"]
        return [str(one["id"]) for one in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


# -- for a config ------------------------------------------------------------------------------------


def _for_config(file: Path) -> list[Check]:
    """Whether a config can run here, a check for each of its parts."""
    from evo.cli.folder import fresh_folder
    from evo.cli.run import must_fit
    from evo.config import ConfigError, read_config

    try:
        config = read_config(file)
    except ConfigError as error:
        return [Check("config", False, line) for line in str(error).splitlines()]
    checks = [Check("config", True, f"{file}: {config.name}"), *_of_folder(config)]
    checks += [_model(one, config) for one in (config.llm.endpoints if config.llm else ())]
    checks += _slots(config)
    if checks[-1].ok is False:
        return checks
    from evo.analysis.campaign_view import UNPROTECTED
    from evo.analysis.forecast import forecast
    from evo.assembly.proposers import guessed_ranges
    from evo.cli.run import plan_of, with_fresh_rows
    from evo.terminal.screens import end_in_words
    from evo.terminal.text import megabytes

    plan = plan_of(config)
    if not any(one.ok is False for one in checks):  # a text that is not there holds no rows
        plan = with_fresh_rows(plan, config)
    expected = forecast(plan)
    where = fresh_folder(Path.cwd(), config.name)
    need = (
        "not known" if expected.disk_mb is None else f"about {megabytes(expected.disk_mb)} needed"
    )
    checks.append(
        _tried("disk", f"{need} at {where.parent}", lambda: must_fit(expected.disk_mb, where))
    )
    harmless = (UNPROTECTED, guessed_ranges(config))
    for warning in expected.warnings:
        checks.append(Check("warning", None if warning in harmless else False, warning))
    return [*checks, Check("forecast", None, end_in_words(expected, time.time()))]


def _of_folder(config: Config) -> list[Check]:
    """Seed, data, rungs and operators: what can be said without running anything."""
    from evo.assembly.proposers import must_propose
    from evo.folder import check_data, check_seed

    seed, data = "keeps the contract", "can be read, and is enough for every rung"
    if config.command is not None:
        seed, data = "can be run", f"{config.command.folder}: what runs see, a copy each"
    checks = [
        _tried("seed", f"{config.train}: {seed}", lambda: check_seed(config)),
        _tried("data", data, lambda: check_data(config)),
    ]
    clock = config.clock.replace("_", " ")
    clock = "seconds of the device's clock" if clock == "auto" else clock
    for name, rung in config.rungs.items():
        told = f"depth {rung.depth}, context {rung.context}, {rung.budget:g} {clock} of training"
        if config.command is not None:
            told = f"at most {rung.budget:g} seconds a run"
        checks.append(Check(f"rung {name}", True, told))
    told = ", ".join(name for name, weight in config.operators.items() if weight > 0)
    return [*checks, _tried("operators", told, lambda: must_propose(config))]


def _slots(config: Config) -> list[Check]:
    from evo.evaluation.cluster.connection import ClusterUnavailable, count_workers
    from evo.evaluation.cluster.settings import ClusterSettings
    from evo.evaluation.slots import find_slots

    try:
        if isinstance(config.slots, ClusterSettings):
            many = count_workers(config.slots)
            none = f"no worker of {config.slots} is there: `dask worker ADDRESS --nthreads 1 ...`"
            told = (
                str(config.slots) if config.slots.workers else f"{many} workers of {config.slots}"
            )
            return [Check("slots", many > 0, told if many else none)]
        memory_mb = max(one.memory_mb for one in config.rungs.values())
        slots = find_slots(config.slots, memory_mb=memory_mb)
    except (ClusterUnavailable, ValueError) as error:
        return [Check("slots", False, str(error))]
    return [Check("slots", True, ", ".join(slot.name for slot in slots))]


# -- on the workers of a cluster ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostChecks:
    """What was seen at one host of a cluster: the slots of its workers, and the checks made there."""

    host: str
    workers: tuple[str, ...]
    checks: tuple[Check, ...]


def _must_name_a_cluster(file: Path | None) -> None:
    """ConfigError where there are no workers to look at."""
    from evo.config import ConfigError, read_config
    from evo.evaluation.cluster.settings import FORMS, ClusterSettings

    if file is None:
        raise ConfigError("--on-workers needs a CONFIG whose slots are on a cluster")
    if not isinstance(read_config(file).slots, ClusterSettings):
        raise ConfigError(
            f"{file}: slots names no cluster, so --on-workers has nowhere to look: leave it out, or "
            f"write {FORMS}"
        )


def _on_workers(file: Path) -> tuple[list[HostChecks], list[Check]]:
    """The checks at each host, and what can be said of workers that are not used or not reached."""
    from evo.config import read_config
    from evo.evaluation.cluster.connection import ClusterUnavailable, ask_hosts
    from evo.evaluation.cluster.settings import ClusterSettings

    config = read_config(file)
    assert isinstance(config.slots, ClusterSettings)
    memory_mb = max(one.memory_mb for one in config.rungs.values())
    try:
        found, refused = ask_hosts(config.slots, look_at_host, config.sandbox, memory_mb)
    except ClusterUnavailable as error:
        return [], [Check("workers", False, str(error))]
    told = [Check("not used", None, f"{name}: {why}") for name, why in refused]
    if not found:
        told.append(Check("workers", False, f"slots: no worker of {config.slots} can be used"))
    hosts = []
    for one in found:
        checks = one.said
        if isinstance(checks, BaseException):
            checks = [Check("checks", False, f"{type(checks).__name__}: {checks}")]
        hosts.append(HostChecks(one.host, tuple(x.name for x in one.slots), tuple(checks)))
    return hosts, told


def look_at_host(
    folder: Path, slots: Sequence[Slot], sandbox: SandboxSettings, memory_mb: int
) -> list[Check]:
    """The checks of one host, made by one of its workers in its `folder`; `slots` are all workers' there."""
    return [
        *(*_python(), *_torch(), *_devices(), *_box(sandbox, folder, slots)),
        _memory(len(slots), memory_mb),
        _disk(folder, len(slots) * sandbox.scratch_mb),
    ]


def _memory(runs: int, memory_mb: int) -> Check:
    """Whether as many runs fit: one that may not fit beside others is no fault, only a risk."""
    from evo.evaluation.slots import memory_limit

    there = memory_limit() >> 20
    told = f"{there:,} MB for {runs} x {memory_mb:,} MB"
    if there < memory_mb:
        return Check("memory", False, f"{there:,} MB, and one run may take {memory_mb:,}")
    if there < runs * memory_mb:
        return Check("memory", None, f"{told}: too little if all take what they may")
    return Check("memory", True, told)


def _disk(folder: Path, need_mb: int) -> Check:
    """Whether what runs may write beside their weights has room where a worker puts it."""
    import psutil

    free = psutil.disk_usage(str(folder)).free >> 20
    told = f"{free:,} MB free at {folder}, {need_mb:,} MB needed at most"
    return Check("disk", free >= need_mb, told)


def _tried(name: str, fine: str, look: Callable[[], None]) -> Check:
    """A look that raises what is wrong, in one line."""
    from evo.config import ConfigError
    from evo.tasks.settings import TaskError
    from evo.tokens.shards import DataError

    try:
        look()
    except (ConfigError, DataError, TaskError, OSError) as error:
        return Check(name, False, str(error))
    return Check(name, True, fine)


def _model(one: Endpoint, config: Config) -> Check:
    """Whether a model answers a small question, and how."""
    from operators.registry import names_with_llm

    name = f"model {one.name}"
    if not names_with_llm(config.operators):
        return Check(name, None, "not asked here: no operator of this config asks a model")
    if config.llm is not None and config.llm.replay is not None:
        return Check(name, None, f"not asked: answers come from {config.llm.replay}")
    if wanting := one.wanting(os.environ):
        return Check(name, None, f"{wanting[0]} is not set: {one.model} is not asked")
    from operators.llm.accounting import NoCallLog, UnlimitedBudget
    from operators.llm.client import LlmClient
    from operators.llm.settings import LlmSettings

    hurried = one.model_copy(
        update={"timeout_seconds": min(one.timeout_seconds, MAX_ANSWER_SECONDS)}
    )
    alone = LlmSettings(endpoints=(hurried,))
    try:
        at = one.address(os.environ) or DEFAULT_SERVER
        found = LlmClient(alone, UnlimitedBudget(), NoCallLog()).examine(hurried)
    except ValueError as error:
        return Check(name, False, str(error))
    if found.answered is None:
        return Check(name, False, f"{at}, {one.model}: {found.reason}")
    return Check(name, True, f"{at}, {one.model}: {_manners(one, found)}")


FORMS = {"schema": "JSON by a schema", "object": "JSON objects", "text": "free text"}


def _manners(one: Endpoint, found: Examined) -> str:
    """How an endpoint answered: form, latency, streaming, tokens, price, and what it refuses."""
    from evo.terminal.text import count

    answered, call = found.answered, found.calls[-1]
    assert answered is not None
    first = answered.first_seconds
    pace = "whole" if first is None else f"in pieces, the first after {first:.2g} s"
    told = f"{call.tokens_in:,} tokens in, {call.tokens_out:,} out"
    told += " by our own estimate: it counts none" if answered.usage.estimated else ""
    price = "price unknown: give price_in and price_out"
    if call.dollars is not None:
        price = f"{call.dollars:.2g} dollars"
    parts = [FORMS[found.form], f"{found.seconds:.2g} s, {pace}", told, price]
    if refused := sorted(found.refused & {*one.extra_body, *LIMITS}):
        parts.append(f"takes no {', '.join(refused)}")
    if len(found.calls) > 1:
        parts.append(f"{count(len(found.calls), 'request')} to find that out")
    return "; ".join(parts)


# -- `evo brief check`: whether a brief speaks of what a research brief has to say.


brief = typer.Typer(name="brief", help="Read a plain-text brief.", no_args_is_help=True)
app.add_typer(brief, rich_help_panel="Set up")


@brief.command(name="check", epilog="Example: evo brief check configs/quickstart.yaml")
def check_brief(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE|CONFIG]", help="A brief, or a campaign file with one.")
    ] = Path("brief.md"),
    as_json: JsonOption = False,
) -> None:
    """Whether a brief has its parts: task, limits, what must not change, when to stop, what to summarise.

    Rules on words, so only a reading aid. Of a campaign file, what its brief says is compared with its keys.
    Exit code 1: something is missing or differs.
    """
    from evo.config import read_config
    from evo.tasks.brief import read_brief

    values = None
    if file.suffix in (".yaml", ".yml"):
        config = read_config(file)
        file, values = config.brief, config.model_dump(mode="json")
    try:
        found = read_brief(file.read_text(encoding="utf-8-sig"), values)
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{file}: cannot be read as text: {getattr(error, 'strerror', None) or error}")
        raise typer.Exit(FAILED) from error
    if as_json:
        show_json({"file": file, "whole": found.is_whole, **_as_values(found)})
    else:
        from rich.text import Text

        from evo.terminal.tables import pairs
        from evo.terminal.text import plain

        rows = [
            (
                one.name,
                Text(plain(one.found) or f"missing: {one.advice}", "" if one.found else "red"),
            )
            for one in found.parts
        ]
        rows += [("differs", Text(plain(one), "red")) for one in found.differs]
        show(pairs(rows))
    if not found.is_whole:
        raise typer.Exit(1)


def _as_values(found: BriefReading) -> dict[str, object]:
    return {"parts": found.parts, "differs": found.differs}
