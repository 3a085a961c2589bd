"""Several campaigns: `evo list` at a glance, `evo compare` at equal cost, `evo merge` as one, `evo push` and
`evo pull` with others; and the doors to them: `evo serve` live in a browser, `evo mcp` for agents."""

from __future__ import annotations

import math
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.campaigns import ABLATION, DATABASE, Listed, findings_of, kind_of, listed
from evo.cli.app import FAILED, JsonOption, app, complain, show, show_json
from evo.cli.folder import campaign_folder

if TYPE_CHECKING:
    from rich.table import Table

    from evo.analysis.comparison import Compared

SIDES = {"children": "right", "age": "right"}
MAX_PATH, MIN_STATE = 30, 13  # letters of a folder and of a state, at the least where there is room
MAX_STATE = 32  # letters of one that is told whole, folded where it must be; a longer one is cut


@app.command(name="list", epilog="Example: evo list ~/experiments --json")
def list_campaigns(
    base: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to look, also in folders below.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """All campaigns, calibrations, ablations and imports under a folder, the newest first."""
    if not base.is_dir():
        complain(f"{base}: there is no such folder")
        raise typer.Exit(FAILED)
    found = listed(base)
    if as_json:
        show_json(found)
        return
    if not found:
        print(f"no campaign under {base.resolve()}; `evo run CONFIG` starts one")
        return
    show(_table(found))


def _table(rows: list[Listed]) -> Table:
    """A path is folded rather than cut, since it is typed; a long state gives way to it."""
    from rich.console import Console
    from rich.text import Text

    from evo.terminal.tables import FAINT, NOTHING, one_line, table_of
    from evo.terminal.text import duration, mean_and_error, words
    from population.metrics import Trust, trust_of

    kinds = {one.kind for one in rows} != {"campaign"}  # the state needs the room
    named = [*(["kind"] if kinds else []), "best", "children", "age"]
    told = []
    for one in rows:
        best = NOTHING if one.best is None else mean_and_error(one.metric, one.best, one.best_error)
        best += "*" * (one.best is not None and trust_of(one.metric) is Trust.SELF_REPORTED)
        age = NOTHING if one.began is None else duration(time.time() - one.began)
        told.append([*([one.kind] if kinds else []), best, str(one.children), age])
    widths = [max(map(len, column)) for column in zip(named, *told, strict=True)]
    room = Console().width - sum(widths) - 2 * (len(widths) + 1)
    path = max(len(str(one.folder)) for one in rows)
    state = max(len(one.state) for one in rows)
    path = min(path, max(room - state, min(room - MIN_STATE, MAX_PATH)))
    table = table_of(("campaign", "left"), *((name, SIDES.get(name, "left")) for name in named))
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.columns[0].width = max(path, MIN_STATE)
    table.add_column(Text("state", FAINT), overflow="fold")
    for one, cells in zip(rows, told, strict=True):
        head = words(str(one.folder))
        state_of = words(one.state)
        if len(one.state) > MAX_STATE:
            state_of = one_line(state_of)
        table.add_row(head, *map(words, cells), state_of)
    return table


# -- `evo compare`: several campaigns at equal slot time.


@app.command(epilog="Example: evo compare campaigns/with-model campaigns/without-model")
def compare(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A campaign's folder, or its name.")
    ],
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="Another one to set beside it.")
    ] = None,
    more: Annotated[
        list[Path] | None, typer.Option("--with", metavar="DIR", help="One more. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Campaigns side by side: what each had found at equal slot time, what holds on fresh blocks, what it cost.

    Each is held against its own seed. `evo serve` draws the same as curves.
    """
    from evo.terminal.tables import FAINT, comparison_table, incomparable
    from evo.terminal.text import duration, words

    found = _compared(
        [campaign_folder(one) for one in (folder, *filter(None, [other]), *(more or ()))]
    )
    if as_json:
        show_json(found)
        return
    from rich.text import Text

    hours = found[0].hours_equal
    lines = [
        Text(
            f"Better than its own seed, in percent; at equal slot time: {duration(3600 * hours)}. The "
            "first two flatter, as screening chose the child; fresh blocks chose nobody.",
            FAINT,
        ),
        *(words(line) for line in incomparable(found)),
        Text(),
    ]
    show(*lines, comparison_table(found))


def _compared(folders: Sequence[Path]) -> list[Compared]:
    from evo.analysis.campaign_view import Record
    from evo.analysis.comparison import Compared, course_of
    from evo.analysis.overview import measured_children
    from evo.analysis.ranking import earnings
    from population.store import Store

    courses = []
    for folder in folders:
        with Store.open(folder / DATABASE, read_only=True) as store:
            record = Record.of(store)
            final = findings_of(store, record, changes=False).final
            courses.append((folder, record, course_of(str(folder), record, final)))
    hours = min(course.hours for _, _, course in courses)
    return [
        Compared(
            folder,
            record.objective.name,
            course.gain_at(hours),
            hours,
            course.gain_at(math.inf),
            course.fresh,
            course.hours,
            measured_children(record),
            record.spent.dollars,
            {one.operator: (one.better, one.children) for one in earnings(record) if one.children},
            record.scale_in_words(record.proxy) or record.proxy,
        )
        for folder, record, course in courses
    ]


# -- `evo serve`: the same, live in a browser.

PORT = 8765
PORTS_TRIED = 20
MIN_TOKEN = 8  # letters


@app.command(epilog="Example: evo serve, or on a machine far away: evo serve --host 0.0.0.0")
def serve(
    base: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", help="A campaign's folder, or one with campaigns below."),
    ] = Path(),
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on; beyond this machine a token guards reading too."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"By default {PORT}, or the next free one; 0: any."),
    ] = None,
    steer: Annotated[
        bool,
        typer.Option(
            "--steer",
            help="Let the page ask too: idea, note, veto, approval, stop; needs the token.",
        ),
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help="The file that holds the token; by default one is made and printed."),
    ] = None,
) -> None:
    """Campaigns in a browser while they run: what the slots do now, who leads, the tree, the ladder.

    It only reads; running, finished, imported and write-protected campaigns alike. Ctrl-C ends it, no campaign.
    """
    import secrets

    import uvicorn

    from evo.serve.app import LOOPBACK, build_app

    if not base.is_dir():
        complain(f"{base}: there is no such folder")
        raise typer.Exit(FAILED)
    token = secrets.token_urlsafe(18) if token_file is None else _token(token_file)
    listening = _listen(host, port)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    far = host not in LOOPBACK
    print(f"{shown}{f'?token={token}' if far and token_file is None else ''}   (Ctrl-C ends it)")
    if far:
        print("anyone who knows the token can read along; the way there is not encrypted")
    if steer and not (far and token_file is None):
        print(f"token for steering: {token}" if token_file is None else f"token: in {token_file}")
    config = uvicorn.Config(
        build_app(base, host, steer, token, lambda: server.should_exit),
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])


def _token(file: Path) -> str:
    token = _read(file).strip()
    if len(token) < MIN_TOKEN:
        complain(f"--token-file {file}: holds fewer than 8 characters; put a longer secret there")
        raise typer.Exit(FAILED)
    return token


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        complain(f"--token-file {file}: cannot be read: {error}")
        raise typer.Exit(FAILED) from None


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens: at the port, or where none was named at the first free one from `PORT` on."""
    wanted = [port] if port is not None else [*range(PORT, PORT + PORTS_TRIED), 0]
    problem = ""
    for one in wanted:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, one), family=family, backlog=64)
        except (OSError, OverflowError) as error:
            problem = str(error)
    at = f"{host}:{port}" if port is not None else host
    complain(f"cannot listen on {at}: {problem}; another --host or --port may do")
    raise typer.Exit(FAILED)


