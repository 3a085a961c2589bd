"""Planted gains and hitch-hikers: what the classical operators make of them, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from operators.merge import Merge
from operators.nudge import Nudge
from operators.operator import Operator, ProposalFailed
from operators.revert import Revert
from operators.source.constants import constants
from operators.source.knobs import read_knobs, with_knobs
from operators.source.merge import merge_sources
from operators.tune import Tune
from tests.operators.histories import SD, FakeHistory, line_of, setting
from tests.operators.samples import SMALL, request

NUMBERS = ["MATRIX_LR", "EMBED_LR", "WARMUP", "LAYERS", "BATCH"]
GOOD = {"MATRIX_LR": 0.01, "EMBED_LR": 0.2, "WARMUP": 0.3, "LAYERS": 6, "BATCH": 64}
STRUCTURE = [("return x + 1", "return x + 2"), ("return LAYERS", "return LAYERS * 2")]
SEEDS = 20


def test_a_merge_of_disjoint_planted_gains_has_both() -> None:
    both, free = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        at, structural = int(rng.integers(len(NUMBERS) - 1)), rng.random() < 0.5
        mine, theirs = NUMBERS[at], NUMBERS[at + 1]  # adjacent lines
        first = with_knobs(SMALL, {mine: GOOD[mine]})
        second = with_knobs(SMALL, {theirs: GOOD[theirs]})
        if structural:
            first, second = first.replace(*STRUCTURE[0]), second.replace(*STRUCTURE[1])
        if merge_sources(first, second, SMALL, np.random.default_rng(seed)).conflicts:
            continue
        free += 1
        child = Merge().propose(request(first, second, SMALL, seed=seed)).source
        got = constants(child)
        edits = all(new in child for _, new in STRUCTURE) or not structural
        both += edits and got[mine] == GOOD[mine] and got[theirs] == GOOD[theirs]
    assert free >= 90
    assert both >= 0.9 * free


def test_reverting_takes_most_harmless_hitchhikers_out() -> None:
    """Two edits that gain 20 sd each, three that gain nothing; three reverts, noisy values."""
    planted = removed = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        order = [NUMBERS[int(at)] for at in rng.permutation(len(NUMBERS))]
        gains = set(order[:2])
        sources, values, true = [SMALL], [3.0], 3.0
        for name in [order[int(at)] for at in rng.permutation(len(order))]:
            true -= 20 * SD if name in gains else 0.0
            sources.append(with_knobs(sources[-1], {name: GOOD[name]}))
            values.append(true + SD * float(rng.standard_normal()))
        lines = line_of(*reversed(sources), values=values[::-1])
        history, source = FakeHistory(lines={"": lines}, seed=SMALL), sources[-1]
        for _ in range(len(NUMBERS) - len(gains)):
            try:
                asked = replace(request(source, seed=seed), history=history)
                source = Revert().propose(asked).source
            except ProposalFailed:
                break
        left, home = constants(source), constants(SMALL)
        assert all(left[name] == GOOD[name] for name in gains), "a gain was undone"
        planted += len(NUMBERS) - len(gains)
        removed += sum(left[name] == home[name] for name in NUMBERS if name not in gains)
    assert removed >= 0.8 * planted


def test_tuning_finds_the_rate_of_a_new_structure_in_fewer_runs_than_nudging() -> None:
    tuned, nudged = (np.median([runs_until(make(), at) for at in range(SEEDS)]) for make in BOTH)
    assert tuned < nudged


BOTH: list[Callable[[], Operator]] = [Tune, Nudge]


def runs_until(operator: Operator, seed: int, most: int = 60) -> int:
    """Runs until the rate is within a factor 1.5 of its best, 0.002; always from the best so far."""
    rng = np.random.default_rng(seed)
    first = SMALL.replace(*STRUCTURE[0])  # its best rate is a tenth of the seed's
    history = FakeHistory([setting(first, loss(first, rng))], seed=SMALL)
    best, value = first, history.all_settings[0].value
    for run in range(1, most + 1):
        asked = replace(request(best, seed=int(rng.integers(2**31))), history=history)
        child = operator.propose(asked).source
        got = loss(child, rng)
        history.all_settings = [*history.all_settings, setting(child, got)]
        if got < value:
            best, value = child, got
        if abs(math.log(float(read_knobs(child)[0].value) / 0.002)) < math.log(1.5):
            return run
    return most + 1


def loss(source: str, rng: np.random.Generator) -> float:
    """A bowl in the logarithm of the rate, with noise."""
    rate = float(constants(source)["MATRIX_LR"])
    return 1.0 + 0.1 * math.log(rate / 0.002) ** 2 + SD * float(rng.standard_normal())
