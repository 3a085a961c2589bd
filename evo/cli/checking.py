"""Measuring one file outside any campaign."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evo.cli.app import JsonOption, app, show, show_json

if TYPE_CHECKING:
    from population.variant import Measurement


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
    from population.variant import Measurement, Purpose, RunRequest, Status, variant_id

    config = read_config(config_file)
    name = rung or next(iter(config.rungs))
    if name not in config.rungs:
        raise ConfigError(f"{config_file}: no rung {name!r}; rungs: {', '.join(config.rungs)}")
    try:
        source = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        order = RunRequest("0" * 64, name, block, 0, Purpose.SCREEN)
        return Measurement(order, Status.REJECTED, "the file is not UTF-8 text")
    if objection := check_source(source, config.train.read_text(encoding="utf-8")):
        order = RunRequest(variant_id(source), name, block, 0, Purpose.SCREEN)
        return Measurement(order, Status.REJECTED, objection)
    one_rung = config.model_copy(update={"rungs": {name: config.rungs[name]}})
    order = RunRequest(variant_id(source), name, block, 0, Purpose.SCREEN)
    with tempfile.TemporaryDirectory(prefix="evo-evaluate-") as work:
        bench = open_bench(one_rung, Path(work), {}, lambda text: print(text, file=sys.stderr))
        return bench.evaluator.evaluate(order, source, bench.slots[0], Unwatched())
