"""Early stopping in the shadow: allowed only when it is shown to spare the best."""

from __future__ import annotations

import numpy as np

from population.statistics.stopping import Shadow, safety, would_stop
from population.types import CurvePoint


def curve(level: float) -> list[CurvePoint]:
    """A loss that falls to `level` at the end."""
    return [CurvePoint(p / 10, level + 1 - p / 10, p * 1000) for p in range(1, 11)]


PEERS = [curve(2.0 + 0.01 * k) for k in range(20)]


def test_a_run_worse_than_most_is_stopped_and_a_good_one_is_not() -> None:
    assert would_stop(curve(2.5), PEERS) == 0.3  # the first point after a quarter
    assert would_stop(curve(2.0), PEERS) is None


def test_few_peers_stop_nothing() -> None:
    assert would_stop(curve(9.0), PEERS[:9]) is None
    assert would_stop([], PEERS) is None


def test_a_spike_after_a_good_start_does_not_stop_a_run() -> None:
    spiky = [CurvePoint(0.2, 2.0, 1), CurvePoint(0.5, 7.0, 2)]
    assert would_stop(spiky, PEERS) is None


def runs(stopped_scores: list[float], other_scores: list[float]) -> list[Shadow]:
    return [Shadow(True, s) for s in stopped_scores] + [Shadow(False, s) for s in other_scores]


def test_sixty_stops_without_one_of_the_best_are_needed() -> None:
    others = [float(k) for k in range(60)]
    assert not safety(runs([100.0 + k for k in range(59)], others)).may_stop
    allowed = safety(runs([100.0 + k for k in range(60)], others))
    assert allowed.may_stop and allowed.at_most < 0.05
    lost = safety(runs([-1.0, *(100.0 + k for k in range(60))], others))
    assert (lost.wrong, lost.may_stop) == (1, False)
    assert not safety([]).may_stop


def test_a_rule_that_loses_one_in_ten_is_hardly_ever_switched_on() -> None:
    rng = np.random.default_rng(1)
    switched_on = 0
    for _ in range(400):
        scores = rng.normal(size=150)
        stopped = rng.random(150) < 0.5  # blind: a tenth of its stops end in the top tenth
        made = [Shadow(bool(a), float(b)) for a, b in zip(stopped, scores, strict=True)]
        switched_on += safety(made).may_stop
    assert switched_on / 400 < 0.05
