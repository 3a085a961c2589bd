"""The commands that run a campaign or speak to one that runs: run, resume, graduate, stop."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import CAMPAIGNS, DATABASE, ask, matching_calibration, running_process
from evo.cli.app import (
    DirOption,
    JsonOption,
    app,
    complain,
    interrupted_code,
    known_errors,
    show,
    show_json,
)
from evo.cli.folder import (
    at,
    folder_to_stop,
    fresh_folder,
    opened,
    searched_folder,
    take_folder,
)

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.findings import Findings
    from evo.analysis.forecast import Plan, RuleProgress, RungPlan
    from evo.config import Config, RungSettings
    from evo.evaluation.slots import Slot
    from evo.folder import Folder
    from evo.runtime.components import Ending
    from evo.search.certification import CertificationSettings


ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="A campaign file (YAML).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key, e.g. budget.variants=40. Repeatable."
    ),
]
PlainOption = Annotated[
    bool, typer.Option("--plain", help="One line an event, also on a terminal.")
]


@app.command(epilog="Example: evo run configs/quickstart.yaml --set budget.variants=40")
def run(
    config_file: ConfigArgument,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The new campaign's folder; by default campaigns/<name>-<n>."),
    ] = None,
    changes: SetOption = None,
    begun_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Begin with the best variant of another campaign, such as an imported history.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the forecast and stop there.")
    ] = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start a campaign: a forecast, the live view, and a closing screen in plain words.

    Ctrl-C once finishes the runs under way, twice ends now; `evo resume` goes on in either case.
    Exit code: 0 finished or waiting for `evo approve`, 3 stopped early by `evo stop` or a guard, 130, 143
    and 129 by Ctrl-C, TERM and a closed terminal, 2 for a mistake.
    """
    from evo.analysis.forecast import forecast
    from evo.assembly.proposers import must_propose
    from evo.config import read_config
    from evo.folder import config_of, look_over, refuse_folder
    from evo.terminal.screens import forecast_screen

    with _beginning(begun_from) as given:
        config = read_config(config_file, [*(changes or ()), *given])
        where = directory or fresh_folder(Path.cwd(), config.name)
        refuse_folder(where, config)
        look_over(config)
        must_propose(config)
        expected = forecast(with_fresh_rows(plan_of(config), config))
        if dry_run and as_json:
            show_json(expected)
        known = _calibrated(config)
        if dry_run and not as_json:
            show(forecast_screen(config.name, str(where), expected, time.time()), *known)
        must_fit(expected.disk_mb, where)
        if dry_run:
            return
        with new_campaign(config, directory, CAMPAIGNS) as folder:
            if not as_json:
                show(forecast_screen(config.name, str(folder.path), expected, time.time()), *known)
            with folder.open_store() as store:
                for line in known:
                    store.add_event("calibrated", line)
            _follow(folder, lambda: config_of(folder), True, plain, as_json)


@contextmanager
def _beginning(campaign: Path | None) -> Iterator[list[str]]:
    """The change of a config that makes the best variant of a campaign its seed; none without a campaign."""
    if campaign is None:
        yield []
        return
    import json
    import tempfile

    from population.reading import resolve, source_of

    with opened(campaign) as (_, store):
        source = source_of(store, resolve(store, "best"))
    with tempfile.TemporaryDirectory(prefix="evo-from-") as place:
        seed = Path(place) / "train.py"
        seed.write_text(source, encoding="utf-8")
        yield [f"train={json.dumps(str(seed))}"]


def _calibrated(config: Config) -> list[str]:
    """What `evo calibrate` has found of this seed, data and rung; nothing where it was not asked."""
    from evo.terminal.screens import calibrated_line

    known = matching_calibration(Path.cwd(), config)
    if known is None:
        return []
    folder, found = known
    at = folder.relative_to(Path.cwd())
    return [calibrated_line(str(at), found, config.objectives[0].name)]


