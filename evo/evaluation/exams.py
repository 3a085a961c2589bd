"""Runs that hidden text was shown to and that have no row yet: their weights, and what training showed.

From the first hidden request on nothing is trained again for the same order: a run that could have another
try would choose which one counts. What the machine cuts off is scored from the same weights, also by a later
process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from population.types import CurvePoint, Purpose, RunRequest


@dataclass(slots=True)
class Training:
    """What training showed. `weights_sha256` and `parameters` are of what it saved, "" and 0 before that."""

    curve: tuple[CurvePoint, ...] = ()
    tokens: int = 0  # its own word, as are the steps
    steps: int = 0
    wall_seconds: float = 0.0  # progress 0 to finish
    cpu_seconds: float = 0.0
    waited_seconds: float = 0.0  # for cores that others held
    peak_bytes: int = 0
    log_tail: str = ""
    parameters: int = 0
    weights_bytes: int = 0
    weights_sha256: str = ""


class Exams:
    """The folder that they are kept in: two files a run, the description last. Thread-safe by order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, order: RunRequest, training: Training, weights: Path) -> None:
        """Keep a run, before it is shown hidden text. OSError when it cannot be kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        described = self._path(order)
        kept = described.with_suffix(".safetensors")
        kept.unlink(missing_ok=True)
        try:
            os.link(weights, kept)
        except OSError:  # a file system without hard links, or another one
            shutil.copyfile(weights, kept)
        draft = described.with_suffix(".part")
        told = json.dumps({"order": asdict(order), "training": asdict(training)})
        draft.write_text(told, encoding="utf-8")
        for file in (kept, draft):
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        os.replace(draft, described)

    def find(self, order: RunRequest) -> tuple[Training, Path] | None:
        """What was kept of a run, and its weights; None when it was not begun."""
        described = self._path(order)
        try:
            told = json.loads(described.read_text(encoding="utf-8"))["training"]
        except FileNotFoundError:
            return None
        told["curve"] = tuple(CurvePoint(**point) for point in told["curve"])
        return Training(**told), described.with_suffix(".safetensors")

    def end(self, order: RunRequest) -> None:
        """Forget a run: it has its row."""
        described = self._path(order)
        described.unlink(missing_ok=True)  # first: weights without a description are nobody's
        described.with_suffix(".safetensors").unlink(missing_ok=True)

    def prune(self, is_over: Callable[[RunRequest], bool]) -> None:
        """Forget the runs that are over, and what a kill left half written."""
        described = {path.stem: path for path in self._folder.glob("*.json")}
        for path in self._folder.glob("*"):
            if path.stem not in described:
                path.unlink(missing_ok=True)
        for path in described.values():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                order = _order(json.loads(path.read_text(encoding="utf-8"))["order"])
                if is_over(order):
                    self.end(order)

    def _path(self, order: RunRequest) -> Path:
        key = f"{order.variant_id} {order.rung} {order.block} {order.repeat}"
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _order(told: dict[str, Any]) -> RunRequest:
    values = {one.name: told[one.name] for one in fields(RunRequest)}
    return RunRequest(**{**values, "purpose": Purpose(told["purpose"])})
