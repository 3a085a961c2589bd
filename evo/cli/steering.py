"""The commands by which a person steers: idea, inject, note. Each becomes a row with its author."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from evo.cli.app import FAILED, DirOption, JsonOption, app, complain, show_json
from evo.cli.asking import AuthorOption, when_taken_up
from evo.cli.folder import DATABASE, ask, login_name, searched_folder

if TYPE_CHECKING:
    from population.store import Store
    from population.variant import Variant

LONGEST_IDEA = 2_000  # characters


@app.command(epilog='Example: evo idea "tie the embedding to the output head"')
def idea(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to try and why, in words.")],
    author: AuthorOption = None,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put in an idea for the language models to try."""
    folder = searched_folder(directory)
    said = _worded(text, LONGEST_IDEA)
    ask(folder, "idea", {"text": said}, author)
    if as_json:
        show_json({"text": said, "author": author or login_name(), "path": folder})
        return
    print(f"noted: {when_taken_up(folder)}")


@app.command(epilog='Example: evo inject train.py --idea "normalise queries and keys"')
def inject(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A train.py.")
    ],
    words: Annotated[
        str, typer.Option("--idea", help="What it tries and why, in a sentence: others read it.")
    ] = "",
    parent: Annotated[
        str | None,
        typer.Option(
            "--parent",
            metavar="ID",
            help="What it was made from; by default the variant that shares most of its lines.",
        ),
    ] = None,
    author: AuthorOption = None,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put in a variant of your own; it is checked now, and measured as the next child.

    It counts in the budget, and is measured even where that is spent.
    """
    from evo.analysis.record import Record
    from evo.cli.folder import config_values
    from population.reading import first_proposal, nearest, resolve
    from population.store import Store

    folder = searched_folder(directory)
    child = _checked(file)
    with Store.open(folder / DATABASE, read_only=True) as store:
        known = _repeated(store, child)
        allowed = config_values(folder, Record.of(store)).get("repeats") == "allow"
        if known == child.id or (known and not allowed):
            made = first_proposal(store, known)
            whose = f" ({made.operator}, proposal {made.number})" if made else ""
            _refuse(f"{file} is the same code as {known[:8]}{whose}; `evo show {known[:8]}`")
        parent_id, shared = (
            (resolve(store, parent), None) if parent else nearest(store, child.source)
        )
    said = _worded(words, LONGEST_IDEA) if words else ""
    detail = {"parent_id": parent_id, "source": child.source, "idea": said}
    ask(folder, "inject", detail, author)
    if as_json:
        who = author or login_name()
        show_json({"variant": child.id, "parent": parent_id, "author": who, "path": folder})
        return
    because = "" if shared is None else f", with which it shares {shared:.0%} of its lines"
    print(f"{child.id[:8]}, a child of {parent_id[:8]}{because}: {when_taken_up(folder)}")


def _worded(text: str, most: int) -> str:
    said = text.strip()
    if not said or len(said) > most:
        _refuse(f"give a text of 1 to {most:,} characters, not {len(said):,}")
    return said


def _refuse(text: str) -> NoReturn:
    complain(text)
    raise typer.Exit(FAILED)


def _checked(file: Path) -> Variant:
    """The file as a variant that nothing speaks against; else it is told, and the command ends."""
    from evo.evaluation.static_check import MOST_SOURCE_BYTES, check_source
    from population.fingerprint import fingerprint
    from population.variant import Variant, variant_id

    with file.open("rb") as opened_file:
        raw = opened_file.read(MOST_SOURCE_BYTES + 1)
    try:
        source = raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        _refuse(f"{file}: not UTF-8 text (byte {error.start})")
    if objection := check_source(source):
        _refuse(f"{file}: {objection}; docs/contract.md says what a train.py needs")
    return Variant(variant_id(source), source, fingerprint(source))


def _repeated(store: Store, child: Variant) -> str | None:
    from population.reading import variant_by_fingerprint

    if store.query("SELECT 1 FROM variants WHERE id = ?", [child.id]):
        return child.id
    return variant_by_fingerprint(store, child.fingerprint)
