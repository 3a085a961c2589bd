"""One HTTP request to a model's server: bounded in time and size, and left behind when it hangs."""

from __future__ import annotations

import itertools
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import openai
from openai.types.chat import ChatCompletion

from operators.llm.answer import CallFailed, Message, Usage, one_line, prompt_text
from operators.llm.breaker import STREAM_IDLE_SECONDS
from operators.llm.causes import CONNECT_SECONDS, broken, not_connected
from operators.llm.completion import (
    MAX_BODY_BYTES,
    error_message,
    failure_in,
    may_pass,
    read_answer,
    retry_after,
    wait_asked,
)
from operators.llm.fields import (
    AS_KNOWN,
    VERSION,
    Manner,
    Refusals,
    Refused,
    fields_of,
    messages_of,
    named_in,
)
from operators.llm.settings import Endpoint, with_version, without_query
from operators.llm.stream import StreamedReply, StreamMode, StreamModes

STOPPING = "the campaign is stopping"
POLL_SECONDS = 0.1  # how soon a wait notices that the campaign is stopping
_EVENT = re.compile(rb":|(?:data|event|id|retry)[ \t]*(?::|\r|\n)")
_TELLING = 6  # bytes that tell an event from JSON: `event:`
_MARK = b"\xef\xbb\xbf"  # of byte order
_MAX_STREAM_BYTES = 64_000_000  # each token comes with some hundred bytes around it


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and to whom. `address`: the server's base URL; None: the library's own default."""

    endpoint: Endpoint
    key: str
    address: str | None
    messages: tuple[Message, ...]
    response_format: dict[str, object] | None = None
    manner: Manner = AS_KNOWN
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it came: its text, its tokens, and how it was got."""

    text: str
    usage: Usage
    stream_mode: StreamMode
    first_seconds: float | None = None  # until its first piece; None where it came whole
    newly_refused: Refused = frozenset()  # what the request had to do without, for the first time


class Wire:
    """Sends requests; safe to share between threads."""

    def __init__(
        self,
        stopping: Callable[[], bool],
        idle_seconds: float = STREAM_IDLE_SECONDS,
        refusals: Refusals | None = None,
    ) -> None:
        self._stopping, self._idle_seconds = stopping, idle_seconds
        self._clients: dict[tuple[str, str, str | None], openai.OpenAI] = {}
        self._stream_modes, self._refusals = StreamModes(), refusals or Refusals()
        self._lock = threading.Lock()

    def ask(self, question: Question) -> Answered:
        """The answer. Raises CallFailed, at the endpoint's deadline at the latest.

        The request has its own thread, which is left behind when it does not end in time: it hangs up at
        the next piece of a streamed answer.
        """
        endpoint = question.endpoint
        streamed = StreamedReply(endpoint, prompt_text(question.messages))
        done: queue.SimpleQueue[Answered | CallFailed] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put(self._request(question, streamed))
            except CallFailed as failed:
                done.put(failed)
            except Exception as error:  # noqa: BLE001 - the thread's border: any fault is a failed call
                done.put(broken(error, question.address))

        threading.Thread(target=run, name=f"llm-{endpoint.name}", daemon=True).start()
        try:
            result = self._wait(done, streamed, endpoint)
        finally:
            streamed.unwanted = True
        if isinstance(result, CallFailed):
            raise result
        return result

    def check(self, endpoint: Endpoint, key: str, address: str | None) -> None:
        """Raises CallFailed where no request can be made from here: proxies, certificates, the address."""
        try:
            self._client(Question(endpoint, key, address, ()), address)
        except Exception as error:  # noqa: BLE001 - the client library's border: all of it is about settings
            raise broken(error, address) from None

    def _wait(
        self,
        done: queue.SimpleQueue[Answered | CallFailed],
        streamed: StreamedReply,
        endpoint: Endpoint,
    ) -> Answered | CallFailed:
        """The outcome of a request, or why nobody waits for it any longer."""
        deadline = time.monotonic() + endpoint.timeout_seconds
        while True:
            try:
                return done.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self._stopping():
                    return CallFailed(STOPPING, unknown=True, ours=True, reply=streamed.text())
                if streamed.silent_seconds() > self._idle_seconds:
                    return self._gone_silent(streamed)
                if time.monotonic() > deadline:
                    return _timed_out(endpoint, streamed)

    def _gone_silent(self, streamed: StreamedReply) -> CallFailed:
        reason = f"the answer stopped in the middle: nothing for {self._idle_seconds:g} s"
        return CallFailed(
            reason, again=True, unknown=True, usage=streamed.counted(), reply=streamed.text()
        )

    def _request(self, question: Question, streamed: StreamedReply) -> Answered:
        """One request. Raises CallFailed, with the manner to ask in when only that was refused."""
        endpoint, manner = question.endpoint, question.manner
        mode = manner.stream_mode
        mode = self._stream_modes.of(endpoint) if mode is None else mode
        refused = self._refusals.of(endpoint) | manner.refused
        try:
            return self._send(question, mode, refused, streamed)
        except CallFailed as refusal:
            sent = fields_of(endpoint, question.response_format, refused)
            address = "" if VERSION in refused else question.address or ""
            named = named_in(refusal, sent, address, question.messages) - refused
            if named:
                refusal.manner = Manner(mode, refused | named)
            else:
                lower = self._stream_modes.below(endpoint, mode, refusal)
                refusal.manner = None if lower is None else Manner(lower, refused)
            raise

    def _send(
        self, question: Question, mode: StreamMode, refused: Refused, streamed: StreamedReply
    ) -> Answered:
        """One HTTP request. Raises CallFailed, or whatever a broken connection raises."""
        endpoint = question.endpoint
        begun = time.monotonic()
        deadline = begun + endpoint.timeout_seconds
        address = question.address
        if address and VERSION in refused:
            address = with_version(address)
        completions = self._client(question, address).chat.completions.with_streaming_response
        seconds = endpoint.timeout_seconds
        fields = fields_of(endpoint, question.response_format, refused)
        try:
            with completions.create(
                model=endpoint.model,
                messages=messages_of(question.messages, refused),  # type: ignore[arg-type]  # of that shape
                extra_body=fields | mode.fields(),
                extra_headers=dict(question.headers),
                timeout=openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
            ) as response:
                self._stream_modes.works(endpoint, mode)
                try:
                    text, usage = self._read(response, question, streamed, deadline, address)
                except CallFailed:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever breaks an answer, breaks it
                    raise streamed.broken(type(error).__name__) from None
        except openai.APITimeoutError as error:
            if (failed := not_connected(error)) is not None:
                raise failed from None
            raise _timed_out(endpoint, streamed) from None
        except openai.APIStatusError as error:
            raise _refused(error) from None
        except openai.APIConnectionError as error:
            raise broken(error, address) from None
        new = self._refusals.learn(endpoint, refused)
        first = streamed.heard_first
        return Answered(text, usage, mode, None if first is None else first - begun, new)

    def _read(
        self,
        response: openai.APIResponse[ChatCompletion],
        question: Question,
        streamed: StreamedReply,
        deadline: float,
        address: str | None,
    ) -> tuple[str, Usage]:
        """The answer of an open response, which comes in pieces or whole, whatever was asked for."""
        endpoint = question.endpoint
        kind = response.headers.get("content-type", "")
        chunks = _bounded(response, endpoint, streamed, deadline)
        head = _begun(chunks)
        whole = itertools.chain([head], chunks)
        if not is_stream(head, kind):
            body = b"".join(_at_most(whole, MAX_BODY_BYTES))
            return read_answer(body, kind, prompt_text(question.messages), endpoint.max_tokens)
        events = openai.Stream[object](
            cast_to=object,
            response=_Source(  # type: ignore[arg-type]  # all that the stream asks of one
                response, streamed.watched(_at_most(whole, _MAX_STREAM_BYTES))
            ),
            client=self._client(question, address),
        )
        return streamed.listen(_without_errors(events, streamed))

    def _client(self, question: Question, address: str | None) -> openai.OpenAI:
        name = question.endpoint.name, question.key, address
        with self._lock:
            if name not in self._clients:
                base, query = without_query(address) if address else (None, {})
                self._clients[name] = openai.OpenAI(
                    api_key=question.key, base_url=base, default_query=query, max_retries=0
                )
            return self._clients[name]


