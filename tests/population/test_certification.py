"""Certification: the e-value is the integral it claims to be, errors and power are as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import dblquad, quad

from population.statistics.certification import (
    EFFECT_PRECISION,
    Outcomes,
    Rule,
    Verdict,
    decide,
    ends,
    futile_path,
    log_e_from_sums,
    log_e_path,
    simulate,
    smallest_gain,
)

RULE = Rule(attempts=10)
MANY = 20_000
DIFFERENCES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=16)


def integrated_log_e(d: NDArray[np.float64]) -> float:
    """The definition, by brute force: effect half-normal, d(sd)/sd, over the same at effect 0."""
    n, c = len(d), EFFECT_PRECISION

    def density(log_sd: float, effect: float) -> float:
        sd = math.exp(log_sd)
        return math.exp(-n * log_sd - float(((d - effect * sd) ** 2).sum()) / (2 * sd**2))

    def prior(effect: float) -> float:
        return 2 * math.sqrt(c / (2 * math.pi)) * math.exp(-c * effect**2 / 2)

    above = dblquad(lambda ls, e: density(ls, e) * prior(e), 0, 12, -6, 6)[0]
    return math.log(above / quad(lambda ls: density(ls, 0.0), -6, 6)[0])


@pytest.mark.parametrize("shift", [-0.7, 0.0, 0.5, 1.5])
def test_the_closed_form_is_the_integral_over_effect_and_sd(shift: float) -> None:
    d = np.random.default_rng(3).normal(shift, 1.0, 6)
    closed = log_e_from_sums(d.sum(), (d**2).sum(), 6.0)
    assert float(closed) == pytest.approx(integrated_log_e(d), abs=1e-6)


def test_with_a_hundredfold_threshold_errors_and_power_are_the_promised_ones() -> None:
    rng = np.random.default_rng(0)
    found = {gain: simulate(RULE, gain, 1.0, rng, MANY) for gain in (0.0, 1.0, 1.5, 2.0)}
    assert RULE.log_threshold == pytest.approx(math.log(100))
    assert 0.002 < found[0.0].certified < 0.006
    assert found[1.0].certified == pytest.approx(0.55, abs=0.02)
    assert found[1.5].certified == pytest.approx(0.95, abs=0.01)
    assert found[2.0].certified > 0.995
    assert found[0.0].pairs < 6  # hopeless attempts are given up early ...


def test_giving_up_early_costs_hardly_any_power() -> None:
    patient = Rule(attempts=10, hope=1e9)
    for gain in (1.0, 1.5, 2.0):
        soon = simulate(RULE, gain, 1.0, np.random.default_rng(1), MANY)
        late = simulate(patient, gain, 1.0, np.random.default_rng(1), MANY)
        assert late.certified - 0.015 < soon.certified <= late.certified
        assert soon.pairs <= late.pairs


@pytest.mark.parametrize("attempts", [1, 3, 10, 30])
def test_all_attempts_of_a_campaign_together_keep_to_alpha(attempts: int) -> None:
    rule = Rule(attempts=attempts, min_gain=0.2)
    at_boundary = simulate(rule, 0.2, 1.0, np.random.default_rng(2), MANY)
    worse = simulate(rule, -0.5, 1.0, np.random.default_rng(2), MANY)
    assert attempts * at_boundary.certified < rule.alpha
    assert worse.certified <= at_boundary.certified


def t3(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return 1 - rng.exponential(1.0, shape)  # now and then the challenger loses badly


def skewed_up(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.exponential(1.0, shape) - 1


def one_bad_host(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return np.where(rng.random((shape[0], 1)) < 0.5, 1.0, 3.0) * rng.normal(size=shape)


def drifting(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Every run is half an sd worse than the one before; ABBA order turns the sign pair by pair."""
    turn = np.where(np.arange(shape[1]) % 2 == 0, 0.5, -0.5)
    return rng.normal(size=shape) + turn


def at_null(noise: object, rule: Rule = RULE, sd: float = 1.0) -> Outcomes:
    return simulate(rule, rule.min_gain, sd, np.random.default_rng(4), MANY, noise)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [t3, skewed_up, one_bad_host, drifting])
def test_other_noise_than_normal_does_not_break_the_level(noise: object) -> None:
    assert at_null(noise).certified < RULE.alpha / RULE.attempts