@app.command(epilog="Example: evo resume --set budget.variants=100")
def resume(
    directory: DirOption = None,
    changes: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the forecast of what is left; nothing changes.")
    ] = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a campaign that was stopped, killed, or given a larger budget with --set.

    --set writes into the folder's config.yaml; what would make measurements incomparable is refused.
    Exit codes as of `evo run`.
    """
    from evo.folder import Folder, change_config, config_of

    folder = Folder(searched_folder(directory))
    if dry_run:
        _foresee(folder, config_of(folder, changes or ()), as_json)
        return
    _follow(
        folder,
        lambda: change_config(folder, changes) if changes else config_of(folder),
        True,
        plain,
        as_json,
    )


def _foresee(folder: Folder, config: Config, as_json: bool) -> None:
    """The forecast of what is left of a campaign."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.forecast import forecast
    from evo.terminal.screens import forecast_screen
    from population.store import Store

    with Store.open(folder.database, read_only=True) as store:
        record = Record.of(store)
    plan = plan_of(config, record, folder.path)
    if plan.seconds is not None:
        plan = replace(plan, seconds=max(0.0, plan.seconds - record.seconds_spent))
    expected = forecast(with_fresh_rows(plan, config))
    if as_json:
        show_json(expected)
        return
    show(forecast_screen(config.name, str(folder.path), expected, time.time()))


@app.command(epilog="Example: evo graduate --dir campaigns/quickstart-1")
def graduate(
    directory: DirOption = None, plain: PlainOption = False, as_json: JsonOption = False
) -> None:
    """Final comparison and graduation of a campaign, without any further search."""
    from evo.folder import Folder, config_of

    folder = Folder(searched_folder(directory))
    _follow(folder, lambda: config_of(folder), False, plain, as_json)