# -- `evo mcp`: the same for agents from outside, over the Model Context Protocol.


@app.command(epilog="Example: evo mcp campaigns/night-1 --propose --author ada")
def mcp(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A campaign's folder or name; by default the newest here."
        ),
    ] = None,
    propose: Annotated[
        bool,
        typer.Option(
            "--propose", help="Let agents put in variants, notes and claims; else they only read."
        ),
    ] = False,
    author: Annotated[
        str,
        typer.Option(
            help="The agent's name in the lineage, after `agent:`; by default what it calls itself."
        ),
    ] = "",
    most: Annotated[
        int, typer.Option(min=1, help="How many proposals one agent may put in here.")
    ] = 100,
    http: Annotated[
        bool,
        typer.Option("--http", help="Listen on 127.0.0.1 for several agents, instead of stdio."),
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --http: by default the first free.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="With --http: a token, or a line `NAME TOKEN` for each agent; by default one is printed."
        ),
    ] = None,
) -> None:
    """A door for coding agents: a campaign's tools by the Model Context Protocol.

    An agent starts this itself and speaks to it over stdio; docs/community.md
    has the lines for its config. Needs `pip install mcp`.

    Tools that read: overview, front, variant, lineage, notes, tried_near,
    why_best, plot, wait. With --propose also: propose (a whole train.py with its
    hypothesis), post_note, claim. What comes in is checked, sandboxed, measured
    and counted in the budget as every child is, and few may wait at once.
    An agent cannot approve, veto, edit or stop anything.

    It works on campaigns that run, are over, write-protected or imported; what is
    proposed to one that no process runs waits for `evo resume`.
    """
    import asyncio

    from evo.terminal.text import plain

    try:
        from evo.serve.agents import Door, build_http, build_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        complain("evo mcp needs the package mcp: pip install 'evotrain[mcp]', or pip install mcp")
        raise typer.Exit(FAILED) from None
    if not http and (port is not None or token_file is not None):
        complain("--port and --token-file belong to --http; over stdio there is no token")
        raise typer.Exit(FAILED)
    folder = campaign_folder(directory)
    if kind_of(folder) == ABLATION:
        complain(f"{folder} is an ablation: `evo status --dir {folder}` shows what it found")
        raise typer.Exit(FAILED)
    door = Door(folder, propose, plain(author), most)
    if not http:
        _leave_at_once_when_told()
        complain(f"{folder}: tools over stdio, {'--propose' if propose else 'only reading'}")
        with suppress(BrokenPipeError):
            try:
                asyncio.run(build_server(door).run_stdio_async())
            except* BrokenPipeError as gone:  # the agent left in the middle of an answer
                raise gone.exceptions[0] from None
        return
    import secrets

    import uvicorn

    fresh = secrets.token_urlsafe(18)
    tokens = {fresh: ""} if token_file is None else _tokens(token_file)
    listening = _listen("127.0.0.1", port)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp   (Ctrl-C ends it)")
    print(f"token: {fresh}" if token_file is None else f"{len(tokens)} tokens in {token_file}")
    config = uvicorn.Config(
        build_http(door, tokens), log_level="error", lifespan="on", timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets=[listening])


