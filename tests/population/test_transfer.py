"""Transfer: every rate with its interval, every overlap beside chance, nothing claimed at small n."""

from __future__ import annotations

import math

import numpy as np
import pytest

from population.statistics.intervals import ratio_interval, share_at_most, share_interval
from population.statistics.transfer import (
    kendall_tau,
    promotions,
    regret_at_k,
    top_overlap,
    transfer_ratio,
)


def test_tau_b_is_the_textbook_one_with_ties() -> None:
    from scipy.stats import kendalltau

    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 20), rng.integers(0, 5, 20)
    found = kendall_tau(x, y, rng, draws=50)
    assert found is not None
    assert found.tau.value == pytest.approx(kendalltau(x, y).statistic)


def test_its_interval_covers_and_unrelated_scores_are_called_uninformative() -> None:
    rng = np.random.default_rng(2)
    covered = silent = 0
    truth = 2 / math.pi * math.asin(0.7)
    for _ in range(100):
        x = rng.normal(size=30)
        y = 0.7 * x + math.sqrt(1 - 0.49) * rng.normal(size=30)
        related = kendall_tau(x, y, rng, draws=200)
        unrelated = kendall_tau(x, rng.normal(size=30), rng, draws=200)
        assert related is not None and unrelated is not None
        covered += related.tau.holds(truth)
        silent += not unrelated.informative
    assert covered / 100 > 0.88
    assert silent / 100 > 0.88


def test_below_ten_variants_no_rank_statistic_is_given() -> None:
    rng = np.random.default_rng(3)
    assert kendall_tau(range(9), range(9), rng) is None
    assert top_overlap(range(9), range(9), 3) is None
    with pytest.raises(ValueError, match="as many"):
        kendall_tau(range(10), range(11), rng)


def test_the_overlap_stands_beside_its_chance_level() -> None:
    x = np.arange(20.0)
    same = top_overlap(x, x, 4)
    assert same is not None
    assert (same.overlap, same.expected) == (4, 0.8)
    assert same.p_chance == pytest.approx(1 / math.comb(20, 4))
    opposite = top_overlap(x, -x, 4)
    assert opposite is not None
    assert (opposite.overlap, opposite.p_chance) == (0, 1.0)


def test_promotions_are_judged_against_controls() -> None:
    found = promotions(held=4, tried=5, controls_held=0, controls_tried=2)
    assert found.rate.low < 0.8 < found.rate.high
    assert found.controls_rate.low == 0.0
    assert 0.9 < found.p_above_controls < 1
    rng = np.random.default_rng(4)
    drawn = rng.beta(4.5, 1.5, 200_000) > rng.beta(0.5, 2.5, 200_000)
    assert found.p_above_controls == pytest.approx(drawn.mean(), abs=0.005)
    assert math.isnan(promotions(1, 1, 0, 0).p_above_controls)


@pytest.mark.parametrize(("share", "n"), [(0.5, 8), (0.2, 12), (0.9, 20)])
def test_the_interval_of_a_share_covers_it_on_average(share: float, n: int) -> None:
    rng = np.random.default_rng(5)
    hits = rng.binomial(n, share, 2000)
    table = {k: share_interval(k, n) for k in range(n + 1)}
    assert np.mean([table[int(k)].holds(share) for k in hits]) > 0.88


def test_sixty_without_a_hit_bound_a_share_below_five_percent() -> None:
    assert share_at_most(0, 60) < 0.05 < share_at_most(1, 60)
    assert share_at_most(0, 60) == pytest.approx(1 - 0.05 ** (1 / 60))
    assert share_at_most(0, 0) == share_at_most(3, 3) == 1.0


def test_fiellers_interval_covers_the_ratio() -> None:
    rng = np.random.default_rng(6)
    covered = given = 0
    for _ in range(600):
        found = ratio_interval(rng.normal(0.5, 0.3, 5).tolist(), rng.normal(1.0, 0.3, 6).tolist())
        if found is not None:
            given += 1
            covered += found.holds(0.5)
    assert given > 585
    assert covered / given == pytest.approx(0.95, abs=0.025)


def test_without_an_established_proxy_gain_there_is_no_transfer_ratio() -> None:
    assert transfer_ratio([0.01, 0.02, 0.015], [0.01, -0.01, 0.002]) is None
    assert transfer_ratio([0.01], [0.01, 0.011]) is None
    exact = transfer_ratio([1.0, 1.0], [2.0, 2.0])
    assert exact is not None
    assert (exact.low, exact.value, exact.high) == (0.5, 0.5, 0.5)


def test_regret_is_what_the_first_k_of_the_proxy_miss() -> None:
    proxy = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.0}
    target = {"a": 5.0, "b": 4.0, "c": 3.5}
    assert [regret_at_k(proxy, target, k) for k in (1, 2, 3)] == [1.5, 0.5, 0.0]
    with pytest.raises(ValueError, match="needs a variant"):
        regret_at_k(proxy, {}, 1)
