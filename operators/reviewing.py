"""A model's review of a patch before it goes up the ladder: by a rubric, with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from operators.llm.answer import Message, estimate_tokens, one_line
from operators.llm.thoughts import without_thoughts
from operators.llm_operators import Ask
from operators.operator import ProposalFailed
from operators.prompting import fill, quoted

MAX_PATCH_CHARS = 40_000  # that a reviewer is shown
MAX_REASON_CHARS = 600
_VERDICT = re.compile(
    r"^[ \t#*_>`-]{0,20}VERDICT[ \t*_`]{0,9}:[ \t*_`]{0,9}(approve|object)\b",
    re.IGNORECASE | re.MULTILINE,
)
_REASON = re.compile(
    r"^[ \t#*_>`-]{0,20}REASON[ \t*_`]{0,9}:[ \t*_]{0,9}(.+)$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class WrittenReview:
    """What a model said of a patch: whether it may go up, and why or why not."""

    approves: bool
    reason: str


def review_patch(
    llm: Ask, endpoint: str, patch: str, rung: str, rng: np.random.Generator
) -> WrittenReview:
    """What the model of an endpoint says of a patch against the seed that is to go up to a rung.

    Raises ProposalFailed when no answer came, or one without a verdict and a reason.
    """
    if len(patch) > MAX_PATCH_CHARS:
        return WrittenReview(False, f"the patch has {len(patch):,} characters: too long to be read")
    system = fill("review_system.md")
    user = fill("review.md", rung=one_line(rung, 40), patch=quoted("patch", patch))
    parts = {"brief": estimate_tokens(system), "task": estimate_tokens(user)}
    messages = (Message("system", system), Message("user", user, parts))
    reply = llm.ask(messages, rng, endpoint=endpoint, as_text=True)
    text = without_thoughts(reply.text)
    verdicts, reasons = {one.lower() for one in _VERDICT.findall(text)}, _REASON.findall(text)
    if not verdicts or not reasons:
        raise ProposalFailed("the answer has no VERDICT and REASON line", reply.cost, reply.model)
    if len(verdicts) > 1:  # it may quote the patch, and who wrote that may have put a verdict there
        raise ProposalFailed(
            "the answer has a VERDICT for and one against", reply.cost, reply.model
        )
    said = reasons[-1].strip("*_ ")
    said = one_line(said.strip("`") if said.count("`") % 2 else said, MAX_REASON_CHARS)
    return WrittenReview(verdicts == {"approve"}, said)
