"""One child at a time: what it is centred on, and what is believed of it then."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from population.statistics.effects import (
    Effects,
    centre_of,
    centred_value,
    expected_gain,
    log_normal_share,
)
from population.types import Estimate

share = st.floats(0.01, 1.0)


@settings(deadline=None)
@given(
    st.floats(-40, 40), st.floats(0.01, 10), st.floats(0, 10), share, share, share,
    st.floats(0.05, 5), st.floats(0.05, 20),
)  # fmt: skip
def test_a_belief_is_the_expected_gain_less_the_expected_harm(
    gain, own, centre, nothing, better, worse, high, low
):
    whole = nothing + better + worse
    prior = Effects(nothing / whole, better / whole, worse / whole, high, low)
    mirrored = Effects(prior.nothing, prior.harm, prior.gain, low, high)
    total = own + centre
    effect = expected_gain(gain, total, prior) - expected_gain(-gain, total, mirrored)
    expected = (own * float(effect) + centre * gain) / total
    mean, sd = centred_value(gain, own, centre, prior)
    assert mean == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # seen through normal noise, a belief's variance is that of the noise times the slope of its mean
    step = 1e-3 * math.sqrt(total)
    above, below = (centred_value(gain + one, own, centre, prior)[0] for one in (step, -step))
    assert sd**2 == pytest.approx(own * (above - below) / (2 * step), rel=1e-3, abs=1e-5)


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
    assert centre_of([a, b], base) == pytest.approx((2.18 + 2.17 - 2.2, 0.09 + 0.16 + 0.04))
    three = centre_of([a, b, Estimate(2.1, 0.1, 1)], base)
    assert three == pytest.approx((2.18 + 2.17 + 2.1 - 2 * 2.2, 0.09 + 0.16 + 0.01 + 4 * 0.04))
    assert centre_of([a]) == pytest.approx((2.18, 0.09))
    assert np.allclose(centre_of([a, b]), ((2.18 + 2.17) / 2, 0.25 / 4))
