"""`evo llm`: what the models of a config make of a question, without a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import JsonOption, app, complain, show_json
from evo.cli.run import SetOption

if TYPE_CHECKING:
    from evo.config import Config
    from population.reading.traces import Exchange
    from population.types import LlmCallRow, Proposal

NUMBER = 2  # of the proposal; 1 is the seed
MAX_CHARACTERS = 1_000_000  # of one prompt or answer
FROM_THE_SEED = (
    "llm_mutate",
    "llm_rewrite",
    "llm_simplify",
)  # operators that one parent is enough for

llm = typer.Typer(name="llm", help="Try the models of a config.", no_args_is_help=True)
app.add_typer(llm, rich_help_panel="Set up")


@dataclass(frozen=True, slots=True)
class _Tried:
    """One proposal from the seed: what was asked and answered, and the outcome."""

    proposal: Proposal
    asked: list[tuple[LlmCallRow, Exchange]]
    diff: list[str]


@llm.callback()
def group() -> None:
    """Try the models of a config."""


@llm.command("try", epilog="Example: evo llm try configs/quickstart.yaml --operator llm_rewrite")
def try_model(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG", help="A campaign file.")],
    operator: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(FROM_THE_SEED)}; by default the config's first of these."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The name of the model to ask, where there are several.")
    ] = None,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one proposal from the seed: the prompt, the answer, the diff and the cost. Nothing is trained.

    The prompt is the one that a campaign of this config begins with. Nothing is kept. Exit code 1: no child
    was made.
    """
    from evo.assembly.proposers import must_propose
    from evo.config import read_config
    from population.types import Outcome

    config = _alone(read_config(config_file, changes or ()), config_file, operator, endpoint)
    must_propose(config)  # before what starting costs is measured
    tried = _tried(config)
    if as_json:
        made = tried.proposal
        show_json(
            {
                **{name: getattr(made, name) for name in ("operator", "author", "model", "idea")},
                "outcome": made.outcome.value,
                "reason": made.reason,
                "cost": made.cost,
                "calls": [{"call": call, "said": said} for call, said in tried.asked],
                "diff": "\n".join(tried.diff),
            }
        )
    else:
        _tell(tried)
    if tried.proposal.outcome is not Outcome.VARIANT:
        raise typer.Exit(1)


def _alone(config: Config, file: Path, operator: str | None, endpoint: str | None) -> Config:
    """The config with one operator and one model. ConfigError where that cannot be."""
    from evo.config import ConfigError

    if config.llm is None:
        raise ConfigError(f"{file}: llm: no model is named: give llm.endpoints")
    if operator is not None and operator not in FROM_THE_SEED:
        raise ConfigError(f"--operator {operator}: give one of {', '.join(FROM_THE_SEED)}")
    named = [name for name, weight in config.operators.items() if weight > 0]
    chosen = operator or next((one for one in named if one in FROM_THE_SEED), FROM_THE_SEED[0])
    models = [one for one in config.llm.endpoints if endpoint in (None, one.name)]
    if not models:
        known = ", ".join(one.name for one in config.llm.endpoints)
        raise ConfigError(f"--endpoint {endpoint}: {file} names {known}")
    llm = config.llm.model_copy(update={"endpoints": tuple(models[:1]), "notes_every": 0})
    return config.model_copy(update={"operators": {chosen: 1.0}, "llm": llm})


def _tried(config: Config) -> _Tried:
    """One proposal from the seed, in a folder that is gone afterwards."""
    from evo.assembly.campaign import build_campaign
    from evo.folder import create_campaign
    from evo.runtime.components import LoopSettings
    from operators.source.compare import unified_diff
    from population.reading.traces import calls, exchanges

    with TemporaryDirectory(prefix="evo-try-") as place:
        folder = create_campaign(config, Path(place) / "try")
        components = build_campaign(folder, config, LoopSettings(queue=0), complain).components
        components.recorder.start()
        try:
            made = components.proposer.propose(NUMBER, None)
        finally:
            components.stopping.set()
            for close in components.closing:
                close()
            components.recorder.close()
        with folder.open_store() as store:
            said = exchanges(store, MAX_CHARACTERS).get(NUMBER, [])
            asked = list(zip(calls(store, NUMBER), said, strict=True))
        seed = config.seed_source()
    child = made.variant.source if made.variant is not None else seed
    sides = (seed.splitlines(), child.splitlines())
    return _Tried(made, asked, list(unified_diff(*sides, "seed", "child", end="")))


def _tell(tried: _Tried) -> None:
    from evo.terminal.tables import call_line
    from evo.terminal.text import printable

    made = tried.proposal
    for call, said in tried.asked:
        if "probe" in call.parts:
            print(f"-- a small question, to find out in which form it answers: {call.outcome}\n")
            continue
        why = f" again, since {call.again_because}" if call.again_because else ""
        print(f"-- asked{printable(why)}\n\n{printable(said.prompt)}\n")
        print(f"-- answered\n\n{printable(said.reply)}\n")
        print(f"-- cost\n\n{printable(call_line(call))}\n")
    if made.variant is None:
        print(f"-- no child: {printable(made.reason)}")
        return
    print(f"-- child: {printable(made.idea)}\n")
    for line in tried.diff:
        print(printable(line))
