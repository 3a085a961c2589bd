"""The commands by which a person steers: idea, inject, note. Each becomes a row with its author."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from evo.campaigns import DATABASE, ask, login_name, open_to_write
from evo.cli.app import FAILED, DirOption, JsonOption, app, complain, show, show_json
from evo.cli.folder import at, opened, searched_folder

if TYPE_CHECKING:
    from population.store import Store
    from population.types import RequestRow


@app.command(epilog='Example: evo idea "tie the embedding to the output head"')
def idea(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to try and why, in words; without it: the list."),
    ] = None,
    delete: Annotated[
        str | None,
        typer.Option("--delete", metavar="N", help="Withdraw the idea N (w7), which still waits."),
    ] = None,
    author: AuthorOption = None,
    most: Annotated[int, typer.Option("-n", min=1, help="How many to list, the newest.")] = 30,
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put in an idea for the language models to try; without TEXT, list ideas and their outcomes.

    The effect is child minus parent in the first objective on the blocks both ran on, the mean of all
    its children.
    """
    if delete is not None:
        if text is not None:
            _refuse("--delete needs no TEXT")
        folder = searched_folder(directory)
        _change_waiting(folder, "idea", delete, None)
        _tell_change(folder, delete, None, author, as_json)
        return
    if text is None:
        _list_ideas(directory, author, most, as_json)
        return
    folder = searched_folder(directory)
    said = _worded(text)
    ask(folder, "idea", {"text": said}, author)
    _told(folder, {"text": said}, author, as_json, "nobody will try it")


def _list_ideas(directory: Path | None, author: str | None, most: int, as_json: bool) -> None:
    from evo.analysis.campaign_view import Record
    from evo.analysis.effects_of_edits import ideas_with_effects
    from evo.serve.verbs import claims

    with opened(directory) as (folder, store):
        record = Record.of(store)
        ideas, waiting = (
            ideas_with_effects(store, record, author),
            _waiting(store, ("idea",), author),
        )
        claimed = [one for one in claims(store) if author in (None, one.author)]
    why = unheard(folder) if waiting or any(not one.children for one in ideas) else ""
    if as_json:
        show_json({"ideas": ideas, "waiting": waiting, "claims": claimed})
        return
    if not ideas and not waiting and not claimed:
        print('No ideas yet. Put one in: evo idea "what to try and why"')
        return
    from evo.terminal.tables import claims_list, ideas_list

    show(ideas_list(ideas[-most:], waiting, record.objective), claims_list(claimed))
    if len(ideas) > most:
        print(f"\nthe newest {most} of {len(ideas):,}; -n shows more")
    if why:
        from evo.terminal.text import words

        show(words(""), words(f"{why}: nobody will try what is not tried yet"))


def _waiting(store: Store, kinds: tuple[str, ...], author: str | None = None) -> list[RequestRow]:
    from population.reading import pending

    found = [one for one in pending(store) if one.kind in kinds]
    return [one for one in found if author in (None, one.author)]


