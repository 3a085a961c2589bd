"""What passes between us and a model: messages, replies and failures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from operators.llm.settings import PLACEHOLDER_KEY
from population.types import Cost, LlmCall

BYTES_PER_TOKEN = 3  # code has 3 to 4: an estimate on the high side
_KEY_LIKE = re.compile(r"\bsk-[\w*.-]{6,}")
_SHORTEST_SECRET = 8  # "x" or "dummy" is no secret, and would blot out half a prompt


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: role is "system", "user" or "assistant"; `parts` say what a whole conversation is made of.

    `again_because`: why the answer before it could not be used, where it asks for another.
    `edited`, in the first: the source that an answer edits, "" where it is none.
    """

    role: str
    content: str
    parts: Mapping[str, int] = field(default_factory=dict)  # about how many tokens each part has
    again_because: str = ""
    edited: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole, unrefused answer, and what all attempts at it cost."""

    text: str
    endpoint: str
    model: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; `tokens_in` includes what a server had cached."""

    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float | None = None  # that the server says it cost
    estimated: bool = False  # not, or not wholly, what the server told: rather too many


class CallFailed(Exception):
    """One request gave no answer. `again`: another attempt may; `wait`: seconds the server asks for."""

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        wait: float | None = None,
        usage: Usage | None = None,
        unknown: bool = False,
        reply: str = "",
        ours: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait, self.reply = reason, again, wait, reply
        self.usage = usage or Usage()
        self.status = status  # of HTTP, where the server answered with an error
        self.ours = ours  # not the endpoint's doing
        self.resting = False  # the endpoint takes a rest, after faults that may pass
        self.manner: object = None  # a Manner to ask in at once again, where a field was refused
        self.no_json = False  # the server answered, and no completion: a page, as a rule
        # The server may have billed it all the same: book at least what was held.
        self.unknown = unknown


class Unusable(CallFailed):
    """The model answered, and nothing that can be used: cut off, refused, or empty."""

    only_thoughts = False  # it was cut off before it said anything


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN)


def prompt_text(messages: Sequence[Message]) -> str:
    """The messages as one readable text: the form in which a call is stored."""
    return "\n\n".join(f"## {message.role}\n\n{message.content}" for message in messages)


def scrub(text: str, keys: Iterable[str]) -> str:
    """The text without keys, and without what cannot be stored as UTF-8."""
    for key in keys:
        if len(key) >= _SHORTEST_SECRET and key != PLACEHOLDER_KEY:
            text = text.replace(key, "[key]")
    return _KEY_LIKE.sub("[key]", text).encode(errors="replace").decode()


def one_line(text: str, limit: int) -> str:
    """The text as one line of at most `limit` characters, without control characters."""
    line = "".join(mark if mark.isprintable() else " " for mark in text)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def cost_of(calls: Sequence[LlmCall], seconds: float) -> Cost:
    """What requests cost together; dollars are unknown when one price is."""
    prices = [one.dollars for one in calls]
    known = [price for price in prices if price is not None]
    dollars = sum(known, 0.0) if len(known) == len(prices) else None
    tokens_in, tokens_out = (
        sum(one.tokens_in for one in calls),
        sum(one.tokens_out for one in calls),
    )
    return Cost(seconds, tokens_in, tokens_out, dollars)
