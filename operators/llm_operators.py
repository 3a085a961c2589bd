"""Operators that ask a model: what they share, and those that need nothing else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from operators.llm.answer import Message, Reply, one_line
from operators.llm.json_answer import plain_answer
from operators.llm.thoughts import without_thoughts
from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.prompting import (
    again_messages,
    crossover_messages,
    mutate_messages,
    repair_messages,
    rewrite_messages,
    simplify_messages,
)
from operators.source.blocks import EditError
from operators.source.edits import MAX_REPLY_CHARS, apply_reply
from operators.source.outline import MAX_SOURCE_CHARS, Excerpt, shown_within
from population.fingerprint import count_nodes
from population.types import MAX_TEXT_CHARS, Cost

MAX_REASON = 200  # characters of why an answer could not be used, as they are recorded
ASKS = 2  # the first answer, and one more with the reason why it could not be used
IDEA = re.compile(
    r"^[ \t#*_>`-]{0,20}IDEAS?"
    r"(?:[ \t]{1,9}(#?\d{1,9}(?:(?:[ \t]?[,+&][ \t]?|[ \t]and[ \t])#?\d{1,9}){0,9}))?"
    r"[ \t*_`]{0,9}:[ \t*_`]{0,9}(.+)$",
    re.IGNORECASE | re.MULTILINE,
)


class Ask(Protocol):
    """Asks a model; `endpoint` names one, else it is drawn. Raises ProposalFailed."""

    def ask(
        self,
        messages: Sequence[Message],
        rng: np.random.Generator,
        proposal_number: int = 0,
        endpoint: str = "",
        as_text: bool = False,
    ) -> Reply:
        """One whole answer; `as_text`: it is no edit, so no form of edits is asked for."""
        ...

    def is_unavailable(self) -> bool:
        """Whether no model is to be asked now."""
        ...

    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that may be asked now."""
        ...


class LlmOperator:
    """Asks for an edit of one source, and once more when the answer is none."""

    as_text = False  # whether its replies have a form of their own, none of those of edits

    def __init__(
        self,
        name: str,
        parent_rule: ParentRule,
        edited: str,
        brief: Callable[[Request], tuple[Message, ...]],
        llm: Ask,
    ) -> None:
        self.name, self.parent_rule = name, parent_rule
        self._edited, self._brief, self._llm = edited, brief, llm
        self._unanswered = set[tuple[str, ...]]()  # prompts, each while it waits for its answer
        self._lock = threading.Lock()

    def is_unavailable(self) -> bool:
        """Whether its model does not answer, so that another operator should go."""
        return self._llm.is_unavailable()

    def endpoints(self) -> tuple[str, ...]:
        """The models it may be sent to."""
        return self._llm.endpoints()

    def propose(self, request: Request) -> Draft:
        """The edited parent. Raises ProposalFailed with the cost of all that was asked.

        The same question is not asked again while its answer is still to come.
        """
        messages = self._brief(request)
        if not self.as_text:
            edited = self._shown(request).whole
            messages = (replace(messages[0], edited=edited), *messages[1:])
        asked = tuple(one.content for one in messages)
        with self._lock:
            if asked in self._unanswered:
                raise ProposalFailed("the same was asked already, and is not answered yet")
            self._unanswered.add(asked)
        try:
            return self._answered(request, messages)
        finally:
            with self._lock:
                self._unanswered.remove(asked)

    def _answered(self, request: Request, messages: tuple[Message, ...]) -> Draft:
        begun, cost, model, reason = time.monotonic(), Cost(), "", ""
        endpoint = request.endpoint
        for _ in range(ASKS):
            try:
                reply = self._llm.ask(messages, request.rng, request.number, endpoint, self.as_text)
            except ProposalFailed as failed:
                cost = replace(add(cost, failed.cost), seconds=time.monotonic() - begun)
                reason, resting = failed.reason, failed.resting
                raise ProposalFailed(reason, cost, failed.model, resting) from None
            cost = replace(add(cost, reply.cost), seconds=time.monotonic() - begun)
            model, endpoint = reply.model, reply.endpoint
            try:
                text = self._answer(reply.text)
                source = self._edit(request, text)
            except EditError as error:
                reason = str(error)
                said = without_thoughts(reply.text).strip() or reply.text
                *before, asking = self._again(messages, said, reason)
                messages = (*before, replace(asking, again_because=one_line(reason, MAX_REASON)))
                continue
            idea = read_idea(text) or f"{self.name} without a stated idea"
            return Draft(source, idea, endpoint, model, cost, self._idea_id(request, text))
        raise ProposalFailed(f"no usable edit in {ASKS} answers: {reason}", cost, model)

    def _idea_id(self, request: Request, reply: str) -> int | None:
        """The idea of the list that the child tries, of several the first; None: the one it states."""
        found = IDEA.search(reply)
        return first_known(found[1], request) if found else None

    def _again(self, messages: tuple[Message, ...], reply: str, reason: str) -> tuple[Message, ...]:
        return again_messages(messages, reply, reason)

    def _answer(self, reply: str) -> str:
        """What a reply says, without its thoughts and out of its JSON. EditError when that is nothing."""
        if len(reply) > MAX_REPLY_CHARS:
            raise EditError(f"the reply has {len(reply)} characters, more than {MAX_REPLY_CHARS}")
        text = without_thoughts(reply)
        if not text.strip():
            raise EditError("the reply holds thoughts only: no answer comes after them")
        return text if self.as_text else plain_answer(text)

    def _shown(self, request: Request) -> Excerpt:
        """What the prompt shows of the source that is edited."""
        return shown_within(request.parent(self._edited).source, MAX_SOURCE_CHARS, request.number)

    def _edit(self, request: Request, reply: str) -> str:
        parent, may_add = request.parent(self._edited), request.context.may_add
        part = self._shown(request).part
        source = apply_reply(parent.source, reply, may_add, None if part is None else part.path)
        for view in request.parents:
            if source == view.source:
                raise EditError(f"the result is the same text as the {view.role}")
        return source


