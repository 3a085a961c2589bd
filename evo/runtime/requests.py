"""What other processes ask of a campaign: taken in their order, each answered once, across a kill too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from evo.proposals.proposer import one_line
from evo.runtime.components import Components, Shared
from evo.runtime.proposal_lane import ProposalLane
from evo.search.halting import reason_of
from operators.operator import Draft
from population.reading import pending
from population.store import Store, StoreError
from population.types import MAX_TEXT_CHARS, Outcome, Parent, Proposal, RequestRow

WITHDRAWN = object()  # withdrawn before it was answered
INJECT = "inject"  # the operator of a variant that a person or an agent wrote


@dataclass(frozen=True, slots=True)
class Answer:
    """What to write, in the transaction that ends the request, and what to say of what that gave."""

    write: Callable[[Store], Any]
    said: Callable[[Any], str]


def saying(text: str) -> Answer:
    """An answer that writes nothing."""
    return Answer(lambda store: None, lambda written: text)


Answering = Callable[[RequestRow], Answer]


class Requests:
    """A table of answers by kind. A request that makes no sense is said and ended; the campaign goes on."""

    def __init__(
        self,
        components: Components,
        shared: Shared,
        children: ProposalLane,
        answers: Mapping[str, Answering],
    ) -> None:
        self._components = components
        self._shared = shared
        self._children = children
        self._answers = {
            "idea": self._idea,
            INJECT: self._inject,
            "note": self._note,
            "edit note": self._edit_note,
            "delete note": self._delete_note,
            "claim": self._claim,
            **answers,
        }

    def answer(self, leave_out: Collection[str] = ()) -> None:
        """Answer what waits, the oldest first; kinds in `leave_out` are ended and nothing more."""
        for asked in self._shared.recorder.write(pending):
            author = one_line(asked.author, 40)
            if asked.kind in leave_out:
                text = self._end(asked, saying(""))
            elif asked.kind not in self._answers:
                kind = one_line(asked.kind, 40)
                text = self._end(
                    asked, saying(f"{author} asked for {kind}, which is not known here")
                )
            else:
                text = self._answered(asked, author)
            if text:
                self._shared.say("request", one_line(text))

    def _answered(self, asked: RequestRow, author: str) -> str:
        try:
            return self._end(asked, self._answers[asked.kind](asked))
        except (LookupError, TypeError, ValueError, StoreError) as error:
            if isinstance(error, StoreError) and error.passing:
                raise  # the disk's fault: it is asked again after `evo resume`
            wrong = f"{author} asked for {asked.kind} in a way that cannot be used: {error}"
            return self._end(asked, saying(wrong))

    def _end(self, asked: RequestRow, answer: Answer) -> str:
        def write(store: Store) -> Any:
            with store.transaction():
                if not store.finish_request(asked.id):
                    return WITHDRAWN
                return answer.write(store)

        written = self._shared.recorder.write(write)
        return "" if written is WITHDRAWN else answer.said(written)

    def _idea(self, asked: RequestRow) -> Answer:
        text = worded(asked.detail["text"], MAX_TEXT_CHARS)
        return Answer(
            lambda store: store.add_idea(text, asked.author),
            lambda number: f"{asked.author} put in idea {number}: {text}",
        )

    def _note(self, asked: RequestRow) -> Answer:
        text, evidence = (
            worded(asked.detail["text"], MAX_TEXT_CHARS),
            asked.detail.get("evidence", []),
        )
        if unknown := [one for one in evidence if one not in self._components.lineage]:
            raise LookupError(f"no variant {one_line(str(unknown[0]), 12)} for it to rest on")
        seen = self._components.history.last_id()
        return Answer(
            lambda store: store.add_note(text, asked.author, evidence, seen),
            lambda number: f"{asked.author} wrote note {number}: {text}",
        )

    def _edit_note(self, asked: RequestRow) -> Answer:
        number, text = int(asked.detail["id"]), worded(asked.detail["text"], MAX_TEXT_CHARS)
        return Answer(
            lambda store: store.edit_note(number, text, asked.author),
            lambda stood: _of_note(stood, number, f"{asked.author} edited note {number}: {text}"),
        )

    def _delete_note(self, asked: RequestRow) -> Answer:
        number = int(asked.detail["id"])
        return Answer(
            lambda store: store.delete_note(number),
            lambda stood: _of_note(stood, number, f"{asked.author} deleted note {number}"),
        )

    def _claim(self, asked: RequestRow) -> Answer:
        """The row alone holds until it expires: others read it."""
        return saying(f"{asked.author} works on: {worded(asked.detail['text'], MAX_TEXT_CHARS)}")

    def _inject(self, asked: RequestRow) -> Answer:
        """A person's variant is a proposal like any other: checked, rejected as a repeat, measured.

        An agent's is one within the budget, and waits for its turn.
        """
        detail = asked.detail
        within = bool(detail.get("within_budget"))
        parent, source = str(detail["parent_id"]), str(detail["source"])
        if parent not in self._components.lineage:
            raise LookupError(f"no variant {one_line(parent, 12)} to be its parent")
        draft = Draft(source, str(detail.get("idea", "")), author=one_line(asked.author, 40))
        proposal = self._components.proposer.judge(
            self._children.next_number(), INJECT, (Parent(parent, "parent"),), draft
        )
        if within and (reason := self._why_over()):
            proposal = replace(proposal, outcome=Outcome.FAILED, reason=reason, variant=None)

        def said(made: Proposal) -> str:
            self._children.welcome(made, first=not within)
            if made.outcome is Outcome.VARIANT and made.variant is not None:
                return f"{asked.author} put in {made.variant.id[:8]}: {made.idea}"
            return f"what {asked.author} put in gave no child ({made.outcome}): {made.reason}"

        return Answer(lambda store: self._children.commit(store, proposal), said)

    def _why_over(self) -> str:
        """Why no child of an agent comes in any more; "" while the search goes on."""
        if over := self._components.budget.exhausted():
            return f"budget spent, {over}"
        rules = self._components.stop
        halted = None if rules is None else rules.halted
        return "" if halted is None else f"the search is over, {reason_of(halted)}"


def _of_note(stood: bool, number: int, done: str) -> str:
    return done if stood else f"there is no note {number} any more"


def worded(text: object, most: int) -> str:
    """A person's text. ValueError when it is none, empty, or longer than `most` characters."""
    found = text.strip() if isinstance(text, str) else ""
    if not found or len(found) > most:
        raise ValueError(f"a text of 1 to {most:,} characters is needed")
    return found
