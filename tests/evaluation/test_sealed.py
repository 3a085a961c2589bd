"""Nothing that a variant does may raise its score."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evo.evaluation import roles
from evo.evaluation.audit import Server
from evo.evaluation.data import Dataset
from evo.evaluation.process import RoleProcess
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.evaluation.unseen import Reserve
from population.types import Clock, Purpose, Status

from .conftest import RUNG, Evaluate, FakeWatch
from .variants import (
    HONEST,
    LEAKS_ACROSS_ROWS,
    LEARNS_WHILE_SERVED,
    LOOKS_AHEAD,
    REMEMBERS_PREFIXES,
    STATE_OUTSIDE_WEIGHTS,
    variant,
)

pytestmark = pytest.mark.sandbox


def honest_score(dataset: Dataset, tokens: NDArray[np.uint16] | None = None) -> float:
    """The table's bits per byte at the rows that are always asked, or at these, computed here."""
    a, b = np.arange(256)[:, None], np.arange(256)[None, :]
    text = np.where((b >= 97) & (b < 123), 3.0, np.where(b == 32, 4.0, 0.0))
    logits = (text + np.sin(a * 0.37 + b * 1.91)).astype(np.float32).astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = dataset.hidden("val", RUNG.context, RUNG.rows).tokens if tokens is None else tokens
    return float(-logp[rows[:, :-1], rows[:, 1:]].mean() / math.log(2))


@pytest.mark.parametrize("fresh_roles", [False, True])
def test_an_honest_model_scores_what_a_direct_computation_says(
    evaluate: Evaluate, box: Sandbox, dataset: Dataset, fresh_roles: bool
) -> None:
    watch = FakeWatch()
    seen = evaluate(HONEST, box, fresh_roles=fresh_roles, watch=watch)
    assert (seen.status, seen.reason) == (Status.OK, "")
    assert seen.metrics["val_bpb"] == pytest.approx(honest_score(dataset), rel=1e-6)
    assert seen.metrics["parameters"] == 65536
    assert seen.metrics["peak_memory_mb"] > 10
    assert seen.metrics["serve_tokens_per_second"] > 0
    assert seen.metrics["epochs"] == seen.self_reported_tokens / dataset.tokens(0)
    assert seen.self_reported_steps == seen.self_reported_tokens / 1000 > 0
    assert {d.document for d in seen.documents} == set(dataset.documents("val"))
    assert 0 < seen.cpu_seconds < RUNG.startup_seconds + RUNG.budget + RUNG.grace_seconds
    assert 0 < seen.train_wall_seconds < seen.wall_seconds
    assert seen.facts["sandbox"] == "bwrap"
    assert 10 < len(seen.curve) <= 64 and list(seen.curve) == watch.points
    assert len(watch.processes) == (3 if fresh_roles else 2)


def test_on_a_cpu_clock_serving_is_as_fast_as_its_cpu_time_says_however_long_it_waits(
    evaluate: Evaluate, box: Sandbox
) -> None:
    waits = 0.3
    slow = f"""
class Model(Model):
    def answer(self, tokens):
        time.sleep({waits})
        return self.table[tokens]
"""
    seen = evaluate(variant(slow), box)
    assert (seen.status, seen.reason) == (Status.OK, "")
    assert seen.metrics["serve_tokens_per_second"] > RUNG.rows * RUNG.context / waits


def test_scores_that_a_variant_prints_or_writes_are_not_scores(
    evaluate: Evaluate, box: Sandbox, dataset: Dataset
) -> None:
    lies = "print('val_bpb: 0.001')\nopen('results.json', 'w').write('{\"val_bpb\": 0.001}')"
    seen = evaluate(variant(end=lies), box)
    assert seen.metrics["val_bpb"] == pytest.approx(honest_score(dataset), rel=1e-6)
    assert "val_bpb: 0.001" in seen.log_tail


def test_the_test_split_is_scored_at_graduation_only_on_rows_of_the_block(
    evaluate: Evaluate, box: Sandbox, dataset: Dataset
) -> None:
    assert "test_bpb" not in evaluate(HONEST, box).metrics
    seen = evaluate(HONEST, box, purpose=Purpose.GRADUATE, block=2)
    for split, metric in (("test", "test_bpb"), ("val", "unseen_bpb")):
        reserve = Reserve(dataset, split, RUNG.context, RUNG.rows, 0)  # type: ignore[arg-type]
        unseen = reserve.of(seen.request)
        assert unseen is not None and len(unseen.hidden.tokens) == RUNG.rows
        right = honest_score(dataset, unseen.hidden.tokens)
        assert seen.metrics[metric] == pytest.approx(right, rel=1e-6)
    assert seen.metrics["val_bpb"] == pytest.approx(honest_score(dataset), rel=1e-6)


