"""A streamed answer: how it is asked for, and its pieces put together while somebody watches."""

from __future__ import annotations

import codecs
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum

from operators.llm.answer import (
    BYTES_PER_TOKEN,
    CallFailed,
    Unusable,
    Usage,
    estimate_tokens,
    one_line,
)
from operators.llm.completion import (
    REFUSING,
    Said,
    failure_in,
    first_choice,
    message_of,
    read_said,
    read_usage,
    usage_in,
)
from operators.llm.settings import Endpoint

_OTHER_FIELDS = (
    *("response_format", "json_schema", "json_object", "grammar"),
    *("temperature", "max_tokens", "max_completion_tokens"),
)
_MAX_TOKEN_BYTES = 8  # on average over an answer: code has 3 to 4
_END = re.compile(rb"(?:^|[\r\n])data:[ \t]*\[DONE\]")
_TAIL = 64  # bytes
_REPEATED = 20  # bytes that no next piece begins with by chance
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
        self.heard_first: float | None = None  # time.monotonic() of the first piece
        self._most_bytes = _MAX_TOKEN_BYTES * endpoint.max_tokens
        self._max_tokens, self._prompt = endpoint.max_tokens, prompt
        self._heard_at: float | None = None
        self._said = Said()
        self._finish: str | None = None
        self._usage: object = None
        self._tail = b""  # the last bytes, as they came
        self._choice: Mapping[str, object] = {}  # the last one

    def silent_seconds(self) -> float:
        """Seconds since the last piece; 0 before the first, which may take a model long."""
        return 0.0 if self._heard_at is None else time.monotonic() - self._heard_at

    def text(self) -> str:
        """What there is of the text, shortened: what is kept of an answer that is given up."""
        return self._said.text()[:_SHOWN]

    def counted(self) -> Usage:
        """Tokens at a guess, rather too many than too few: at least one a piece."""
        size = math.ceil(self._said.bytes / BYTES_PER_TOKEN)
        return Usage(estimate_tokens(self._prompt), max(self._said.pieces, size), estimated=True)

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of a stream as they come, the last of them kept: they tell whether it ended."""
        begun = False
        for chunk in chunks:
            chunk, begun = chunk if begun else chunk.removeprefix(codecs.BOM_UTF8), True
            self._tail = (self._tail + chunk)[-_TAIL:]
            yield chunk

    def listen(self, events: Iterable[object]) -> tuple[str, Usage]:
        """Hear an answer out. Raises CallFailed where it breaks off, never ends, or is no answer.

        It ends with a finish_reason, or with the mark that ends a stream.
        """
        try:
            for event in events:
                self._hear(event)
        except CallFailed:
            raise
        except Exception as error:  # noqa: BLE001 - the stream's border: whatever breaks it, breaks it
            if self._finish is None:
                raise self.broken(type(error).__name__) from None
        if self._finish is None:
            if not (self._said.bytes and _END.search(self._tail)):
                raise self.broken("no finish_reason")
            self._finish = ""
        usage = read_usage(self._usage, self.counted(), self._said)
        return read_said(
            self._said, self._finish, usage, self.text(), self._max_tokens, self._choice
        )

    def _hear(self, event: object) -> None:
        """Take in one chunk of a chat completion; what is odd in it is passed over."""
        if isinstance(event, dict) and "data" in event:  # so older openai wraps named events
            event = event["data"]
        if not isinstance(event, dict):
            return
        self._usage = usage_in(event) or self._usage
        if event.get("error"):
            raise failure_in(event, self.text(), self.counted(), passing=True)
        choice = first_choice(event)
        if choice is None:
            return
        self._choice = choice
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = finish
        message, is_whole = message_of(choice)
        if self._said.add(message, whole_so_far=is_whole and self._may_repeat()):
            self._heard_at = time.monotonic()
            self.heard_first = self.heard_first or self._heard_at
        if self._said.text_bytes > self._most_bytes:
            reason = (
                f"the answer went on far beyond max_tokens = {self._max_tokens} and was cut off"
            )
            raise Unusable(reason, unknown=True, usage=self.counted(), reply=self.text())

    def _may_repeat(self) -> bool:
        """Whether enough was said for a message that begins the same to be all of it, and no next piece."""
        return self._said.text_bytes >= _REPEATED or self._finish is not None

    def broken(self, how: str) -> CallFailed:
        """An answer that broke off, and how."""
        where = "in the middle" if self._said.pieces else "before it began"
        reason = f"the answer broke off {where} ({one_line(how, 80)}); its tokens are unknown"
        return CallFailed(reason, again=True, unknown=True, usage=self.counted(), reply=self.text())
