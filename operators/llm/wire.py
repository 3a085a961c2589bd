"""One HTTP request to a model's server: bounded in time and size, and left behind when it hangs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import openai
from openai.types.chat import ChatCompletion

from operators.llm.answer import CallFailed, Message, Usage, one_line, prompt_text
from operators.llm.breaker import STREAM_IDLE_SECONDS
from operators.llm.completion import MAX_BODY_BYTES, error_message, read_answer, retry_after
from operators.llm.settings import Endpoint
from operators.llm.stream import StreamedReply, StreamMode, StreamModes

STOPPING = "the campaign is stopping"
POLL_SECONDS = 0.1  # how soon a wait notices that the campaign is stopping
_CONNECT_SECONDS = 20.0
_MAX_STREAM_BYTES = 64_000_000  # each token comes with some hundred bytes around it


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and to whom. `address`: the server's base URL; None: the library's own default."""

    endpoint: Endpoint
    key: str
    address: str | None
    messages: tuple[Message, ...]
    response_format: dict[str, object] | None = None
    stream_mode: int | None = None  # None: the best that the endpoint is known to take


class Wire:
    """Sends requests; safe to share between threads."""

    def __init__(
        self, stopping: Callable[[], bool], idle_seconds: float = STREAM_IDLE_SECONDS
    ) -> None:
        self._stopping, self._idle_seconds = stopping, idle_seconds
        self._clients: dict[tuple[str, str, str | None], openai.OpenAI] = {}
        self._stream_modes = StreamModes()
        self._lock = threading.Lock()

    def ask(self, question: Question) -> tuple[str, Usage]:
        """The answer and its tokens. Raises CallFailed, at the endpoint's deadline at the latest.

        The request has its own thread, which is left behind when it does not end in time: it hangs up at
        the next piece of a streamed answer.
        """
        endpoint = question.endpoint
        streamed = StreamedReply(endpoint, prompt_text(question.messages))
        done: queue.SimpleQueue[tuple[str, Usage] | CallFailed] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put(self._request(question, streamed))
            except CallFailed as failed:
                done.put(failed)
            except Exception as error:  # noqa: BLE001 - the thread's border: any fault is a failed call
                done.put(CallFailed(f"the connection broke ({type(error).__name__})", again=True))

        threading.Thread(target=run, name=f"llm-{endpoint.name}", daemon=True).start()
        try:
            result = self._wait(done, streamed, endpoint)
        finally:
            streamed.unwanted = True
        if isinstance(result, CallFailed):
            raise result
        return result

    def _wait(
        self,
        done: queue.SimpleQueue[tuple[str, Usage] | CallFailed],
        streamed: StreamedReply,
        endpoint: Endpoint,
    ) -> tuple[str, Usage] | CallFailed:
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

    def _request(self, question: Question, streamed: StreamedReply) -> tuple[str, Usage]:
        """One request. Raises CallFailed, with the stream_mode to ask in when only this one was refused."""
        stream_mode = self._stream_modes.of(question.endpoint)
        if question.stream_mode is not None:
            stream_mode = StreamMode(question.stream_mode)
        try:
            return self._send(question, stream_mode, streamed)
        except CallFailed as refusal:
            refusal.stream_mode = self._stream_modes.below(question.endpoint, stream_mode, refusal)
            raise

    def _send(
        self, question: Question, stream_mode: StreamMode, streamed: StreamedReply
    ) -> tuple[str, Usage]:
        """One HTTP request. Raises CallFailed, or whatever a broken connection raises."""
        endpoint = question.endpoint
        deadline = time.monotonic() + endpoint.timeout_seconds
        completions = self._client(question).chat.completions.with_streaming_response
        messages = [{"role": one.role, "content": one.content} for one in question.messages]
        seconds = endpoint.timeout_seconds
        try:
            with completions.create(
                model=endpoint.model,
                messages=messages,  # type: ignore[arg-type]  # plain dicts of that shape
                extra_body=_fields(question) | stream_mode.fields(),
                timeout=openai.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
            ) as response:
                self._stream_modes.works(endpoint, stream_mode)
                return self._read(response, question, streamed, deadline)
        except openai.APITimeoutError:
            raise _timed_out(endpoint, streamed) from None
        except openai.APIStatusError as error:
            raise _refused(error) from None
        except openai.APIConnectionError:
            raise CallFailed("the server cannot be reached", again=True) from None

    def _read(
        self,
        response: openai.APIResponse[ChatCompletion],
        question: Question,
        streamed: StreamedReply,
        deadline: float,
    ) -> tuple[str, Usage]:
        """The answer of an open response, which comes in pieces or whole, whatever was asked for."""
        endpoint = question.endpoint
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            body = b"".join(_bounded(response, endpoint, streamed, deadline, MAX_BODY_BYTES))
            return read_answer(body, kind, prompt_text(question.messages), endpoint.max_tokens)
        source = _Source(
            response, _bounded(response, endpoint, streamed, deadline, _MAX_STREAM_BYTES)
        )
        events = openai.Stream[object](
            cast_to=object,
            response=source,  # type: ignore[arg-type]  # all that the stream asks of one
            client=self._client(question),
        )
        return streamed.listen(_without_errors(events, streamed))

    def _client(self, question: Question) -> openai.OpenAI:
        name = question.endpoint.name, question.key, question.address
        with self._lock:
            if name not in self._clients:
                self._clients[name] = openai.OpenAI(
                    api_key=question.key, base_url=question.address, max_retries=0
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


def _fields(question: Question) -> dict[str, object]:
    """What a request says beside its messages."""
    endpoint = question.endpoint
    fields: dict[str, object] = {endpoint.max_tokens_field: endpoint.max_tokens}
    if question.response_format is not None:
        fields["response_format"] = question.response_format
    if endpoint.temperature is not None:
        fields["temperature"] = endpoint.temperature
    return fields


def _bounded(
    response: openai.APIResponse[ChatCompletion],
    endpoint: Endpoint,
    streamed: StreamedReply,
    deadline: float,
    most_bytes: int,
) -> Iterator[bytes]:
    """The bytes of a body, bounded in size and time, while somebody waits for them."""
    size, head = 0, b""
    for chunk in response.iter_bytes():
        size += len(chunk)
        head += chunk[: 2000 - len(head)]
        if size > most_bytes:
            reason = f"the answer is larger than {most_bytes // 1_000_000} MB"
            raise CallFailed(reason, unknown=True, reply=head.decode(errors="replace"))
        if streamed.unwanted or time.monotonic() > deadline:
            raise _timed_out(endpoint, streamed)
        yield chunk


def _without_errors(events: Iterable[object], streamed: StreamedReply) -> Iterator[object]:
    """The events of a stream. Raises CallFailed where the server puts an error into it."""
    try:
        yield from events
    except openai.APIConnectionError:
        raise
    except openai.APIError as error:
        said = error_message(error.body) or one_line(error.message, 200)
        raise CallFailed(
            f"the server says: {said}", again=True, unknown=True, reply=streamed.text()
        ) from None


def _timed_out(endpoint: Endpoint, streamed: StreamedReply) -> CallFailed:
    reason = f"no whole answer within {endpoint.timeout_seconds:g} s"
    return CallFailed(
        reason, again=True, unknown=True, usage=streamed.counted(), reply=streamed.text()
    )


def _refused(error: openai.APIStatusError) -> CallFailed:
    """An HTTP error status as a failed call: 408, 429 and 5xx may pass, others do not."""
    status, said = error.status_code, error_message(error.body)
    passing = status in (408, 429) or status >= 500
    if getattr(error, "code", None) == "insufficient_quota":
        passing = False
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    wait = retry_after(error.response.headers)
    if passing and wait:
        reason += f" (asks to wait {wait:.0f} s)"
    reply = said or (one_line(str(error.body), 500) if isinstance(error.body, dict) else "")
    return CallFailed(reason, again=passing, wait=wait, reply=reply, status=status)