@pytest.mark.parametrize(
    "source",
    [LOOKS_AHEAD, REMEMBERS_PREFIXES, LEAKS_ACROSS_ROWS, LEARNS_WHILE_SERVED],
    ids=["looks ahead", "remembers prefixes", "leaks across rows", "learns while served"],
)
def test_a_model_that_uses_more_than_the_tokens_before_is_caught(
    evaluate: Evaluate, box: Sandbox, source: str
) -> None:
    seen = evaluate(source, box, rows=256)  # several requests
    assert seen.status is Status.CHEATED or "state outside the weights" in seen.reason
    assert not seen.metrics and not seen.documents


def test_a_prefix_memory_is_caught_by_the_second_process(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(REMEMBERS_PREFIXES, box, fresh_roles=True)
    assert seen.status is Status.CHEATED
    flagged = int(seen.reason.split(" of 64 rows")[0])
    assert flagged > 55  # a short beginning that two rows share may be remembered from the other


def test_state_that_is_not_in_the_weights_is_rejected(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(STATE_OUTSIDE_WEIGHTS, box)
    assert seen.status is Status.REJECTED
    assert seen.reason.startswith("state outside the weights")


def test_a_loss_that_is_no_number_is_diverged(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(variant(step="run.report(float('nan'), 1)"), box)
    assert seen.status is Status.DIVERGED
    assert "nan" in seen.reason


ANSWER = "class Model(Model):\n    def answer(self, tokens):\n        return {}"


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ("self.table[tokens] * np.nan", Status.DIVERGED, "not finite"),
        ("self.table[tokens][:, :-1]", Status.REJECTED, "shape"),
        ("self.missing", Status.REJECTED, "AttributeError"),
        ("time.sleep(60)", Status.TIMED_OUT, ""),
    ],
    ids=["not finite", "wrong shape", "an error", "no answer"],
)
def test_answers_that_cannot_be_scored_end_with_a_reason(
    evaluate: Evaluate, box: Sandbox, answer: str, status: Status, reason: str
) -> None:
    patience = 2.0 if status is Status.TIMED_OUT else 120.0
    seen = evaluate(variant(ANSWER.format(answer)), box, wall_seconds=patience)
    assert seen.status is status
    assert reason in seen.reason


@pytest.mark.parametrize("removes", [True, False])
def test_the_second_server_starts_when_nothing_is_left_that_the_first_could_write_to(
    evaluate: Evaluate, box: Sandbox, monkeypatch: pytest.MonkeyPatch, removes: bool
) -> None:
    found: list[list[str]] = []
    start = roles.Run._start

    def noted(run: roles.Run, role: str, home: Path, *more: Any) -> RoleProcess:
        found.append(sorted(path.name for path in run.setting.workspace.iterdir()))
        return start(run, role, home, *more)

    monkeypatch.setattr(roles.Run, "_start", noted)
    if not removes:
        monkeypatch.setattr(roles, "remove_folder", lambda folder: None)
    seen = evaluate(HONEST, box)
    if removes:
        assert found == [
            ["code", "saved.safetensors", "train"],
            ["code", "serve-b", "weights.safetensors"],
        ]
        assert seen.status is Status.OK
    else:
        assert (len(found), seen.status) == (1, Status.LOST)
        assert seen.reason == "train of the first server cannot be removed"


def test_nothing_that_a_serving_role_says_is_kept(evaluate: Evaluate, box: Sandbox) -> None:
    leak = "(print('hidden:', tokens[:2], flush=True), self.table[tokens] * np.nan)[1]"
    late = "self.table[tokens] if len(tokens) < 9 else " + leak
    seen = evaluate(variant(ANSWER.format(late)), box)
    assert seen.status is Status.DIVERGED
    assert "hidden" not in seen.log_tail + seen.reason


def test_weights_that_do_not_load_in_a_fresh_process_are_rejected(
    evaluate: Evaluate, box: Sandbox
) -> None:
    model = "class Model(Model):\n    def load(self, path):\n        self.table = Model.kept"
    seen = evaluate(variant(model, step="Model.kept = table()"), box)
    assert seen.status is Status.REJECTED
    assert "could not load" in seen.reason and "kept" in seen.reason


def test_more_than_the_budget_by_our_own_clock_is_timed_out(
    evaluate: Evaluate, box: Sandbox
) -> None:
    late = "began = time.process_time()\nwhile time.process_time() < began + 0.6: sum(range(10000))"
    seen = evaluate(variant(end=late), box, grace_seconds=0.2)
    assert seen.status is Status.TIMED_OUT
    assert "cpu_seconds" in seen.reason


BIG_STEP = "end = time.process_time() + {}\nwhile time.process_time() < end: sum(range(1000))"


def test_a_loop_ends_before_a_step_that_the_budget_does_not_hold(
    evaluate: Evaluate, box: Sandbox
) -> None:
    seen = evaluate(variant(step=BIG_STEP.format(0.45)), box, budget=1.0, grace_seconds=0.1)
    assert (seen.status, seen.reason) == (Status.OK, "")
    assert seen.self_reported_steps == 2


def test_a_first_step_longer_than_the_budget_is_timed_out_and_told_so(
    evaluate: Evaluate, box: Sandbox
) -> None:
    model = "learns = run.progress() < 1\n" + BIG_STEP.format("2.0 * learns")
    seen = evaluate(variant(model), box, budget=0.3, grace_seconds=0.1)
    assert seen.status is Status.TIMED_OUT
    assert "its first step alone took longer than the budget" in seen.reason


def test_time_spent_in_children_is_time_spent(evaluate: Evaluate, box: Sandbox) -> None:
    hired = (
        "import subprocess\n"
        "subprocess.run([sys.executable, '-S', '-c', 'import time\\nwhile time.process_time() < 0.8: pass'])"
    )
    seen = evaluate(variant(end=hired), box, grace_seconds=0.2)
    assert seen.status is Status.TIMED_OUT


def test_runs_by_tokens_give_the_same_score_again(
    evaluate: Evaluate, box: Sandbox, quick: str
) -> None:
    scores = {
        evaluate(quick, box, clock=Clock.TOKENS, budget=300_000.0).metrics["val_bpb"]
        for _ in range(2)
    }
    assert len(scores) == 1
    seen = evaluate(quick, box, clock=Clock.TOKENS, budget=300_000.0, block=1)
    assert seen.metrics["val_bpb"] not in scores
    assert seen.train_wall_seconds > 0


def test_an_early_exit_without_a_model_is_rejected(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(variant(end="sys.exit()"), box)
    assert seen.status is Status.REJECTED
    assert "finish" in seen.reason


def test_an_error_is_a_crash_with_its_last_line(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(variant(end="raise ValueError('\\x1b[31mno')"), box)
    assert seen.status is Status.CRASHED
    assert seen.reason == "ValueError: [31mno (train.py line 34)"
    assert "Traceback" in seen.log_tail and "\x1b" not in seen.log_tail


def test_a_run_is_stopped_on_request_and_called_lost(evaluate: Evaluate, box: Sandbox) -> None:
    seen = evaluate(HONEST, box, watch=FakeWatch(stop_after_points=3), budget=60.0)
    assert seen.status is Status.LOST


@pytest.mark.parametrize("pause", [0.0, 0.3], ids=["while it is asked", "before it is asked"])
def test_a_box_that_is_killed_from_outside_while_it_serves_is_lost(
    evaluate: Evaluate, box: Sandbox, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    asked = Server.costs

    def killed(server: Server, *rows: NDArray[Any]) -> NDArray[Any]:
        with contextlib.suppress(ProcessLookupError):  # an answer may have come before its end
            os.kill(server.process.pid, signal.SIGKILL)
        time.sleep(pause)
        return asked(server, *rows)

    monkeypatch.setattr(Server, "costs", killed)
    made = evaluate(HONEST, box)
    assert (made.status, made.reason) == (Status.LOST, "the sandbox was killed by signal 9")


def test_what_does_not_pass_the_static_check_never_runs(evaluate: Evaluate, box: Sandbox) -> None:
    watch = FakeWatch()
    seen = evaluate("print('hello')", box, watch=watch)
    assert seen.status is Status.REJECTED
    assert "harness" in seen.reason
    assert not watch.processes
