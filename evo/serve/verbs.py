"""What may be asked of a campaign from outside, one verb a function: for the page, for agents, for people.

Each becomes a row with its author, which the process that runs the campaign answers, or the next one that does.
"""

from __future__ import annotations

import math
import re
import shlex
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from evo.campaigns import DATABASE, ask, no_search_in, open_to_write, running_process
from population.ladder import KINDS, Ladder
from population.reading import (
    decisions,
    first_proposal,
    nearest,
    pending,
    proposals,
    repeated,
    requests_of,
    resolve,
    seed,
    source_of,
    unmeasured,
    unmeasured_proposals,
)
from population.reading.memory import notes
from population.reading.variants import SHORTEST_PREFIX, UnknownVariant
from population.store import Store
from population.types import MAX_TEXT_CHARS, Claim, RequestRow, Variant

IDEA, NOTE, EDIT_NOTE, INJECT, VETO, APPROVE, STOP = (
    "idea", "note", "edit note", "inject", "veto", "approve", "stop",
)  # fmt: skip
CLAIM = "claim"
AGENT = "agent:"  # how the author of what an agent asks begins, so that none passes for a person
MAX_LOOKED_AT = 1_000  # of the newest children without a run
MAX_NAME = 30  # letters of an agent's name
MAX_PENDING = 4  # of an agent's proposals that wait for their first run
MAX_PENDING_OF_ALL = 12  # of all agents': the search itself has to get its turn, too
MAX_NOTES = 12  # of one agent that stand or wait: prompts carry them
MAX_CLAIMS = 3  # of one agent in force
MAX_CLAIM_MINUTES = 240
MAX_IDEA = 2_000  # characters of an agent's idea, note or claim
ALIKE = 0.6  # the share of words from which on two claims are of one idea
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
        return f"process {process} carries it out now"
    where = f" --dir {shlex.quote(str(folder))}" if where is None else where
    return f"no process runs this campaign; carried out by the next `evo resume{where}`"


def when_measured(folder: Path, author: str, where: str | None = None) -> str:
    """When a variant that was put in is measured, or that it will not be as the search is over, in words."""
    when, over = when_answered(folder, where), why_over(folder)
    if not over:
        return when
    if author.startswith(AGENT):
        rejected = "it is rejected unless a person lets the search go on"
        return f"{when}\nbut the search is over ({over}): {rejected}"
    return f"{when}\nthe search is over ({over}): it is measured all the same, and nothing is made from it"


def why_over(folder: Path) -> str:
    """Which budgets are spent, or the rule that ends the search, in words; "" while it takes children."""
    from evo.campaigns import overview_of

    with Store.open(folder / DATABASE, read_only=True) as store:
        one = overview_of(folder, store, changes=False)
    spent = [
        name.replace("_", " ")
        for name, part in one.budget.items()
        if part.limit is not None and part.used >= part.limit
    ]
    rules = [rule.line for rule in one.stop if rule.is_reached]
    return "; ".join([f"budget spent, {', '.join(spent)}"] * bool(spent) + rules)


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
    folder: Path,
    source: str,
    idea: str,
    parent: str | None,
    author: str,
    what: str = "the source",
    most: int | None = None,
    claim_id: int | None = None,
) -> Proposed:
    """A whole variant, checked now as every proposal is and measured in its turn.

    `parent`: what it was made from, by default the variant that shares most of its lines; `what`: what to
    call the source where it is refused; `most`: of an agent, how many it may put in, within the budget;
    `claim_id`: the claim that it ends.
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
    with open_to_write(folder) as store, store.transaction():
        waiting = [one for one in pending(store) if one.kind == INJECT]
        if any(_code(one) == child.fingerprint for one in waiting):
            raise Refused(
                f"{what}: the same code was put in before and waits; `evo status` shows what waits"
            )
        detail: dict[str, object] = {"parent_id": parent_id, "source": child.source, "idea": said}
        if most is not None:
            _refuse_too_many(store, author, most)
            detail |= {"within_budget": True, "variant_id": child.id}
        if claim_id is not None:
            _refuse_a_claim_of_another(store, author, claim_id)
            detail["claim"] = claim_id
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


# -- What agents may ask, and how much of it: none may crowd out the others, or the search.


class Stage(StrEnum):
    """How far a proposal is."""

    WAITING = "waiting"  # for the campaign to check it
    TO_RUN = "to run"  # checked; its first run is under way or to come
    MEASURED = "measured"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ProposalState:
    """How far a proposal is, and that in words."""

    stage: Stage
    variant_id: str
    words: str


def agent_name(name: str) -> str:
    """An author of an agent's own, whatever it calls itself: never a person's name, or the campaign's."""
    known = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")[:MAX_NAME]
    return AGENT + (known or "unnamed")


