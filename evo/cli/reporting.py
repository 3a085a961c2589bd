"""`evo report`: the whole campaign in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evo.cli.app import (
    FAILED,
    DirOption,
    JsonOption,
    app,
    complain,
    is_stdout,
    show_json,
    write_out,
)
from evo.cli.folder import CONFIG, opened, overview_of
from evo.files import objection, write_file


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
    from evo.analysis.record import Record
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
