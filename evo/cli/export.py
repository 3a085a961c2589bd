"""The commands that take home what a campaign found: export, export-table, track, and for idea banks
`ideas export` and `ideas list`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import DATABASE, running_process
from evo.cli.app import (
    FAILED,
    ID_HELP,
    DirOption,
    JsonOption,
    app,
    complain,
    is_stdout,
    show,
    show_json,
    write_out,
)
from evo.cli.folder import at, named, opened
from evo.cli.lineage import file_of, story_of
from evo.cli.read import LOOK_SECONDS
from evo.cli.setup import RUN_SCRIPT, ByHand
from evo.files import objection, write_file

if TYPE_CHECKING:
    from population.store import Store

HARNESS_IMPORT = re.compile(r"^\s*(import|from) harness\b", re.M)


@app.command(epilog="Example: evo export leader -o train.py")
def export(
    variant: Annotated[
        str | None, typer.Argument(metavar="ID", help=ID_HELP, show_default=False)
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Where to write it, DIR/ for a folder; - for stdout. "
            "[default: train.py, ID.patch, or a folder ID]",
        ),
    ] = None,
    patch: Annotated[
        bool,
        typer.Option("--patch", help="As a patch for `git apply`, with its evidence as message."),
    ] = False,
    onto: Annotated[
        str, typer.Option("--onto", metavar="ID", help="What a patch applies to; or: parent.")
    ] = "seed",
    directory: DirOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    with_harness: Annotated[
        bool,
        typer.Option(
            "--with-harness", help="Also harness.py, its text and a script, to run it by hand."
        ),
    ] = False,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            metavar="NAME",
            help="As a git branch here: a commit a step from the seed, each with its evidence.",
        ),
    ] = None,
    minimal: Annotated[
        bool,
        typer.Option("--minimal", help="With the fewest edits that are enough, by `evo ablate`."),
    ] = False,
    optuna: Annotated[
        Path | None,
        typer.Option(
            "--optuna",
            metavar="STUDY.DB",
            help="Instead of a variant: all of them, as an Optuna study in a new SQLite file.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a variant's train.py to a file, exactly as it was measured, or as a patch, or as a git branch.

    With --branch, -o is the file's path inside the repository; your files and what is checked out stay.
    """
    from evo.cli.setup import as_measured, by_hand, run_script
    from evo.evaluation.static_check import MODULES
    from population.file_set import split_files
    from population.reading import resolve, source_of

    if optuna is not None:
        _export_study(directory, optuna, force, variant is None, as_json)
        return
    variant = _wanted(variant, patch, with_harness, minimal, branch)
    if branch is not None:
        _export_branch(variant, directory, branch, place, force, as_json)
        return
    with opened(directory) as (folder, store):
        _must_need(store, with_harness)
        file = Path(file_of(store))
        variant_id, seed_id = named(store, variant), resolve(store, "seed")
        least = _minimal(folder, variant_id, at(folder)) if minimal else None
        if patch:
            text = _patch(store, variant_id, onto, least)
        else:
            text = source_of(store, variant_id) if least is None else least.source
        several = {} if patch else split_files(text)
        name = f"{variant_id[:8]}-minimal" if minimal else variant_id[:8]
        usual = Path(f"{name}.patch" if patch else name if several else file.name)
        output = _file_to_write(place, usual, bool(several), with_harness)
        beside = with_harness or (output.parent / "harness.py").exists()
        away = HARNESS_IMPORT.search(text) is not None and not beside
        hand = None if patch else as_measured(store, output, away)
        origin = _origin(store)
    if is_stdout(output):
        write_out(text)
        return
    restored = folder / "train.py" if variant_id == seed_id and not patch else None
    written = {output: text.encode()}
    if several and (restored is None or output.resolve() != restored.resolve()):
        written = {output / name: content.encode() for name, content in several.items()}
    if with_harness and not several:
        own = {path.name: path.read_bytes() for path in (folder / MODULES).glob("*.py")}
        written |= {output.parent / name: content for name, content in (by_hand() | own).items()}
        if hand is not None:
            written[output.parent / RUN_SCRIPT] = run_script(hand, output.name, variant_id)
    _write(written, force, restored)
    if as_json:
        show_json(
            {
                "variant": variant_id,
                "path": output,
                "harness": output.parent / "harness.py" if with_harness else None,
                "by_hand": hand,
            }
        )
        return
    names = f" in {', '.join(several)}" if several else ""
    print(f"{output}: {variant_id[:8]}, {len(text.splitlines()) - len(several)} lines{names}")
    if patch:
        _tell_how_to_apply(output, file, origin)
    else:
        _tell_by_hand(output, list(written) if with_harness else (), hand, away)


