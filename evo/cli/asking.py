"""How a command speaks to a campaign: a row that whoever runs the campaign takes up, now or later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evo.cli.folder import at, running_process

AuthorOption = Annotated[
    str | None,
    typer.Option("--author", help="Whose word it is; by default your login name."),
]


def when_taken_up(folder: Path) -> str:
    """When a request takes effect, in words."""
    process = running_process(folder)
    if process is None:
        return f"taken up by the next `evo resume{at(folder)}`"
    return f"process {process} takes it up now"
