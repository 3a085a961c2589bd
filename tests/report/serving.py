"""The live page's server on a real socket, in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from evo.serve.app import build_app

TOKEN = "a-token-for-tests"


@contextmanager
def served(
    base: Path, steer: bool = False, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve a folder; the address. `host` is what the application believes it listens on."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        build_app(base, host, steer, TOKEN, lambda: server.should_exit),
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
