"""The commands to begin with: init, data prepare, import-autoresearch, salvage."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from evo.campaigns import CONFIG, DATABASE, overview_of
from evo.cli.app import FAILED, DirOption, JsonOption, app, complain, show_json
from evo.cli.folder import (
    SHIPPED,
    NoCampaign,
    at,
    campaign_folder,
    fresh_folder,
    opened,
    write_start,
)
from evo.old_keys import current

if TYPE_CHECKING:
    from population.reading.salvage import Salvaged
    from population.store import Store


RUN_SCRIPT = "run.sh"
BY_HAND = ("harness.py", "corpus/sotu.json", "corpus/sotu.txt.xz", "corpus/README.md")
IDEAS = ("ideas/model-written.jsonl", "ideas/README.md")
OWN_DATA = """\
# What to train on. Without it: the embedded text, the State of the Union addresses.
# data:
#   path: "notes/*.txt"            # your own text: UTF-8 files or globs, or a folder of `evo data prepare`
# data:                            # or your own tokens; docs/configuration.md has the format
#   shards: "tokens/*.bin"
#   bytes_per_token: tokens/bytes.npy
#   vocab: 50257
"""


@app.command(epilog="Example: evo init mine && evo run mine/campaign.yaml")
def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder to write; nothing in it is overwritten."),
    ],
    command: Annotated[
        str, typer.Option("--command", help="A line that trains your own script, run in --from.")
    ] = "",
    metric: Annotated[
        str, typer.Option("--metric", help='The line with its score: "val loss {}".')
    ] = "",
    goal: Annotated[str, typer.Option("--goal", help="min or max: which way is better.")] = "min",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Your folder, with the script: alone, what to write is guessed from it."
        ),
    ] = None,
    file: Annotated[str, typer.Option("--file", help="The file of it that evolves.")] = "train.py",
    tries: Annotated[
        bool, typer.Option("--try", help="With --from: then measure it once, in the sandbox.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a folder to start from: a seed, a config and a brief, all meant to be edited.

    With --command and --metric a config for your own script as it is (docs/bring-your-own.md); with --from
    alone a repository is looked at, and its metric, seed and kind are guessed. Nothing is run without --try.
    """
    if command or metric or source is not None:
        from evo.importing.guess import guess

        of = source or Path()
        if command or metric:
            files, said = _of_command(folder, of, file, command, metric, goal), list[str]()
        else:
            files, said, file = guess(folder, of, file)
        write_start(folder, files)
        start = shlex.quote(str(folder / "campaign.yaml"))
        if not as_json:
            print("\n".join(fill(one, 79, subsequent_indent="  ") for one in said))
            print(f"{folder / 'brief.md'}        what every language model is told")
            print(f"{folder / 'campaign.yaml'}   task, metrics, objectives, budget", flush=True)
        from evo.cli.measure import tried_line, try_once

        ended = try_once(of / file, folder) if tries else None
        if as_json:
            show_json({"path": folder, "files": list(files), "tried": ended})
        elif ended is not None:
            print(tried_line(ended))
        if not as_json:
            print(f"\nnext  evo evaluate {shlex.quote(str(of / file))} --config {start}")
        return
    files = {
        "seed/train.py": (SHIPPED / "seed" / "train.py").read_bytes(),
        "brief.md": (SHIPPED / "configs" / "brief.md").read_bytes(),
        "campaign.yaml": _starting_config(
            (SHIPPED / "configs" / "quickstart.yaml").read_text("utf-8"), folder
        ).encode(),
        **{f"seed/{name}": content for name, content in by_hand().items()},
        **{f"seed/{name}": (SHIPPED / "seed" / name).read_bytes() for name in IDEAS},
    }
    write_start(folder, files)
    if as_json:
        show_json({"path": folder, "files": list(files)})
        return
    print(f"{folder / 'seed/train.py'}   the file that evolves: replace it or edit it")
    by_hand_, start = (shlex.quote(str(folder / n)) for n in ("seed/train.py", "campaign.yaml"))
    print(f"{folder / 'seed/harness.py'} to try it by hand: python {by_hand_}")
    print(f"{folder / 'brief.md'}        what every language model is told")
    print(f"{folder / 'campaign.yaml'}   data, rungs, operators, budget")
    print(f"\nnext  evo run {start} --dry-run")