def _must_need(store: Store, harness: bool) -> None:
    """A harness is for a train.py of ours; a task's files run without."""
    if harness and (store.setting("config") or {}).get("task"):
        complain("--with-harness: this campaign runs a task, which needs no harness")
        raise typer.Exit(FAILED)


def _file_to_write(place: str | None, usual: Path, is_folder: bool, with_harness: bool) -> Path:
    """What -o means: a trailing slash a folder, and a name without suffix where more than one file is written.

    `usual`: what is written where nothing is said, which `is_folder` itself where a variant has several files.
    """
    if place is None or is_folder:
        return usual if place is None else Path(place)
    path = Path(place)
    inside = place.endswith("/") or (with_harness and not path.suffix and not is_stdout(path))
    return path / usual if inside else path


def _origin(store: Store) -> Path:
    """The folder that the files which evolve were read from."""
    config = store.setting("config") or {}
    folder = (config.get("task") or {}).get("folder")
    return Path(folder) if folder else Path(config.get("train", "")).parent


def _tell_how_to_apply(patch: Path, file: Path, origin: Path) -> None:
    """The line that applies a patch from here, where `origin` lies in the same git repository."""
    quoted, here = shlex.quote(str(patch)), Path.cwd()
    top = next((one for one in (here, *here.parents) if (one / ".git").exists()), None)
    git, options, where = (
        "git",
        "",
        f"   with --directory=DIR where {file} lies in DIR of a repository",
    )
    if top is not None and origin.is_relative_to(top) and (origin / file).is_file():
        where = ""
        if origin != top:  # paths in a patch count from the top, wherever git is called
            options = f" --directory={shlex.quote(os.path.relpath(origin, top))}"
        if not origin.is_relative_to(here):
            git, quoted = f"git -C {shlex.quote(str(top))}", shlex.quote(str(patch.absolute()))
    print(f"{git} apply{options} {quoted}{where}")
    print(f"{git} am{options} {quoted}   keeps the evidence as its message")


def _export_study(
    directory: Path | None, path: Path, force: bool, alone: bool, as_json: bool
) -> None:
    """Every variant as a trial of a study in a new file."""
    from functools import partial

    from evo.analysis.campaign_view import Record
    from evo.exporting.optuna_study import write_study
    from population.reading import measurement, source_of

    problem = None if alone else "--optuna takes every variant: leave out the ID"
    if problem := problem or objection(path, force):
        complain(problem)
        raise typer.Exit(FAILED)
    with opened(directory) as (_, store):
        record = Record.of(store)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            many = write_study(
                draft,
                record,
                partial(source_of, store),
                lambda row: measurement(store, row).measurement,
            )
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    if as_json:
        show_json({"path": path, "trials": many})
        return
    print(f"{path}: {many:,} trials; optuna-dashboard sqlite:///{path}")


def _wanted(
    variant: str | None, patch: bool, with_harness: bool, minimal: bool, branch: str | None
) -> str:
    """The variant that is named; it ends the command without one, or where options do not go together."""
    problem = "" if variant else "name a variant, such as `evo export leader`; --optuna takes none"
    if branch is not None and (patch or with_harness or minimal):
        problem = "--branch goes with none of --patch, --with-harness, --minimal"
    elif patch and with_harness:
        problem = "--with-harness goes with a whole train.py, not with --patch"
    if problem or variant is None:
        complain(problem)
        raise typer.Exit(FAILED)
    return variant


