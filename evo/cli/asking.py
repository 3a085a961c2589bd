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


def unheard(folder: Path) -> str:
    """Why no model is asked in a campaign, so that words reach nobody; "" where one may be."""
    from evo.analysis.record import Record
    from evo.cli.folder import DATABASE, config_values
    from operators.registry import names_with_llm
    from population.store import Store

    with Store.open(folder / DATABASE, read_only=True) as store:
        first = Record.of(store)
    now = {**first.config, **config_values(folder, first)}
    weights = now.get("operators")
    weights = weights if isinstance(weights, dict) else {}
    if weights.get("agent"):
        return ""
    if not names_with_llm(weights):
        return "no operator here asks a model"
    return "" if now.get("llm") else "there is no llm in the config"
