"""A relay between a client and a real server that keeps what went over the wire, and can cut it.

with Wiretap(real_base_url) as tap:
    ... tap.base_url ... tap.exchanges ...
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.operators.fake_openai import QuietServer


@dataclass
class Exchange:
    """One request and what came back for it, with the seconds after the request that each part came."""

    asked: dict[str, Any]
    status: int = 0
    content_type: str = ""
    parts: list[bytes] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    hung_up: bool = False  # the client left before the end

    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a streamed answer."""
        lines = b"".join(self.parts).decode().splitlines()
        told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(one) for one in told if one != "[DONE]"]

    def texts(self) -> list[str]:
        """The pieces of text of a streamed answer."""
        deltas = [one["choices"][0]["delta"] for one in self.chunks() if one["choices"]]
        return [text for delta in deltas if (text := delta.get("content"))]


class Wiretap:
    """Passes requests on. `cut_after`: parts of an answer after which its connection is closed."""

    def __init__(self, base_url: str, cut_after: int | None = None) -> None:
        self.cut_after = cut_after
        self.exchanges: list[Exchange] = []
        self._address = urlsplit(base_url)
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._address.path}"

    def __enter__(self) -> Wiretap:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tap, real = self, self._address.netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                exchange = Exchange(json.loads(body))
                tap.exchanges.append(exchange)
                begun = time.monotonic()
                there = http.client.HTTPConnection(real, timeout=600)
                there.request("POST", self.path, body, {"content-type": "application/json"})
                try:
                    self.pass_on(there.getresponse(), exchange, begun)
                except OSError:
                    exchange.hung_up = True
                finally:
                    self.close_connection = True
                    there.close()  # so that the real server hears of it

            def pass_on(
                self, answer: http.client.HTTPResponse, exchange: Exchange, begun: float
            ) -> None:
                exchange.status = answer.status
                exchange.content_type = answer.headers.get("content-type", "")
                self.send_response(answer.status)
                self.send_header("content-type", exchange.content_type)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                while part := answer.read1(65536):
                    exchange.parts.append(part)
                    exchange.seconds.append(time.monotonic() - begun)
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    if len(exchange.parts) == tap.cut_after:
                        return
                self.wfile.write(b"0\r\n\r\n")

        return Handler
