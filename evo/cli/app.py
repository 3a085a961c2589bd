"""The command line's frame: the app, what every command shares, and how errors are told."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup
from typer.main import get_command

RENAMED_COMMANDS = {"graduates": "ladder"}  # it differed from `evo graduate` by one letter


class Commands(TyperGroup):
    """Every command by its name, or by the one that it had before."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words ask for; of an old name with one line of advice."""
        if args and (name := RENAMED_COMMANDS.get(args[0])):
            complain(f"`evo {args[0]}` is now called `evo {name}`")
            args = [name, *args[1:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="evo",
    cls=Commands,
    help="Evolve a population of train.py variants: measured by someone else, certified or called noise.",
    epilog=(
        "Start here: `evo init mine`, edit mine/campaign.yaml, `evo run mine/campaign.yaml`. What block, rung, "
        "slot, standing, leader and others mean: README, section Words."
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="The campaign's folder or its name; by default the newest under ./campaigns.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]

ID_HELP = "An id, a unique prefix of 4 or more digits, or seed, leader, best, last (README: Words)."

ERRORS = {  # told in one line; looked up by name, because importing them would make `evo status` slow
    "evo.benchmark.landscapes.package": "NoTables",
    "evo.config": "ConfigError",
    "evo.folder": "CampaignError",
    "evo.cli.folder": "NoCampaign",
    "evo.evaluation.sandbox.agent_box": "AgentUnusable",
    "evo.tokens.shards": "DataError",
    "evo.evaluation.sandbox.sandbox": "SandboxUnavailable",
    "evo.importing.results": "ImportFailure",
    "evo.serve.verbs": "Refused",
    "evo.tasks.settings": "TaskError",
    "operators.registry": "UnknownOperator",
    "evo.sharing.merging": "SharingError",
    "population.reading": "UnknownVariant",
    "population.store": "StoreError",
}
FAILED, STOPPED, INTERRUPTED = 2, 3, 130  # exit codes; a signal's is 128 and its number


def main() -> None:
    """The entry point `evo`: one clear line on stderr and exit code 2 for every foreseen mistake."""
    # We use no plugins of pydantic; looking for them in all that is installed takes 50 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # The cores are the runs'. Our matrices are small: threads that wait for each other double what a row costs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a letter that the terminal does not know is shown as ?
            stream.reconfigure(errors="replace")
    _advise()
    for number in (signal.SIGTERM, signal.SIGHUP):  # they, too, tidy up; nohup stays in force
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    _signals.clear()
    try:
        _command()()
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(interrupted_code())
    except SystemExit as end:
        sys.exit(_code_of(end))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone (`evo tree | head`)
        sys.exit(0)
    except known_errors() as error:
        complain(str(error))
        sys.exit(FAILED)
    except (
        OSError
    ) as error:  # a folder that cannot be made, a full disk: the machine's word is enough
        complain(
            ": ".join(filter(None, (error.filename and str(error.filename), error.strerror)))
            or str(error)
        )
        sys.exit(FAILED)


@cache  # made once where one process runs several commands: it takes 50 ms
def _command() -> Any:
    return get_command(app)


_signals: list[int] = []  # those that interrupted this process, beside Ctrl-C


def _interrupt(number: int, frame: FrameType | None) -> None:
    _signals.append(number)
    signal.default_int_handler(number, frame)


def _code_of(end: SystemExit) -> str | int | None:
    """The exit code that is meant by typer's: it ends every KeyboardInterrupt as if it were Ctrl-C.

    Where the reader of a pipe has gone (`evo tree | head`), it and rich say 1; that is no failure.
    """
    if end.code == INTERRUPTED:
        return interrupted_code()
    return 0 if isinstance(end.__context__, BrokenPipeError) else end.code


def interrupted_code() -> int:
    """The exit code of a process that was interrupted: 128 and the signal's number."""
    return 128 + _signals[0] if _signals else INTERRUPTED


def known_errors() -> tuple[type[Exception], ...]:
    """The classes of foreseen errors that this process has loaded."""
    loaded = ((sys.modules.get(module), name) for module, name in ERRORS.items())
    return tuple(getattr(module, name) for module, name in loaded if hasattr(module, name))


def complain(text: str) -> None:
    """One clear message on stderr; a closed terminal takes none."""
    from evo.terminal.text import printable

    with suppress(OSError):
        print(f"evo: {printable(text)}", file=sys.stderr, flush=True)


def _advise() -> None:
    """Tell of every old key once, in one line on stderr."""
    from evo.old_keys import OldKeyWarning

    told, usual = set[str](), warnings.showwarning

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category is not OldKeyWarning:
            usual(message, category, *where, **more)
        elif (text := str(message)) not in told:
            told.add(text)
            complain(text)

    warnings.simplefilter("always", OldKeyWarning)
    warnings.showwarning = tell


def show(*parts: RenderableType) -> None:
    """Print to stdout as rich renderables; colours only on a terminal."""
    console = Console(highlight=False, markup=False)
    for part in parts:
        console.print(part)


def is_stdout(output: Path) -> bool:
    """Whether -o means what this process prints to, so that nothing else may be printed there."""
    return str(output) in ("-", "/dev/stdout")


def write_out(text: str) -> None:
    """Text to stdout as it is, UTF-8 whatever the terminal's encoding: it is a file's content."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # a stream of text alone, such as io.StringIO
        sys.stdout.write(text)
        return
    binary.write(text.encode())
    binary.flush()


def show_json(value: object) -> None:
    """Print one JSON document; what is not a finite number is null."""
    print(json.dumps(as_json(value), indent=2))


def as_json(value: Any) -> Any:
    """Dataclasses, mappings and sequences as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


# -- The panels of `evo --help`: the commands in the order in which a person meets them.


PANELS = {
    "Set up": ("init", "adopt", "doctor", "slots", "import-autoresearch"),
    "Run": ("run", "stop", "resume", "graduate", "salvage"),
    "Look": (
        "list",
        "status",
        "log",
        "top",
        "show",
        "diff",
        "tree",
        "history",
        "ladder",
        "report",
        "serve",
        "export",
        "export-table",
        "track",
    ),
    "Steer": ("idea", "note", "inject", "approve", "veto", "mcp"),
    "Measure and compare": ("evaluate", "calibrate", "ablate", "compare", "bench"),
    "Share": ("merge", "push", "pull"),
}


def arrange(app: typer.Typer) -> None:
    """Put every command of the app into its panel and place. KeyError for a command without a place, and
    for a place without a command: nobody imported its file.
    """
    places = [(panel, name) for panel, names in PANELS.items() for name in names]
    place_of = {name: place for place, (_, name) in enumerate(places)}
    named = {
        one.name or getattr(one.callback, "__name__", ""): one for one in app.registered_commands
    }
    for name, one in named.items():
        one.rich_help_panel = places[place_of[name]][0]
    app.registered_commands = [named[name] for name in place_of]