def _of_command(
    folder: Path, source: Path, file: str, command: str, metric: str, goal: str
) -> dict[str, bytes]:
    """The files to start from with a command of the user's."""
    from evo.tasks.starting import GOALS, starting_config

    wrong = None
    if not command or not metric:
        wrong = "--command and --metric belong together: how it is run, and where its score is"
    elif goal not in GOALS:
        wrong = f"--goal {goal}: give {' or '.join(GOALS)}"
    elif not (source / file).is_file():
        wrong = (
            f"there is no file {source / file}: --from names your folder, --file the script in it"
        )
    if wrong:
        complain(wrong)
        raise typer.Exit(FAILED)
    text = starting_config(folder, source, file, command, metric, goal)
    brief = (SHIPPED / "configs" / "brief-task.md").read_bytes()
    return {"campaign.yaml": text.encode(), "brief.md": brief}


def by_hand() -> dict[str, bytes]:
    """What a train.py needs beside it to be run by hand: the harness and the embedded text, by name."""
    return {name: (SHIPPED / "seed" / name).read_bytes() for name in BY_HAND}


@dataclass(frozen=True, slots=True)
class ByHand:
    """How a train.py is run by hand at the scale of a rung, and in what that differs from the campaign."""

    rung: str
    settings: Mapping[str, str]  # of the environment
    line: str  # to type where it lies
    differences: Sequence[str]


def as_measured(store: Store, path: Path, away: bool = False) -> ByHand | None:
    """The proxy's scale for a train.py at `path`, or a command's own line where its folder lies; None for a
    store that never trained, as an import.

    away: harness.py is not beside it, so that Python has to be told where it is.
    """
    config, _ = current(store.setting("config", {}))
    rungs: dict[str, Any] = config.get("rungs", {})
    rung = next(iter(rungs), "")
    scale: dict[str, Any] = rungs.get(rung, {})
    if task := config.get("task"):
        return _command_by_hand(rung, task, scale.get("set") or {})
    if not {"depth", "budget", "context"} <= set(scale):
        return None
    settings = {"PYTHONPATH": str(SHIPPED / "seed")} if away else {}
    settings |= {
        "CLOCK": scale.get("clock") or _clock(store, config.get("clock", "auto")),
        "BUDGET_SECONDS": f"{scale['budget']:.10g}",
        "DEPTH": str(scale["depth"]),
        "CONTEXT": str(scale["context"]),
    }
    given = " ".join(f"{name}={shlex.quote(text)}" for name, text in settings.items())
    place = "" if str(path.parent) == "." else f"cd {shlex.quote(str(path.parent))} && "
    data = config.get("data") or {}
    own = next((key for key in ("path", "shards") if data.get(key)), None)
    differences = [
        "it splits and scores its text in its own way, so the figures are near, not equal"
    ]
    if own is not None:
        differences = [
            f"by hand it trains on the embedded text, not on your data.{own}: no figure compares"
        ]
    if settings["CLOCK"] == "tokens":
        differences.append("with CLOCK=tokens, BUDGET_SECONDS is the number of tokens")
    line = f"{place}{given} python {shlex.quote(path.name)}"
    return ByHand(rung, settings, line, differences)


def _command_by_hand(rung: str, task: dict[str, Any], named: dict[str, Any]) -> ByHand | None:
    """A command as one types it in its folder, with seed 0; None where the kind of task brings its own."""
    lines = task.get("command") or []
    lines = [lines] if isinstance(lines, str) else lines
    if not lines:
        return None
    given = {"seed": 0, "out": "out", "python": "python", "gpus": "", **named}
    line = " && ".join(one.format_map(given).strip() for one in lines)
    what = "what was exported has to lie there, in the place of the seed's"
    return ByHand(rung, {}, f"cd {shlex.quote(str(task.get('folder', '.')))} && {line}", [what])


def _clock(store: Store, stated: str) -> str:
    """The campaign's clock; where that was left to the machine, what its runs ran on tells."""
    if stated != "auto":
        return stated
    devices = store.query("SELECT device FROM measurements WHERE device != '' LIMIT 1")
    return "seconds" if devices and "cpu" not in devices[0][0] else "cpu_seconds"


def run_script(hand: ByHand, name: str, variant_id: str) -> bytes:
    """A shell script that runs the train.py `name` beside it at that scale; each value can be overridden."""
    lines = [
        "#!/bin/sh",
        f"# {name}, variant {variant_id[:8]}, by hand as the campaign ran it at its rung {hand.rung}.",
        *(f"# Note: {one}." for one in hand.differences),
        'cd "$(dirname "$0")" || exit',
        *(f'export {key}="${{{key}:-{value}}}"' for key, value in hand.settings.items()),
        f'exec "${{PYTHON:-python3}}" {shlex.quote(name)}',
    ]
    return ("\n".join(lines) + "\n").encode()


