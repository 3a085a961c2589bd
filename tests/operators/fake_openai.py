"""A scripted OpenAI-compatible server on loopback, with every fault a real one has.

Unless its script knows `forms`, it refuses the field response_format, and the script never hears of
probes. It streams to whom asks for it, unless it `refuses` that field too (field -> HTTP status).

with FakeOpenAI(["IDEA: ...", Answer(status=500), Answer(text="...", delay=1)]) as server:
    ... server.base_url ... server.requests ...
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from operators.llm.response_formats import PROBE


@dataclass(frozen=True)
class Answer:
    """One answer of the server. `body` is sent as it is instead of a completion."""

    text: str | None = ""
    status: int = 200
    delay: float = 0.0  # seconds before it answers
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    finish_reason: str = "stop"
    refusal: str | None = None
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 20}
    )
    hang_up: bool = False  # close the connection without an answer
    drip_seconds: float = 0.0  # send the body one byte at a time, this far apart
    events: Callable[[], Iterator[bytes]] | None = None  # a stream as it goes over the wire
    stream_type: str = ""  # the content type of a stream, where it is not the usual one

    @property
    def is_fixed(self) -> bool:
        """Whether it comes as it is, also to whom asks for a stream."""
        return self.body is not None or self.status >= 400

    def payload(self, model: str) -> bytes:
        if self.body is not None:
            return self.body
        if self.status >= 400:
            return json.dumps({"error": {"message": self.text or "scripted fault"}}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": model}
        return json.dumps({**whole, "choices": [choice], "usage": self.usage}).encode()

    def stream(self, model: str, counted: bool) -> Iterator[bytes]:
        """The answer as server-sent events, a few characters each."""
        if self.events is not None:
            yield from self.events()
            return
        text = self.text or ""
        step = max(8, len(text) // 200)
        yield delta(model, role="assistant", content="")
        if self.refusal:
            yield delta(model, refusal=self.refusal)
        for at in range(0, len(text), step):
            yield delta(model, content=text[at : at + step])
        yield delta(model, self.finish_reason)
        if counted and self.usage is not None:
            yield event({"choices": [], "usage": self.usage, "model": model})
        yield DONE


DONE = b"data: [DONE]\n\n"


class Cut(Exception):
    """Raised by `events`: the connection ends here, in the middle of the stream."""


def event(data: object) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")


def delta(model: str = "m", finish: str | None = None, **said: str | None) -> bytes:
    """One chunk of a chat completion."""
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    whole = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": model}
    return event({**whole, "choices": [choice]})


@dataclass(frozen=True)
class RequestRow:
    """One request the server got."""

    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case
    at: float  # monotonic seconds
    path: str = ""  # with the query

    @property
    def prompt(self) -> str:
        return "\n".join(message["content"] for message in self.body["messages"])


Script = Sequence[str | Answer] | Callable[[RequestRow], str | Answer]


class QuietServer(ThreadingHTTPServer):
    """A client that is killed in the middle of a request is what some tests are about."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class FakeOpenAI:
    """Answers by script: a function of the request, or a list whose last entry is repeated."""

    def __init__(
        self,
        script: Script,
        port: int = 0,
        forms: bool = False,
        refuses: Mapping[str, int] | None = None,
    ) -> None:
        self._script, self._forms, self._refuses = script, forms, dict(refuses or {})
        self._lock = threading.Lock()
        self.requests: list[RequestRow] = []
        self.refused: list[RequestRow] = []  # for a field; the script hears nothing of them
        self.left_alone = 0  # streams whose client hung up
        self._server = QuietServer(("127.0.0.1", port), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: RequestRow) -> Answer:
        for field_name, status in self._refuses.items():
            if field_name in asked.body:
                self.refused.append(asked)
                return Answer(f"unknown field {field_name}", status=status)
        if not self._forms and "response_format" in asked.body:
            return Answer("unknown field response_format", status=400)
        if not self._forms and asked.prompt == PROBE:
            return Answer("no, thanks")
        with self._lock:
            self.requests.append(asked)
            number = len(self.requests) - 1
        if callable(self._script):
            found = self._script(asked)
        else:
            found = self._script[min(number, len(self._script) - 1)]
        return Answer(found) if isinstance(found, str) else found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(200, b'{"object": "list", "data": []}', "application/json", {}, 0.0)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {k.lower(): v for k, v in self.headers.items()}
                asked = RequestRow(body, headers, time.monotonic(), self.path)
                answer = fake.answer(asked)
                time.sleep(answer.delay)
                if answer.hang_up:
                    self.close_connection = True
                    return
                try:
                    if body.get("stream") and not answer.is_fixed:
                        self.stream(answer, body)
                    else:
                        payload = answer.payload(str(body.get("model")))
                        kind, drip = answer.content_type, answer.drip_seconds
                        self.reply(answer.status, payload, kind, answer.headers, drip)
                except OSError:  # the client has gone
                    fake.left_alone += 1
                    self.close_connection = True

            def stream(self, answer: Answer, body: dict[str, Any]) -> None:
                self.send_response(answer.status)
                kind = "text/event-stream; charset=utf-8"
                self.send_header("content-type", answer.stream_type or kind)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                counted = (body.get("stream_options") or {}).get("include_usage") is True
                try:
                    for part in answer.stream(str(body.get("model")), counted):
                        drip = answer.drip_seconds
                        for piece in (
                            [part[i : i + 1] for i in range(len(part))] if drip else [part]
                        ):
                            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                            time.sleep(drip)
                    self.wfile.write(b"0\r\n\r\n")
                except Cut:
                    self.close_connection = True

            def reply(
                self, status: int, body: bytes, kind: str, headers: dict[str, str], drip: float
            ) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if not drip:
                    self.wfile.write(body)
                for at in range(len(body) if drip else 0):
                    self.wfile.write(body[at : at + 1])
                    self.wfile.flush()
                    time.sleep(drip)

        return Handler