class LlmMutate(LlmOperator):
    """One focused change to one parent."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_mutate", ParentRule.ONE, "parent", mutate_messages, llm)


class LlmRewrite(LlmOperator):
    """A bold change: another design of some part of one parent."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_rewrite", ParentRule.ONE, "parent", rewrite_messages, llm)


class LlmCrossover(LlmOperator):
    """What is good in the second parent, and in a third one if there is one, carried into the first."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_crossover", ParentRule.SEVERAL, "first", crossover_messages, llm)


def first_known(numbers: str | None, request: Request) -> int | None:
    """The first of the numbers in a text that is an idea's of the list that the request shows."""
    known = {one.id for one in request.context.ideas}
    named = (int(one) for one in re.findall(r"\d+", numbers or ""))
    return next((one for one in named if one in known), None)


def read_idea(reply: str) -> str:
    """The hypothesis a reply states in its IDEA line, as one line; "" without one."""
    found = IDEA.search(reply)
    return one_line(found[2].strip("*_ "), MAX_TEXT_CHARS) if found else ""


def add(a: Cost, b: Cost) -> Cost:
    """Two costs together; dollars are unknown when one of them is."""
    known = a.dollars is not None and b.dollars is not None
    dollars = (a.dollars or 0.0) + (b.dollars or 0.0) if known else None
    return Cost(
        a.seconds + b.seconds, a.tokens_in + b.tokens_in, a.tokens_out + b.tokens_out, dollars
    )


# -- Operator `llm_repair`: a child that failed gets another chance, its idea kept.


class LlmRepair(LlmOperator):
    """Mends a failed child, shown how it ended and what it changed."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_repair", ParentRule.FAILED, "parent", repair_messages, llm)

    def _idea_id(self, request: Request, reply: str) -> int | None:
        """The idea stays the failed child's: all children that tried it judge it."""
        return request.parent("parent").idea_id


# -- Operator `llm_simplify`: the same score with less code.


class LlmSimplify(LlmOperator):
    """Takes code out of one parent; a result that is not smaller is asked for again."""

    def __init__(self, llm: Ask) -> None:
        super().__init__("llm_simplify", ParentRule.ONE, "parent", simplify_messages, llm)

    def _edit(self, request: Request, reply: str) -> str:
        source = super()._edit(request, reply)
        before, after = count_nodes(request.parent("parent").source), count_nodes(source)
        if after >= before:
            raise EditError(
                f"the result is not smaller: {after} syntax nodes, the parent has {before}"
            )
        return source
