"""The commands that work on files outside a campaign: evaluate, adopt, calibrate, ablate."""

from __future__ import annotations

import math
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.campaigns import ABLATION, ABLATIONS, CALIBRATION, CALIBRATIONS, calibration_of
from evo.cli.app import FAILED, ID_HELP, DirOption, JsonOption, app, complain, show, show_json
from evo.cli.folder import at, named, searched_folder, write_start
from evo.cli.read import tell_ablation
from evo.cli.run import ConfigArgument, SetOption, cannot_be_read, new_campaign, plan_of

if TYPE_CHECKING:
    from evo.assembly.ablation import AblationPlan
    from evo.config import Config
    from evo.folder import Folder
    from evo.importing.adoption import Adopted
    from evo.importing.script import Script
    from population.types import Measurement, RunRequest


CODE_WIDTH = 54  # characters of code in a line
MAX_METRICS = 3
TRIED = "rungs.proxy.budget=3"
MAX_SETTINGS = 8


@app.command(epilog="Example: evo evaluate train.py --config configs/quickstart.yaml --json")
def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, help="A train.py, or a folder where several files evolve."
        ),
    ],
    config_file: Annotated[
        Path, typer.Option("--config", help="The campaign file that says how to measure.")
    ],
    rung: Annotated[
        str | None, typer.Option("--rung", help="Where to train; by default the first.")
    ] = None,
    block: Annotated[
        int, typer.Option("--block", min=0, help="Seed, order and documents left out.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure one file outside any campaign, exactly as a campaign would; exit code 0 whatever the status."""
    from evo.cli.app import as_json as plain_values
    from operators.source.knobs import unreadable_knobs
    from population.metrics import SELF_REPORTED, Trust, label, trust_of

    measured = measure_once(file, config_file, rung, block)
    shown = "" if file.is_dir() else file.read_text(encoding="utf-8-sig", errors="replace")
    wrong = unreadable_knobs(shown)
    warned = [cannot_be_read(file.name, wrong)] if wrong else []
    if as_json:
        chosen = ("status", "reason", "metrics", "request", "wall_seconds", "cpu_seconds")
        more = ("train_wall_seconds", "slot", "device", "facts", "curve", "log_tail")
        trust = {name: trust_of(name) for name in measured.metrics}
        told = {name: plain_values(getattr(measured, name)) for name in (*chosen, *more)}
        show_json({**told, "trust": trust, "warnings": warned})
        return
    from evo.terminal.tables import pairs
    from evo.terminal.text import duration, printable, value, words
    from population.types import Status

    rows = [("status", words(measured.status.value.replace("_", " ")))]
    if measured.reason:
        rows.append(("reason", words(measured.reason)))
    rows += [(label(name), words(value(name, number))) for name, number in measured.metrics.items()]
    rows.append(
        ("time", words(f"{duration(measured.wall_seconds)}, training {_training(measured)}"))
    )
    rows += [("warning", words(one)) for one in warned]
    show(pairs(rows))
    if any(trust_of(name) is Trust.SELF_REPORTED for name in measured.metrics):
        show(words(SELF_REPORTED))
    if measured.status is not Status.OK and measured.log_tail.strip():
        print("\nlast lines of its log:\n" + printable(measured.log_tail))


def _training(measured: Measurement) -> str:
    from evo.terminal.text import duration

    return duration(measured.train_wall_seconds)


def measure_once(
    file: Path, config_file: Path, rung: str | None, block: int, changes: Sequence[str] = ()
) -> Measurement:
    """One file measured outside any campaign."""
    from evo.assembly.bench import open_bench
    from evo.config import ConfigError, read_config
    from evo.evaluation.cluster.settings import ClusterSettings
    from evo.evaluation.evaluator import Evaluator
    from evo.evaluation.slots import Unwatched
    from evo.tasks.folder_copy import source_at
    from population.types import Measurement, Purpose, RunRequest, Status, variant_id

    config = read_config(config_file, changes)
    name = rung or next(iter(config.rungs))
    if name not in config.rungs:
        raise ConfigError(f"{config_file}: no rung {name!r}; rungs: {', '.join(config.rungs)}")
    task = config.command
    if task is None and file.is_dir():
        raise ConfigError(f"{file} is a folder; give the file")
    try:
        source = source_at(file, task) if task else file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        request = RunRequest("0" * 64, name, block, 0, Purpose.SCREEN)
        return Measurement(request, Status.REJECTED, "the file is not UTF-8 text")
    if objection := config.objection_to(source, config.seed_source()):
        request = RunRequest(variant_id(source), name, block, 0, Purpose.SCREEN)
        return Measurement(request, Status.REJECTED, objection)
    far = isinstance(config.slots, ClusterSettings)
    here = {"slots": "auto"} if far else {}  # on this machine, always
    one_rung = config.model_copy(update={"rungs": {name: config.rungs[name]}, **here})
    request = RunRequest(variant_id(source), name, block, 0, Purpose.SCREEN)
    with tempfile.TemporaryDirectory(prefix="evo-evaluate-") as work:
        bench = open_bench(one_rung, Path(work), {}, lambda text: print(text, file=sys.stderr))
        if isinstance(bench.evaluator, Evaluator):
            bench.evaluator.rehearsal_share = math.inf  # someone waits for what is wrong with it
        return bench.evaluator.evaluate(request, source, bench.slots[0], Unwatched())


# -- `evo adopt`: a script of someone's, read; and brought under the contract, or run as it is.


@app.command(epilog="Example: evo adopt ../nanoGPT/train.py -o adopted --try")
def adopt(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A training script.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A folder to write: the script changed, or a config."),
    ] = None,
    as_command: Annotated[
        bool, typer.Option("--command", help="Write a config that runs it as it is, unchanged.")
    ] = False,
    tries: Annotated[
        bool, typer.Option("--try", help="Then measure what was written once, for seconds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which calls of the contract a training script lacks, and where each would stand. Nothing is run.

    With -o a typical loop of a language model is changed, in a copy with its patch and a config; for
    any other script a config is written that runs it as it is. Then --try measures that once, in the sandbox.
    """
    from evo.importing.results import ImportFailure
    from evo.importing.script import read_script

    try:
        found = read_script(file.read_text(encoding="utf-8-sig"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ImportFailure(f"{file}: cannot be read as Python: {error}") from error
    if output is None and (as_command or tries):
        complain("--command and --try go with -o DIR, the folder to write")
        raise typer.Exit(FAILED)
    if output is None:
        if as_json:
            names = [one.name for one in found.missing]
            show_json({"file": file, "missing": names, "found": found})
        else:
            print("\n".join(_script_lines(file, found)))
        return
    from evo.importing.adoption import files_of_script

    files, adopted, said = files_of_script(output, file, found, as_command)
    write_start(output, files)
    if not as_json:  # before it is tried: what is still to do explains why it fails
        print("\n".join(_adopted_lines(output, file, adopted, said)), flush=True)
    script, short = (output / "train.py", [TRIED]) if adopted else (file, [])
    ended = try_once(script, output, short) if tries else None
    if as_json:
        counts = adopted and {
            "lines_in": adopted.counts[0],
            "lines_out": adopted.counts[1],
            "look_at": adopted.guessed,
            "to_do": adopted.undone,
        }
        show_json(
            {
                "path": output,
                "files": list(files),
                "adopted": counts,
                "said": said,
                "tried": ended,
            }
        )
        return
    if ended is not None:
        print(tried_line(ended))
    print(f"\n{_after_adopting(output, script, adopted)}")


def try_once(file: Path, folder: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """How one run ends by the config that was just written into a folder."""
    run = measure_once(file, folder / "campaign.yaml", None, 0, changes)
    return {"status": run.status.value, "reason": run.reason, "metrics": dict(run.metrics)}


def tried_line(ended: dict[str, Any]) -> str:
    """The same for a person."""
    from evo.terminal.text import printable, value
    from population.metrics import label

    shown = [f"{label(name)} {value(name, one)}" for name, one in ended["metrics"].items()]
    return printable(
        f"tried: {', '.join([ended['status'], *shown[:1]])}  {ended['reason']}".rstrip()
    )


def _script_lines(file: Path, found: Script) -> Iterator[str]:
    """What a script holds, what it lacks of the contract, and what comes next."""
    from evo.terminal.text import clip, count

    kind = "trains by backward passes" if found.trains else "no training loop with a backward pass"
    kind += ", predicts tokens" if found.predicts_tokens else ", predicts no tokens as far as seen"
    yield f"{file.name}: {count(found.lines, 'line')}, {kind}"
    for one in found.parts:
        where = f"line {one.line}" if one.line else "missing"
        yield f"  {one.name:<11}{where:<10} {clip(one.found, CODE_WIDTH)}".rstrip()
        yield f"{'':13}{'-> ' + one.write if one.write else 'as the contract has it'}"
    for line, template in found.metrics[:MAX_METRICS]:
        yield f"  {'prints':<11}{f'line {line}':<10} {clip(template, CODE_WIDTH)}"
    yield f"  {'seed':<11}{found.seed}"
    named = ", ".join(f"{one.name} {one.value:g}" for one in found.settings[:MAX_SETTINGS])
    more = ", ..." if len(found.settings) > MAX_SETTINGS else ""
    many = len(found.settings)
    could = "1 could be a knob" if many == 1 else f"{many} could be knobs"
    numbers = f"{could}: {named}{more}" if named else "none found"
    yield fill(numbers, 79, initial_indent="  numbers    ", subsequent_indent=" " * 13)
    lacks = len(found.missing)
    yield ""
    if not lacks:
        yield "None of the calls is missing."
        return
    yield f"{count(lacks, 'thing')} to write; docs/contract.md says how, and -o DIR writes them"
    yield "As it is, self-reported: -o DIR --command, or evo init mine --from FOLDER"
    if not found.predicts_tokens:
        yield "Only a model that predicts the next token is measured here; this seems to be another."


def _adopted_lines(
    folder: Path, file: Path, adopted: Adopted | None, said: Sequence[str]
) -> Iterator[str]:
    """What was written, and what of it was guessed."""
    for one in said:
        yield fill(one, 79, subsequent_indent="  ")
    if adopted is None:
        yield f"{folder / 'campaign.yaml'}   runs {file.name} as it is; its score is self-reported"
    else:
        into, out = adopted.counts
        for name in adopted.joined:
            yield f"{name}.py is joined to it, so that it evolves as well"
        for one in adopted.guessed:
            yield fill(f"look at: {one}", 79, subsequent_indent="  ")
        for one in adopted.undone:
            yield fill(f"to do: {one}", 79, subsequent_indent="  ")
        done = "the calls are written in" if adopted.undone else "the contract kept"
        yield f"{folder / 'train.py'}   {done}: {into} lines in, {out} out"
        yield f"{folder / 'adopt.patch'}   these lines"
        yield f"{folder / 'campaign.yaml'}   sealed: we score it, on text it never saw"


def _after_adopting(folder: Path, script: Path, adopted: Adopted | None) -> str:
    config = shlex.quote(str(folder / "campaign.yaml"))
    first = f"edit {shlex.quote(str(script))}, then\n      " if adopted and adopted.undone else ""
    return f"next  {first}evo evaluate {shlex.quote(str(script))} --config {config}"


# -- `evo calibrate`: how noisy a run is here, before anything is searched.


@app.command(epilog="Example: evo calibrate configs/quickstart.yaml --blocks 6 --repeats 6")
def calibrate(
    config_file: ConfigArgument,
    blocks: Annotated[int, typer.Option(min=2, help="Runs of the seed, one a block.")] = 6,
    repeats: Annotated[int, typer.Option(min=1, help="Further runs on the first block.")] = 5,
    rungs: Annotated[
        bool, typer.Option("--rungs", help="The seed at 3 depths x 3 budgets instead.")
    ] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Its folder; by default calibrations/<name>-<n>.")
    ] = None,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the seed against itself: the noise, the smallest gain that can be certified, the rungs.

    The runs are kept in a folder of their own, which `evo status --dir` and the other commands read.
    """
    from evo.analysis.campaign_view import Record
    from evo.assembly.campaign import build_campaign
    from evo.cli.follow import Follower, leave, say_line
    from evo.config import ConfigError, read_config
    from evo.folder import locked
    from evo.runtime.components import LoopSettings
    from evo.terminal.screens import calibration_lines

    read = read_config(config_file, changes or ())
    if rungs and read.command is not None:
        raise ConfigError(
            "--rungs tries depths and budgets, and a command has neither; leave it out"
        )
    config = _only_the_seed(read, blocks, repeats, rungs)
    begun = new_campaign(config, directory, CALIBRATIONS, read.name, CALIBRATION)
    with begun as folder, locked(folder):
        loop = LoopSettings(search=False, finish=False)
        say = lambda text: say_line(text, as_json)  # noqa: E731
        campaign = build_campaign(folder, config, loop, say, once_a_rung if rungs else None)
        follower = Follower(campaign, config.name, live=False, to_stderr=as_json)
        code = follower.exit_code(follower.run())
    with folder.open_store() as store:
        record = Record.of(store)
    found, proof = calibration_of(record), bool(read.certification.attempts)
    where = f" --dir {shlex.quote(str(folder.path))}"
    if as_json:
        show_json(found)
    else:
        show("", *calibration_lines(found, record.objective.name, proof))
        show(
            "", f"Kept in {folder.path}: `evo status{where}` and `evo report{where}` tell it again."
        )
    if code:
        leave(code)


def once_a_rung(seed_id: str, rungs: Sequence[str]) -> list[list[RunRequest]]:
    """The seed once at every rung."""
    from population.types import Purpose, RunRequest

    return [[RunRequest(seed_id, rung, 0, 0, Purpose.CALIBRATE)] for rung in rungs]


def _only_the_seed(config: Config, blocks: int, repeats: int, grid: bool) -> Config:
    """The same measuring, with nothing searched; with `grid`, three depths by three budgets."""
    from evo.config import RungSettings

    policy = config.policy.model_copy(update={"seed_blocks": blocks, "seed_repeats": repeats})
    rungs = config.rungs
    if grid:
        proxy: RungSettings = next(iter(config.rungs.values()))
        depths = (proxy.depth, max(1, proxy.depth - 1), proxy.depth + 1)
        rungs = {
            f"d{depth}-b{budget:g}": proxy.model_copy(update={"depth": depth, "budget": budget})
            for depth in dict.fromkeys(depths)
            for budget in (proxy.budget, proxy.budget / 2, proxy.budget * 2)
        }
    name = f"{config.name}-calibration"
    return config.model_copy(
        update={"policy": policy, "rungs": rungs, "name": name, "exact": False}
    )


# -- `evo ablate`: which of a champion's edits earn their place.


@app.command(epilog="Example: evo ablate leader --dry-run")
def ablate(
    variant: Annotated[str, typer.Argument(metavar="[ID]", help=ID_HELP)] = "leader",
    directory: DirOption = None,
    runs: Annotated[
        int | None,
        typer.Option("--runs", min=1, help="To spend in all. [default: 8 an edit, and 8]"),
    ] = None,
    by_place: Annotated[
        bool, typer.Option("--by-place", help="Each changed place an edit, not each step.")
    ] = False,
    min_gain: Annotated[
        float | None,
        typer.Option("--min-gain", min=0, help="What matters. [default: as certification has it]"),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin another, though there is one of this variant.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print edits, runs and minutes, and stop there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Which edits of a variant earn their place: effects with intervals, harm, barnacles, a minimal patch.

    Every edit is left out of the variant and made alone, then the strongest are mixed, in pairs on blocks
    that chose nobody. The runs are kept under ./ablations; after a kill or Ctrl-C the same line goes on.
    Then `evo export ID --minimal --patch` writes the fewest edits that are enough.
    """
    from evo.assembly.ablation import find_ablation, plan_ablation, read_plan, run_ablation
    from evo.cli.follow import Follower, leave, say_line
    from evo.folder import Folder, config_of, locked
    from population.store import Store

    campaign = Folder(searched_folder(directory))
    with Store.open(campaign.database, read_only=True) as store:
        champion = named(store, variant)
    there = None if new else find_ablation(ablations_near(campaign.path), champion)
    if there is not None:
        folder = Folder(there)
        with Store.open(folder.database, read_only=True) as store:
            plan = read_plan(store)
        if runs not in (None, plan.terms.runs):
            complain(
                f"{there} goes on with its {plan.terms.runs} runs; --new begins another ablation"
            )
    else:
        plan = plan_ablation(campaign, champion, runs, by_place, min_gain)
    if dry_run:
        _tell_plan(plan, config_of(campaign), as_json)
        return
    if there is None:
        if not as_json:
            _tell_plan(plan, config_of(campaign), False)
        folder = _new_ablation(campaign, plan)
    say = lambda text: say_line(text, as_json)  # noqa: E731

    def follow(begun: Any) -> int:
        follower = Follower(begun, plan.campaign, live=False, to_stderr=as_json)
        return follower.exit_code(follower.run())

    with locked(folder):
        code = run_ablation(folder, config_of(folder), follow, say)
    tell_ablation(folder.path, as_json, at(campaign.path))
    if code:
        leave(code)


def ablations_near(campaign: Path) -> list[Path]:
    """Where the ablations of a campaign may lie: here, and beside the folder that it lies in."""
    return [Path.cwd(), campaign.resolve().parent.parent]


def _new_ablation(campaign: Folder, plan: AblationPlan) -> Folder:
    from evo.assembly.ablation import add_champion, config_of_ablation, write_plan
    from evo.folder import config_of
    from population.reading import source_of
    from population.store import Store

    config = config_of(campaign)
    with Store.open(campaign.database, read_only=True) as store:
        source = source_of(store, plan.champion)
    narrowed = config_of_ablation(config)
    begun = new_campaign(narrowed, None, ABLATIONS, config.name, ABLATION)
    with begun as folder, folder.open_store() as store, store.transaction():
        write_plan(store, plan)
        add_champion(store, plan, source)
    return folder


def _tell_plan(plan: AblationPlan, config: Config, as_json: bool) -> None:
    from evo.assembly.ablation import plan_json
    from evo.search.ablation import least_runs
    from evo.terminal.ablation import plan_lines
    from evo.terminal.text import words

    slots, least = plan_of(config).slots, least_runs(len(plan.edits))
    minutes = None if plan.minutes is None else plan.minutes / slots
    if as_json:
        show_json({**plan_json(plan), "slots": slots, "minutes": minutes, "least_runs": least})
        return
    for number, ideas in enumerate(plan.ideas, 1):
        show(words(f"{number:>3}  {' + '.join(ideas)}"))
    told = (len(plan.edits), plan.form_only, plan.terms.runs, slots, plan.minutes, least)
    show(*map(words, plan_lines(*told)))
