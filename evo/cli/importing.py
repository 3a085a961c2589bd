"""The command that takes over someone else's history: import-autoresearch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from evo.cli.app import JsonOption, app, complain, show_json
from evo.cli.folder import at, fresh_folder, opened, overview_of


@app.command(
    "import-autoresearch",
    epilog="Example: evo import-autoresearch ../autoresearch --branch autoresearch/mar5",
)
def import_autoresearch(
    repository: Annotated[
        Path,
        typer.Argument(
            metavar="REPO", help="A clone with train.py in its history and a results.tsv."
        ),
    ],
    branch: Annotated[
        str | None,
        typer.Option("--branch", help="Whose results.tsv counts, where one is committed there."),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The new folder; by default campaigns/<name of REPO>-<n>."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take over a history in the style of autoresearch, to see it with tree, history, top and report.

    Its numbers stay what they are, self-reported. Nothing of the repository is executed. What its repeats
    tell of its noise says which of its keeps stand out, and that the rest are unproven.
    """
    from evo.folder import refuse_folder
    from evo.importing.campaign import attempts_of, import_history
    from evo.importing.repository import RESULTS, Repository
    from evo.importing.results import read_results

    found = Repository(repository, branch)
    where = directory or fresh_folder(Path.cwd(), found.path.name)
    refuse_folder(where)
    results = read_results(found.results(), RESULTS)
    for problem in results.problems:
        complain(problem)
    with _progress(len(results.rows), as_json) as step:
        brought = import_history(where, found, results, attempts_of(found, results.rows, step))
    with opened(where) as (folder, store):
        one = overview_of(folder, store).imported
    if as_json:
        show_json({"import": brought, "findings": one})
        return
    from evo.terminal.imported import imported_lines
    from evo.terminal.numbers import count

    held = f", {brought.without_source} of them not held by the clone" * bool(
        brought.without_source
    )
    print(f"{where}: {count(brought.variants, 'variant')}{held}")
    print("\n".join(imported_lines(one) if one else ()))
    print(f"\nnext  evo report{at(where)}   (or: evo tree{at(where)})")


@contextmanager
def _progress(total: int, as_json: bool) -> Iterator[Callable[[int], None]]:
    """How much is read; a bar on a terminal, nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress

    quiet = as_json or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("reading commits", total=total)
        yield lambda done: bar.update(task, completed=done)
