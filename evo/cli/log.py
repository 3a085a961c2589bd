"""`evo log`: what happened in a campaign, as it is kept in the store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import running_process
from evo.cli.app import DirOption, JsonOption, app, as_json, show_json
from evo.cli.folder import at, opened

if TYPE_CHECKING:
    from population.store import Store
    from population.types import Event

LOOK_SECONDS = 0.5  # between two looks for new events
ALL = -1


@app.command(name="log", epilog="Example: evo log -f")
def log_of(
    directory: DirOption = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what happens, until it ends.")
    ] = False,
    most: Annotated[
        int | None,
        typer.Option("-n", min=0, help="Only the newest N lines.", show_default=False),
    ] = None,
    as_json_too: JsonOption = False,
) -> None:
    """Everything that happened, a line each with its time: what the live view scrolled away.

    With -f and --json: one JSON document a line.
    """
    with opened(directory) as (folder, store):
        found = _events(store, 0, ALL if most is None else most)
        if as_json_too and not follow:
            show_json(found)
            return
        where = at(folder)
        _write(found, where, as_json_too)
        last = found[-1].id if found else _last_id(store)
        while follow:
            runs = running_process(folder) is not None  # before the last look: nothing is missed
            found = _events(store, last, ALL)
            _write(found, where, as_json_too)
            last = found[-1].id if found else last
            if not runs:
                break
            time.sleep(LOOK_SECONDS)
    if not found and not last and not as_json_too:
        print("Nothing has happened here yet.")


def _events(store: Store, after: int, most: int) -> list[Event]:
    from population.reading import events

    return events(store, after, most)


def _last_id(store: Store) -> int:
    found = _events(store, 0, 1)
    return found[-1].id if found else 0


def _write(events: Sequence[Event], where: str, as_lines_of_json: bool) -> None:
    from evo.terminal.text import dated_line, placed

    for one in events:
        if as_lines_of_json:
            print(json.dumps(as_json(one)), flush=True)
        else:
            sys.stdout.write(dated_line(one.created_at, placed(one.text, where)) + "\n")
    sys.stdout.flush()