def _told(
    folder: Path, detail: dict[str, object], author: str | None, as_json: bool, vain: str = ""
) -> None:
    """Say when it is acted on; `vain`: what follows where no operator asks a model."""
    why = unheard(folder) if vain else ""
    if as_json:
        show_json({**detail, "author": author or login_name(), "path": folder, "unheard": why})
        return
    print(f"noted: {when_taken_up(folder)}")
    if why:
        from evo.terminal.text import words

        show(words(f"but {why}: {vain} until one does (docs/operators.md)"))


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
        str | None,
        typer.Option(
            "--edit", metavar="N", help="Put TEXT in the place of note N (w7: one that waits)."
        ),
    ] = None,
    delete: Annotated[
        str | None,
        typer.Option(
            "--delete", metavar="N", help="Take note N out of all prompts (w7: one that waits)."
        ),
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
    folder, number = searched_folder(directory), edit if delete is None else delete
    said = None if text is None else _worded(text)
    if number is not None and number.startswith("w"):
        _change_waiting(folder, "note", number, said)
        _tell_change(folder, number, said, author, as_json)
        return
    kind, detail = _of_note(folder, said, number, on or [])
    ask(folder, kind, detail, author)
    _told(folder, detail, author, as_json, "no prompt will carry it" if said is not None else "")


def _of_note(
    folder: Path, said: str | None, number: str | None, on: list[str]
) -> tuple[str, dict[str, object]]:
    """The kind and the detail of the request, checked against what is known."""
    from population.reading import resolve
    from population.reading.memory import notes
    from population.store import Store

    with Store.open(folder / DATABASE, read_only=True) as store:
        evidence = [resolve(store, one) for one in on]
        standing = [str(one.id) for one in notes(store)]
        waiting = [one.name for one in _waiting(store, ("note",))]
    if number is None:
        return "note", {"text": said, "evidence": evidence}
    if number not in standing:
        known = ", ".join((standing + waiting)[-10:]) or "none yet"
        _refuse(f"there is no note {number}; notes that stand or wait: {known}")
    return (
        ("delete note", {"id": int(number)})
        if said is None
        else ("edit note", {"id": int(number), "text": said})
    )


def _tell_change(
    folder: Path, number: str, said: str | None, author: str | None, as_json: bool
) -> None:
    if as_json:
        show_json({"id": number, "text": said, "author": author or login_name(), "path": folder})
    else:
        print("withdrawn" if said is None else f"changed: {when_taken_up(folder)}")


def _change_waiting(folder: Path, kind: str, number: str, said: str | None) -> None:
    """Withdraw a note or idea that no campaign has taken yet; with other words, ask for those in its place."""
    with open_to_write(folder) as store, store.transaction():
        waiting = {one.name: one for one in _waiting(store, (kind,))}
        asked = waiting.get(number)
        if asked is None:
            _refuse(
                f"there is no {kind} {number} that waits; waiting: {', '.join(waiting) or 'none'}"
            )
        store.finish_request(asked.id)
        if said is not None:
            store.add_request(asked.kind, {**asked.detail, "text": said}, asked.author)


def _list_notes(directory: Path | None, as_json: bool) -> None:
    from population.reading.memory import notes

    with opened(directory) as (_, store):
        standing = notes(store)
        waiting = _waiting(store, ("note", "edit note", "delete note"))
    if as_json:
        show_json({"notes": standing, "waiting": waiting})
        return
    if not standing and not waiting:
        print('No notes yet. Write one: evo note "what was learned here"')
        return
    from evo.terminal.tables import notes_list

    show(notes_list(standing, waiting))


@app.command(epilog='Example: evo inject train.py --idea "normalise queries and keys"')
def inject(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, help="A train.py, or a folder where several files evolve."
        ),
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
    from evo.serve.verbs import propose, when_measured
    from population.store import Store

    folder = searched_folder(directory)
    with Store.open(folder / DATABASE, read_only=True) as store:
        source = _source(file, store)
    said = _worded(words) if words else ""
    who = author or login_name()
    made = propose(folder, source, said, parent, who, str(file))
    if as_json:
        known = {"variant": made.variant_id, "parent": made.parent_id}
        show_json({**known, "author": who, "path": folder})
        return
    because = "" if made.shared is None else f", with which it shares {_shared(made.shared)}"
    child = f"{made.variant_id[:8]}, a child of {made.parent_id[:8]}"
    print(f"{child}{because}: {when_measured(folder, who, at(folder))}")


def _shared(part: float) -> str:
    """A share of lines that says "all" only of all."""
    if part == 1.0:
        return "all of its lines, in another order"
    return f"{'more than 99.9' if part > 0.999 else f'{100 * part:.1f}'} % of its lines"


def _worded(text: str) -> str:
    from evo.serve.verbs import worded

    return worded(os.fsencode(text).decode(errors="replace"))  # UTF-8, whatever the locale


def _refuse(text: str) -> NoReturn:
    complain(text)
    raise typer.Exit(FAILED)


def _source(file: Path, store: Store) -> str:
    """What a file or folder holds of what evolves in this campaign."""
    from evo.evaluation.static_check import most_bytes
    from evo.tasks.folder_copy import source_at
    from evo.tasks.settings import TaskSettings
    from population.reading import resolve, source_of

    task = (store.setting("config") or {}).get("task")
    settings = TaskSettings.model_validate(task) if task else None
    if settings is not None and not settings.alone:
        return source_at(file, settings)
    return _read(file, most_bytes(source_of(store, resolve(store, "seed"))))


def _read(file: Path, most: int) -> str:
    """The text of a file; a few bytes more than may be are enough to refuse it."""
    if file.is_dir():
        _refuse(f"{file} is a folder; give the file")
    with file.open("rb") as opened_file:
        raw = opened_file.read(most + 1)
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        _refuse(f"{file}: not UTF-8 text (byte {error.start})")


# -- How a command speaks to a campaign: a row that the process of the campaign answers, now or later.


AuthorOption = Annotated[
    str | None,
    typer.Option("--author", help="Who says it; by default your login name."),
]


def when_taken_up(folder: Path) -> str:
    """When a request takes effect, in words."""
    from evo.serve.verbs import when_answered

    return when_answered(folder, at(folder))


def unheard(folder: Path) -> str:
    """Why no model is asked in a campaign, so that words reach nobody; "" where one may be."""
    from evo.analysis.campaign_view import Record
    from evo.campaigns import DATABASE, config_values
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
    llm = now.get("llm")
    if not isinstance(llm, dict):
        return "there is no llm in the config"
    keys = [one.get("key_env", "OPENAI_API_KEY") for one in llm.get("endpoints") or [{}]]
    missing = [key for key in keys if key and not os.environ.get(key)]
    if len(missing) < len(keys):
        return ""
    return f"{' and '.join(dict.fromkeys(missing))} is not set here, so no model may be asked"
