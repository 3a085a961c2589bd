"""`evo list`: the campaigns under a folder, at a glance."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import FAILED, JsonOption, app, complain, show, show_json
from evo.cli.folder import DATABASE, running_process

if TYPE_CHECKING:
    from rich.table import Table

    from population.store import Store

DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # a folder of projects, each with campaigns/NAME


@dataclass(frozen=True, slots=True)
class Listed:
    """One store. `best`: mean and standard error at the proxy, as in `evo top`; None before any."""

    folder: Path
    kind: str
    state: str
    metric: str
    best: float | None
    best_se: float | None
    children: int
    began: float | None  # seconds since the epoch
    running: int | None  # the process that runs it


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
    found = [_listed(path.parent) for depth in DEPTHS for path in base.glob(f"{depth}{DATABASE}")]
    found.sort(key=lambda one: one.began or 0.0, reverse=True)
    if as_json:
        show_json(found)
        return
    if not found:
        print(f"no campaign under {base.resolve()}; `evo run CONFIG` starts one")
        return
    show(_table(found))


def _listed(folder: Path) -> Listed:
    from population.store import Store, StoreError

    running = running_process(folder)
    try:
        with Store.open(folder / DATABASE, read_only=True) as store:
            return _read(folder, store, running)
    except (StoreError, OSError) as error:
        state = f"cannot be read: {error}"
        return Listed(folder, "?", state, "", None, None, 0, None, running)


def _read(folder: Path, store: Store, running: int | None) -> Listed:
    from evo.analysis.campaign_view import Record
    from evo.analysis.ranking import front_of, ranking

    record = Record.of(store)
    metric = record.objective.name
    best = next((one.estimates[metric] for one in front_of(record, ranking(record))), None)
    ((began, children),) = store.query(
        "SELECT min(created), count(DISTINCT CASE WHEN outcome = 'variant' THEN variant_id END) "
        "FROM proposals"
    )
    kind = store.setting("kind") or "campaign"
    return Listed(
        folder,
        kind,
        _state(store, kind, running),
        metric,
        None if best is None else best.mean,
        None if best is None else best.sd,
        max(0, children - 1),  # the seed is nobody's child
        began,
        running,
    )


def _state(store: Store, kind: str, running: int | None) -> str:
    if running is not None:
        return f"running, process {running}"
    if kind == "import":
        return "self-reported"
    last = "SELECT kind, text FROM events WHERE kind IN ('start', 'end', 'failure') ORDER BY id DESC LIMIT 1"
    for event, text in store.query(last):
        return "interrupted" if event == "start" else str(text).split(";")[0]
    return "not started"


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
