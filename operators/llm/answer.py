"""What passes between us and a model: messages, replies, failures, and how an answer is read."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from operators.llm.settings import PLACEHOLDER_KEY
from population.types import Cost, LlmCall

MAX_BODY_BYTES = 4_000_000
REFUSING = (400, 404, 415, 422, 500, 501)  # how servers answer a field that they do not know
_MAX_TOKENS = 10**8  # a usage beyond it is not believed
_BYTES_PER_TOKEN = 3  # code has 3 to 4: an estimate on the high side
_KEY_LIKE = re.compile(r"\bsk-[\w*.-]{6,}")
_SHORTEST_SECRET = 8  # "x" or "dummy" is no secret, and would blot out half a prompt


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: role is "system", "user" or "assistant"; `parts` say what a whole conversation is made of."""

    role: str
    content: str
    parts: Mapping[str, int] = field(default_factory=dict)  # about how many tokens each part has


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
        self.stream_mode: int | None = None  # of asking at once again, where only that was refused
        # The server may have billed it all the same: book at least what was held.
        self.unknown = unknown


class Unusable(CallFailed):
    """The model answered, and nothing that can be used: cut off, refused, or empty."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN)


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


def read_answer(body: bytes, content_type: str, prompt: str, max_tokens: int) -> tuple[str, Usage]:
    """The text of a chat completion and its tokens. Raises CallFailed with one clear reason."""
    shown = body[:2000].decode(errors="replace")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        kind = content_type.split(";")[0] or "something"
        reason = f"the server answered {kind} that is not JSON (does base_url end in /v1?)"
        raise CallFailed(reason, reply=shown) from None
    data = data if isinstance(data, dict) else {}
    guess = Usage(estimate_tokens(prompt), math.ceil(len(body) / _BYTES_PER_TOKEN))
    return read_completion(data, guess, shown, max_tokens)


def read_completion(
    data: Mapping[str, object], guess: Usage, shown: str, max_tokens: int
) -> tuple[str, Usage]:
    """The text of a completion and its tokens, `guess` where the server tells none.

    `shown` is kept as the reply where there is no text. Raises CallFailed with one clear reason.
    """
    usage = _usage(data.get("usage"), guess)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        said = error_message(data)
        reason = f"the server says: {said}" if said else "the answer has no choices"
        raise CallFailed(reason, usage=usage, reply=shown)
    text, reason = _text(choices[0], max_tokens)
    if reason:
        raise Unusable(reason, usage=usage, reply=text or shown)
    return text, usage


def _text(choice: dict[str, object], max_tokens: int) -> tuple[str, str]:
    """The text of a choice, and why it is no answer ("" when it is)."""
    message, finish = choice.get("message"), choice.get("finish_reason")
    message = message if isinstance(message, dict) else {}
    content, refusal = message.get("content"), message.get("refusal")
    text = content if isinstance(content, str) else ""
    if refusal:
        return text, f"the model refused: {one_line(str(refusal), 200)}"
    if finish == "content_filter":
        return text, "the server's content filter stopped the answer"
    if finish == "length":
        return text, f"the answer was cut off at max_tokens = {max_tokens}"
    return text, "" if text.strip() else "the model answered nothing"


def _usage(usage: object, guess: Usage) -> Usage:
    """The tokens a server tells, or the guess where it tells none or nonsense."""
    told = usage if isinstance(usage, dict) else {}

    def tokens(name: str, guessed: int) -> int:
        count = told.get(name)
        return count if type(count) is int and 0 <= count <= _MAX_TOKENS else guessed

    return Usage(
        tokens("prompt_tokens", guess.tokens_in), tokens("completion_tokens", guess.tokens_out)
    )


def error_message(body: object) -> str:
    """The message in an error body of the usual shapes, as one short line; "" when there is none."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(body, str) or "<html" in body.lower():
        return ""
    return one_line(body, 200)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait (`retry-after-ms`, `Retry-After` as seconds or a date)."""
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        value = headers.get("retry-after", "").strip()
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


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
