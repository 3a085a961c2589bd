"""The commands about descent: diff, tree, history, report."""

from __future__ import annotations

import sys
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
from evo.files import objection, write_file

if TYPE_CHECKING:
    from evo.analysis.campaign_view import Record
    from evo.analysis.comparison import Comparison
    from evo.analysis.variant_history import Story
    from population.lineage import Branch
    from population.store import Store
    from population.types import Estimate


MAX_DIFF_LINES = 5_000  # on a terminal


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
        file = file_of(store)
    names = (f"a/{{}}\t{short(ids[0])}", f"b/{{}}\t{short(ids[1])}")
    lines = [printable(line) for line in source_diff(old, new, names, file)]
    if not lines and not as_json:
        print(f"{short(ids[0])} and {short(ids[1])} are equal")
        return
    if as_json:
        from evo.analysis.findings import changed_knobs

        known = {"a": ids[0], "b": ids[1], "knobs": changed_knobs(old, new)}
        show_json({**known, "diff": "\n".join(lines)})
        return
    if not sys.stdout.isatty():  # a pipe or a file: a patch is no patch when cut or wrapped
        write_out("\n".join(lines) + "\n")
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


def file_of(store: Store) -> str:
    """Where a variant that is one file lies in the folder of its task."""
    task = (store.setting("config") or {}).get("task") or {}
    return str((task.get("files") or ["train.py"])[0])


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
        found = story_of(store, record, named(store, variant))
    if as_json:
        show_json(found)
        return
    remark_on(record)
    from evo.terminal.tree import story_screen

    show(*story_screen(found))


def story_of(store: Store, record: Record, variant_id: str) -> Story:
    """How a variant came to be, with what was decided on the way."""
    from evo.analysis.variant_history import story
    from population.reading import all_decisions

    return story(record, variant_id, all_decisions(store))


# -- `evo report`: the whole campaign in one HTML file.


@app.command(epilog="Example: evo report -o report.html")
def report(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write, - for stdout; an older report is replaced. By default report.html, "
            "and a summary goes to stdout.",
        ),
    ] = None,
    directory: DirOption = None,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="A page of Markdown instead, as SUMMARY.md has it at the end."
        ),
    ] = False,
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

    if summary:
        _tell_summary(directory, output or Path("-"), force, as_json)
        return
    output = output or Path("report.html")
    to_stdout = is_stdout(output)
    if to_stdout and as_json:
        complain("-o - writes the page to stdout; give --json a file to write the page to")
        raise typer.Exit(FAILED)
    if not to_stdout and (problem := objection(output, force, ours=OURS)):
        complain(problem)
        raise typer.Exit(FAILED)
    with opened(directory) as (folder, store):
        record, config = Record.of(store), _config(folder)
        one = overview_of(folder, store, record=record)
        page = page_of(store, record, one, lambda id: source_of(store, id), config)
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
    from evo.terminal.text import count

    print(
        f"{output}: {megabytes:.1f} MB, {count(len(page.pack.ids), 'variant')}; open it in a browser"
    )


def _tell_summary(directory: Path | None, output: Path, force: bool, as_json: bool) -> None:
    """The summary as it stands now, to a file or to stdout."""
    from evo.cli.ladder import summary_in
    from evo.report.summary import MARK, render_summary

    if not is_stdout(output) and (problem := objection(output, force, ours=MARK)):
        complain(problem)
        raise typer.Exit(FAILED)
    with opened(directory) as (folder, store):
        one = summary_in(folder, store)
    if as_json and is_stdout(output):
        show_json({"path": None, "summary": one})
        return
    text = render_summary(one)
    if is_stdout(output):
        write_out(text)
        return
    write_file(output, text)
    if as_json:
        show_json({"path": output, "summary": one})
        return
    print(f"{output}: {one.headline}")


def _config(folder: Path) -> str:
    try:
        return (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"(config.yaml cannot be read: {error})"