def _export_branch(
    variant: str, directory: Path | None, name: str, place: str | None, force: bool, as_json: bool
) -> None:
    """The lineage as commits on top of what is checked out in the repository around this folder.

    `place`: the file's path in it, of several files the folder's.
    """
    from evo.analysis.campaign_view import Record
    from evo.importing.branch import BranchFailure, CommitToMake, write_branch
    from evo.terminal.tree import commit_messages
    from population.file_set import split_files
    from population.reading import source_of

    with opened(directory) as (folder, store):
        found = story_of(store, Record.of(store), named(store, variant))
        sources = [source_of(store, one.variant_id) for one in found.chapters]
        file = _file_to_write(place, Path(file_of(store)), False, False)
    steps = []
    for message, source in zip(commit_messages(found, folder.name), sources, strict=True):
        several = split_files(source).items()
        texts = {Path(place or "") / one: text for one, text in several} or {file: source}
        files = {path.as_posix(): text.encode() for path, text in texts.items()}
        steps.append(CommitToMake(message, files))
    try:
        made = write_branch(Path.cwd(), name, steps, force)
    except BranchFailure as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        show_json({"variant": found.variant_id, "branch": name, "file": file, "commits": made})
        return
    commits = "1 commit" if made == 1 else f"{made} commits"
    print(f"branch {name}: {commits} up to {found.variant_id[:8]}; git log -p {shlex.quote(name)}")


def _tell_by_hand(output: Path, written: Sequence[Path], hand: ByHand | None, away: bool) -> None:
    beside = [one.relative_to(output.parent).as_posix() for one in written if one != output]
    if output in written:
        print(fill(f"beside it: {', '.join(beside)}", 79, subsequent_indent="  "))
    if away:
        print("it imports harness.py, which is not beside it; --with-harness writes that, too")
    if hand is not None:
        print(f"as measured at {hand.rung}, by hand:\n  {hand.line}")
        print("\n".join(f"  ({difference})" for difference in hand.differences))
        if written:
            print(f"`sh {shlex.quote(str(output.parent / RUN_SCRIPT))}` does just that")


@dataclass(frozen=True, slots=True)
class _Minimal:
    """A champion with the fewest edits that are enough, and what says so, in lines."""

    source: str
    subject: str
    evidence: Sequence[str]


def _minimal(campaign: Path, variant_id: str, where: str) -> _Minimal:
    """By the newest ablation of this variant; it ends the command where there is none that is complete."""
    from evo.assembly.ablation import find_ablation, read_plan, report_of, source_with
    from evo.cli.measure import ablations_near
    from evo.terminal.ablation import patch_lines
    from population.store import Store

    short = variant_id[:8]
    there = find_ablation(ablations_near(campaign), variant_id)
    if there is None:
        complain(f"there is no ablation of {short}: `evo ablate {short}{where}` makes one")
        raise typer.Exit(FAILED)
    with Store.open(there / DATABASE, read_only=True) as store:
        plan = read_plan(store)
        found = report_of(store)
        source = source_with(store, plan, found.minimal)
    if not found.complete:
        complain(f"{there} is not complete: `evo ablate {short}{where}` goes on with it")
        raise typer.Exit(FAILED)
    chosen = sorted(found.minimal)
    lines = [
        f"minimal patch of {variant_id}",
        *patch_lines(found, plan.metric, plan.terms.min_gain),
    ]
    lines += [f"{one + 1}. {' + '.join(plan.ideas[one])}" for one in chosen]
    subject = f"{short}, minimal: {len(chosen)} of {len(plan.edits)} edits from the seed"
    return _Minimal(source, subject, lines)


