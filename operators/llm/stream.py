"""A streamed answer: how it is asked for, and its pieces put together while somebody watches."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from enum import IntEnum

from operators.llm.answer import CallFailed, Unusable, Usage, estimate_tokens, one_line
from operators.llm.completion import REFUSING, read_completion
from operators.llm.settings import Endpoint

_OTHER_FIELDS = ("response_format", "temperature", "max_tokens", "max_completion_tokens")
_MAX_TOKEN_BYTES = 8  # on average over an answer: code has 3 to 4
_SHOWN = 2000  # characters of an answer that is given up


class StreamMode(IntEnum):
    """How an answer is asked for: at once, in pieces, or in pieces with the tokens told at the end."""

    WHOLE = 0
    PIECES = 1
    COUNTED = 2

    def fields(self) -> dict[str, object]:
        """What a request has to say for it."""
        if self is StreamMode.WHOLE:
            return {}
        return {"stream": True} | (
            {"stream_options": {"include_usage": True}} if self is StreamMode.COUNTED else {}
        )


class StreamModes:
    """The stream mode in which each endpoint can be asked, as far as this process knows. Thread-safe.

    A server that refuses a field it does not know is unable, not down: it is asked once more without.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, StreamMode] = {}
        self._sure: set[str] = set()
        self._blame: dict[str, int] = {}  # enough of it, and streaming was what was refused

    def of(self, endpoint: Endpoint) -> StreamMode:
        """The stream_mode to begin with."""
        return self._known.get(endpoint.name, StreamMode.COUNTED)

    def below(
        self, endpoint: Endpoint, stream_mode: StreamMode, refusal: CallFailed
    ) -> StreamMode | None:
        """The stream mode after this refusal; None: it is not streaming that was refused."""
        name = endpoint.name
        with self._lock:
            if stream_mode is StreamMode.WHOLE:  # refused either way
                self._blame.pop(name, None)
                return None
            if name in self._sure:  # another thread may have found out meanwhile
                known = self._known.get(name, StreamMode.COUNTED)
                return known if known < stream_mode else None
            if not _may_mean_streaming(refusal):
                return None
            certain = (refusal.status or 0) < 500  # a 500 may be an accident, unless it comes again
            self._blame[name] = self._blame.get(name, 0) + (2 if certain else 1)
            named = stream_mode is StreamMode.COUNTED and "stream_options" in refusal.reply
            return StreamMode.PIECES if named else StreamMode.WHOLE

    def works(self, endpoint: Endpoint, stream_mode: StreamMode) -> None:
        """Remember that the endpoint took a request in this stream mode."""
        name = endpoint.name
        with self._lock:
            if stream_mode is not self.of(endpoint):
                if self._blame.get(name, 0) < 2:
                    return
                self._known[name] = stream_mode
            self._sure.add(name)


def _may_mean_streaming(refusal: CallFailed) -> bool:
    """Whether a refusal may be of the fields of streaming: where it names a field, of none but another."""
    said = refusal.reply
    return refusal.status in REFUSING and (
        "stream" in said or not any(name in said for name in _OTHER_FIELDS)
    )


class StreamedReply:
    """What a model has told so far: one thread hears it, another watches it."""

    def __init__(self, endpoint: Endpoint, prompt: str) -> None:
        self.unwanted = False  # nobody waits for it any more
        self._most_bytes = _MAX_TOKEN_BYTES * endpoint.max_tokens
        self._max_tokens, self._prompt = endpoint.max_tokens, prompt
        self._heard_at: float | None = None
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._pieces = self._bytes = self._text_bytes = 0  # with a model's thoughts; text alone
        self._finish: str | None = None
        self._usage: object = None

    def silent_seconds(self) -> float:
        """Seconds since the last piece; 0 before the first, which may take a model long."""
        return 0.0 if self._heard_at is None else time.monotonic() - self._heard_at

    def text(self) -> str:
        """What there is of the text, shortened: what is kept of an answer that is given up."""
        return "".join(self._texts)[:_SHOWN]

    def counted(self) -> Usage:
        """Tokens at a guess, rather too many than too few: at least one a piece."""
        size = math.ceil(self._bytes / 3)
        return Usage(estimate_tokens(self._prompt), max(self._pieces, size))

    def listen(self, events: Iterable[object]) -> tuple[str, Usage]:
        """Hear an answer out. Raises CallFailed where it breaks off, never ends, or is no answer."""
        try:
            for event in events:
                self._hear(event)
        except CallFailed:
            raise
        except Exception as error:  # noqa: BLE001 - the stream's border: whatever breaks it, breaks it
            if self._finish is None:
                raise self._broken(type(error).__name__) from None
        if self._finish is None:
            raise self._broken("no finish_reason")
        message = {"content": "".join(self._texts), "refusal": "".join(self._refusals)}
        choice = {"message": message, "finish_reason": self._finish}
        whole = {"choices": [choice], "usage": self._usage}
        return read_completion(whole, self.counted(), self.text(), self._max_tokens)

    def _hear(self, event: object) -> None:
        """Take in one chunk of a chat completion; what is odd in it is passed over."""
        if isinstance(event, dict) and "data" in event:  # so older openai wraps named events
            event = event["data"]
        if not isinstance(event, dict):
            return
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = finish
        delta = choice.get("delta")
        said = {
            name: text
            for name, text in (delta.items() if isinstance(delta, dict) else ())
            if isinstance(text, str) and text and name != "role"
        }
        if said:
            self._take(said)

    def _take(self, said: dict[str, str]) -> None:
        """Keep one piece: text, refusal, or thoughts, which count and are not kept."""
        self._pieces += 1
        self._bytes += sum(len(text.encode(errors="replace")) for text in said.values())
        self._texts.append(content := said.get("content", ""))
        self._refusals.append(said.get("refusal", ""))
        self._text_bytes += len(content.encode(errors="replace"))
        self._heard_at = time.monotonic()
        if self._text_bytes > self._most_bytes:
            reason = (
                f"the answer went on far beyond max_tokens = {self._max_tokens} and was cut off"
            )
            raise Unusable(reason, unknown=True, usage=self.counted(), reply=self.text())

    def _broken(self, how: str) -> CallFailed:
        where = "in the middle" if self._pieces else "before it began"
        reason = f"the answer broke off {where} ({one_line(how, 80)}); its tokens are unknown"
        return CallFailed(reason, again=True, unknown=True, usage=self.counted(), reply=self.text())
