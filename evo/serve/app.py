"""The server: who may ask what, and the answers. Reading is free on this machine, steering needs a token."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evo.campaigns import Listed, login_name
from evo.report.page import plotly_script, render_list, render_live, render_parts, template_file
from evo.serve.verbs import Refused, steer
from evo.serve.watching import Listing, Watched, compared, told
from evo.terminal.text import duration, mean_and_error
from population.reading.variants import UnknownVariant
from population.store import StoreError

LOOK_SECONDS = 1.0  # between two looks for what is new
HEARTBEAT_SECONDS = 15.0  # so that a dead connection is noticed
MAX_BODY = 250_000  # bytes: a whole train.py as JSON fits
COOKIE = "evo_token"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
STATIC = {
    "report.css": "text/css",
    "live.css": "text/css",
    "report.js": "text/javascript",
    "live.js": "text/javascript",
    "campaigns.js": "text/javascript",
}


def build_app(
    base: Path, host: str, steer: bool, token: str, ends: Callable[[], bool]
) -> Starlette:
    """The application for every campaign in `base` and below. `host`: the address it listens on;
    `ends`: whether the server is about to end, so that streams end too.

    Beyond this machine reading needs the token too, once, as `?token=`; a cookie keeps it.
    """
    site = Site(base, steer, token, ends)
    routes = [
        Route("/", site.first_page),
        Route("/rows", site.rows),
        Route("/static/{name}", _static),
        Route("/campaign/{key}/", site.page),
        Route("/campaign/{key}/parts", site.parts),
        Route("/campaign/{key}/figure/{name}", site.figure),
        Route("/campaign/{key}/events", site.events),
        Route("/campaign/{key}/variant/{id}", site.variant),
        Route("/campaign/{key}/steer", site.steer, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={StoreError: _unreadable},
    )


class Guard:
    """Hosts that are not ours are refused: a page elsewhere could name this machine and read along."""

    def __init__(self, app: ASGIApp, host: str, token: str) -> None:
        self._app, self._host, self._token = app, host, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then answer with the headers that hold a browser back."""

        async def send_held(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await (self._objection(Request(scope)) or self._app)(scope, receive, send_held)

    def _objection(self, request: Request) -> Response | None:
        named = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if self._host in LOOPBACK:
            if named not in LOOPBACK:
                return PlainTextResponse(f"this server is {self._host}, not {named[:80]}", 403)
            return None
        asked = request.query_params.get("token")
        if asked is not None and _equal(asked, self._token):
            clean = request.url.remove_query_params("token")
            answer = RedirectResponse("/" + clean.path.lstrip("/"))  # never to another host
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        if not _equal(request.cookies.get(COOKIE, ""), self._token):
            return PlainTextResponse(
                "open the address that `evo serve` printed, with its token", 403
            )
        return None


class Site:
    """The campaigns and the pages. A folder is found by its key, never by a path that came in."""

    def __init__(self, base: Path, steer: bool, token: str, ends: Callable[[], bool]) -> None:
        self._base, self._steers, self._token, self._ends = base, steer, token, ends
        self._watched: dict[Path, Watched] = {}
        self._listing = Listing(base)

    async def first_page(self, request: Request) -> Response:
        """Every campaign; `?with=KEY` twice or more: compared in one figure."""
        ticked = request.query_params.getlist("with")
        found = await run_in_threadpool(self._campaigns)
        chosen = [(key, one) for key, one in found if key in ticked]
        figure = await run_in_threadpool(compared, chosen) if chosen else None
        text = await run_in_threadpool(
            render_list, self._rows(found, ticked), str(self._base), figure, False
        )
        return HTMLResponse(text)

    async def rows(self, request: Request) -> Response:
        """The rows of that table, as they are now."""
        found = await run_in_threadpool(self._campaigns)
        return HTMLResponse(
            await run_in_threadpool(render_list, self._rows(found, ()), "", None, True)
        )

    async def page(self, request: Request) -> Response:
        """One campaign's page."""
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        reading = await run_in_threadpool(watched.reading)
        text = await run_in_threadpool(render_live, reading.page, self._steers, reading.number)
        return HTMLResponse(text)

    async def parts(self, request: Request) -> Response:
        """What of that page changes."""
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        reading = await run_in_threadpool(watched.reading)
        parts = await run_in_threadpool(render_parts, reading.page)
        return JSONResponse({**parts, "last": reading.last})

    async def figure(self, request: Request) -> Response:
        """One figure of that page, by its name."""
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        drawn = await run_in_threadpool(watched.figure, str(request.path_params["name"]))
        if drawn is None:
            return PlainTextResponse("no such figure", 404)
        return Response(drawn, media_type="application/json")

    async def events(self, request: Request) -> Response:
        """Server-sent events: `now` (the slots), `runs` (new ones) and `page` (the number of a new reading).

        `?reading=N`: the one that the page shows already.
        """
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        shown = request.query_params.get("reading", "")
        number = int(shown) if shown.isdecimal() and len(shown) < 10 else 0
        return StreamingResponse(
            _stream(watched, self._ends, number), media_type="text/event-stream"
        )

    async def variant(self, request: Request) -> Response:
        """One variant's dossier."""
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        try:
            found = await run_in_threadpool(watched.dossier, str(request.path_params["id"]))
        except UnknownVariant as error:
            return JSONResponse({"said": str(error)}, 404)
        return (
            JSONResponse({"said": "no such variant"}, 404) if found is None else JSONResponse(found)
        )

    async def steer(self, request: Request) -> Response:
        """Idea, note, variant, veto, approval, stop: from our own page, with the token."""
        asked = await self._asked(request)
        if isinstance(asked, Response):
            return asked
        watched = await self._find(request)
        if watched is None:
            return _no_campaign()
        author = asked.get("author", "").strip()[:60] or login_name()
        try:
            said = await run_in_threadpool(steer, watched.folder, asked, author)
        except (Refused, UnknownVariant, StoreError) as error:
            return JSONResponse({"said": str(error)}, 400)
        return JSONResponse({"said": said})

    async def _asked(self, request: Request) -> Mapping[str, str] | Response:
        """The request's fields, or why it is refused: a form of another site can send none like it."""
        if not self._steers:
            return JSONResponse(
                {"said": "this server only shows; `evo serve --steer` also asks"}, 403
            )
        origin = urlsplit(request.headers.get("origin", "")).netloc
        if origin != request.headers.get("host"):
            return JSONResponse({"said": "asked from another page"}, 403)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return JSONResponse({"said": "not JSON"}, 415)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                return JSONResponse({"said": f"more than {MAX_BODY:,} bytes"}, 413)
        try:
            said = json.loads(bytes(body))
        except ValueError:
            return JSONResponse({"said": "not JSON"}, 400)
        if not isinstance(said, dict) or not all(isinstance(one, str) for one in said.values()):
            return JSONResponse({"said": "an object of texts is expected"}, 400)
        if not _equal(said.get("token", ""), self._token):
            return JSONResponse({"said": "the token is not the one that `evo serve` printed"}, 403)
        return said

    async def _find(self, request: Request) -> Watched | None:
        key = str(request.path_params["key"])
        found = await run_in_threadpool(self._campaigns)
        folder = next((one.folder for name, one in found if name == key), None)
        if folder is None:
            return None
        return self._watched.setdefault(folder, Watched(folder))

    def _campaigns(self) -> list[tuple[str, Listed]]:
        """Every campaign with its key; a campaign that cannot be read has none."""
        return [(self._key(one), one) for one in self._listing.read()]

    def _rows(
        self, found: Sequence[tuple[str, Listed]], ticked: Collection[str]
    ) -> list[tuple[str, Listed, list[str], bool]]:
        return [
            (quote(key), one, [self._inside(one), *_cells(one)], key in ticked)
            for key, one in found
        ]

    def _inside(self, one: Listed) -> str:
        inside = one.folder.relative_to(self._base).as_posix()
        return (self._base.resolve().name or "campaign") if inside == "." else inside

    def _key(self, one: Listed) -> str:
        if one.kind == "?":
            return ""
        inside = one.folder.relative_to(self._base).as_posix()
        return (
            (self._base.resolve().name or "campaign") if inside == "." else inside.replace("/", "~")
        )


async def _stream(watched: Watched, ends: Callable[[], bool], number: int) -> AsyncIterator[str]:
    """What is new, as it comes, by a look a second. `number`: of the reading that is shown, 0: none."""
    shown, after, said = "", 0, time.monotonic()
    while not ends():
        state, reading, new = await run_in_threadpool(watched.look)
        now = json.dumps(state, allow_nan=False)
        if now != shown:
            shown, said = now, time.monotonic()
            yield f"event: now\ndata: {now}\n\n"
        if reading is None:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        if reading.number != number:
            if number:
                yield f"event: page\ndata: {reading.number}\n\n"
                said = time.monotonic()
            number, after = reading.number, 0
        if new and new[-1].id > after:
            runs = json.dumps(told(reading, new, after), allow_nan=False)
            after, said = new[-1].id, time.monotonic()
            yield f"event: runs\ndata: {runs}\n\n"
        if time.monotonic() - said > HEARTBEAT_SECONDS:
            said = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)


async def _static(request: Request) -> Response:
    """A file beside the templates, or plotly's own bundle, which stays in the browser's memory."""
    name = str(request.path_params["name"])
    if name == "plotly.js":
        kept = {"cache-control": "max-age=86400"}
        return Response(plotly_script(), media_type="text/javascript", headers=kept)
    if name not in STATIC:
        return PlainTextResponse("not here", 404)
    return Response(template_file(name), media_type=STATIC[name])


async def _unreadable(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 503)


def _cells(one: Listed) -> list[str]:
    best = "–" if one.best is None else mean_and_error(one.metric, one.best, one.best_error)
    age = "–" if one.began is None else duration(time.time() - one.began)
    return [one.state, best, str(one.children), age]


def _no_campaign() -> Response:
    return PlainTextResponse("no such campaign here; / lists them", 404)


def _equal(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())
