"""One HTTP request to a model's server: bounded in time and size, and left behind when it hangs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import openai

from operators.llm.answer import (
    MAX_BODY_BYTES,
    CallFailed,
    Message,
    Usage,
    error_message,
    one_line,
    prompt_text,
    read_answer,
    retry_after,
)
from operators.llm.settings import Endpoint

STOPPING = "the campaign is stopping"
POLL_SECONDS = 0.1  # how soon a wait notices that the campaign is stopping
_CONNECT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and to whom. `address`: the server's base URL; None: the library's own default."""

    endpoint: Endpoint
    key: str
    address: str | None
    messages: tuple[Message, ...]
    response_format: dict[str, object] | None = None


class Wire:
    """Sends requests; safe to share between threads."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._clients: dict[tuple[str, str, str | None], openai.OpenAI] = {}
        self._lock = threading.Lock()

    def ask(self, question: Question) -> tuple[str, Usage]:
        """The answer and its tokens. Raises CallFailed, at the endpoint's deadline at the latest.

        The request has its own thread, which is left behind when it does not end in time.
        """
        endpoint = question.endpoint
        done: queue.SimpleQueue[tuple[str, Usage] | CallFailed] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put(self._request(question))
            except CallFailed as failed:
                done.put(failed)
            except Exception as error:  # noqa: BLE001 - the thread's border: any fault is a failed call
                done.put(CallFailed(f"the connection broke ({type(error).__name__})", again=True))

        threading.Thread(target=run, name=f"llm-{endpoint.name}", daemon=True).start()
        deadline = time.monotonic() + endpoint.timeout_seconds
        while True:
            try:
                result = done.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self._stopping():
                    raise CallFailed(STOPPING, unknown=True, ours=True) from None
                if time.monotonic() > deadline:
                    raise _timed_out(endpoint) from None
                continue
            if isinstance(result, CallFailed):
                raise result
            return result

    def _request(self, question: Question) -> tuple[str, Usage]:
        """One HTTP request. Raises CallFailed, or whatever a broken connection raises."""
        endpoint = question.endpoint
        deadline = time.monotonic() + endpoint.timeout_seconds
        completions = self._client(question).chat.completions.with_streaming_response
        messages = [{"role": one.role, "content": one.content} for one in question.messages]
        extra: dict[str, object] = {endpoint.max_tokens_field: endpoint.max_tokens}
        if question.response_format is not None:
            extra["response_format"] = question.response_format
        if endpoint.temperature is not None:
            extra["temperature"] = endpoint.temperature
        seconds = endpoint.timeout_seconds
        try:
            with completions.create(
                model=endpoint.model,
                messages=messages,  # type: ignore[arg-type]  # plain dicts of that shape
                extra_body=extra,
                timeout=openai.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
            ) as response:
                body = _read(response.iter_bytes(), endpoint, deadline)
                kind = response.headers.get("content-type", "")
        except openai.APITimeoutError:
            raise _timed_out(endpoint) from None
        except openai.APIStatusError as error:
            raise _refused(error) from None
        except openai.APIConnectionError:
            raise CallFailed("the server cannot be reached", again=True) from None
        return read_answer(body, kind, prompt_text(question.messages), endpoint.max_tokens)

    def _client(self, question: Question) -> openai.OpenAI:
        name = question.endpoint.name, question.key, question.address
        with self._lock:
            if name not in self._clients:
                self._clients[name] = openai.OpenAI(
                    api_key=question.key, base_url=question.address, max_retries=0
                )
            return self._clients[name]


def _read(chunks: Iterable[bytes], endpoint: Endpoint, deadline: float) -> bytes:
    """The whole body, bounded in size and time."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            reason = f"the answer is larger than {MAX_BODY_BYTES // 1_000_000} MB"
            raise CallFailed(
                reason, unknown=True, reply=bytes(body[:2000]).decode(errors="replace")
            )
        if time.monotonic() > deadline:
            raise _timed_out(endpoint)
    return bytes(body)


def _timed_out(endpoint: Endpoint) -> CallFailed:
    reason = f"no whole answer within {endpoint.timeout_seconds:g} s"
    return CallFailed(reason, again=True, unknown=True)


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
    return CallFailed(reason, again=passing, wait=wait, reply=one_line(said, 500), status=status)
