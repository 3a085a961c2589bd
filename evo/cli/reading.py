"""The commands that only read: status, top, show, diff, tree, export."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import FAILED, DirOption, JsonOption, app, complain, show, show_json
from evo.cli.folder import at, newest, next_command, opened, overview_of

if TYPE_CHECKING:
    from population.ladder import Ladder
    from population.lineage import Branch
    from population.records import Measured
    from population.store import Store
    from population.variant import Estimate

VariantArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="An id, a unique prefix of 4 or more, or seed, best, last."),
]


@app.callback(invoke_without_command=True)
def evo(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="The version, and nothing else.")
    ] = False,
) -> None:
    """Evolve a population of train.py variants: measured by someone else, certified or called noise."""
    if version:
        from importlib.metadata import version as version_of

        print(f"evotrain {version_of('evotrain')}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if newest(Path.cwd()) is None:
        print("No campaign here yet. To start one:\n")
        print("  evo init mine                   write a seed, a config and a brief to edit")
        print("  evo run mine/campaign.yaml      run it (add --dry-run for the forecast alone)")
        print("  evo doctor                      see whether this machine is fit for it")
        print("\nevo --help lists every command.")
        return
    status(None, False)


@app.command(epilog="Example: evo status --json | jq .slot_busy_share")
def status(directory: DirOption = None, as_json: JsonOption = False) -> None:
    """Where a campaign stands: budget, best beside the seed, front, operators, slots."""
    with opened(directory) as (folder, store):
        one = overview_of(folder, store)
    if as_json:
        show_json(one)
        return
    from evo.terminal.status import status_screen

    show(status_screen(one, next_command(one), at(folder)))


@app.command(epilog="Example: evo top -n 20")
def top(
    directory: DirOption = None,
    most: Annotated[int, typer.Option("-n", min=1, help="How many variants to show.")] = 10,
    certified: Annotated[
        bool, typer.Option("--certified", help="Only what was proven on fresh blocks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The Pareto front, then the best of the others by the first objective, with n and sd of the mean."""
    from evo.analysis.ranking import front_of, ranking
    from evo.analysis.record import Record

    with opened(directory) as (_, store):
        record = Record.of(store)
    ranked = ranking(record)
    front = front_of(record, ranked)
    rows = front + [one for one in ranked if not one.standing][: max(0, most - len(front))]
    if certified:
        rows = [one for one in front if one.standing == "certified"]
    if as_json:
        show_json(rows)
        return
    from evo.terminal.tables import ranking_table

    if not rows:
        print("Nothing is certified." if certified else "Nothing has a score yet.")
        return
    show(ranking_table(rows, [one.name for one in record.objectives], record.seed_id))