def _leave_at_once_when_told() -> None:
    """A thread that waits for the agent's next line cannot be ended; each write is whole: nothing is lost."""
    from evo.cli.follow import leave

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is not signal.SIG_IGN:  # nohup stays in force
            signal.signal(one, lambda number, frame: leave(128 + number))


def _tokens(file: Path) -> dict[str, str]:
    """Each agent's name by its token; one token alone is for any agent."""
    lines = [line.split() for line in _read(file).splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        lines = [["", *lines[0]]]
    for place, words in enumerate(lines, 1):
        if len(words) != 2 or len(words[1]) < MIN_TOKEN:
            complain(
                f"--token-file {file}: line {place} is no `NAME TOKEN` with {MIN_TOKEN} characters or more"
            )
            raise typer.Exit(FAILED)
    found = {token: name for name, token in lines}
    if not found or len(found) < len(lines):
        complain(f"--token-file {file}: {'a token stands twice' if found else 'holds no token'}")
        raise typer.Exit(FAILED)
    return found


# -- Several campaigns as one: `evo merge`.


NewOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="NEW", help="The folder to write: none, or empty."),
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would come in; nothing is written.")
]


@app.command(
    epilog="Example: evo merge campaigns/mine ../theirs/campaigns/a -o campaigns/both",
    context_settings={"allow_extra_args": True},  # the third folder and further ones
)
def merge(
    more: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A campaign's folder, or its name.")
    ],
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER...]", help="Others to merge with it.")
    ] = None,
    new: NewOption = None,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make one campaign of several: every row once, whatever the order, and claims found anew from the rows.

    They have to measure the same thing: seed, text, rungs, objectives. Sources are only read.
    `evo resume --dir NEW` goes on from all of it (docs/community.md).
    """
    from evo.sharing.merging import merge as merge_into
    from evo.sharing.merging import read_campaign
    from evo.terminal.sharing import steps, tell_merger
    from population.sharing.shared_rows import SharedRows

    written = _written(new, dry_run)
    with steps(as_json) as tell:
        sources = []
        for given in (folder, *filter(None, [other]), *map(Path, more.args)):
            tell(f"reading {given}")
            sources.append(read_campaign(campaign_folder(given)))
        one = merge_into(sources, SharedRows(), written, tell)
    told = (one.sites, one.rows, one.new, one.waiting, one.variants, one.certified, one.resume)
    show_json(one) if as_json else tell_merger(*told, written)


RemoteArgument = Annotated[
    str,
    typer.Argument(metavar="REMOTE", help="A folder, a git repository, or HOST:PATH for rsync."),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="Count what this public key has signed as measured by us: ed25519:..., or its file. Repeatable.",
    ),
]


@app.command(
    epilog="Example: evo push git@host:group/rows.git campaigns/mine --key ~/.config/evo.key"
)
def push(
    remote: RemoteArgument,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The campaign; by default the newest here."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Sign with the private key in this file; made where there is none."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent; nothing is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a campaign's rows to where others pull them: files that are only added, each named by its content.

    Sent are variants, proposals, runs, ideas, notes and decisions, with host names and logs; never prompts,
    answers, paths of the config, keys or the text. Pushing twice sends nothing twice.
    """
    from evo.sharing.exchange import push as send
    from evo.terminal.sharing import steps
    from evo.terminal.text import count

    with steps(as_json) as tell:
        found = send(remote, campaign_folder(directory), key, dry_run, tell)
    if found.key_is_new:
        complain(f"made the key {key}; keep it for yourself")
    for one in found.left_out:
        complain(f"left out: {one}")
    if as_json:
        show_json(found)
        return
    if found.public_key:
        print(f"signed; others trust it with --trust {found.public_key}")
    verb = "would be sent" if dry_run else "sent"
    print(
        f"{count(found.rows, 'row')} in {count(len(found.bundles), 'bundle')} {verb} to {found.remote}"
    )