def _starting_config(shipped: str, folder: Path) -> str:
    """The quickstart config with its paths pointing to the new folder's files, comments kept."""
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "-"
        for letter in folder.resolve().name
    )
    turned = {
        "name": f"name: {name or 'campaign'}",
        "train": "train: seed/train.py",
        "brief": "brief: brief.md",
        "transplant": f"transplant: {{banks: [seed/{IDEAS[0]}]}}",
    }
    lines = []
    for line in shipped.splitlines():
        key = line.split(":", 1)[0]
        _, hash_sign, remark = line.partition("#")
        remark = f"  # {remark.strip()}" if hash_sign else ""
        lines.append(turned[key] + remark if key in turned else line)
        if key == "brief":
            lines += OWN_DATA.splitlines()
    return "\n".join(lines) + "\n"


# -- The command that takes over someone else's history: import-autoresearch.


@app.command(
    "import-autoresearch",
    epilog="Example: evo import-autoresearch ../autoresearch --branch autoresearch/mar5",
)
def import_autoresearch(
    repository: Annotated[
        Path,
        typer.Argument(
            metavar="REPO", help="A clone with train.py in its history and a table of attempts."
        ),
    ],
    branch: Annotated[
        str | None,
        typer.Option("--branch", help="Whose results.tsv counts, where one is committed there."),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The new folder; by default campaigns/<name of REPO>-<n>."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Its column; by default what looks like a goal.")
    ] = None,
    goal: Annotated[
        str | None, typer.Option("--goal", help="min or max; by default as the keeps go.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option("--noise", min=0, help="The sd of one run, where it is known.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The commit or name that all began with.")
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", help="The file that evolved; by default train.py.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take over a history in the style of autoresearch, to see it with tree, history, top and report.

    Its numbers stay what they are, self-reported. Nothing of the repository is executed. How its table was
    read is told. What its repeats tell of its noise says which keeps stand out, and that the rest are unproven.
    """
    from evo.folder import refuse_folder
    from evo.importing.campaign import attempts_of, import_history
    from evo.importing.repository import RESULTS, TRAIN, Repository
    from evo.importing.results import ImportFailure, Overrides, read_results, read_subjects
    from population.archive import Direction

    found = Repository(repository, branch)
    where = directory or fresh_folder(Path.cwd(), found.path.name)
    refuse_folder(where)
    try:
        way = None if goal is None else Direction(goal)
    except ValueError as error:
        raise ImportFailure(f"--goal {goal}: write min or max") from error
    asked, table = Overrides(metric, way, baseline), found.results()
    if table is not None:
        results, beside = read_results(*table, asked), PurePosixPath(table[1]).with_name(TRAIN)
    else:
        read, beside = read_subjects(found.subjects(), asked), PurePosixPath(TRAIN)
        if read is None:
            others = found.elsewhere()
            more = f"; --branch {others[0]} has one" if others else ""
            raise ImportFailure(
                f"{found.path}: no {RESULTS} there, neither in the folder nor in this branch, and its commits' "
                f"subjects do not end with a number{more}"
            )
        results = read
    file = train or str(beside)
    for problem in results.problems:
        complain(problem)
    with _progress(len(results.rows), as_json) as step:
        attempts = attempts_of(found, results.rows, step, file)
        if train is None and file != TRAIN and not any(one.code for one in attempts):
            attempts = attempts_of(found, results.rows, step)
        brought = import_history(where, found, results, attempts, noise)
    with opened(where) as (folder, store):
        one = overview_of(folder, store).imported
    if as_json:
        show_json({"import": brought, "inferred": results.inferred, "findings": one})
        return
    from evo.terminal.imported import imported_lines
    from evo.terminal.text import count

    held = f", {brought.without_source} of them not held by the clone" * bool(
        brought.without_source
    )
    print(f"{where}: {count(brought.variants, 'variant')}{held}")
    print("\n".join(imported_lines(one) if one else ()))
    print(f"\nnext  evo report{at(where)}   (or: evo tree{at(where)})")


@contextmanager
def _progress(total: int, as_json: bool) -> Iterator[Callable[[int], None]]:
    """How much is read; a bar on a terminal, nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import Progress

    quiet = as_json or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("reading commits", total=total)
        yield lambda done: bar.update(task, completed=done)


# -- The command for a damaged campaign: salvage.


BESIDE = (CONFIG, "train.py", "brief.md")


@app.command(epilog="Example: evo salvage --dir campaigns/quickstart-1 -o rescued")
def salvage(
    new: Annotated[Path, typer.Option("-o", "--out", help="A new folder for what can be read.")],
    directory: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy what can be read of a damaged campaign into a new folder, which `evo resume` goes on with.

    Rows that refer to lost ones are kept beside it, in orphans.jsonl. The damaged folder is not touched.
    """
    from evo.folder import refuse_folder
    from population.reading.salvage import salvage as copy_rows

    folder = campaign_folder(directory)
    if os.path.lexists(new):
        raise NoCampaign(f"{new} exists already: give a new folder")
    refuse_folder(new)
    new.mkdir(parents=True)
    try:
        found = copy_rows(folder / DATABASE, new / DATABASE, new / "orphans.jsonl")
    except BaseException:
        shutil.rmtree(new)  # nothing was saved: leave no folder that looks like a campaign
        raise
    for name in BESIDE:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, new / name)
    show_json(found) if as_json else _tell(new, found)


def _tell(new: Path, found: list[Salvaged]) -> None:
    for one in found:
        if one.rows or one.orphans or one.unreadable:
            lost = f", {one.orphans} without what they refer to" if one.orphans else ""
            lost += f", {one.unreadable} unreadable" if one.unreadable else ""
            print(f"{one.table:16} {one.rows:7} rows{lost}")
    where = shlex.quote(str(new))
    print(f"\n`evo status --dir {where}` shows it, `evo resume --dir {where}` goes on from it")


# -- `evo data prepare`: text into tokens.


data = typer.Typer(name="data", help="Make tokens of text.", no_args_is_help=True)
app.add_typer(data, rich_help_panel="Set up")


@data.callback()
def _of_data() -> None:
    """Make tokens of text."""


@data.command(epilog="Example: evo data prepare 'texts/*.parquet' -o tokens --vocab 32768")
def prepare(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write.")
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders or globs: text, jsonl (plain, .gz, .zst), parquet.",
            show_default=False,
        ),
    ] = None,
    vocab: Annotated[
        int, typer.Option(help="Tokens of the byte-level BPE that is trained.")
    ] = 32_768,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="One that is there: tokenizer.json, tiktoken's ranks, tokenizer.pkl.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="How whole documents are hidden: hash (of the text) or strata (every n-th)."
        ),
    ] = "hash",
    column: Annotated[str, typer.Option(help="Where jsonl and parquet hold the text.")] = "text",
    tool: Annotated[
        str,
        typer.Option("--from", help="Take what nanochat, autoresearch or llm.c has prepared."),
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the text, for the record.")] = "",
    provenance: Annotated[str, typer.Option(help="Where the text is from, likewise.")] = "",
    processes: Annotated[int, typer.Option(min=0, help="At the same time; 0: one a core.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a folder of tokens for `data: {path: DIR}`: a BPE, shards, and what is hidden, by whole documents.

    Streams: memory does not grow with the text. Stopped or killed, the same command goes on.
    """
    from evo.terminal.progress import preparing_bar
    from evo.tokens.exports import CACHES, TOOLS, import_tokens, of_a_tool
    from evo.tokens.preparing import Order, prepare_folder
    from evo.tokens.shards import DataError

    if split not in ("hash", "strata"):
        raise DataError(f"--split {split}: valid: hash, strata")
    if tool not in ("", *TOOLS):
        raise DataError(f"--from {tool}: valid: {', '.join(TOOLS)}")
    given = tuple(sources or ())
    if not given and tool not in CACHES:
        raise DataError("name the sources: files, folders or globs of text")
    kind: Literal["hash", "strata"] = "strata" if split == "strata" else "hash"
    order = Order(given, output, vocab, tokenizer, kind, column, licence, provenance, processes)
    if tool in CACHES:
        order = of_a_tool(tool, given, order)
    began = time.monotonic()
    try:
        with preparing_bar(quiet=as_json) as (tell, say):
            done = import_tokens(order) if tool == "llm.c" else prepare_folder(order, tell, say)
    except KeyboardInterrupt:
        complain(f"stopped; the same command goes on with {output}")
        raise
    seconds = time.monotonic() - began
    folder, warned = done.folder, list(done.warnings)
    by_split = {
        name: {
            "documents": sum(one.documents for one in folder.of(name)),
            "tokens": sum(one.tokens for one in folder.of(name)),
            "bytes": sum(one.bytes for one in folder.of(name)),
        }
        for name in ("train", "val", "test")
    }
    if as_json:
        show_json(
            {
                "folder": folder.path,
                "vocab": folder.vocab,
                "digest": folder.digest,
                "splits": by_split,
                "seconds": round(seconds, 3),
                "warnings": warned,
            }
        )
        return
    for name, told in by_split.items():
        print(f"{name:6} {told['documents']:>10,} documents {told['tokens']:>15,} tokens")
    tokens = sum(told["tokens"] for told in by_split.values())
    print(
        f"{folder.vocab:,} tokens of {done.text_bytes / max(tokens, 1):.2f} bytes on average; "
        f"{done.text_bytes / 1e6:,.1f} MB in {seconds:.0f} s, {done.text_bytes / 1e6 / seconds:.1f} MB/s"
    )
    for one in warned:
        complain(f"{folder.path}: {one}")
    print(f"In a campaign file: data: {{path: {folder.path}}}")