def first_rung(store: Store) -> str:
    """The rung where the search happens."""
    return str(next(iter((store.setting("config") or {}).get("rungs") or {"proxy": {}})))


def waiting_of_agents(store: Store) -> list[str]:
    """The author of each proposal of an agent that waits for a check or for its first run."""
    vetoed = Ladder.of(decisions(store, KINDS)).vetoed
    made = unmeasured_proposals(store, first_rung(store), None, MAX_LOOKED_AT)
    asked = [one.author for one in pending(store) if one.kind == INJECT]
    found = asked + [one.author for one in made if one.variant_id not in vetoed]
    return [one for one in found if one.startswith(AGENT)]


def put_in_by(store: Store, author: str) -> int:
    """How many proposals an author has put in so far, whatever their outcome."""
    return sum(one.author == author for one in requests_of(store, INJECT))


def _refuse_too_many(store: Store, author: str, most: int) -> None:
    waiting = waiting_of_agents(store)
    mine = waiting.count(author)
    if mine >= MAX_PENDING:
        raise Refused(
            f"{mine} proposals of yours wait already, and {MAX_PENDING} may: wait for a measurement first"
        )
    if len(waiting) >= MAX_PENDING_OF_ALL:
        raise Refused(
            f"{len(waiting)} proposals of agents wait already, and {MAX_PENDING_OF_ALL} may: try again later"
        )
    if put_in_by(store, author) >= most:
        raise Refused(f"you have put in {most} proposals, all that this door allows (--most)")


def claims(store: Store) -> list[Claim]:
    """The claims in force: not over, and not ended by a proposal that named them."""
    ended = {
        one.detail.get("claim")
        for one in requests_of(store, INJECT)
        if isinstance(one.detail, dict)
    }
    now, found = time.time(), list[Claim]()
    for one in requests_of(store, CLAIM):
        try:
            claim_of = Claim(
                one.id, one.author, str(one.detail["text"]), float(one.detail["until"])
            )
        except (KeyError, TypeError, ValueError):  # written by another version
            continue
        if one.id not in ended and now < claim_of.until < now + 60 * MAX_CLAIM_MINUTES + 1:
            found.append(claim_of)
    return found


def claim(folder: Path, text: str, minutes: int, author: str) -> Claim:
    """Say that one works on an idea, so that no other tries the same meanwhile. Refused where another does."""
    said = _short(text, "claim")
    if not 1 <= minutes <= MAX_CLAIM_MINUTES:
        raise Refused(f"a claim is for 1 to {MAX_CLAIM_MINUTES} minutes")
    until = time.time() + 60 * minutes
    with open_to_write(_searched(folder)) as store, store.transaction():
        known = claims(store)
        for one in known:
            if one.author != author and are_alike(one.text, said):
                left = math.ceil((one.until - time.time()) / 60)
                raise Refused(
                    f"{one.author} works on this (claim {one.id}, for {left} minutes more): take another idea"
                )
        if sum(one.author == author for one in known) >= MAX_CLAIMS:
            raise Refused(f"{MAX_CLAIMS} claims of yours are in force: propose one of them first")
        number = store.add_request(CLAIM, {"text": said, "until": until}, author)
    return Claim(number, author, said, until)


def are_alike(one: str, other: str) -> bool:
    """Whether two texts are of one idea: they share most of their words of four letters and more."""
    mine, theirs = (words_in(text) or {text.strip().lower()} for text in (one, other))
    return len(mine & theirs) >= ALIKE * len(mine | theirs)


