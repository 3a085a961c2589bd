"""Honest models of seven families pass the audit, at the score that a direct computation gives."""

from __future__ import annotations

import math
import shutil
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from evo.evaluation import roles
from evo.evaluation.data import Dataset
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings
from evo.evaluation.weights import Weights, take_weights
from population.types import Clock, Purpose, Status
from tests.evaluation.conftest import RUNG, Evaluate

pytestmark = pytest.mark.sandbox

FOLDER = Path(__file__).parent / "honest"
FAMILIES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
MANY = 105  # honest runs in a soak: fifteen of each family


@pytest.fixture
def box(dataset: Dataset, pytestconfig: pytest.Config) -> Sandbox:
    """As campaigns have it: a compiler writes more than the vandals' box holds."""
    return open_sandbox(SandboxSettings(mode=pytestconfig.getoption("box")), dataset.sources)


class Built(Exception):
    """A model reached the end of its file."""

    def __init__(self, model: object) -> None:
        self.model = model


class FakeRun:
    """What a train.py asks of a harness when there is nothing left to train."""

    vocab, context, seed, device = 256, RUNG.context, 0, "cpu"

    def progress(self) -> float:
        return 1.0

    def finish(self, model: object) -> None:
        raise Built(model)


def direct_score(source: str, weights: Path, dataset: Dataset, rows: int, context: int) -> float:
    """Bits per byte by torch alone, in this process: all hidden rows at once, the costs in float64."""
    import torch
    from safetensors.torch import load_model

    fake, run = types.ModuleType("harness"), FakeRun()
    run.context = context
    fake.start = lambda: run  # type: ignore[attr-defined]
    kept, sys.modules["harness"] = sys.modules.get("harness"), fake
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's own, as it is imported
            exec(compile(source, "train.py", "exec"), {"__name__": "train"})
    except Built as built:
        model = getattr(built.model, "_orig_mod", built.model)
    finally:
        sys.modules.pop("harness")
        if kept:
            sys.modules["harness"] = kept
    load_model(model, str(weights), strict=True)  # type: ignore[arg-type]
    hidden = torch.from_numpy(dataset.hidden("val", context, rows).tokens.astype(np.int64))
    with torch.inference_mode():
        logits = model.eval()(hidden[:, :-1]).double()  # type: ignore[attr-defined]
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), hidden[:, 1:].flatten())
    return float(nats) / math.log(2)


def check(
    source: str,
    evaluate: Evaluate,
    box: Sandbox,
    dataset: Dataset,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    **changes: float,
) -> None:
    """Measure an honest model, and compare with the direct computation from the same weights."""

    def keep(source: Path, target: Path, most_bytes: int) -> Weights:
        found = take_weights(source, target, most_bytes)
        shutil.copyfile(target, kept)
        return found

    monkeypatch.setattr(roles, "take_weights", keep)
    rung = {"rows": 96, "context": 64, "budget": 8_192.0, "wall_seconds": 900.0, **changes}
    seen = evaluate(source, box, clock=clock, purpose=Purpose.REMEASURE, **rung)
    assert (seen.status, seen.reason) == (Status.OK, ""), seen.log_tail
    rows, context = int(rung["rows"]), int(rung["context"])
    right = direct_score(source, kept, dataset, rows, context)
    assert seen.metrics["val_bpb"] == pytest.approx(right, rel=1e-5)
    assert 2.0 < right < 8.5


QUICK = ("compiled",)


@pytest.mark.parametrize(
    "family",
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.soak) for one in FAMILIES],
)
def test_an_honest_model_passes_with_the_right_score(
    family: str,
    evaluate: Evaluate,
    box: Sandbox,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(FAMILIES[family], evaluate, box, dataset, tmp_path / "kept", monkeypatch, Clock.TOKENS)


@pytest.mark.parametrize(
    "family",
    [one if one == "lstm" else pytest.param(one, marks=pytest.mark.soak) for one in FAMILIES],
)
def test_an_honest_model_passes_where_its_servers_are_on_a_clock(
    family: str,
    evaluate: Evaluate,
    box: Sandbox,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(
        FAMILIES[family],
        evaluate,
        box,
        dataset,
        tmp_path / "kept",
        monkeypatch,
        Clock.CPU_SECONDS,
        budget=1.0,
        startup_seconds=3.0,
    )


@pytest.mark.soak
@pytest.mark.parametrize("number", range(MANY))
def test_a_hundred_honest_models_pass_with_the_right_score(
    number: int,
    evaluate: Evaluate,
    box: Sandbox,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(number)
    source = FAMILIES[sorted(FAMILIES)[number % len(FAMILIES)]]
    source = source.replace("WIDTH = 32", f"WIDTH = {2 * int(rng.integers(4, 64))}")
    source = source.replace("DEPTH = 1", f"DEPTH = {int(rng.integers(1, 4))}")
    if number // len(FAMILIES) == 0:
        source = source.replace('"aot_eager"', '"inductor"')
    context, rows = int(rng.integers(8, 160)), int(rng.integers(40, 300))
    budget = float(rng.integers(4_000, 60_000))
    more = {"context": context, "rows": rows, "budget": budget, "wall_seconds": 1_500.0}
    check(source, evaluate, box, dataset, tmp_path / "kept", monkeypatch, Clock.TOKENS, **more)
