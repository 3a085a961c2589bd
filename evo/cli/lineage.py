"""The commands about descent, and what is taken home of it: diff, tree, history, export, report, and for
idea banks `ideas export` and `ideas list`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import CONFIG, overview_of
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
from evo.cli.folder import named, opened, remark_on
from evo.cli.read import VariantArgument
from evo.cli.setup import RUN_SCRIPT, ByHand
from evo.files import objection, write_file

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.comparison import Comparison
    from evo.analysis.variant_history import Story
    from population.lineage import Branch
    from population.store import Store
    from population.types import Estimate


MAX_DIFF_LINES = 5_000  # on a terminal


HARNESS_IMPORT = re.compile(r"^\s*(import|from) harness\b", re.M)


@app.command(epilog="Example: evo diff seed leader")
def diff(
    first: Annotated[
        str,
        typer.Argument(metavar="A", help=ID_HELP),
    ],
    second: Annotated[
        str | None, typer.Argument(metavar="B", help="The same; not with --from-seed.")
    ] = None,
    from_seed: Annotated[
        bool, typer.Option("--from-seed", help="What A does differently from the seed.")
    ] = False,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """The unified diff from one variant to another, or from the seed to one."""
    from evo.terminal.text import printable, short
    from operators.source.compare import source_diff
    from population.reading import source_of

    if from_seed == (second is not None):
        complain("give two variants, or one with --from-seed")
        raise typer.Exit(FAILED)
    with opened(directory) as (_, store):
        pair = ("seed", first) if second is None else (first, second)
        ids = named(store, pair[0]), named(store, pair[1])
        old, new = (source_of(store, one) for one in ids)
        file = _file_of(store)
    names = (f"a/{{}}  {short(ids[0])}", f"b/{{}}  {short(ids[1])}")
    lines = [printable(line) for line in source_diff(old, new, names, file)]
    if not lines and not as_json:
        print(f"{short(ids[0])} and {short(ids[1])} are equal")
        return
    if as_json:
        from evo.analysis.findings import changed_knobs

        known = {"a": ids[0], "b": ids[1], "knobs": changed_knobs(old, new)}
        show_json({**known, "diff": "\n".join(lines)})
        return
    from rich.text import Text

    if len(lines) > MAX_DIFF_LINES:
        complain(
            f"{len(lines) - MAX_DIFF_LINES:,} more lines are left out: --json or `evo export` has them"
        )
        del lines[MAX_DIFF_LINES:]
    styles = {"+": "green", "-": "red", "@": "cyan"}
    bold = ("+++", "---")
    show(
        *(
            Text(line, "bold" if line.startswith(bold) else styles.get(line[:1], ""))
            for line in lines
        )
    )


@app.command(epilog="Example: evo tree --lineage leader, or: evo tree --top 10")
def tree(
    directory: DirOption = None,
    lineage: Annotated[
        str | None,
        typer.Option(
            "--lineage",
            metavar="ID",
            help="Only the way from the seed to it and what comes from it.",
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", help="Only this variant and what comes from it.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="Only the best N and the paths that lead to them."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, help="Generations to show.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The family tree along first parents: score, operator, idea, effect on the parent with its interval.

    Front members are marked with their standing, and so is who graduated to a larger rung.
    """
    from evo.analysis.campaign_view import Record
    from evo.analysis.ranking import ranking
    from evo.analysis.variant_history import best_with_lines, effects, lineage_of, standings
    from population.lineage import tree as family
    from population.reading import resolve

    with opened(directory) as (_, store):
        record = Record.of(store)
        keep = best_with_lines(record, top) if top else None
        if lineage is not None:
            line = lineage_of(record, resolve(store, lineage))
            keep = line if keep is None else keep & line
        branches = family(store, keep)
        root = resolve(store, of) if of else None
    if root is not None:
        branches = _below(branches, root)
    ranked = {one.variant_id: one for one in ranking(record)}
    beside, marks = effects(record), standings(record)
    if as_json:
        scores = {one: found.estimates[record.objective.name] for one, found in ranked.items()}
        _tree_json(branches, depth, scores, marks, beside)
        return
    from evo.terminal.text import plus_minus
    from evo.terminal.tree import family_tree

    remarks = {
        row.measurement.request.variant_id: row.measurement.status.value.replace("_", " ")
        for row in record.rows
    }
    metric = record.objective.name
    remarks |= {one: plus_minus(metric, *found.told(metric)) for one, found in ranked.items()}
    remark_on(record)
    show(*(family_tree(branch, remarks, marks, depth, beside) for branch in branches))