def _patch(store: Store, variant_id: str, onto: str, least: _Minimal | None) -> str:
    """The patch; it ends the command where the two are equal."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.edits import patch_text
    from evo.terminal.imported import REMARK
    from evo.terminal.tree import evidence_lines, subject
    from population.reading import first_proposal, resolve, source_of

    made = first_proposal(store, variant_id)
    if onto == "parent":
        base = made.parents[0].variant_id if made and made.parents else resolve(store, "seed")
    else:
        base = resolve(store, onto)
    before = source_of(store, base)
    after = source_of(store, variant_id) if least is None else least.source
    if before == after:
        complain(f"{variant_id[:8]} is what the patch would apply to; --onto names something else")
        raise typer.Exit(FAILED)
    record = Record.of(store)
    found = story_of(store, record, variant_id)
    message = evidence_lines(found, base)
    if least is not None:
        message = [*least.evidence, "", *message]
    if record.imported is not None:
        message = [REMARK, *message]
    when = made.created_at if made else 0.0
    said = subject(found) if least is None else least.subject
    return patch_text(before, after, said, message, when, file_of(store))


def _write(files: Mapping[Path, bytes], force: bool, restored: Path | None) -> None:
    """Write all of them, or none and end the command where one cannot be written.

    `restored`: the one file of a campaign's own that may be put back.
    """
    for path, content in files.items():
        if path.is_file() and path.read_bytes() == content:
            continue
        problem = objection(path, force)
        if restored is not None and path.resolve() == restored.resolve():
            there = path.exists() and not force
            problem = f"{path} exists; --force overwrites it" if there else None
        if problem:
            complain(problem)
            raise typer.Exit(FAILED)
    for path, content in files.items():
        write_file(path, content)


# -- `evo ideas`: edits as lines of an idea bank, for other campaigns.


ideas = typer.Typer(
    name="ideas",
    help="Idea banks: measured edits that another campaign can try (operator `transplant`).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(ideas, rich_help_panel="Look")


@ideas.command(name="export", epilog="Example: evo ideas export campaigns/mine-1 -o bank.jsonl")
def ideas_export(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="The campaign's folder or its name; by default the newest under ./campaigns.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where to write it; - for stdout.")
    ] = Path("bank.jsonl"),
    licence: Annotated[
        str, typer.Option("--licence", help="Under what others may use these sources.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write every measured edit as a line of an idea bank: idea, source before and after, effects.

    An idea that came from a bank keeps its line, with what it did here beside what it did elsewhere. What
    merges and reverts made is left out: it holds no edit of its own. No line names a person, host or path.
    """
    from evo.analysis.edits import bank_of
    from population.reading.idea_bank import line_of

    to_stdout = is_stdout(output)
    if to_stdout and as_json:
        complain("-o - writes the bank to stdout; give --json a file to write it to")
        raise typer.Exit(FAILED)
    if not to_stdout and (problem := objection(output, force)):
        complain(problem)
        raise typer.Exit(FAILED)
    with opened(directory) as (folder, store):
        found = bank_of(store, licence)
    if not found:
        complain(f"{folder} holds no measured edit yet, so there is nothing to write")
        raise typer.Exit(FAILED)
    text = "".join(f"{line_of(one)}\n" for one in found)
    if to_stdout:
        write_out(text)
        return
    write_file(output, text, replace=force)
    if as_json:
        show_json({"path": output, "ideas": [one.id for one in found], "campaign": folder})
        return
    print(f"{output}: {len(found):,} {'idea' if len(found) == 1 else 'ideas'} from {folder}")
    print(f"to try them elsewhere: operators: {{transplant: 2}}, transplant: {{banks: [{output}]}}")