def test_noise_skewed_against_the_challenger_breaks_the_level_by_a_known_factor() -> None:
    """A mean held at 0 by rare heavy losses looks like a gain until one comes. Known and bounded."""
    assert 0.01 < at_null(skewed).certified < 0.08


@pytest.mark.parametrize("times", [1.5, 2.0, 3.0])
def test_an_sd_larger_than_believed_does_not_raise_the_error(times: float) -> None:
    rule = Rule(attempts=10, min_gain=0.25, sd_floor=0.3)
    rng = np.random.default_rng(5)
    assert simulate(rule, 0.25, times, rng, MANY).certified < 0.01


def test_a_floor_under_the_sd_keeps_luckily_equal_pairs_from_proving_anything() -> None:
    equal = [1e-6] * 16
    assert decide(equal, RULE).verdict is Verdict.CERTIFIED
    floored = decide(equal, Rule(attempts=10, sd_floor=0.01))
    assert floored.verdict in (Verdict.FUTILE, Verdict.EXHAUSTED)


@given(DIFFERENCES, st.floats(0, 1e6), st.floats(0, 1e6))
def test_every_e_value_is_finite(d: list[float], min_gain: float, floor: float) -> None:
    rule = Rule(attempts=10, min_gain=min_gain, sd_floor=floor)
    assert np.isfinite(log_e_path(d, rule)).all()
    futile_path(d, rule)
    assert math.isfinite(decide(d, rule).log_e)


@given(st.integers(1, 16), st.floats(0, 1), st.floats(0, 1))
def test_nothing_but_zeros_is_no_evidence(n: int, min_gain: float, floor: float) -> None:
    rule = Rule(attempts=10, min_gain=min_gain, sd_floor=floor)
    assert (log_e_path([0.0] * n, rule) == 0).all()


@given(st.lists(st.floats(-5, 5).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=16))
def test_the_unit_of_the_metric_does_not_matter(d: list[float]) -> None:
    assert log_e_path(np.array(d) * 1e-4, RULE) == pytest.approx(log_e_path(d, RULE), abs=1e-6)


@given(DIFFERENCES, st.floats(1e-3, 1e3))
def test_a_floor_never_adds_evidence(d: list[float], floor: float) -> None:
    bare, floored = log_e_path(d, RULE), log_e_path(d, Rule(attempts=10, sd_floor=floor))
    assert (floored <= np.maximum(bare, 0) + 1e-9).all()


def test_the_first_verdict_holds_whatever_comes_after() -> None:
    winning = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.0]
    first = decide(winning, RULE)
    assert first.verdict is Verdict.CERTIFIED
    assert decide([*winning[: first.pairs], -50.0, -50.0], RULE) == first
    assert decide(winning[: first.pairs - 1], RULE).verdict is Verdict.OPEN
    assert decide([], RULE).verdict is Verdict.OPEN
    losing = decide([-1.0, -0.8, -1.2, -1.0, -0.9], RULE)
    assert (losing.verdict, losing.pairs) == (Verdict.FUTILE, 4)


def test_the_smallest_certifiable_gain_has_the_power_it_says() -> None:
    rule = Rule(attempts=10, min_gain=0.25 * 0.01)
    found = smallest_gain(rule, 0.014, np.random.default_rng(6))
    assert found is not None
    again = simulate(rule, found.gain, 0.014, np.random.default_rng(7), MANY)
    assert again.certified == pytest.approx(0.8, abs=0.03)
    assert again.published_gain > found.gain  # hence only runs after the decision are published


def test_with_too_few_pairs_no_gain_can_be_certified() -> None:
    assert smallest_gain(Rule(attempts=10, most_pairs=3), 1.0, np.random.default_rng(8)) is None
    assert not Rule(attempts=10, most_pairs=3).can_certify


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"attempts": 1, "alpha": 1.0}])
def test_a_rule_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs attempts"):
        Rule(**bad)  # type: ignore[arg-type]


def test_many_attempts_at_once_end_where_one_by_one_they_do() -> None:
    differences = np.random.default_rng(8).normal(0.6, 1.0, (200, RULE.most_pairs))
    stop, certified = ends(RULE, differences)
    alone = [decide(row.tolist(), RULE) for row in differences]
    assert [one.pairs for one in alone] == (stop + 1).tolist()
    assert [one.verdict is Verdict.CERTIFIED for one in alone] == certified.tolist()
    assert 0 < certified.mean() < 1
