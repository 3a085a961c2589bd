"""The command that writes a folder to start from: init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evo.cli.app import FAILED, JsonOption, app, complain, show_json
from evo.cli.folder import SHIPPED

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
    there = [name for name in files if (folder / name).exists()]
    if there:
        complain(f"{folder} holds {', '.join(there)} already; nothing was written")
        raise typer.Exit(FAILED)
    if folder.exists() and not folder.is_dir():
        complain(f"{folder} is a file; give the folder to write")
        raise typer.Exit(FAILED)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if as_json:
        show_json({"path": folder, "files": list(files)})
        return
    print(f"{folder / 'seed/train.py'}   the file that evolves: replace it or edit it")
    print(f"{folder / 'seed/harness.py'} to try it by hand: python {folder}/seed/train.py")
    print(f"{folder / 'brief.md'}        what every language model is told")
    print(f"{folder / 'campaign.yaml'}   data, rungs, operators, budget")
    print(f"\nnext  evo run {folder / 'campaign.yaml'} --dry-run")


def by_hand() -> dict[str, bytes]:
    """What a train.py needs beside it to be run by hand: the harness and the embedded text, by name."""
    return {name: (SHIPPED / "seed" / name).read_bytes() for name in BY_HAND}


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
