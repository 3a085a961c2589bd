"""How the body of a chat completion is read: its text, its tokens, and what a server says of errors."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
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
MAX_THOUGHTS = 200_000  # characters of a model's thoughts that are kept, for want of an answer
REFUSING = (400, 404, 415, 422, 500, 501)  # how servers answer a field that they do not know
_MAX_TOKENS = 10**8  # a usage beyond it is not believed
_MAX_DOLLARS = 1e6  # likewise
_MAX_TOKEN_BYTES = 8  # on average over a text: code has 3 to 4
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts")
_THINKING_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking")
_CUT_OFF = ("length", "max_tokens", "model_length", "max_output_tokens")
_FILTERED = ("content_filter", "safety", "recitation", "blocklist", "prohibited_content")
_BROKEN = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource")
_ANSWER = re.compile(r"\s*(\{|```|<{5,9}\s|[#*_>\s]*IDEA\b)", re.IGNORECASE)  # no thought begins so
_THOUGHT_END = re.compile(r".*</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_STATUS_OF = {  # words in place of a status, where a server puts an error into a 200
    "rate_limit": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "overloaded": 503,
    "unavailable": 503,
    "server_error": 500,
    "internal": 500,
    "timeout": 504,
}
_NEVER_AGAIN = ("insufficient_quota", "billing", "insufficient_credits")
_TRY_AGAIN = re.compile(
    r"(?:again|retry|wait)\s+(?:in|after|for)?\s*(?:(\d+)m)?\s*(\d+(?:\.\d+)?)\s*(ms|m|s)",
    re.IGNORECASE,
)


class Said:
    """What a message holds, or the pieces of one: text, refusal, thoughts, and arguments of tool calls."""

    def __init__(self) -> None:
        self.pieces = self.bytes = self.text_bytes = self.thought_bytes = 0
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._thoughts: dict[str, list[str]] = {}  # by the field that held them
        self._calls: dict[object, list[str]] = {}  # arguments by index
        self._thought_size = 0

    def add(self, message: Mapping[str, object], whole_so_far: bool = False) -> bool:
        """Take in a message, or one piece; whether it held anything.

        `whole_so_far`: it may repeat all that went before it.
        """
        before = self.bytes
        text, thought = _parted(message.get("content"))
        if whole_so_far and text and text.startswith(known := self.text()):
            text = text[len(known) :]
        self._texts.append(text)
        self.text_bytes += self._counted(text)
        self._think("content", thought)
        for name in _THOUGHTS:
            self._think(name, "".join(_parted(message.get(name))))
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refusals.append(refusal)
            self._counted(refusal)
        self._call(message)
        self.pieces += self.bytes > before
        return self.bytes > before

    def text(self) -> str:
        """The text, without thoughts."""
        return "".join(self._texts)

    def answer(self, finish: str, max_tokens: int) -> tuple[str, str]:
        """The answer, and why it is none ("" when it is one)."""
        text = self.text()
        if self._refusals:
            return text, f"the model refused: {one_line(''.join(self._refusals), 200)}"
        if finish in _FILTERED:
            return text, "the server's content filter stopped the answer"
        if finish in _CUT_OFF:
            only = " by thoughts alone" if self._thoughts and not text.strip() else ""
            return text, f"the answer was cut off at max_tokens = {max_tokens}{only}"
        return (text, "") if text.strip() else self._elsewhere()

    def _elsewhere(self) -> tuple[str, str]:
        """The answer where it does not stand in the content: never a draft from inside thoughts."""
        calls = ["".join(one) for one in self._calls.values()]
        if len(calls) == 1 and calls[0].lstrip().startswith("{"):
            return calls[0], ""
        if calls:
            return "", "the model answered nothing but calls of tools, which it was not offered"
        for name, pieces in self._thoughts.items():
            thought = "".join(pieces)
            after = _THOUGHT_END.sub("", thought)
            if after != thought and after.strip():
                return after, ""
            if _ANSWER.match(thought):
                return thought, ""
            where = f"{len(thought):,} characters of thoughts stand in {name}"
            return "", f"the model answered nothing: {where}"
        return "", "the model answered nothing"

    def _think(self, name: str, thought: str) -> None:
        if thought:
            self.thought_bytes += self._counted(thought)
            kept = thought[: max(0, MAX_THOUGHTS - self._thought_size)]
            self._thought_size += len(kept)
            self._thoughts.setdefault(name, []).append(kept)

    def _call(self, message: Mapping[str, object]) -> None:
        told = message.get("tool_calls")
        calls = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        if isinstance(message.get("function_call"), dict):
            calls.append({"function": message["function_call"]})
        for number, one in enumerate(calls):
            function = one.get("function")
            given = function.get("arguments") if isinstance(function, dict) else None
            text = json.dumps(given) if isinstance(given, dict) else given
            if isinstance(text, str) and text:
                self._calls.setdefault(one.get("index", number), []).append(text)
                self._counted(text)

    def _counted(self, text: str) -> int:
        size = len(text.encode(errors="replace"))
        self.bytes += size
        return size


def _parted(content: object) -> tuple[str, str]:
    """Text and thoughts of a content field: a string, a part, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        found = [_parted(one) for one in content]
        return "".join(text for text, _ in found), "".join(thought for _, thought in found)
    if not isinstance(content, dict):
        return "", ""
    kind = content.get("type")
    for name in ("text", "value", "content", *_THOUGHTS, "summary"):
        text, thought = _parted(content.get(name))
        if text or thought:
            thinks = kind in _THINKING_PARTS or name in _THOUGHTS or content.get("thought") is True
            return ("", text + thought) if thinks else (text, thought)
    return "", ""