def words_in(text: str, least: int = 4) -> set[str]:
    """The words of a text that say something: `least` letters or more, in lower case."""
    return {one for one in re.findall(r"\w+", text.lower()) if len(one) >= least}


def post_note(folder: Path, text: str, on: Sequence[str], author: str) -> str:
    """An agent's research note: as a person's, but short, and few at a time."""
    said = _short(text, "note")
    with Store.open(_searched(folder) / DATABASE, read_only=True) as store:
        evidence = [resolve(store, one) for one in on[:MAX_PENDING_OF_ALL]]
    with open_to_write(folder) as store, store.transaction():
        held = [one.author for one in notes(store)]
        held += [one.author for one in pending(store) if one.kind == NOTE]
        if held.count(author) >= MAX_NOTES:
            raise Refused(
                f"{MAX_NOTES} notes of yours stand, all that may: a person can delete some (`evo note`)"
            )
        store.add_request(NOTE, {"text": said, "evidence": evidence}, author)
    return "note put in"


def _short(text: str, what: str) -> str:
    if len(text) > MAX_IDEA:
        raise Refused(f"the {what} has {len(text):,} characters: give 1 to {MAX_IDEA:,} characters")
    return worded(text, what)


def _refuse_a_claim_of_another(store: Store, author: str, claim_id: int) -> None:
    if not any(one.id == claim_id and one.author == author for one in claims(store)):
        raise Refused(f"no claim {claim_id} of yours is in force")


def state_of(store: Store, wanted: str) -> ProposalState:
    """How far a proposal is, by the variant's id or a prefix. UnknownVariant for one that nobody put in."""
    try:
        variant_id = resolve(store, wanted)
    except UnknownVariant:
        return _not_taken(store, wanted)
    rung = first_rung(store)
    if variant_id in Ladder.of(decisions(store, KINDS)).vetoed:
        return ProposalState(Stage.REJECTED, variant_id, f"{variant_id[:8]} was vetoed by a person")
    if variant_id in unmeasured(store, rung):
        return ProposalState(
            Stage.TO_RUN, variant_id, f"{variant_id[:8]} is checked; its first run is to come"
        )
    return ProposalState(Stage.MEASURED, variant_id, f"{variant_id[:8]} is measured")


def _not_taken(store: Store, wanted: str) -> ProposalState:
    """Of a variant without a row: it waits to be checked, or the campaign gave it no child."""
    waiting = {one.id for one in pending(store)}
    for one in reversed(requests_of(store, INJECT)):
        detail = one.detail if isinstance(one.detail, dict) else {}
        found = str(detail.get("variant_id", ""))
        if len(wanted) < SHORTEST_PREFIX or not found.startswith(wanted.lower()):
            continue
        if one.id in waiting:
            when = when_answered(store.path.parent)
            return ProposalState(Stage.WAITING, found, f"{found[:8]} waits to be checked: {when}")
        why = rejected_because(store, one)
        return ProposalState(Stage.REJECTED, found, f"{found[:8]} gave no child: {why}")
    raise UnknownVariant(f"no variant {wanted[:70]!r}, and none such was put in")


def rejected_because(store: Store, asked: RequestRow) -> str:
    """Why what was put in gave no child, as its proposal says."""
    made = [
        one
        for one in proposals(store)
        if one.variant_id is None
        and (one.operator, one.author) == (INJECT, asked.author)
        and one.created_at >= asked.created_at
    ]
    return made[0].reason if made else "the campaign could not use it; `evo log` says why"


Form = Callable[[Path, Mapping[str, str], str], str]


def _line(asked: Mapping[str, str]) -> str:
    return " ".join(asked.get("text", "").split())


def _put_in(folder: Path, asked: Mapping[str, str], author: str) -> str:
    parent = asked.get("variant", "") or None
    made = propose(folder, asked.get("source", ""), _line(asked), parent, author)
    return (
        f"{made.variant_id[:8]}, a child of {made.parent_id[:8]}: {when_measured(folder, author)}"
    )


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
