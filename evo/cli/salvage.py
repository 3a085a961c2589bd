"""The command for a damaged campaign: salvage."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import DirOption, JsonOption, app, show_json
from evo.cli.folder import CONFIG, DATABASE, NoCampaign, campaign_folder

if TYPE_CHECKING:
    from population.salvage import Salvaged

BESIDE = (CONFIG, "train.py", "brief.md")


@app.command(epilog="Example: evo salvage --dir campaigns/quickstart-1 -o rescued")
def salvage(
    new: Annotated[Path, typer.Option("-o", "--out", help="A new folder for what can be read.")],
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy what can be read of a damaged campaign into a new folder, which `evo resume` goes on with.

    Rows that refer to lost ones are kept beside it, in orphans.jsonl. The damaged folder is not touched.
    """
    from evo.folder import refuse_folder
    from population.salvage import salvage as copy_rows

    folder = campaign_folder(directory)
    if os.path.lexists(new):
        raise NoCampaign(f"{new} exists already: give a new folder")
    refuse_folder(new)
    new.mkdir(parents=True)
    try:
        found = copy_rows(folder / DATABASE, new / DATABASE, new / "orphans.jsonl")
    except BaseException:
        shutil.rmtree(new)  # nothing was saved: leave no folder that looks like a campaign
        raise
    for name in BESIDE:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, new / name)
    show_json(found) if as_json else _tell(new, found)


def _tell(new: Path, found: list[Salvaged]) -> None:
    for one in found:
        if one.rows or one.orphans or one.unreadable:
            lost = f", {one.orphans} without what they refer to" if one.orphans else ""
            lost += f", {one.unreadable} unreadable" if one.unreadable else ""
            print(f"{one.table:16} {one.rows:7} rows{lost}")
    where = shlex.quote(str(new))
    print(f"\n`evo status --dir {where}` shows it, `evo resume --dir {where}` goes on from it")