def _below(branches: Sequence[Branch], root: str) -> list[Branch]:
    waiting = list(branches)
    while waiting and waiting[-1].variant_id != root:
        waiting.extend(waiting.pop().children)
    return waiting[-1:]


def _tree_json(
    branches: Sequence[Branch],
    depth: int | None,
    scores: Mapping[str, Estimate],
    marks: Mapping[str, str],
    beside: Mapping[str, Comparison],
) -> None:
    """A flat list in family order: nested JSON would be deeper than parsers allow."""
    rows = []
    waiting: list[tuple[Branch, str | None, int]] = [(one, None, 0) for one in reversed(branches)]
    while waiting:
        branch, parent, level = waiting.pop()
        if depth is not None and level > depth:
            continue
        rows.append(
            {
                "variant_id": branch.variant_id,
                "parent": parent,
                "generation": level,
                "operator": branch.operator,
                "idea": branch.idea,
                "estimate": scores.get(branch.variant_id),
                "standing": marks.get(branch.variant_id),
                "effect": beside.get(branch.variant_id),
            }
        )
        waiting.extend((child, branch.variant_id, level + 1) for child in reversed(branch.children))
    show_json(rows)


@app.command(epilog="Example: evo history leader")
def history(
    variant: VariantArgument, directory: DirOption = None, as_json: JsonOption = False
) -> None:
    """How a variant came to be, step by step from the seed: idea, effect, evidence, decisions."""
    from evo.analysis.campaign_view import Record

    with opened(directory) as (_, store):
        record = Record.of(store)
        found = _story(store, record, named(store, variant))
    if as_json:
        show_json(found)
        return
    remark_on(record)
    from evo.terminal.tree import story_screen

    show(*story_screen(found))


def _story(store: Store, record: Record, variant_id: str) -> Story:
    from evo.analysis.variant_history import story
    from population.reading import all_decisions

    return story(record, variant_id, all_decisions(store))


@app.command(epilog="Example: evo export leader -o train.py")
def export(
    variant: VariantArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write it; - for stdout. [default: train.py, ID.patch, or a folder ID]",
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
    as_json: JsonOption = False,
) -> None:
    """Write a variant's train.py to a file, exactly as it was measured, or as a patch, or as a git branch.

    With --branch, -o is the file's path inside the repository; your files and what is checked out stay.
    """
    from evo.cli.setup import as_measured, by_hand, run_script
    from population.file_set import split_files
    from population.reading import resolve, source_of

    if patch and with_harness:
        complain("--with-harness goes with a whole train.py, not with --patch")
        raise typer.Exit(FAILED)
    if branch is not None:
        if patch or with_harness:
            complain("--branch goes with neither --patch nor --with-harness")
            raise typer.Exit(FAILED)
        _export_branch(variant, directory, branch, output, force, as_json)
        return
    with opened(directory) as (folder, store):
        file = Path(_file_of(store))
        variant_id, seed_id = named(store, variant), resolve(store, "seed")
        text = _patch(store, variant_id, onto) if patch else source_of(store, variant_id)
        path = output or Path(file.name)
        beside = with_harness or (path.parent / "harness.py").exists()
        away = HARNESS_IMPORT.search(text) is not None and not beside
        hand = None if patch else as_measured(store, path, away)
    several = {} if patch else split_files(text)
    output = output or Path(
        f"{variant_id[:8]}.patch" if patch else variant_id[:8] if several else file.name
    )
    if is_stdout(output):
        write_out(text)
        return
    restored = folder / "train.py" if variant_id == seed_id and not patch else None
    written = {output: text.encode()}
    if several and (restored is None or output.resolve() != restored.resolve()):
        written = {output / name: content.encode() for name, content in several.items()}
    if with_harness and not several:
        written |= {output.parent / name: content for name, content in by_hand().items()}
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
        patch_file = shlex.quote(str(output))
        print(f"git apply {patch_file}   (git am {patch_file} keeps the evidence as its message)")
    else:
        _tell_by_hand(output, hand, with_harness, away)