@app.command(epilog="Example: evo stop --now")
def stop(
    directory: DirOption = None,
    now: Annotated[
        bool, typer.Option("--now", help="End the runs under way instead of finishing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the process that runs a campaign to stop."""
    folder = folder_to_stop(directory)
    process = running_process(folder)
    if process is not None:
        ask(folder, "stop", {"now": now})
    if as_json:
        show_json({"folder": folder, "process": process, "now": now})
        return
    if process is None:
        print(f"{folder} is not running")
        return
    how = " now" if now else "; the runs under way finish first"
    print(f"asked process {process} to stop {folder}{how}")


def _follow(
    folder: Folder, configure: Callable[[], Config], search: bool, plain: bool, as_json: bool
) -> None:
    """Hold the folder, run its campaign in view, and close with what was found."""
    from evo.analysis.campaign_view import START, WARNING, Record
    from evo.assembly.campaign import build_campaign
    from evo.cli.follow import Follower, leave, say_line
    from evo.cli.ladder import summarise
    from evo.folder import locked
    from evo.runtime.components import LoopSettings
    from evo.terminal.text import count

    with locked(folder):
        config = configure()
        loop = LoopSettings(config.exact, search=search)
        campaign = build_campaign(folder, config, loop, lambda text: say_line(text, as_json))
        slots = campaign.components.slots.size
        with folder.open_store() as store:
            store.add_event(START, f"started with {count(slots, 'slot')}")
            if warning := Record.of(store).unprotected():
                store.add_event(WARNING, warning)
                say_line(warning, as_json)
                campaign.components.board.tell(WARNING, warning)
        live = sys.stdout.isatty() and not plain and not as_json
        plan = plan_of(config)
        if not search:
            plan = replace(plan, variants=campaign.components.budget.spent().variants)
        follower = Follower(campaign, config.name, live, as_json, plan, at(folder.path))
        ending = follower.run()
        code = follower.exit_code(ending)
        said = summarise(folder, config, ending, lambda text: say_line(text, as_json))
        # a closed terminal takes no closing screen
        with suppress(OSError) if follower.signal == signal.SIGHUP else nullcontext():
            _close(folder, config, ending, as_json, said)
        if code or follower.signal == signal.SIGHUP:
            leave(code)


def _close(folder: Folder, config: Config, ending: Ending, as_json: bool, said: str) -> None:
    from evo.analysis.campaign_view import Record
    from evo.campaigns import findings_of, overview_of
    from evo.cli.ladder import ladder_report_of
    from evo.terminal.screens import closing_screen
    from evo.terminal.tables import FAINT
    from evo.terminal.text import words

    with folder.open_store() as store:
        if as_json:
            found = overview_of(folder.path, store)
            told = {"ending": ending.reason, "complete": ending.complete, "summary": said}
            show_json({**told, "overview": found})
            return
        record = Record.of(store)
        findings = findings_of(store, record)
        ladder = ladder_report_of(folder.path, store, record) if record.ladder.choices else None
    commands = _next(folder, findings, ending, config)
    where = at(folder.path)
    show(
        closing_screen(
            config.name,
            ending.reason,
            findings,
            record.objectives,
            commands,
            where,
            ladder,
            record.unprotected(),
        )
    )
    show(words(said, FAINT))


def _next(folder: Folder, findings: Findings, ending: Ending, config: Config) -> Sequence[str]:
    """Which commands to type next; the folder is left out where it is the default."""
    from population.types import CampaignState

    where = at(folder.path)
    commands = []
    leader = findings.leader_id
    if ending.state is CampaignState.WAITING:
        commands += [f"evo approve{where}", f"evo graduate{where}"]
    elif not ending.complete:
        failed = set(findings.statuses) - {"lost"} if findings.seed is None else ()
        commands.append(f"evo show seed{where}" if failed else f"evo resume{where}")
    if leader is not None:
        short = leader[:8]
        commands += [
            f"evo show {short}{where}",
            f"evo diff seed {short}{where}",
            f"evo tree{where}",
        ]
        task = config.command
        file = "train.py" if task is None else Path(task.named[0]).name
        to = "" if task is not None and not task.alone else f" -o {shlex.quote(file)}"
        commands.append(f"evo export {short}{to}{where}")
    variants = config.budget.variants
    if ending.halt is not None:
        from evo.search.halting import way_on

        commands.append(f"evo resume{where} {way_on(ending.halt)}")
    elif ending.complete and variants is not None:
        commands.append(f"evo resume{where} --set budget.variants={max(2 * variants, 1)}")
    return commands or [f"evo status{where}"]


def _foreseen() -> tuple[type[BaseException], ...]:
    return (KeyboardInterrupt, OSError, *known_errors())


@contextmanager
def new_campaign(
    config: Config, directory: Path | None, under: str, name: str = "", kind: str = "campaign"
) -> Iterator[Folder]:
    """A new folder, by default the next free one `under` here, named after `name` or the config.

    What fails or is interrupted before its first measurement leaves nothing behind that looks like a campaign.
    """
    from evo.folder import clear, create_campaign

    where = directory or take_folder(Path.cwd(), name or config.name, under)
    was_there = directory is not None and where.exists()
    try:
        folder = create_campaign(config, where, kind)
    except BaseException:
        if directory is None:
            where.rmdir()
        raise
    try:
        yield folder
    except _foreseen() as error:
        if running_process(where) is not None or _measured(where):
            raise
        clear(folder, keep=was_there)
        if isinstance(error, KeyboardInterrupt):
            left = "is empty again" if was_there else "was removed"
            complain(f"interrupted before the first measurement; {where} {left}")
            raise typer.Exit(interrupted_code()) from error
        raise


def _measured(folder: Path) -> bool:
    from population.reading import last_measurement_id
    from population.store import Store

    if not (folder / DATABASE).exists():
        return False
    with Store.open(folder / DATABASE, read_only=True) as store:
        return last_measurement_id(store) > 0


# -- From a config to the plan that a forecast is made of.


def plan_of(config: Config, record: Record | None = None, folder: Path | None = None) -> Plan:
    """What a config is about to do; `record`, `folder`: of one that goes on. ConfigError: impossible slots."""
    from evo.analysis.forecast import Plan
    from evo.config import ConfigError
    from evo.evaluation.cluster.connection import ClusterUnavailable, count_workers
    from evo.evaluation.cluster.settings import ClusterSettings
    from evo.evaluation.slots import find_slots
    from evo.search.ladder_settings import work_by_rung
    from evo.search.scheduler import REFERENCE_EVERY, seed_runs

    slots: Sequence[Slot] = ()  # what they are on a cluster is seen when it begins
    try:
        if isinstance(config.slots, ClusterSettings):
            many = count_workers(config.slots)
        else:
            memory_mb = max(one.memory_mb for one in config.rungs.values())
            slots = find_slots(config.slots, memory_mb=memory_mb)
            many = len(slots)
    except (ClusterUnavailable, ValueError) as error:
        raise ConfigError(str(error)) from error
    timed = config.clock != "tokens"
    rungs = [_rung_plan(name, one, timed, record) for name, one in config.rungs.items()]
    return Plan(
        slots=many,
        rungs=rungs,
        seed_runs=seed_runs(
            config.policy, config.budget.seconds, many, rungs[0].training_seconds or 0.0
        ),
        remeasure_share=config.policy.remeasure_share,
        race_share=config.policy.race_share,
        reference_every=REFERENCE_EVERY,
        race_runs=_race_runs(config.certification),
        final_blocks=config.policy.final_blocks,
        ladder=work_by_rung(config.graduation, list(config.rungs)),
        variants=config.budget.variants,
        seconds=config.budget.seconds,
        llm_operators=asking(config),
        llm_unavailable=unavailable_operators(config),
        llm_tokens=config.budget.llm_tokens,
        llm_dollars=config.budget.llm_dollars,
        measured_variants=record.spent.variants - 1 if record is not None else 0,
        waiting_children=len(record.waiting()) if record is not None else 0,
        asks_before_ladder=config.graduation.promotion == "manual",
        stop=_stop_plan(config, record, folder),
        warnings=warnings(config, slots),
        ends_itself=config.command is not None,
    )


def _stop_plan(config: Config, record: Record | None, folder: Path | None) -> list[RuleProgress]:
    """What ends the search beside its budgets: of a new campaign as if it began now."""
    from evo.campaigns import stops_of
    from evo.search.halting import StopState, next_time, progress_of
    from population.store import Store

    if folder is not None and record is not None:
        with Store.open(folder / DATABASE, read_only=True) as store:
            return stops_of(folder, store, record, config.stop)
    now, until = time.time(), config.stop.until
    state = StopState(seconds=0.0, now=now, deadline=next_time(now, until) if until else None)
    return progress_of(config.stop, config.objectives, state)


def warnings(config: Config, slots: Sequence[Slot]) -> list[str]:
    """What a person should know before it starts, each in a sentence."""
    from evo.analysis.campaign_view import UNPROTECTED
    from evo.assembly.proposers import guessed_ranges
    from evo.tasks.interpreters import missing_modules
    from operators.registry import names_with_llm
    from operators.source.knobs import unreadable_knobs
    from population.types import Clock

    found = [UNPROTECTED] if config.sandbox.mode == "none" else []
    timed = config.clock is Clock.SECONDS
    if timed and slots and slots[0].device == "cpu":
        found.append(
            f"clock: seconds, and no GPU can be used here: this would train on {len(slots)} of the CPU's "
            f"cores, at depth {next(iter(config.rungs.values())).depth}, and other load on them would "
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
    if config.stop.no_certified_gain_for and config.certification.attempts == 1:
        found.append(
            "stop.no_certified_gain_for: with certification.attempts: 1 the only race comes at the end, so no "
            "gain begins the count again; give it 2 or more"
        )
    if config.command is not None and (
        missing := missing_modules(config.command, config.seed_source())
    ):
        found.append(f"{config.train.name}: {missing}")
    if wrong := unreadable_knobs(config.seed_source()):
        found.append(cannot_be_read(config.train.name, wrong))
    if guessed := guessed_ranges(config):
        found.append(guessed)
    return found


def cannot_be_read(name: str, wrong: Sequence[str]) -> str:
    """The knob comments of a file that are no knobs, in a sentence."""
    many = "1 knob comment" if len(wrong) == 1 else f"{len(wrong)} knob comments"
    return f"{name}: {many} cannot be read: {'; '.join(wrong)}"


def must_fit(disk_mb: float | None, where: Path) -> None:
    """ConfigError when a campaign would need more disk than is free where its folder is to be."""
    import psutil

    from evo.config import ConfigError
    from evo.terminal.text import megabytes

    there = next(one for one in (where, *where.absolute().parents) if one.exists())
    free = psutil.disk_usage(str(there)).free / (1 << 20)
    if disk_mb is not None and disk_mb > free:
        raise ConfigError(
            f"{where}: about {megabytes(disk_mb)} are needed and {megabytes(free)} are free: lower "
            "budget.variants, or give a folder on a larger disk with --dir"
        )


def _race_runs(settings: CertificationSettings) -> int:
    """What certification takes at most: every pair of every attempt, and those after a success."""
    from evo.search.certification import POST_PAIRS

    return 2 * settings.attempts * (settings.most_pairs + POST_PAIRS)


def with_fresh_rows(plan: Plan, config: Config) -> Plan:
    """The plan with what its pairs need of rows that nobody was asked; reads the text."""
    from evo.search.scheduler import MAX_LEADERS

    needed, held = _fresh_blocks(config), _fresh_blocks_held(config)
    return replace(plan, leaders=MAX_LEADERS, fresh_blocks=needed, fresh_blocks_held=held)


def _fresh_blocks(config: Config) -> int:
    """Blocks that pairs are compared on at most, beside the leaders' race; and those that the search uses."""
    from evo.search.certification import POST_PAIRS
    from evo.search.scheduler import MAX_BLOCKS

    searched = max(config.policy.seed_blocks, MAX_BLOCKS)
    proof = config.certification.attempts * (config.certification.most_pairs + POST_PAIRS)
    upper = len(config.rungs) - 1
    graduation = config.graduation
    climbs = graduation.proxy_blocks + graduation.blocks + upper - 1 if upper else 0
    return searched + proof + config.policy.final_blocks + climbs


def _fresh_blocks_held(config: Config) -> int | None:
    """How many the text holds rows for; None where nothing is hidden, or too much to be counted."""
    from evo.evaluation.data import count_chunks
    from evo.evaluation.unseen import blocks_held

    if config.command is not None:
        return None
    proxy = next(iter(config.rungs.values()))
    chunks = count_chunks(config.data, proxy.context)
    return None if chunks is None else blocks_held(chunks, proxy.rows)


def _rung_plan(name: str, settings: RungSettings, timed: bool, record: Record | None) -> RungPlan:
    from evo.analysis.forecast import RungPlan
    from evo.analysis.health import run_seconds

    return RungPlan(
        name=name,
        train_seconds=settings.budget if timed else None,
        startup_seconds=None if settings.startup_seconds == "auto" else settings.startup_seconds,
        measured_seconds=run_seconds(record.runs(), name) if record is not None else None,
    )


def unavailable_operators(config: Config) -> str:
    """Which operators are unavailable because no endpoint has its key, in words; "" when none does."""
    from operators.llm.settings import missing_keys
    from operators.registry import names_with_llm

    names = names_with_llm(config.operators)
    if not names or asking(config):
        return ""
    missing = missing_keys(config.llm, os.environ) if config.llm else ()
    why = f"{', '.join(missing)} is not set" if missing else "there is no llm in the config"
    return f"{', '.join(names)} unavailable: {why}"


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
