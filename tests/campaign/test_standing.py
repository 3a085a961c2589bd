"""Certified members of the front: proven on fresh blocks, at the false discovery rate that was stated."""

from __future__ import annotations

from statistics import stdev
from types import SimpleNamespace

import numpy as np
import pytest

from evo.analysis.comparison import noise
from evo.search.certification import CertificationSettings, log_e_of, proven_members, rule_of
from evo.search.first_noise import FirstNoise
from evo.terminal.screens import noise_sentences
from population.archive import DEFAULT_OBJECTIVES, Objective
from population.run_history import RunHistory
from population.statistics.certification import Rule
from population.statistics.noise import calibrate, seed_samples
from population.types import Measurement, MeasurementRow, Purpose, RunRequest, Status

SEED, SD, TRADE = "seed", 0.005, 0.004
OBJECTIVES = (Objective(name="val_bpb", epsilon=0.001), Objective(name="parameters", epsilon=5.0))


def front_of(
    rng: np.random.Generator, members: dict[str, tuple[float, float]], pairs: int
) -> RunHistory:
    """The seed at (2.0, 100) and members at (loss to it, parameters), `pairs` runs each on fresh blocks."""
    history, id = RunHistory(OBJECTIVES, SEED), 0
    everyone = {SEED: (0.0, 100.0), **members}
    for block in range(4 + pairs):
        for name, (loss, size) in everyone.items():
            id += 1
            purpose = Purpose.REMEASURE if block < 4 else Purpose.FINAL
            metrics = {"val_bpb": 2.0 + loss + SD * rng.normal(), "parameters": size}
            request = RunRequest(name, "proxy", block, 0, purpose)
            history.add(MeasurementRow(id, Measurement(request, Status.OK, metrics=metrics)))
    return history


def test_a_member_that_gains_and_one_that_is_smaller_at_no_loss_are_proven():
    members = {"better": (-0.02, 120.0), "smaller": (0.0, 50.0), "worse": (0.03, 40.0)}
    history = front_of(np.random.default_rng(1), members, 16)
    assert proven_members(history, "proxy", 0.1, 2 * SD) == {"better", "smaller"}


def test_what_is_smaller_by_less_than_the_box_has_beaten_nobody():
    history = front_of(np.random.default_rng(2), {"hardly": (0.0, 96.0)}, 16)
    assert not proven_members(history, "proxy", 0.1, 3 * SD)


def test_runs_that_chose_a_variant_prove_nothing():
    history = front_of(np.random.default_rng(3), {"better": (-0.05, 120.0)}, 0)
    assert history.front("proxy")[0] == "better"
    assert not proven_members(history, "proxy", 0.1)


def test_members_at_the_boundary_are_seldom_called_proven():
    members = {f"m{k}": (TRADE, 90.0 - 10 * k) for k in range(6)}
    false = 0
    for world in range(60):
        history = front_of(np.random.default_rng(100 + world), members, 10)
        false += bool(proven_members(history, "proxy", 0.1, TRADE))
    assert false <= 10  # nominal 6 of 60; e-values are careful


@pytest.mark.parametrize("boundary", [-0.01, 0.0, 0.01])
def test_an_e_value_is_finite_and_grows_with_the_gain(boundary):
    e = [log_e_of([gain] * 8, boundary, 0.001) for gain in (-0.02, 0.0, 0.02, 0.04)]
    assert np.isfinite(e).all() and e == sorted(e)
    assert log_e_of([], boundary, 0.001) == 0.0


def test_the_first_sentence_on_noise_and_every_later_screen_tell_one_figure():
    history = RunHistory(DEFAULT_OBJECTIVES, "seed")
    runs = [(0, 0, 2.00), (0, 1, 2.04), (0, 2, 2.05), (1, 0, 2.10), (2, 0, 1.93), (3, 0, 2.02)]
    for id, (block, repeat, bpb) in enumerate(runs, start=1):
        request = RunRequest("seed", "proxy", block, repeat, Purpose.CALIBRATE)
        history.add(MeasurementRow(id, Measurement(request, Status.OK, metrics={"val_bpb": bpb})))
    scheduler = SimpleNamespace(is_calibrated=lambda: True)
    said = FirstNoise(scheduler, history, "proxy", CertificationSettings(), 10)()
    later = noise(history.rows("proxy"), "proxy", "val_bpb")
    assert later is not None and f"{later.sd:.4f} val_bpb from block to block (n=4)" in said
    within = stdev([2.00, 2.04, 2.05])
    assert f"{within:.4f} on one block (n=3)" in said
    assert later.sd == history.noise_sd("proxy", "val_bpb")


def test_equal_repeats_say_nothing_of_what_can_be_certified_and_are_not_called_impossible():
    history = RunHistory(DEFAULT_OBJECTIVES, "seed")
    for id, bpb in enumerate((2.0, 2.1, 1.9, 2.05, 2.0, 2.0), start=1):
        block, repeat = (id - 1, 0) if id <= 4 else (0, id - 4)
        request = RunRequest("seed", "proxy", block, repeat, Purpose.CALIBRATE)
        history.add(MeasurementRow(id, Measurement(request, Status.OK, metrics={"val_bpb": bpb})))
    scheduler = SimpleNamespace(is_calibrated=lambda: True)
    said = FirstNoise(scheduler, history, "proxy", CertificationSettings(), 10)()
    rule = rule_of(CertificationSettings(), 0.08)
    samples = seed_samples(history.rows("proxy"), "val_bpb")
    found = calibrate(*samples, lambda run_sd: rule, 60, np.random.default_rng(1))
    lines = " ".join(noise_sentences(found, "val_bpb"))
    for text in (said, lines.replace("Repeats", "repeats").replace("What", "what")):
        assert "repeats are equal" in text
        assert "what a changed script varies by in pairs is not known from the seed" in text
        for claim in ("impossible", "no gain", "100%", "by luck", "would keep"):
            assert claim not in text


def test_a_gain_that_no_pairs_can_certify_is_still_called_impossible():
    rule = Rule(alpha=1e-9, attempts=2, most_pairs=4)
    across, within = [2.0, 2.1, 1.9, 2.05], [2.0, 2.06, 1.97]
    found = calibrate(across, within, lambda run_sd: rule, 60, np.random.default_rng(1))
    assert "impossible at this n" in " ".join(noise_sentences(found, "val_bpb"))
