"""Experiment trackers that follow a campaign: one function each, for TensorBoard, MLflow, Weights & Biases.

A tracker is told of every run, in order, and where the search stood after it. That is read from the store, so
that a campaign that runs is followed, a finished one is replayed, and both give the same.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.analysis.campaign_view import Record
from population.types import FRESH, Status

MAX_TEXT = 500  # of a parameter's value: MLflow takes no more


class TrackerFailure(Exception):
    """A tracker cannot be used; the message says what to install or to change."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """One run as a tracker hears of it. `step` counts runs from 1, `at` is seconds since the epoch."""

    step: int
    at: float
    values: Mapping[str, float]


Tell = Callable[[TrackedRun], None]
Tracker = Callable[[Path, str, Mapping[str, Any]], contextlib.AbstractContextManager[Tell]]


def tracked_runs(record: Record, after: int = 0) -> list[TrackedRun]:
    """The runs behind the first `after`, each with its metrics and the best score until then at its rung.

    Scores of runs are single ones: what is believed of a variant is in `evo top`.
    """
    objective, best = record.objective, dict[str, float]()
    failed, seconds, found = 0, 0.0, list[TrackedRun]()
    for step, row in enumerate(record.attempts, 1):
        run, rung = row.measurement, row.measurement.request.rung
        seconds += run.wall_seconds
        failed += run.status is not Status.OK
        values = {f"{rung}/{name}": value for name, value in run.metrics.items()}
        score = run.metrics.get(objective.name)
        if score is not None and run.request.purpose not in FRESH:
            turned = objective.turned(score)
            best[rung] = min(best.get(rung, math.inf), turned)
        if rung in best:
            values[f"{rung}/lowest single {objective.name}"] = objective.sign * best[rung]
        values |= {"runs/failed": float(failed), "runs/slot seconds": seconds}
        if step > after:
            found.append(TrackedRun(step, run.started_at + run.wall_seconds, values))
    return found


@contextlib.contextmanager
def tensorboard(folder: Path, name: str, config: Mapping[str, Any]) -> Iterator[Tell]:
    """Event files in a folder of the campaign's name; `tensorboard --logdir FOLDER` shows them."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise TrackerFailure(_missing("tensorboardX", "tensorboard")) from error
    with SummaryWriter(str(folder / name)) as writer:
        writer.add_text("config", "\n".join(f"    {k}: {v}" for k, v in _flat(config).items()))

        def tell(run: TrackedRun) -> None:
            for metric, value in run.values.items():
                writer.add_scalar(metric, value, run.step, walltime=run.at)
            writer.flush()

        yield tell


@contextlib.contextmanager
def mlflow(folder: Path, name: str, config: Mapping[str, Any]) -> Iterator[Tell]:
    """A run of the experiment `evotrain` in `FOLDER/mlflow.db`.

    `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows it.
    """
    os.environ.setdefault(
        "MLFLOW_DISABLE_TELEMETRY", "true"
    )  # it would tell its makers of this run
    try:
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise TrackerFailure(_missing("mlflow-skinny", "mlflow")) from error
    here = folder.resolve()
    here.mkdir(parents=True, exist_ok=True)
    for loud in ("alembic", "mlflow"):  # a screen of lines about a new database
        logging.getLogger(loud).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=f"sqlite:///{here / 'mlflow.db'}")
    known = client.get_experiment_by_name("evotrain")
    experiment = (
        known.experiment_id
        if known
        else client.create_experiment("evotrain", artifact_location=(here / "artifacts").as_uri())
    )
    run_id = client.create_run(experiment, run_name=name).info.run_id
    for key, value in _flat(config).items():
        client.log_param(run_id, key, value)

    def tell(run: TrackedRun) -> None:
        at = int(1000 * run.at)
        metrics = [Metric(_spelt(k), v, at, run.step) for k, v in run.values.items()]
        client.log_batch(run_id, metrics=metrics)

    status = "FAILED"
    try:
        yield tell
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)


@contextlib.contextmanager
def wandb(folder: Path, name: str, config: Mapping[str, Any]) -> Iterator[Tell]:
    """An offline run; `wandb sync FOLDER/wandb/offline-run-*` uploads it, and nothing else does."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # offline means offline
    try:
        from wandb import Settings, init
    except ImportError as error:
        raise TrackerFailure(_missing("wandb", "wandb")) from error
    folder.mkdir(parents=True, exist_ok=True)
    run = init(
        project="evotrain",
        name=name,
        dir=str(folder),
        mode="offline",
        config=dict(config),
        settings=Settings(silent=True, console="off"),
    )

    def tell(one: TrackedRun) -> None:
        run.log({**one.values, "at": one.at}, step=one.step)

    failed = 1
    try:
        yield tell
        failed = 0
    finally:
        run.finish(exit_code=failed)


TRACKERS: dict[str, Tracker] = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}


def _missing(package: str, extra: str) -> str:
    return f"{package} is not installed: pip install 'evotrain[{extra}]'"


def _flat(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """A config as one value a dotted key."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = _spelt(f"{above}{key}")
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        elif value not in (None, [], ()):
            found[name] = str(value)[:MAX_TEXT]
    return found


def _spelt(name: str) -> str:
    """A name with the letters alone that every tracker takes."""
    return "".join(one if one.isalnum() or one in "_-./ " else "_" for one in name)
