"""`evo bench`: the tournament of searches on recorded landscapes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.cli.app import FAILED, JsonOption, app, complain, interrupted_code, show_json
from evo.files import objection, write_file

if TYPE_CHECKING:
    from evo.report.page import Page


CELLS = "cells"
OURS_TABLE = "<!-- written by evo bench -->"  # a table that may be replaced by a newer one


@app.command(epilog="Example: evo bench configs/bench-quick.yaml; then open bench/bench-quick.html")
def bench(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A YAML file such as configs/bench-quick.yaml.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder for pages, tables and kept cells.")
    ] = Path("bench"),
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; by default one a core.", show_default=False),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. seeds=5. Repeatable."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a page or table that is not of `evo bench`.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ours against random, TPE, CMA-ES, NSGA-II, evolution and greedy, at equal training seconds.

    Each is judged by the true value of what it recommends, never by the best it saw. Finished cells are kept:
    the same command goes on where an earlier one was stopped, and other budgets compute only what is new.
    A file that names a `campaign` (configs/bench-real.yaml) trains for real, and is judged on fresh blocks.
    """
    from evo.benchmark.real.settings import is_real
    from evo.config import read_plain

    real = is_real(read_plain(config, changes or []))
    _refuse_to_overwrite(output, config.stem, force)
    if real:
        _on_real_training(config, output, workers, changes or [], as_json)
        return
    from evo.benchmark.page import page_of
    from evo.benchmark.settings import read_bench
    from evo.benchmark.summary import as_values, markdown, summarise
    from evo.benchmark.tournament import cells_of, play

    settings = read_bench(config, changes or [])
    cells = cells_of(settings)
    where = output / CELLS
    results = _followed(play(cells, where, workers), len(cells), where)
    summary = summarise(settings, results)
    text = markdown(summary)
    shown = page_of(summary, _as_run(config, changes or []))
    _show(output, config.stem, shown, text, as_values(summary) if as_json else None)


def _on_real_training(
    config: Path, output: Path, workers: int | None, changes: Sequence[str], as_json: bool
) -> None:
    """A benchmark whose file names a campaign: real runs in the sandbox."""
    from evo.benchmark.real.cells import real_cells
    from evo.benchmark.real.page import real_page
    from evo.benchmark.real.settings import read_real
    from evo.benchmark.real.summary import play_real, real_markdown, real_values

    settings = read_real(config, changes)
    cells, where = real_cells(settings), output / CELLS
    results = _followed(play_real(settings, cells, where, workers), len(cells), where)
    shown = real_page(settings, results, _as_run(config, changes))
    values = real_values(settings, results) if as_json else None
    _show(output, config.stem, shown, real_markdown(settings, results), values)


def _as_run(config: Path, changes: Sequence[str]) -> str:
    """The file, and what the command changed of it."""
    return "\n".join([config.read_text(encoding="utf-8"), *(f"# --set {one}" for one in changes)])


def _refuse_to_overwrite(folder: Path, name: str, force: bool) -> None:
    """End the command before anything is computed where its result could not be written."""
    from evo.report.page import OURS

    for path, ours in ((folder / f"{name}.html", OURS), (folder / f"{name}.md", OURS_TABLE)):
        if problem := objection(path, force, ours):
            complain(problem)
            raise typer.Exit(FAILED)


def _show(
    folder: Path, name: str, shown: Page, text: str, values: Mapping[str, Any] | None
) -> None:
    """Write the page and the Markdown table beside each other, and print the table, or `values` as JSON."""
    from evo.report.page import render

    page, table = folder / f"{name}.html", folder / f"{name}.md"
    write_file(page, render(shown))
    write_file(table, f"{OURS_TABLE}\n{text}")
    if values is not None:
        show_json({**values, "page": page, "table": table})
        return
    print(text)
    print(f"{page} (open it in a browser) and {table}")


def _followed(coming: Iterator[Any], total: int, folder: Path) -> list[Any]:
    """All results, with a bar on the terminal. Ctrl-C: what is finished is kept, exit code 130."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    results = []
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    try:
        with bar:
            task = bar.add_task("cells", total=total)
            for result in coming:
                results.append(result)
                cell = result.cell
                where = getattr(cell, "landscape", "real training")
                said = f"{cell.contestant} on {where}, seed {cell.seed}"
                bar.update(task, advance=1, description=said)
    except KeyboardInterrupt:
        complain(
            f"interrupted: {len(results)} of {total} cells are kept in {folder}; "
            "the same command goes on from there"
        )
        raise typer.Exit(interrupted_code()) from None
    return results
