"""What may be asked of a campaign from outside, one verb a function: for the page, for agents, for people.

Each becomes a row with its author, which the process that runs the campaign answers, or the next one that does.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.campaigns import DATABASE, ask, no_search_in, running_process
from population.reading import (
    first_proposal,
    nearest,
    pending,
    repeated,
    resolve,
    seed,
    source_of,
)
from population.store import Store
from population.types import MAX_TEXT_CHARS, RequestRow, Variant

IDEA, NOTE, EDIT_NOTE, INJECT, VETO, APPROVE, STOP = (
    "idea", "note", "edit note", "inject", "veto", "approve", "stop",
)  # fmt: skip
UNWRITABLE = {
    "Cc",
    "Cs",
}  # control characters and halves of characters: a line break or tab alone is kept


class Refused(ValueError):
    """What was asked cannot be; the message says why, in one line for whom it was asked by."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A variant that was put in. `shared`: the share of lines that its parent has; None where one was named."""

    variant_id: str
    parent_id: str
    shared: float | None


def steer(folder: Path, asked: Mapping[str, str], author: str) -> str:
    """Do what a form asks, by `kind` and fields of text; what was asked, in words. Refused says why not."""
    verb = FORMS.get(asked.get("kind", ""))
    if verb is None:
        raise Refused(f"kind is one of {', '.join(FORMS)}")
    return verb(folder, asked, author)


def worded(text: str, what: str = "text") -> str:
    """A person's or an agent's words without control characters. Refused for none or too many."""
    kept = (
        " " if unicodedata.category(one) in UNWRITABLE and one not in "\n\t" else one
        for one in text
    )
    said = "".join(kept).strip()
    if not said or len(said) > MAX_TEXT_CHARS:
        held = f"{len(said):,} characters" if said else "no text"
        raise Refused(f"the {what} has {held}: give 1 to {MAX_TEXT_CHARS:,} characters")
    return said


def when_answered(folder: Path, where: str | None = None) -> str:
    """When what is asked takes effect, in words; `where`: " --dir FOLDER" for the command to type."""
    process = running_process(folder)
    if process is not None:
        return f"process {process} takes it up now"
    where = f" --dir {shlex.quote(str(folder))}" if where is None else where
    return f"no process runs this campaign; carried out by the next `evo resume{where}`"


def give_idea(folder: Path, text: str, author: str) -> str:
    """An idea in words, for language models to try."""
    ask(_searched(folder), IDEA, {"text": worded(text, "idea")}, author)
    return "idea put in"


def write_note(folder: Path, text: str, on: Sequence[str], author: str) -> str:
    """A research note that prompts carry from now on; `on`: the variants that it rests on."""
    said = worded(text, "note")
    with Store.open(_searched(folder) / DATABASE, read_only=True) as store:
        evidence = [resolve(store, one) for one in on]
    ask(folder, NOTE, {"text": said, "evidence": evidence}, author)
    return "note put in"


def veto(folder: Path, variant: str, reason: str, author: str) -> str:
    """A variant is neither measured nor promoted any more."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id, root = resolve(store, variant), seed(store)
    if variant_id == root:
        raise Refused("the seed cannot be vetoed: everything is measured against it")
    ask(folder, VETO, {"variant_id": variant_id, "reason": reason}, author)
    return f"vetoed {variant_id[:8]}"


def approve(folder: Path, variant: str, author: str) -> str:
    """A variant may go up to the next rung."""
    from evo.analysis.campaign_view import Record
    from evo.analysis.ladder import objection_to_approving, rungs_to_approve
    from evo.campaigns import terms_of

    with Store.open(folder / DATABASE, read_only=True) as store:
        variant_id, record = resolve(store, variant), Record.of(store)
    terms = terms_of(folder, record)
    if objection := objection_to_approving(record, terms, variant_id, None):
        raise Refused(objection)
    rungs = rungs_to_approve(record, terms, variant_id, None)
    for rung in rungs:
        ask(folder, APPROVE, {"variant_id": variant_id, "rung": rung}, author)
    return f"approved {variant_id[:8]} for {', '.join(rungs)}"


def stop(folder: Path, author: str) -> str:
    """The campaign ends once the runs under way have finished."""
    ask(folder, STOP, {"now": False}, author)
    return "asked to stop: the runs under way finish first"


def propose(
    folder: Path, source: str, idea: str, parent: str | None, author: str, what: str = "the source"
) -> Proposed:
    """A whole variant, checked now as every proposal is and measured in its turn.

    `parent`: what it was made from, by default the variant that shares most of its lines; `what`: what to
    call the source where it is refused.
    """
    said = worded(idea, "idea") if idea else ""
    with Store.open(_searched(folder) / DATABASE, read_only=True) as store:
        child = checked(store, source, what)
        known = repeated(store, child)
        if known:
            made = first_proposal(store, known)
            whose = f" ({made.operator}, proposal {made.number})" if made else ""
            raise Refused(f"{what} is the same code as {known[:8]}{whose}; `evo show {known[:8]}`")
        parent_id, shared = (
            (resolve(store, parent), None) if parent else nearest(store, child.source)
        )
    with Store.open(folder / DATABASE) as store, store.transaction():
        waiting = [one for one in pending(store) if one.kind == INJECT]
        if any(_code(one) == child.fingerprint for one in waiting):
            raise Refused(
                f"{what}: the same code was put in before and waits; `evo status` shows what waits"
            )
        detail = {"parent_id": parent_id, "source": child.source, "idea": said}
        store.add_request(INJECT, detail, author)
    return Proposed(child.id, parent_id, shared)


def checked(store: Store, source: str, what: str) -> Variant:
    """The source as a variant that nothing speaks against; Refused says what does."""
    from evo.tasks.settings import TaskSettings, objection_to
    from population.fingerprint import fingerprint
    from population.types import variant_id

    task = (store.setting("config") or {}).get("task")
    settings = TaskSettings.model_validate(task) if task else None
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{what}: not UTF-8 text (character {error.start})") from None
    if objection := objection_to(source, source_of(store, resolve(store, "seed")), settings):
        page = "" if settings else "; docs/contract.md says what a train.py needs"
        raise Refused(f"{what}: {objection}{page}")
    return Variant(variant_id(source), source, fingerprint(source))


def _code(asked: RequestRow) -> str:
    """The fingerprint of a variant that waits to be put in."""
    from population.fingerprint import fingerprint

    return fingerprint(str(asked.detail["source"]))


def _searched(folder: Path) -> Path:
    """The folder, where its campaign can go on."""
    if objection := no_search_in(folder):
        raise Refused(objection)
    return folder


Form = Callable[[Path, Mapping[str, str], str], str]


def _line(asked: Mapping[str, str]) -> str:
    return " ".join(asked.get("text", "").split())


def _put_in(folder: Path, asked: Mapping[str, str], author: str) -> str:
    parent = asked.get("variant", "") or None
    made = propose(folder, asked.get("source", ""), _line(asked), parent, author)
    return f"{made.variant_id[:8]}, a child of {made.parent_id[:8]}: {when_answered(folder)}"


FORMS: Mapping[str, Form] = {
    IDEA: lambda folder, asked, author: give_idea(folder, _line(asked), author),
    NOTE: lambda folder, asked, author: write_note(folder, _line(asked), (), author),
    VETO: lambda folder, asked, author: veto(
        folder, asked.get("variant", ""), _line(asked), author
    ),
    APPROVE: lambda folder, asked, author: approve(folder, asked.get("variant", ""), author),
    STOP: lambda folder, asked, author: stop(folder, author),
    INJECT: _put_in,
}
