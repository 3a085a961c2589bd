"""Means over blocks and pooled noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from population_records import rows, scored

from population.statistics import noise_sd, pooled_sd
from population.statistics.distributions import f_probability, f_quantile, t_quantile
from population.types import Estimate, Status
from tests.at_once import estimates


def test_the_pooled_sd_is_the_textbook_one() -> None:
    groups = [[1.0, 2.0, 4.0], [10.0], [5.0, 5.5]]
    squares = 2 * np.var(groups[0], ddof=1) + np.var(groups[2], ddof=1)
    assert pooled_sd(groups) == pytest.approx(math.sqrt(squares / 3))
    assert math.isnan(pooled_sd([[1.0], [2.0], []]))


def test_the_pooled_sd_recovers_the_noise_of_many_small_groups() -> None:
    rng = np.random.default_rng(1)
    groups = rng.normal(rng.normal(0, 5, (2000, 1)), 0.3, (2000, 2))
    assert pooled_sd(groups.tolist()) == pytest.approx(0.3, rel=0.05)


def test_repeats_count_once_a_block_and_failures_not_at_all() -> None:
    made = rows(
        scored("a", 0, 0, val_bpb=1.0),
        scored("a", 0, 1, val_bpb=2.0),
        scored("a", 1, 0, val_bpb=2.5),
        scored("b", 0, val_bpb=4.0, parameters=7.0),
        scored("c", 0, status=Status.CRASHED),
    )
    found = estimates(made)
    sd = math.sqrt(((1.5 - 2) ** 2 + (2.5 - 2) ** 2) / 1)
    assert list(found) == ["a", "b"]
    assert found["a"]["val_bpb"] == Estimate(2.0, sd / math.sqrt(2), 2)
    assert found["b"]["val_bpb"] == Estimate(4.0, sd, 1)
    assert math.isnan(found["b"]["parameters"].sd)
    assert noise_sd(made, "val_bpb") == pytest.approx(sd)
    assert noise_sd(made, "parameters") is None
    assert estimates([]) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="measurement 1 has val_bpb"):
        estimates(rows(scored("a", val_bpb=value)))


def test_variants_on_different_blocks_are_compared_free_of_the_blocks_effects() -> None:
    rng = np.random.default_rng(5)
    effects = rng.normal(0, 0.02, 6)
    truth = {"seed": 2.2, "better": 2.19, "worse": 2.21, "other": 2.3, "another": 2.25}
    blocks = {"seed": range(6), "better": [0, 3], "worse": [1]}
    blocks |= {"other": range(3), "another": [1, 4, 5]}  # by which the blocks' effects are known
    made = []
    for name, seen in blocks.items():
        for block in seen:
            made.append(scored(name, block, val_bpb=truth[name] + effects[block]))
    found = estimates(rows(*made), reference="seed")
    gap = found["worse"]["val_bpb"].mean - found["better"]["val_bpb"].mean
    assert gap == pytest.approx(0.02, abs=1e-9)
    assert found["seed"]["val_bpb"].mean == pytest.approx(2.2 + effects.mean())


def test_the_sd_of_adjusted_scores_is_that_of_what_blocks_do_not_explain() -> None:
    rng = np.random.default_rng(6)
    effects, made = rng.normal(0, 0.05, 4), []
    for variant in ["seed", *(f"v{k}" for k in range(40))]:
        for block in range(4):
            value = 2.0 + effects[block] + rng.normal(0, 0.01)
            made.append(scored(variant, block, val_bpb=value))
    adjusted = estimates(rows(*made), reference="seed")["v0"]["val_bpb"].sd * 2
    plain = estimates(rows(*made))["v0"]["val_bpb"].sd * 2
    assert 0.008 < adjusted < 0.02 < plain


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7.5, 29, 100, 2000])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.95, 0.999])
def test_our_distributions_are_the_known_ones(freedom: float, probability: float) -> None:
    from scipy import stats

    t = stats.t.ppf((1 + probability) / 2, freedom)
    assert t_quantile(freedom, probability) == pytest.approx(t, rel=1e-9)
    for above in (1, 3, 13, 50):
        f = stats.f.ppf(probability, above, freedom)
        assert f_quantile(probability, above, freedom) == pytest.approx(f, rel=1e-7)
        for ratio in (0.0, 0.1, 1.0, 2.5, 40.0):
            expected = stats.f.cdf(ratio, above, freedom)
            assert f_probability(ratio, above, freedom) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("freedom", "probability"), [(0, 0.5), (3, 0.0), (3, 1.0)])
def test_a_quantile_that_does_not_exist_is_an_error(freedom: int, probability: float) -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_quantile(freedom, probability)
    with pytest.raises(ValueError, match="degrees of freedom"):
        f_quantile(probability, 2, freedom)
