"""How the body of a chat completion is read: its text, its tokens, and what a server says of errors."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from operators.llm.answer import (
    BYTES_PER_TOKEN,
    CallFailed,
    Unusable,
    Usage,
    estimate_tokens,
    one_line,
)

MAX_BODY_BYTES = 4_000_000
REFUSING = (400, 404, 415, 422, 500, 501)  # how servers answer a field that they do not know
_MAX_TOKENS = 10**8  # a usage beyond it is not believed


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
    guess = Usage(estimate_tokens(prompt), math.ceil(len(body) / BYTES_PER_TOKEN))
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
