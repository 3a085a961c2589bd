"""Agents by the SDK's own client: in this process, over stdio as a real command, and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cli.driving import MAIN

if TYPE_CHECKING:  # the SDK takes a second to import: only where an agent is started
    from mcp import Client, StdioServerParameters

READ = {
    "overview",
    "front",
    "variant",
    "lineage",
    "notes",
    "tried_near",
    "why_best",
    "plot",
    "wait",
}
ASK = {"propose", "post_note", "claim"}


@dataclass(frozen=True)
class Reply:
    wrong: bool
    text: str
    images: tuple[bytes, ...] = ()


class Agent:
    """A scripted agent: calls tools, and keeps what it was told."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **given: Any) -> Reply:
        found = await self.client.call_tool(tool, given)
        texts = [one.text for one in found.content if one.type == "text"]
        images = [base64.b64decode(one.data) for one in found.content if one.type == "image"]
        return Reply(bool(found.is_error), "".join(texts), tuple(images))

    async def tools(self) -> set[str]:
        return {one.name for one in (await self.client.list_tools()).tools}


Script = Callable[[Agent], Awaitable[Any]]


def here(folder: Path, script: Script, propose: bool = True, author: str = "", **more: Any) -> Any:
    """Run a script against a door in this process."""
    from mcp import Client

    from evo.serve.agents import Door, build_server

    async def play() -> Any:
        async with Client(build_server(Door(folder, propose, author, **more))) as client:
            return await script(Agent(client))

    return asyncio.run(play())


def command(*words: object, cwd: Path) -> StdioServerParameters:
    """`evo mcp ...` as an agent starts it."""
    from mcp import StdioServerParameters

    return StdioServerParameters(
        command=sys.executable, args=["-c", MAIN, "mcp", *map(str, words)], cwd=str(cwd)
    )


def over_stdio(server: StdioServerParameters, script: Script) -> Any:
    """Start a server as a process of its own and run a script against it."""
    from mcp import Client

    async def play() -> Any:
        async with Client(server, read_timeout_seconds=280) as client:
            return await script(Agent(client))

    return asyncio.run(play())


@contextmanager
def listening(folder: Path, tokens: Mapping[str, str], propose: bool = True) -> Iterator[str]:
    """The HTTP door of a campaign on a free port of this machine; its address."""
    import uvicorn

    from evo.serve.agents import Door, build_http

    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        build_http(Door(folder, propose), tokens), log_level="error", lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()


def over_http(url: str, token: str, script: Script) -> Any:
    """Run a script against a door that listens, with an agent's token."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async def play() -> Any:
        with_token = create_mcp_http_client(headers={"authorization": f"Bearer {token}"})
        way = streamable_http_client(url, http_client=with_token)
        async with Client(way, read_timeout_seconds=280) as client:
            return await script(Agent(client))

    return asyncio.run(play())
