"""The commands by which a person steers: idea, inject, note. Each becomes a row with its author."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from evo.cli.app import FAILED, DirOption, JsonOption, app, complain, show, show_json
from evo.cli.asking import AuthorOption, when_taken_up
from evo.cli.folder import DATABASE, ask, login_name, opened, searched_folder

if TYPE_CHECKING:
    from population.records import Asked
    from population.store import Store
    from population.variant import Variant

LONGEST_IDEA, LONGEST_NOTE = 2_000, 4_000  # characters


@app.command(epilog='Example: evo idea "tie the embedding to the output head"')
def idea(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to try and why, in words; without it: the list."),
    ] = None,
    author: AuthorOption = None,
    most: Annotated[int, typer.Option("-n", min=1, help="How many to list, the newest.")] = 30,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put in an idea for the language models to try; without TEXT, list ideas and what came of them.

    The effect is child minus parent in val_bpb on the blocks both ran on, the mean of all children of it.
    """
    if text is None:
        _list_ideas(directory, author, most, as_json)
        return
    folder = searched_folder(directory)
    said = _worded(text, LONGEST_IDEA)
    ask(folder, "idea", {"text": said}, author)
    _told(folder, {"text": said}, author, as_json)


def _list_ideas(directory: Path | None, author: str | None, most: int, as_json: bool) -> None:
    from population.memory import judged_ideas

    with opened(directory) as (_, store):
        ideas, waiting = judged_ideas(store, author), _waiting(store, ("idea",), author)
    if as_json:
        show_json({"ideas": ideas, "waiting": waiting})
        return
    if not ideas and not waiting:
        print('No ideas yet. Put one in: evo idea "what to try and why"')
        return
    from evo.terminal.steering import ideas_table

    show(ideas_table(ideas[-most:], waiting))
    if len(ideas) > most:
        print(f"\nthe newest {most} of {len(ideas):,}; -n shows more")


def _waiting(store: Store, kinds: tuple[str, ...], author: str | None = None) -> list[Asked]:
    from population.reading import pending

    found = [one for one in pending(store) if one.kind in kinds]
    return [one for one in found if author in (None, one.author)]


def _told(folder: Path, detail: dict[str, object], author: str | None, as_json: bool) -> None:
    if as_json:
        show_json({**detail, "author": author or login_name(), "path": folder})
    else:
        print(f"noted: {when_taken_up(folder)}")


@app.command(
    epilog='Example: evo note "the learning rate is spent: look at the schedule" --on best'
)
def note(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What was learned here; without it: the list."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="ID", help="A variant that it rests on. Repeatable."),
    ] = None,
    edit: Annotated[
        int | None, typer.Option("--edit", metavar="N", help="Put TEXT in the place of note N.")
    ] = None,
    delete: Annotated[
        int | None, typer.Option("--delete", metavar="N", help="Take note N out of all prompts.")
    ] = None,
    author: AuthorOption = None,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a research note that prompts carry from now on; edit or delete one; or list them."""
    if text is None and edit is None and delete is None:
        _list_notes(directory, as_json)
        return
    if edit is not None and delete is not None:
        _refuse("--edit and --delete do not go together")
    if (text is None) != (delete is not None):
        _refuse("--delete needs no TEXT" if text else f"--edit {edit} needs a TEXT")
    if on and (edit is not None or delete is not None):
        _refuse("--on belongs to a new note")
    folder = searched_folder(directory)
    kind, detail = _of_note(folder, text, edit if delete is None else delete, on or [])
    ask(folder, kind, detail, author)
    _told(folder, detail, author, as_json)


def _of_note(
    folder: Path, text: str | None, number: int | None, on: list[str]
) -> tuple[str, dict[str, object]]:
    """The kind and the detail of the request, checked against what is known."""
    from population.memory import notes
    from population.reading import resolve
    from population.store import Store

    said = None if text is None else _worded(text, LONGEST_NOTE)
    with Store.open(folder / DATABASE, read_only=True) as store:
        evidence = [resolve(store, one) for one in on]
        standing = [one.id for one in notes(store)]
    if number is None:
        return "note", {"text": said, "evidence": evidence}
    if number not in standing:
        known = ", ".join(map(str, standing[-10:])) or "none yet"
        _refuse(f"there is no note {number}; notes that stand: {known}")
    return (
        ("delete note", {"id": number})
        if said is None
        else ("edit note", {"id": number, "text": said})
    )


def _list_notes(directory: Path | None, as_json: bool) -> None:
    from population.memory import notes

    with opened(directory) as (_, store):
        standing = notes(store)
        waiting = _waiting(store, ("note", "edit note", "delete note"))
    if as_json:
        show_json({"notes": standing, "waiting": waiting})
        return
    if not standing and not waiting:
        print('No notes yet. Write one: evo note "what was learned here"')
        return
    from evo.terminal.steering import notes_table

    show(notes_table(standing, waiting))


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
    from population.reading import first_proposal, nearest, repeated, resolve
    from population.store import Store

    folder = searched_folder(directory)
    child = _checked(file)
    with Store.open(folder / DATABASE, read_only=True) as store:
        known = repeated(store, child)
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
