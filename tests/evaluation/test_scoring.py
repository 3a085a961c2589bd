from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evo.evaluation import audit as scoring
from evo.evaluation.audit import (
    EXACT,
    REDUCED,
    ROUGH,
    WIDEST,
    Audit,
    NonFinite,
    Server,
    ServerWork,
    SharedScales,
    Unserved,
    audit,
    calibrated,
    must_not_train,
    must_serve,
    nats,
    nats_in_slabs,
    tolerance_in,
)
from evo.evaluation.data import Hidden, bits_by_document, bits_per_byte, secret_cuts
from tests.evaluation.conftest import RUNG

RNG = np.random.default_rng(5)


def test_costs_are_those_of_a_plain_softmax() -> None:
    logits = RNG.normal(size=(3, 4, 10)).astype(np.float32)
    targets = RNG.integers(0, 10, (3, 4)).astype(np.uint16)
    exact = logits.astype(np.float64)
    p = np.exp(exact) / np.exp(exact).sum(-1, keepdims=True)
    wanted = [[-math.log(p[i, j, targets[i, j]]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(nats(logits, targets), wanted, rtol=1e-6)


@given(st.floats(-1e30, 1e30), st.integers(0, 4))
def test_adding_a_number_to_all_logits_changes_nothing(shift: float, target: int) -> None:
    logits = np.full((1, 1, 5), np.float32(shift))
    cost = nats(logits, np.array([[target]], dtype=np.uint16))
    assert cost[0, 0] == pytest.approx(math.log(5), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_number_is_refused(bad: float) -> None:
    logits = np.zeros((1, 2, 4), dtype=np.float32)
    logits[0, 1, 3] = bad
    with pytest.raises(NonFinite):
        nats(logits, np.zeros((1, 2), dtype=np.uint16))


def test_logits_so_far_apart_that_they_overflow_are_refused() -> None:
    logits = np.array([[[3e38, -3e38]]], dtype=np.float32)
    with pytest.raises(NonFinite):
        nats(logits, np.array([[1]], dtype=np.uint16))


def test_costs_are_the_same_to_the_last_bit_however_many_positions_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits = RNG.normal(size=(3, 50, 70)).astype(np.float32) * 9
    targets = RNG.integers(0, 70, (3, 50)).astype(np.uint32)
    whole = nats(logits, targets)
    for slab in (1, 70, 141, 70 * 149):
        monkeypatch.setattr(scoring, "SLAB_LOGITS", slab)
        assert (nats(logits, targets) == whole).all()
        for place in ((0, 0, 0), (2, 49, 69)):
            broken = logits.copy()
            broken[place] = np.nan
            with pytest.raises(NonFinite):
                nats(broken, targets)


@pytest.mark.parametrize("threads", [2, 3, 40])
def test_several_threads_find_the_same_costs_to_the_last_bit_and_what_is_not_finite(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = RNG.normal(size=(31, 70)).astype(np.float32) * 9
    targets = RNG.integers(0, 70, 31).astype(np.uint32)
    monkeypatch.setattr(scoring, "SLAB_LOGITS", 140)
    together = threading.Barrier(min(threads, 16), timeout=60)  # of 16 slabs each is read once

    def read(at: int, many: int) -> NDArray[np.float32]:
        if at < 2 * threads:
            together.wait()
        return logits[at : at + many]

    found = nats_in_slabs(read, targets, 70, threads)
    assert (found == nats(logits[None], targets[None])[0]).all()
    logits[30, 69] = np.inf
    with pytest.raises(NonFinite):
        nats_in_slabs(read, targets, 70, threads)


def test_no_more_logits_are_held_than_a_slab_of_positions() -> None:
    vocab, asked = 200_000, []

    def read(at: int, many: int) -> NDArray[np.float32]:
        asked.append((at, many))
        return np.zeros((many, vocab), dtype=np.float32)

    cost = nats_in_slabs(read, np.zeros(7, dtype=np.uint32), vocab)
    assert asked == [(at, 1) for at in range(7)]
    np.testing.assert_allclose(cost, math.log(vocab))


def test_a_difference_before_the_cut_is_flagged_and_one_after_it_is_not() -> None:
    a = RNG.exponential(size=(4, 8))
    cuts = np.array([3, 3, 3, 3])
    b = a.copy()
    b[:, 3:] += 1.0
    assert audit(a, b, cuts).flagged == 0
    b[2, 2] += 0.002
    found = audit(a, b, cuts)
    assert (found.flagged, found.rows) == (1, 4)
    assert found.largest == pytest.approx(0.002)
    said = (
        "mean +0.0002, 99.9 % within 0.002, largest 0.002 nats (allowed: mean 5e-05, largest 0.001)"
    )
    assert found.in_words(EXACT) == said  # .002 over 12 positions


def test_an_audit_of_exact_arithmetic_allows_rounding() -> None:
    a = RNG.exponential(size=(4, 8))
    noisy = a + RNG.normal(scale=2e-5, size=a.shape)
    noisy[1, 2] += 9e-4
    assert audit(a, noisy, np.full(4, 8), EXACT).flagged == 0


def test_a_small_gain_everywhere_is_no_rounding() -> None:
    a = RNG.exponential(size=(4, 8))
    assert audit(a, a + 9e-4, np.full(4, 8), EXACT).flagged == 4
    edge = a.copy()
    edge[:, 4] += 2e-4  # only what the cut hides
    assert audit(a, edge, np.full(4, 5), EXACT).flagged == 4


def test_an_audit_of_reduced_arithmetic_allows_noise_and_sees_a_peek() -> None:
    a = RNG.exponential(size=(256, 512))
    cuts = RNG.integers(1, 512, 256)
    noisy = a + RNG.normal(scale=0.01, size=a.shape)
    assert audit(a, noisy, cuts, REDUCED).flagged == 0
    edge = np.arange(0, 256, 20)  # one row in twenty: the last place before the cut was predicted
    noisy[edge, cuts[edge] - 1] += 2.0
    assert audit(a, noisy, cuts, REDUCED).flagged == len(edge)


def compared(scale: float, edge: float = 0.0, rows: int = 64) -> Audit:
    a, cuts = np.zeros((rows, 128)), RNG.integers(1, 128, rows)
    b = a + RNG.normal(scale=scale, size=a.shape)
    b[np.arange(rows), cuts - 1] += edge
    return audit(a, b, cuts, WIDEST)


def test_a_tolerance_is_ten_times_what_the_seed_shows_between_todays_and_the_widest() -> None:
    assert calibrated(EXACT, [compared(1e-6)]) is EXACT
    assert calibrated(REDUCED, [compared(1e-3)]) == REDUCED
    wide = calibrated(REDUCED, [compared(1e-3), compared(0.01)])
    assert (wide.mean, wide.edge) == (REDUCED.mean, REDUCED.edge), "what bounds a peek never grows"
    assert 0.3 <= wide.tail <= 0.5
    assert calibrated(REDUCED, [compared(5.0, edge=3.0)]) == WIDEST
    on_a_cpu = calibrated(EXACT, [compared(1e-3)])
    assert on_a_cpu.largest is None and 0.02 < on_a_cpu.tail < 0.06
    assert EXACT.edge < on_a_cpu.edge <= WIDEST.edge and EXACT.mean < on_a_cpu.mean <= WIDEST.mean


def test_what_a_wider_tolerance_lets_through_gains_no_more_than_before() -> None:
    wide = calibrated(REDUCED, [compared(0.05)])
    assert wide.tail == WIDEST.tail
    rng = np.random.default_rng(11)
    a, cuts = np.zeros((256, 128)), rng.integers(1, 128, 256)
    for scale in (0.01, 0.1):
        noisy = rng.normal(scale=scale, size=a.shape)
        assert audit(a, noisy, cuts, wide).flagged == 0
        ahead = noisy.copy()
        ahead[np.arange(256), cuts - 1] += 2 * REDUCED.edge
        assert audit(a, ahead, cuts, wide).flagged
        assert audit(a, noisy + 2 * REDUCED.mean, cuts, wide).flagged, "from its neighbours"


def test_a_tolerance_is_read_back_as_said_and_never_wider_than_a_seed_can_make_it() -> None:
    for one in (EXACT, REDUCED, WIDEST, calibrated(EXACT, [compared(1e-3)])):
        assert tolerance_in(one.in_words()) == one
    assert tolerance_in("mean 9, edge 9, tail 1e9") == WIDEST
    assert tolerance_in("largest 9, mean 9, edge 9, tail 9") == EXACT
    for other in ("", "mean 1", "mean nan, edge 0, tail 0", "mean x, edge 0, tail 0", "a b c"):
        assert tolerance_in(other) is None


@given(
    count=st.integers(1, 300),
    length=st.integers(2, 130),
    looks=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_secret_cuts_leave_no_position_out_where_rows_are_enough(
    count: int, length: int, looks: int, seed: int
) -> None:
    cuts = secret_cuts(count, length, np.random.default_rng(seed), looks)
    assert cuts.shape == (looks, count)
    assert cuts.min() >= 1 and cuts.max() <= length - 1
    assert (np.diff(cuts, axis=0) >= 0).all(), "a later look shows less"
    if count >= 2 * (length - 1):
        assert set(cuts.ravel()) == set(range(1, length))


@pytest.mark.parametrize("a_row", [0.0001, 0.02, 0.5])
def test_a_slow_model_works_beside_nothing_and_one_that_trains_does(a_row: float) -> None:
    rng, sizes = np.random.default_rng(1), [8, 64, 64, 64, 64, 64, 1, 32, 32, 32]

    def unexplained(used: list[float], beside: float = 0.0, harmless: int = 0) -> float:
        server = SimpleNamespace(
            answered=list(zip(sizes, used, strict=True)), beside_seconds=beside, harmless=harmless
        )
        return Server.unexplained_seconds(server)  # type: ignore[arg-type]

    honest = [rows * a_row * rng.uniform(0.85, 1.15) + 0.01 for rows in sizes]
    assert unexplained(honest) < 0.2
    assert unexplained([honest[0] + 3.0, *honest[1:]]) > 2.5 - 8 * a_row, "at the first question"
    assert unexplained(honest, beside=3.0) > 2.9, "between the questions"
    anew = unexplained([used + 1.0 for used in honest])
    assert anew > 0.7, "anew at every request, the one of a row alone too"
    early = unexplained(honest, harmless=1)
    assert early >= honest[0], "where nothing was hidden yet, a slow model's rows explain nothing"


def test_bits_are_summed_by_document_over_its_bytes() -> None:
    hidden = Hidden(np.zeros((3, 3), dtype=np.uint16), ("a", "b", "a"), np.array([2.0, 4.0, 6.0]))
    cost = np.log(2) * np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    documents = bits_by_document(cost, hidden)
    assert [(d.document, d.bits, d.bytes) for d in documents] == [
        ("a", pytest.approx(8.0), 8),
        ("b", pytest.approx(4.0), 4),
    ]
    assert bits_per_byte(documents) == pytest.approx(1.0)


@dataclass
class FakeServer:
    """What a server used on its way to being ready, and how long others held its cores meanwhile."""

    ready_seconds: float
    ready_held_up_seconds: float = 0.0

    def unexplained_seconds(self) -> float:
        return 0.0


def test_a_server_may_take_half_more_than_the_seed_to_start_and_a_spare() -> None:
    rung = replace(RUNG, startup_seconds=1.0, budget=10.0)  # 1.5 + .5 + .5
    must_not_train(cast("Server", FakeServer(2.4)), rung)
    with pytest.raises(ServerWork, match=r"before it was ready, where 2\.5 are allowed"):
        must_not_train(cast("Server", FakeServer(2.6)), rung)


def test_on_a_crowded_core_a_start_may_take_up_to_half_as_long_again_and_no_more() -> None:
    rung = replace(RUNG, startup_seconds=1.0, budget=10.0)
    must_not_train(cast("Server", FakeServer(3.7, 4.0)), rung)
    must_not_train(cast("Server", FakeServer(3.0, 1.3)), rung)
    for server in (FakeServer(3.8, 60.0), FakeServer(3.0, 1.0)):
        with pytest.raises(ServerWork):
            must_not_train(cast("Server", server), rung)


@pytest.mark.parametrize(
    ("apart", "quantises", "end"),
    [(0.05, True, SharedScales), (0.05, False, Unserved), (5.0, True, Unserved)],
)
def test_before_training_too_a_model_that_says_it_quantises_is_told_of_shared_scales_if_that_explains_it(
    apart: float, quantises: bool, end: type[Exception]
) -> None:
    noise = np.random.default_rng(2)

    def costs(inputs: NDArray[np.uint16], targets: NDArray[np.uint16]) -> NDArray[np.float64]:
        return 5.0 + apart * noise.choice([-1.0, 1.0], targets.shape)

    fake = SimpleNamespace(shape=SimpleNamespace(vocab=256), costs=costs)
    probe = RNG.integers(0, 256, (64, 33)).astype(np.uint16)
    with pytest.raises(end):
        must_serve(cast("Server", fake), probe, ROUGH, np.random.default_rng(1), quantises)