def _export_branch(
    variant: str, directory: Path | None, name: str, place: Path | None, force: bool, as_json: bool
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
        found = _story(store, Record.of(store), named(store, variant))
        sources = [source_of(store, one.variant_id) for one in found.chapters]
        file = place or Path(_file_of(store))
    steps = []
    for message, source in zip(commit_messages(found, folder.name), sources, strict=True):
        several = split_files(source).items()
        texts = {(place or Path()) / one: text for one, text in several} or {file: source}
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


def _tell_by_hand(output: Path, hand: ByHand | None, with_harness: bool, away: bool) -> None:
    if away:
        print("it imports harness.py, which is not beside it; --with-harness writes that, too")
    if hand is not None:
        print(f"as measured at {hand.rung}, by hand:\n  {hand.line}")
        print("\n".join(f"  ({difference})" for difference in hand.differences))
        if with_harness:
            print(f"`sh {shlex.quote(str(output.parent / RUN_SCRIPT))}` does just that")


def _patch(store: Store, variant_id: str, onto: str) -> str:
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
    before, after = source_of(store, base), source_of(store, variant_id)
    if before == after:
        complain(f"{variant_id[:8]} is what the patch would apply to; --onto names something else")
        raise typer.Exit(FAILED)
    record = Record.of(store)
    found = _story(store, record, variant_id)
    message = evidence_lines(found, base)
    if record.imported is not None:
        message = [REMARK, *message]
    at = made.created_at if made else 0.0
    return patch_text(before, after, subject(found), message, at, _file_of(store))


def _file_of(store: Store) -> str:
    """Where a variant that is one file lies in the folder of its task."""
    task = (store.setting("config") or {}).get("task") or {}
    return str((task.get("files") or ["train.py"])[0])


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


# -- `evo report`: the whole campaign in one HTML file.


@app.command(epilog="Example: evo report -o report.html")
def report(
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The file to write, - for stdout; an older report is replaced."
        ),
    ] = Path("report.html"),
    directory: DirOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that is no report.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """One self-contained HTML file: findings, progress, fronts, lineage, rungs, operators, budget.

    It fetches nothing, so it can be mailed or archived; a click on a variant shows its diff, runs and log.
    """
    from evo.analysis.campaign_view import Record
    from evo.report.contents import page_of
    from evo.report.page import OURS, render
    from population.reading import source_of

    to_stdout = is_stdout(output)
    if to_stdout and as_json:
        complain("-o - writes the page to stdout; give --json a file to write the page to")
        raise typer.Exit(FAILED)
    if not to_stdout and (problem := objection(output, force, ours=OURS)):
        complain(problem)
        raise typer.Exit(FAILED)
    with opened(directory) as (folder, store):
        one = overview_of(folder, store)
        config = _config(folder)
        page = page_of(store, Record.of(store), one, lambda id: source_of(store, id), config)
    text = render(page)
    if to_stdout:
        write_out(text)
        return
    write_file(output, text)
    megabytes = len(text.encode()) / 1e6
    if as_json:
        show_json(
            {"path": output, "megabytes": megabytes, "headline": page.headline, "lines": page.lines}
        )
        return
    print(f"{output}: {megabytes:.1f} MB, {len(page.pack.ids):,} variants; open it in a browser")


def _config(folder: Path) -> str:
    try:
        return (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"(config.yaml cannot be read: {error})"