@app.command(epilog="Example: evo pull git@host:group/rows.git campaigns/mine -o campaigns/ours")
def pull(
    remote: RemoteArgument,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A campaign of yours to merge with; none: theirs alone."
        ),
    ] = None,
    new: NewOption = None,
    trust: TrustOption = None,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge a campaign of yours with what others pushed, into a new folder; yours is only read.

    What comes in is evidence for candidates, and certifies nobody, unless a key that you --trust has signed
    it. A bundle that was changed, or holds anything but rows, is refused by its name (docs/security.md).
    """
    from evo.sharing.exchange import pull as take
    from evo.terminal.sharing import steps, tell_merger
    from evo.terminal.text import count

    folder = None if directory is None else campaign_folder(directory)
    with steps(as_json) as tell:
        found = take(remote, folder, trust or (), _written(new, dry_run), tell)
    for bad in found.refused:
        complain(f"refused {bad.bundle}: {bad.reason}")
    if as_json:
        show_json(found)
        return
    print(f"{count(found.bundles, 'bundle')}, {found.trusted} signed by a key that you trust")
    one = found.merger
    tell_merger(
        one.sites,
        one.rows,
        one.new,
        one.waiting,
        one.variants,
        one.certified,
        one.resume,
        _written(new, dry_run),
    )


def _written(new: Path | None, dry_run: bool) -> Path | None:
    """The folder to write; None for a look."""
    from evo.sharing.merging import SharingError

    if new is None and not dry_run:
        raise SharingError(
            "give the folder to write with -o NEW, or --dry-run to see what it would hold"
        )
    return None if dry_run else new