@ideas.command(name="list", epilog="Example: evo ideas list bank.jsonl")
def ideas_list(
    bank: Annotated[Path, typer.Argument(metavar="BANK", help="A file of an idea bank.")],
    metric: Annotated[str, typer.Option("--metric", help="The effect to show.")] = "val_bpb",
    as_json: JsonOption = False,
) -> None:
    """The ideas of a bank with what they did at each rung: child minus parent, mean and number of blocks."""
    from evo.terminal.tables import bank_list
    from population.reading.idea_bank import BankError, read_bank

    try:
        found, wrong = read_bank(bank)
    except BankError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    for one in wrong:
        complain(f"{one}; it is left out")
    if as_json:
        known = ("id", "idea", "author", "model", "licence", "effects")
        show_json([{name: getattr(one, name) for name in known} for one in found])
        return
    show(bank_list(found, metric))


# -- `evo export-table` and `evo track`: the rows for other tools.


@app.command(
    name="export-table",
    epilog="Example: evo export-table -o runs.csv, or: --of variants -o v.parquet",
)
def export_table(
    directory: DirOption = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .csv or .parquet file; - for CSV to stdout.")
    ] = Path("runs.csv"),
    of: Annotated[
        str, typer.Option("--of", help="runs: a row a run. variants: a row a variant.")
    ] = "runs",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write every run (or variant) as a row of one flat table, metrics and what made it as columns.

    Parquet needs pyarrow. In CSV, text that a spreadsheet would take for a formula gets a ' before it.
    """
    from evo.analysis.campaign_view import Record
    from evo.exporting.tables import (
        TableFailure,
        as_csv,
        as_parquet,
        runs_table,
        variants_table,
    )

    makers = {"runs": runs_table, "variants": variants_table}
    if of not in makers:
        complain(f"--of {of}: give one of {', '.join(makers)}")
        raise typer.Exit(FAILED)
    to_stdout = is_stdout(output)
    if to_stdout and as_json:
        complain("-o - writes the table to stdout; give --json a file to write it to")
        raise typer.Exit(FAILED)
    if not to_stdout and output.suffix not in (".csv", ".parquet"):
        complain(f"{output}: give a name that ends in .csv or .parquet")
        raise typer.Exit(FAILED)
    with opened(directory) as (_, store):
        table = makers[of](Record.of(store))
    if to_stdout:
        write_out(as_csv(table))
        return
    try:
        parquet = output.suffix == ".parquet"
        content = as_parquet(table) if parquet else as_csv(table).encode()
    except TableFailure as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    _write({output: content}, force, None)
    if as_json:
        show_json({"path": output, "of": of, "rows": len(table.rows), "columns": table.columns})
        return
    print(f"{output}: {len(table.rows):,} rows, {len(table.columns)} columns")


@app.command(epilog="Example: evo track tensorboard -f, then: tensorboard --logdir trackers")
def track(
    tracker: Annotated[
        str, typer.Argument(metavar="TRACKER", help="tensorboard, mlflow or wandb (offline).")
    ],
    directory: DirOption = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder that the tracker writes into.")
    ] = Path("trackers"),
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what happens, until it ends.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell an experiment tracker of every run so far, and with -f of those to come.

    A finished campaign is replayed, each run at the time it ended. Only the store is read; nothing is uploaded.
    """
    import time

    from evo.analysis.campaign_view import Record
    from evo.exporting.trackers import TRACKERS, TrackerFailure, tracked_runs

    if tracker not in TRACKERS:
        complain(f"{tracker}: give one of {', '.join(TRACKERS)}")
        raise typer.Exit(FAILED)
    told = 0
    try:
        with opened(directory) as (folder, store):
            config = Record.of(store).config
            with TRACKERS[tracker](output, folder.name, config) as tell:
                while True:
                    runs = follow and running_process(folder) is not None  # before the last look
                    for one in tracked_runs(Record.of(store), told):
                        tell(one)
                        told = one.step
                    if not runs:
                        break
                    time.sleep(LOOK_SECONDS)
    except TrackerFailure as error:
        complain(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        show_json({"tracker": tracker, "path": output, "runs": told})
        return
    print(f"{output}: {told:,} {'run' if told == 1 else 'runs'} of {folder} for {tracker}")
