"""`evo list`: the campaigns under a folder, at a glance."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import Listed, listed
from evo.cli.app import FAILED, JsonOption, app, complain, show, show_json

if TYPE_CHECKING:
    from rich.table import Table


@app.command(name="list", epilog="Example: evo list ~/experiments --json")
def list_campaigns(
    base: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to look, also in folders below.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """The campaigns, calibrations and imports under a folder: state, best, children, age; the newest first."""
    if not base.is_dir():
        complain(f"{base}: there is no such folder")
        raise typer.Exit(FAILED)
    found = listed(base)
    if as_json:
        show_json(found)
        return
    if not found:
        print(f"no campaign under {base.resolve()}; `evo run CONFIG` starts one")
        return
    show(_table(found))


def _table(rows: list[Listed]) -> Table:
    from rich.text import Text

    from evo.terminal.tables import FAINT, NOTHING, table_of
    from evo.terminal.text import duration, value, words

    table = table_of(
        ("campaign", "left"),
        ("kind", "left"),
        ("best", "left"),
        ("children", "right"),
        ("age", "right"),
    )
    table.add_column(Text("state", FAINT), overflow="fold")
    for one in rows:
        best = NOTHING
        if one.best is not None:
            se = one.best_se if one.best_se is not None and math.isfinite(one.best_se) else None
            best = value(one.metric, one.best, se)
            best += "" if se is None else f" ± {value(one.metric, se, se)}"
        age = NOTHING if one.began is None else duration(time.time() - one.began)
        cells = (str(one.folder), one.kind, best, str(one.children), age, one.state)
        table.add_row(*(words(cell) for cell in cells))
    return table
