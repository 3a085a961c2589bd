"""One child at a time gives what the vectorised formulas give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from population.statistics.centring import centre_of, centred_value, log_normal_share
from population.statistics.effects import Effects, child_value, merge_centre
from population.types import Estimate

share = st.floats(0.01, 1.0)


@settings(deadline=None)
@given(
    st.floats(-40, 40), st.floats(0.01, 10), st.floats(0, 10), share, share, share,
    st.floats(0.05, 5), st.floats(0.05, 20),
)  # fmt: skip
def test_a_single_posterior_is_that_of_many(gain, own, centre, nothing, better, worse, high, low):
    whole = nothing + better + worse
    prior = Effects(nothing / whole, better / whole, worse / whole, high, low)
    many = child_value([gain, 0.0], own, centre, prior)
    mean, sd = centred_value(gain, own, centre, prior)
    assert mean == pytest.approx(float(many.mean[0]), rel=1e-6, abs=1e-6)
    assert sd == pytest.approx(float(many.sd[0]), rel=1e-4, abs=1e-5)


def test_a_part_without_weight_plays_no_part():
    prior = Effects(0.0, 0.0, 1.0, 1.0, 1.0)
    mean, sd = centred_value(5.0, 1.0, 0.0, prior)
    assert mean < 0 < sd


@pytest.mark.parametrize("z", [-60.0, -20.0, -19.99, -8.0, -1.0, 0.0, 4.99, 5.01, 30.0])
def test_the_normal_distribution_is_right_far_out(z):
    from scipy.special import log_ndtr

    assert log_normal_share(z) == pytest.approx(float(log_ndtr(z)), rel=1e-9, abs=1e-300)
    assert math.isfinite(log_normal_share(z))


def test_a_merge_is_centred_as_the_formula_says():
    a, b, base = Estimate(2.18, 0.3, 1), Estimate(2.17, 0.4, 1), Estimate(2.2, 0.2, 4)
    expected = merge_centre((2.18, 0.09), (2.17, 0.16), (2.2, 0.04))
    assert centre_of([a, b], base) == pytest.approx(expected)
    three = centre_of([a, b, Estimate(2.1, 0.1, 1)], base)
    assert three == pytest.approx((2.18 + 2.17 + 2.1 - 2 * 2.2, 0.09 + 0.16 + 0.01 + 4 * 0.04))
    assert centre_of([a]) == pytest.approx((2.18, 0.09))
    assert np.allclose(centre_of([a, b]), ((2.18 + 2.17) / 2, 0.25 / 4))