def message_of(choice: Mapping[str, object]) -> tuple[Mapping[str, object], bool]:
    """What a choice says, whole or in part, and whether it may repeat what went before it."""
    delta, message = choice.get("delta"), choice.get("message")
    if isinstance(delta, dict) and any(delta.values()):
        return delta, False
    if isinstance(message, dict):
        return message, True
    if isinstance(message, str):
        return {"content": message}, True
    return {"content": choice.get("text")}, False


def first_choice(data: Mapping[str, object]) -> Mapping[str, object] | None:
    """The one choice of a completion or a piece of it; None without."""
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def usage_in(data: Mapping[str, object]) -> object:
    """The tokens that a completion or a piece of it tells, wherever it does."""
    choice, groq = first_choice(data) or {}, data.get("x_groq")
    inner = groq.get("usage") if isinstance(groq, dict) else None
    return data.get("usage") or choice.get("usage") or inner


def read_answer(body: bytes, content_type: str, prompt: str, max_tokens: int) -> tuple[str, Usage]:
    """The text of a chat completion and its tokens. Raises CallFailed with one clear reason."""
    shown = body[:2000].decode(errors="replace")
    try:
        data = json.loads(body.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        kind = content_type.split(";")[0] or "something"
        reason = f"the server answered {kind} that is not JSON (does base_url end in /v1?)"
        if not body.strip():
            reason = "the server answered nothing at all"
        failed = CallFailed(reason, reply=shown)
        failed.no_json = True
        raise failed from None
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    data = data if isinstance(data, dict) else {}
    guess = Usage(estimate_tokens(prompt), math.ceil(len(body) / BYTES_PER_TOKEN))
    return read_completion(data, guess, shown, max_tokens)


def read_completion(
    data: Mapping[str, object], guess: Usage, shown: str, max_tokens: int
) -> tuple[str, Usage]:
    """The text of a completion and its tokens, `guess` where the server tells none.

    `shown` is kept as the reply where there is no text. Raises CallFailed with one clear reason.
    """
    choice, said = first_choice(data), Said()
    if choice is None or data.get("error"):
        is_said = bool(data.get("error")) or status_in(data) is not None
        nothing = Usage() if is_said else guess  # what failed is not billed
        raise failure_in(data, shown, read_usage(usage_in(data), nothing))
    said.add(message_of(choice)[0])
    finish = choice.get("finish_reason")
    usage = read_usage(usage_in(data), guess, said)
    return read_said(
        said, finish if isinstance(finish, str) else "", usage, shown, max_tokens, choice
    )


def read_said(
    said: Said,
    finish: str,
    usage: Usage,
    shown: str,
    max_tokens: int,
    choice: Mapping[str, object],
) -> tuple[str, Usage]:
    """The answer that was said, and its tokens. Raises CallFailed where it is none."""
    finish = finish.lower()
    shown = said.text()[:2000] or shown
    if choice.get("error"):
        raise failure_in(choice, shown, usage, passing=True)
    if finish in _BROKEN:
        reason = f"the server broke the answer off (finish_reason: {finish})"
        raise CallFailed(reason, again=True, unknown=True, usage=usage, reply=shown)
    text, reason = said.answer(finish, max_tokens)
    if reason:
        unusable = Unusable(reason, usage=usage, reply=text or shown)
        unusable.only_thoughts = finish in _CUT_OFF and not text.strip() and said.thought_bytes > 0
        raise unusable
    return text, usage


def read_usage(usage: object, guess: Usage, said: Said | None = None) -> Usage:
    """The tokens a server tells, or the guess where it tells none or nonsense.

    What it bills beside the completion - thoughts, as a rule - is counted: the larger of what follows.
    """
    told = usage if isinstance(usage, dict) else {}
    sent = _count(told, "prompt_tokens", "input_tokens")
    answered = _count(told, "completion_tokens", "output_tokens")
    total = _count(told, "total_tokens")
    details = told.get("completion_tokens_details") or told.get("output_tokens_details")
    inner = details if isinstance(details, dict) else {}
    thoughts = _count(inner, "reasoning_tokens") or _count(
        told, "reasoning_tokens", "thoughts_token_count"
    )
    if said and said.bytes and not answered:
        answered = None  # a server that tells 0 for an answer does not count
    estimated = not sent or answered is None
    if answered is None and total and sent:
        answered, estimated = total - sent, False
    if not sent and total and answered:
        sent = max(total - answered, 0)
    sent = sent or guess.tokens_in
    answered = guess.tokens_out if answered is None or answered < 0 else answered
    if total is not None:
        answered = max(answered, total - sent)
    if thoughts is not None and thoughts > answered:
        answered += thoughts
    heard = said.thought_bytes if said else 0
    if heard > _MAX_TOKEN_BYTES * answered:  # they were thought, and not counted
        answered, estimated = answered + math.ceil(heard / BYTES_PER_TOKEN), True
    return Usage(sent, answered, _dollars(told.get("cost")), estimated)


def _count(told: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        count = told.get(name)
        if isinstance(count, float) and count.is_integer():
            count = int(count)
        if type(count) is int and 0 <= count <= _MAX_TOKENS:
            return count
    return None


def _dollars(told: object) -> float | None:
    known = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if known and 0 <= told < _MAX_DOLLARS else None  # type: ignore[arg-type, operator]


# -- Errors, by HTTP status or inside a 200.


_OTHER_FORMS = {  # APIs that are no chat completions, by keys of their answers
    "Ollama's own API": {"done", "message"},
    "Anthropic's messages": {"stop_reason", "content"},
    "OpenAI's responses": {"output", "object"},
}


def failure_in(
    data: Mapping[str, object], shown: str, usage: Usage, passing: bool = False
) -> CallFailed:
    """An error in the body of an answer with status 200. `passing`: it may pass where no status tells."""
    said, status = error_message(data), status_in(data)
    if not said and status is None:
        other = next((name for name, keys in _OTHER_FORMS.items() if keys <= data.keys()), "")
        what = f": it is in the form of {other}" if other else ""
        hint = f"{what}; base_url has to lead to chat completions, as a rule by /v1"
        return CallFailed(f"the answer has no choices{hint}", usage=usage, reply=shown)
    again = may_pass(status, data) if status else passing and may_pass(500, data)
    told = f"the server says: {said}" + (f" ({status})" if status else "")
    wait = wait_asked(said) if again else None
    return CallFailed(
        told, again=again, wait=wait, usage=usage, unknown=passing, reply=shown, status=status
    )


def may_pass(status: int | None, body: object) -> bool:
    """Whether another attempt may succeed: 408, 425, 429 and 5xx, unless nothing is left to spend."""
    error = _error_in(body)
    kinds = {str(error.get(name, "")).lower() for name in ("code", "type")}
    if any(word in kind for kind in kinds for word in _NEVER_AGAIN):
        return False
    return status in (408, 425, 429) or (status or 0) >= 500


def status_in(body: object) -> int | None:
    """The HTTP status that an error in a body names, as a number or in words."""
    error = _error_in(body)
    for name in ("code", "status", "status_code", "http_code", "type"):
        told = error.get(name)
        if isinstance(told, int) and not isinstance(told, bool) and 400 <= told < 600:
            return told
        if isinstance(told, str) and told.isdigit() and 400 <= int(told[:9]) < 600:
            return int(told)
        if isinstance(told, str):
            words = told.lower()
            if found := next((code for word, code in _STATUS_OF.items() if word in words), None):
                return found
    return None


def _error_in(body: object) -> Mapping[str, object]:
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


def error_message(body: object) -> str:
    """The message in an error body of the usual shapes, as one short line; "" when there is none."""
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]
    if isinstance(body, dict):
        inner = body.get("error") or body
        body = _message_in(inner) if isinstance(inner, dict) else inner
    if not isinstance(body, str) or "<html" in body.lower():
        return ""
    return one_line(body, 300)


def _message_in(error: Mapping[str, object]) -> object:
    """What an error says; the provider's own words behind a router's."""
    message, detail, param = error.get("message"), error.get("detail"), error.get("param")
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(message, str) and isinstance(raw, str) and raw not in message:
        message = f"{message}: {raw}"
    if isinstance(message, str) and isinstance(param, str) and param not in message:
        message = f"{message} ({param})"
    if isinstance(message, list | dict):  # as validators of requests do: where, and what
        detail = message.get("detail", message) if isinstance(message, dict) else message
        message = None
    if not message and isinstance(detail, list):
        return "; ".join(_located(one) for one in detail if isinstance(one, dict))
    return message or detail


def _located(one: Mapping[str, object]) -> str:
    where = one.get("loc")
    parts: Iterable[object] = where if isinstance(where, list) else ()
    return f"{'.'.join(str(part) for part in parts if part != 'body')}: {one.get('msg', '')}"


def wait_asked(said: str) -> float | None:
    """Seconds that an error asks to wait in words: "try again in 1m2.5s"."""
    found = _TRY_AGAIN.search(said)
    if found is None:
        return None
    factor = {"ms": 0.001, "s": 1.0, "m": 60.0}[found[3].lower()]
    return 60.0 * float(found[1] or 0) + factor * float(found[2])


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
