"""The command that writes a folder to start from: init."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evo.cli.app import FAILED, JsonOption, app, complain, show_json
from evo.cli.folder import SHIPPED
from evo.files import campaign_around, write_file

if TYPE_CHECKING:
    from population.store import Store

RUN_SCRIPT = "run.sh"
BY_HAND = ("harness.py", "corpus/sotu.json", "corpus/sotu.txt.xz", "corpus/README.md")
OWN_DATA = """\
# What to train on. Without it: the embedded text, the State of the Union addresses.
# data:
#   path: "notes/*.txt"            # your own text: UTF-8 files or globs
# data:                            # or your own tokens; docs/configuration.md has the format
#   shards: "tokens/*.bin"
#   bytes_per_token: tokens/bytes.npy
#   vocab: 50257
"""


@app.command(epilog="Example: evo init mine && evo run mine/campaign.yaml")
def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder to write; nothing in it is overwritten."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a folder to start from: a seed, a config and a brief, all meant to be edited."""
    files = {
        "seed/train.py": (SHIPPED / "seed" / "train.py").read_bytes(),
        "brief.md": (SHIPPED / "configs" / "brief.md").read_bytes(),
        "campaign.yaml": _starting_config(
            (SHIPPED / "configs" / "quickstart.yaml").read_text("utf-8"), folder
        ).encode(),
        **{f"seed/{name}": content for name, content in by_hand().items()},
    }
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        complain(f"{folder} holds {', '.join(there)} already; nothing was written")
        raise typer.Exit(FAILED)
    if os.path.lexists(folder) and not folder.is_dir():
        complain(f"{folder} is a file; give the folder to write")
        raise typer.Exit(FAILED)
    if around := campaign_around(folder / "seed"):
        complain(f"{folder} lies in the campaign {around}; give a folder outside of it")
        raise typer.Exit(FAILED)
    for name, content in files.items():
        write_file(folder / name, content, replace=False)
    if as_json:
        show_json({"path": folder, "files": list(files)})
        return
    print(f"{folder / 'seed/train.py'}   the file that evolves: replace it or edit it")
    by_hand_, start = (shlex.quote(str(folder / n)) for n in ("seed/train.py", "campaign.yaml"))
    print(f"{folder / 'seed/harness.py'} to try it by hand: python {by_hand_}")
    print(f"{folder / 'brief.md'}        what every language model is told")
    print(f"{folder / 'campaign.yaml'}   data, rungs, operators, budget")
    print(f"\nnext  evo run {start} --dry-run")


def by_hand() -> dict[str, bytes]:
    """What a train.py needs beside it to be run by hand: the harness and the embedded text, by name."""
    return {name: (SHIPPED / "seed" / name).read_bytes() for name in BY_HAND}


@dataclass(frozen=True, slots=True)
class ByHand:
    """How a train.py is run by hand at the scale of a rung, and in what that differs from the campaign."""

    rung: str
    settings: Mapping[str, str]  # of the environment
    line: str  # to type where it lies
    differences: Sequence[str]


def as_measured(store: Store, path: Path) -> ByHand | None:
    """The proxy's scale for a train.py at `path`; None for a store that never trained, as an import."""
    config: dict[str, Any] = store.setting("config", {})
    rungs: dict[str, Any] = config.get("rungs", {})
    rung = next(iter(rungs), "")
    scale: dict[str, Any] = rungs.get(rung, {})
    if not {"depth", "budget", "context"} <= set(scale):
        return None
    settings = {
        "CLOCK": scale.get("clock") or _clock(store, config.get("clock", "auto")),
        "BUDGET_SECONDS": f"{scale['budget']:.10g}",
        "DEPTH": str(scale["depth"]),
        "CONTEXT": str(scale["context"]),
    }
    given = " ".join(f"{name}={text}" for name, text in settings.items())
    place = "" if str(path.parent) == "." else f"cd {shlex.quote(str(path.parent))} && "
    data = config.get("data") or {}
    own = next((key for key in ("path", "shards") if data.get(key)), None)
    differences = [
        "it splits and scores its text in its own way, so the figures are near, not equal"
    ]
    if own is not None:
        differences = [
            f"by hand it trains on the embedded text, not on your data.{own}: no figure compares"
        ]
    if settings["CLOCK"] == "tokens":
        differences.append("with CLOCK=tokens, BUDGET_SECONDS is the number of tokens")
    line = f"{place}{given} python {shlex.quote(path.name)}"
    return ByHand(rung, settings, line, differences)


def _clock(store: Store, stated: str) -> str:
    """The campaign's clock; where that was left to the machine, what its runs ran on tells."""
    if stated != "auto":
        return stated
    devices = store.query("SELECT device FROM measurements WHERE device != '' LIMIT 1")
    return "seconds" if devices and "cpu" not in devices[0][0] else "cpu_seconds"


def run_script(hand: ByHand, name: str, variant_id: str) -> bytes:
    """A shell script that runs the train.py `name` beside it at that scale; each value can be overridden."""
    lines = [
        "#!/bin/sh",
        f"# {name}, variant {variant_id[:8]}, by hand as the campaign ran it at its rung {hand.rung}.",
        *(f"# Note: {one}." for one in hand.differences),
        'cd "$(dirname "$0")" || exit',
        *(f'export {key}="${{{key}:-{value}}}"' for key, value in hand.settings.items()),
        f'exec "${{PYTHON:-python3}}" {shlex.quote(name)}',
    ]
    return ("\n".join(lines) + "\n").encode()


def _starting_config(shipped: str, folder: Path) -> str:
    """The quickstart config with its paths turned to the new folder's files, remarks kept."""
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-"
        for letter in folder.resolve().name
    )
    turned = {
        "name": f"name: {name or 'campaign'}",
        "train": "train: seed/train.py",
        "brief": "brief: brief.md",
    }
    lines = []
    for line in shipped.splitlines():
        key = line.split(":", 1)[0]
        _, hash_sign, remark = line.partition("#")
        remark = f"  # {remark.strip()}" if hash_sign else ""
        lines.append(turned[key] + remark if key in turned else line)
        if key == "brief":
            lines += OWN_DATA.splitlines()
    return "\n".join(lines) + "\n"
