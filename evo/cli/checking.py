"""The commands around a campaign: evaluate one file, look at the machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import JsonOption, app, show, show_json

if TYPE_CHECKING:
    from population.variant import Measurement

NEEDS_PYTHON = (3, 11)
REACH_SECONDS = 5.0
DEFAULT_SERVER = "https://api.openai.com/v1"


@app.command(epilog="Example: evo evaluate train.py --config configs/quickstart.yaml --json")
def evaluate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A train.py.")
    ],
    config_file: Annotated[
        Path, typer.Option("--config", help="The campaign file that says how to measure.")
    ],
    rung: Annotated[
        str | None, typer.Option("--rung", help="Where to train; by default the first.")
    ] = None,
    block: Annotated[
        int, typer.Option("--block", min=0, help="Seed, order and documents left out.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure one file outside any campaign, exactly as a campaign would; exit code 0 whatever the status."""
    from evo.cli.app import as_json as plain_values

    measured = _evaluate(file, config_file, rung, block)
    if as_json:
        chosen = ("status", "reason", "metrics", "order", "wall_seconds", "cpu_seconds")
        more = ("train_wall_seconds", "slot", "device", "facts", "curve", "log_tail")
        show_json({name: plain_values(getattr(measured, name)) for name in (*chosen, *more)})
        return
    from evo.terminal.numbers import duration, value
    from evo.terminal.tables import pairs
    from evo.terminal.text import words

    rows = [("status", words(measured.status.value.replace("_", " ")))]
    if measured.reason:
        rows.append(("reason", words(measured.reason)))
    rows += [(name, words(value(name, number))) for name, number in measured.metrics.items()]
    rows.append(
        ("time", words(f"{duration(measured.wall_seconds)}, training {_training(measured)}"))
    )
    show(pairs(rows))


def _training(measured: Measurement) -> str:
    from evo.terminal.numbers import duration

    return duration(measured.train_wall_seconds)


def _evaluate(file: Path, config_file: Path, rung: str | None, block: int) -> Measurement:
    from evo.assembly.bench import open_bench
    from evo.config import ConfigError, read_config
    from evo.evaluation.static_check import check_source
    from evo.evaluation.watch import Unwatched
    from population.variant import Measurement, Order, Purpose, Status, variant_id

    config = read_config(config_file)
    name = rung or next(iter(config.rungs))
    if name not in config.rungs:
        raise ConfigError(f"{config_file}: no rung {name!r}; rungs: {', '.join(config.rungs)}")
    try:
        source = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        order = Order("0" * 64, name, block, 0, Purpose.SCREEN)
        return Measurement(order, Status.REJECTED, "the file is not UTF-8 text")
    if objection := check_source(source, config.train.read_text(encoding="utf-8")):
        order = Order(variant_id(source), name, block, 0, Purpose.SCREEN)
        return Measurement(order, Status.REJECTED, objection)
    one_rung = config.model_copy(update={"rungs": {name: config.rungs[name]}})
    order = Order(variant_id(source), name, block, 0, Purpose.SCREEN)
    with tempfile.TemporaryDirectory(prefix="evo-evaluate-") as work:
        bench = open_bench(one_rung, Path(work), {}, lambda text: print(text, file=sys.stderr))
        return bench.evaluator.evaluate(order, source, bench.slots[0], Unwatched())


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the machine. `ok` is None where there is nothing to be right or wrong."""

    name: str
    ok: bool | None
    text: str


@app.command(epilog="Example: evo doctor --json")
def doctor(as_json: JsonOption = False) -> None:
    """Whether this machine is fit: python, torch, devices, the sandbox really in force, data, LLM endpoint."""
    looks = (_python, _torch, _devices, _sandbox, _data, _endpoint)
    checks = [check for look in looks for check in look()]
    if as_json:
        show_json({"ok": all(check.ok is not False for check in checks), "checks": checks})
    else:
        from rich.text import Text

        from evo.terminal.tables import pairs
        from evo.terminal.text import plain

        marks = {
            True: ("ok    ", "green"),
            False: ("wrong ", "red"),
            None: ("–     ", "bright_black"),
        }
        show(pairs([(one.name, Text.assemble(marks[one.ok], plain(one.text))) for one in checks]))
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


def _python() -> list[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    return [Check("python", sys.version_info[:2] >= NEEDS_PYTHON, f"{found}, needed 3.11 or later")]


def _torch() -> list[Check]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return [Check("torch", True, version("torch"))]
    except PackageNotFoundError:
        return [Check("torch", False, "not installed: pip install torch")]


def _devices() -> list[Check]:
    from evo.evaluation.slots import find_slots

    slots = find_slots("auto")
    kind = "GPU" if slots[0].device != "cpu" else "core, no GPU"
    names = ", ".join(slot.name for slot in slots)
    return [Check("devices", True, f"{len(slots)} slots, one a {kind}: {names}")]


def _sandbox() -> list[Check]:
    from evo.evaluation.probe import probe

    found = probe()
    if found.denied:
        return [Check("sandbox", False, found.denied)]
    facts = [
        Check(f"  {name}", True, how) for name, how in found.facts.items() if name != "sandbox"
    ]
    return [Check("sandbox", True, f"in force, {found.binary}"), *facts]


def _data() -> list[Check]:
    from evo.evaluation.documents import DataError, DataSettings, read_text

    try:
        text = read_text(DataSettings())
    except DataError as error:
        return [Check("data", False, str(error))]
    return [
        Check("data", True, f"embedded corpus, {len(text.documents)} documents, checksum holds")
    ]


def _endpoint() -> list[Check]:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    address = os.environ.get("OPENAI_BASE_URL", "").strip() or DEFAULT_SERVER
    if not key:
        return [
            Check("LLM", None, "OPENAI_API_KEY is not set: operators that need no model are used")
        ]
    answer = _guarded(lambda: _reach(address, key))
    text = f"{address} {answer}".replace(key, "…")
    return [Check("LLM", answer == "answers", text)]


def _guarded(reach: Callable[[], str]) -> str:
    import http.client

    try:
        return reach()
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        return f"cannot be reached: {error}"


def _reach(address: str, key: str) -> str:
    """Ask for the list of models; what the server says, never the key."""
    import urllib.error
    import urllib.request

    if not address.startswith(("http://", "https://")):
        return "is not an http address"
    asked = urllib.request.Request(
        f"{address.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=REACH_SECONDS) as reply:
            return "answers" if reply.status == 200 else f"answers with status {reply.status}"
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (401, 403):
                return f"refuses the key (status {error.code})"
            return "answers" if error.code == 404 else f"answers with status {error.code}"