@app.command(name="show", epilog="Example: evo show best --source")
def show_variant(
    variant: VariantArgument,
    directory: DirOption = None,
    source: Annotated[bool, typer.Option("--source", help="Print its train.py as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Everything known of one variant: where it comes from, every run, every failure's reason."""
    from evo.analysis.record import Record
    from population.reading import children_of, first_proposal, measurements, resolve, source_of
    from population.variant import Status

    with opened(directory) as (_, store):
        variant_id = resolve(store, variant)
        made = first_proposal(store, variant_id)
        runs = measurements(store, variant_id=variant_id, statuses=list(Status))
        record = Record.of(store)
        children = [child.variant_id for child in children_of(store, variant_id)]
        text = source_of(store, variant_id) if source else None
        log = _last_log(store, runs)
    if as_json:
        known = {"variant_id": variant_id, "proposal": made, "children": children}
        said = dict(_on_the_ladder(record.ladder, variant_id))
        show_json({**known, "ladder": said, "measurements": runs, "log_tail": log, "source": text})
        return
    from evo.terminal.status import variant_screen
    from evo.terminal.text import printable, short

    rows = [
        ("variant", variant_id),
        ("children", str(len(children))),
        *_last_metrics(runs, record.proxy),
    ]
    rows += _on_the_ladder(record.ladder, variant_id)
    if made is not None:
        parents = ", ".join(f"{short(one.variant_id)} ({one.role})" for one in made.parents)
        rows[1:1] = [("made by", f"{made.operator}, {made.author} {made.model}".strip())]
        rows[2:2] = [("parents", parents or "none"), ("idea", made.idea or "none")]
    show(variant_screen(rows, [_run_cells(run) for run in runs]))
    if log:
        print("\nlast lines of its log:\n" + printable(log))
    if text is not None:
        print("\n" + printable(text))


def _on_the_ladder(ladder: Ladder, variant_id: str) -> list[tuple[str, str]]:
    """What it was chosen for, and what people said of it."""
    chosen = [
        f"{rung} as {climber.role}"
        for (one, rung), climber in ladder.ever.items()
        if one == variant_id
    ]
    approved = [rung or "every rung" for one, rung in sorted(ladder.approved) if one == variant_id]
    rows = [("chosen for", ", ".join(chosen)), ("approved for", ", ".join(approved))]
    if variant_id in ladder.vetoed:
        rows.append(("vetoed", f"by {ladder.vetoed[variant_id] or 'someone'}"))
    return [(name, text) for name, text in rows if text]


def _last_log(store: Store, runs: list[Measured]) -> str:
    from population.reading import measurement
    from population.variant import Status

    failed = [run for run in runs if run.measurement.status is not Status.OK]
    return measurement(store, failed[-1].id).measurement.log_tail if failed else ""


def _run_cells(row: Measured) -> list[str]:
    from evo.terminal.numbers import duration, value
    from population.variant import ONE_STEP

    run, order = row.measurement, row.measurement.order
    score = next((name for name in ("val_bpb", *run.metrics) if name in run.metrics), None)
    if order.rung.endswith(ONE_STEP):
        score = None  # one step of training: it shows that it can be built there, nothing else
    return [
        order.rung,
        str(order.block),
        order.purpose.value,
        run.status.value.replace("_", " "),
        "" if score is None else f"{score} {value(score, run.metrics[score])}",
        duration(run.wall_seconds),
        run.reason,
    ]


def _last_metrics(runs: list[Measured], proxy: str) -> list[tuple[str, str]]:
    """The metrics of the last run at the proxy, scores left out: those stand with each run."""
    from evo.terminal.numbers import value

    scored = (run.measurement for run in reversed(runs) if run.measurement.metrics)
    metrics = next((run.metrics for run in scored if run.order.rung == proxy), {})
    return [
        (name.replace("_", " "), value(name, number))
        for name, number in metrics.items()
        if not name.endswith("_bpb")
    ]


@app.command(epilog="Example: evo diff seed best")
def diff(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="An id, a unique prefix of 4 or more, or seed, best, last."
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """The unified diff from one variant to another."""
    import difflib

    from evo.terminal.text import printable, short
    from population.reading import resolve, source_of

    with opened(directory) as (_, store):
        ids = resolve(store, before), resolve(store, after)
        old, new = (source_of(store, one) for one in ids)
    names = [f"{label}/train.py  {short(one)}" for label, one in zip("ab", ids, strict=True)]
    raw = difflib.unified_diff(old.splitlines(), new.splitlines(), names[0], names[1], lineterm="")
    lines = [printable(line) for line in raw]
    if not lines and not as_json:
        print(f"{short(ids[0])} and {short(ids[1])} are equal")
        return
    if as_json:
        from evo.analysis.findings import changed_knobs

        known = {"a": ids[0], "b": ids[1], "knobs": changed_knobs(old, new)}
        show_json({**known, "diff": "\n".join(lines)})
        return
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": "cyan"}
    bold = ("+++", "---")
    show(
        *(
            Text(line, "bold" if line.startswith(bold) else styles.get(line[:1], ""))
            for line in lines
        )
    )


@app.command(epilog="Example: evo tree --of best --depth 3")
def tree(
    directory: DirOption = None,
    of: Annotated[
        str | None, typer.Option("--of", help="Only this variant and what comes from it.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, help="Generations to show.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The family tree along first parents, with scores and ideas; front members are marked."""
    from evo.analysis.ranking import ranking
    from evo.analysis.record import Record
    from population.lineage import tree as family
    from population.reading import resolve

    with opened(directory) as (_, store):
        record = Record.of(store)
        branches = family(store)
        root = resolve(store, of) if of else None
    if root is not None:
        waiting = list(branches)
        while waiting and waiting[-1].variant_id != root:
            waiting.extend(waiting.pop().children)
        branches = waiting[-1:]
    scores = {one.variant_id: one.estimates[record.objective.name] for one in ranking(record)}
    if as_json:
        _tree_json(branches, depth, scores, record.front)
        return
    from evo.terminal.numbers import plus_minus
    from evo.terminal.tree import family_tree

    remarks = {
        row.measurement.order.variant_id: row.measurement.status.value.replace("_", " ")
        for row in record.rows
    }
    metric = record.objective.name
    remarks |= {
        one: plus_minus(metric, found.mean, found.sd, found.n) for one, found in scores.items()
    }
    show(*(family_tree(branch, remarks, record.front, depth) for branch in branches))


def _tree_json(
    branches: Sequence[Branch],
    depth: int | None,
    scores: Mapping[str, Estimate],
    front: Mapping[str, str],
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
                "standing": front.get(branch.variant_id),
            }
        )
        waiting.extend((child, branch.variant_id, level + 1) for child in reversed(branch.children))
    show_json(rows)


@app.command(epilog="Example: evo export best -o train.py")
def export(
    variant: VariantArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where to write it; - for stdout.")
    ] = Path("train.py"),
    directory: DirOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    with_harness: Annotated[
        bool,
        typer.Option("--with-harness", help="Also harness.py and its text, to run it by hand."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a variant's train.py to a file, exactly as it was measured."""
    from population.reading import resolve, source_of

    with opened(directory) as (_, store):
        variant_id = resolve(store, variant)
        text = source_of(store, variant_id)
    if str(output) == "-":
        sys.stdout.write(text)
        return
    beside = output.parent / "harness.py"
    written = {output: text.encode()}
    if with_harness:
        from evo.cli.starting import by_hand

        written |= {output.parent / name: content for name, content in by_hand().items()}
    if problem := next(filter(None, (_objection(path, force) for path in written)), None):
        complain(problem)
        raise typer.Exit(FAILED)
    for path, content in written.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    if as_json:
        show_json(
            {"variant": variant_id, "path": output, "harness": beside if with_harness else None}
        )
        return
    print(f"{output}: {variant_id[:8]}, {len(text.splitlines())} lines")
    if not beside.exists():
        print("to run it by hand it needs harness.py beside it: add --with-harness")


def _objection(path: Path, force: bool) -> str | None:
    """Why a file cannot be written here; None when it can."""
    if path.is_dir():
        return f"{path} is a folder; give the file to write, like {path / 'train.py'}"
    if path.parent.name != "corpus" and not path.parent.is_dir():
        return f"{path.parent}: no such folder"
    return f"{path} exists; --force overwrites it" if path.exists() and not force else None