class _Source:
    """An open response as the library's parser of streams sees it: what it reads is bounded."""

    def __init__(
        self, response: openai.APIResponse[ChatCompletion], chunks: Iterator[bytes]
    ) -> None:
        self._chunks = chunks
        self.request, self.close = response.http_request, response.close

    def iter_bytes(self) -> Iterator[bytes]:
        return self._chunks


def is_stream(head: bytes, kind: str) -> bool:
    """Whether a body that begins so is a stream of events, whatever its content type says."""
    begun = head.removeprefix(_MARK).lstrip()
    if begun[:1] in (b"{", b"[", b"<"):
        return False
    return bool(_EVENT.match(begun)) or kind.startswith("text/event-stream")


def _begun(chunks: Iterator[bytes]) -> bytes:
    """The first bytes of a body, as many as tell what it is."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head.removeprefix(_MARK).lstrip()) >= _TELLING:
            break
    return head


def _bounded(
    response: openai.APIResponse[ChatCompletion],
    endpoint: Endpoint,
    streamed: StreamedReply,
    deadline: float,
) -> Iterator[bytes]:
    """The bytes of a body, bounded in time, while somebody waits for them."""
    for chunk in response.iter_bytes():
        if streamed.unwanted or time.monotonic() > deadline:
            raise _timed_out(endpoint, streamed)
        yield chunk


def _at_most(chunks: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    size, head = 0, b""
    for chunk in chunks:
        size += len(chunk)
        head += chunk[: 2000 - len(head)]
        if size > most_bytes:
            reason = f"the answer is larger than {most_bytes // 1_000_000} MB"
            raise CallFailed(reason, unknown=True, reply=head.decode(errors="replace"))
        yield chunk


def _without_errors(events: Iterable[object], streamed: StreamedReply) -> Iterator[object]:
    """The events of a stream. Raises CallFailed where the server puts an error into it."""
    try:
        yield from events
    except openai.APIConnectionError:
        raise
    except openai.APIError as error:
        body = error.body if isinstance(error.body, dict) else {"error": error.message}
        body = body or {"error": error.message}
        raise failure_in(body, streamed.text(), streamed.counted(), passing=True) from None


def _timed_out(endpoint: Endpoint, streamed: StreamedReply) -> CallFailed:
    reason = f"no whole answer within {endpoint.timeout_seconds:g} s"
    return CallFailed(
        reason, again=True, unknown=True, usage=streamed.counted(), reply=streamed.text()
    )


def _refused(error: openai.APIStatusError) -> CallFailed:
    """An HTTP error status as a failed call: 408, 429 and 5xx may pass, others do not."""
    status, said = error.status_code, error_message(error.body)
    passing = may_pass(status, error.body)
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    wait = retry_after(error.response.headers) or (wait_asked(said) if passing else None)
    if passing and wait:
        reason += f" (asks to wait {wait:.0f} s)"
    reply = said or (one_line(str(error.body), 500) if isinstance(error.body, dict) else "")
    return CallFailed(reason, again=passing, wait=wait, reply=reply, status=status)
