from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.comparison import (
    PairVerdict,
    blocks_to_show,
    compare,
    half_width,
    noise,
    visible_difference,
)
from evo.analysis.findings import Findings, changed_knobs, changed_lines, find
from evo.analysis.ranking import earnings, ranking
from evo.terminal.sentences import certainty
from evo.terminal.sentences import found as said
from population.archive import VAL_BPB
from population.reading import measurements, source_of
from population.types import PAIRED, Purpose, Status

from .built import SEED, Built, finished


def findings(built: Built) -> Findings:
    return find(Record.of(built.store), lambda one: source_of(built.store, one))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_paired_interval_holds_the_truth_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(11)
    draws = rng.normal(0.3, 2.0, (4000, n))
    half = [half_width(one.std(ddof=1), n) for one in draws]
    covered = np.mean(np.abs(draws.mean(axis=1) - 0.3) <= half)
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("n", [4, 8, 16])
def test_the_visible_difference_is_seen_about_four_times_out_of_five(n: int) -> None:
    rng = np.random.default_rng(5)
    draws = rng.normal(visible_difference(1.0, n), 1.0, (4000, n))
    seen = [
        mean > half_width(sd, n)
        for mean, sd in zip(draws.mean(1), draws.std(1, ddof=1), strict=True)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.06)


def test_the_blocks_to_show_a_difference_are_the_fewest_that_do() -> None:
    n = blocks_to_show(1.0, 1.0)
    assert n is not None
    assert visible_difference(1.0, n) <= 1.0 < visible_difference(1.0, n - 1)
    assert blocks_to_show(1e-6, 1.0) is None


def test_only_blocks_that_both_ran_on_are_compared(tmp_path: Path) -> None:
    built = Built(tmp_path)
    child = built.child(SEED + "\nx = 1\n", built.seed)
    built.runs(built.seed, [2.0, 2.2, 9.0], Purpose.CALIBRATE)
    built.runs(child, [1.9, 2.1], Purpose.SCREEN)
    one = compare(Record.of(built.store).rows, child, built.seed, "proxy", VAL_BPB)
    assert one is not None
    assert (one.n, one.blocks) == (2, (0, 1))
    assert one.difference == pytest.approx(-0.1)
    assert one.low == pytest.approx(-0.1, abs=1e-6)


def test_one_pair_is_too_few_to_say(tmp_path: Path) -> None:
    built = Built(tmp_path)
    child = built.child(SEED + "\nx = 1\n", built.seed)
    built.run(built.seed, 2.0)
    built.run(child, 1.0)
    one = compare(Record.of(built.store).rows, child, built.seed, "proxy", VAL_BPB)
    assert one is not None
    assert (one.verdict, one.low, one.high, one.sd) == (PairVerdict.TOO_FEW, None, None, None)


def test_an_interval_that_holds_zero_is_unclear_and_a_worse_child_is_worse(tmp_path: Path) -> None:
    built = Built(tmp_path)
    equal, worse = (built.child(SEED + f"\nx = {n}\n", built.seed) for n in (1, 2))
    built.runs(built.seed, [2.0, 2.2, 2.1], Purpose.CALIBRATE)
    built.runs(equal, [2.1, 2.1, 2.11], Purpose.SCREEN)
    built.runs(worse, [2.5, 2.71, 2.6], Purpose.SCREEN)
    rows = Record.of(built.store).rows
    verdicts = [compare(rows, one, built.seed, "proxy", VAL_BPB) for one in (equal, worse)]
    assert [one.verdict for one in verdicts if one] == [PairVerdict.UNCLEAR, PairVerdict.WORSE]


def test_noise_is_pooled_over_variants_and_says_its_degrees_of_freedom(tmp_path: Path) -> None:
    built = Built(tmp_path)
    child, single = (built.child(SEED + f"\nx = {n}\n", built.seed) for n in (1, 2))
    built.runs(built.seed, [2.0, 2.2], Purpose.CALIBRATE)
    built.runs(child, [1.0, 1.2, 1.1], Purpose.SCREEN)
    built.run(single, 7.0)
    level = noise(Record.of(built.store).rows, "proxy", "val_bpb")
    assert level is not None
    assert (level.freedom, level.variants) == (3, 2)
    assert level.sd == pytest.approx(((0.02 + 0.02) / 3) ** 0.5)


def test_a_second_look_at_the_final_comparison_is_told(tmp_path: Path) -> None:
    built, _, _ = finished(tmp_path)
    once = findings(built)
    assert once.looks == 1 and "compared 2 times" not in " ".join(certainty(once))
    built.run(built.child(SEED + "more = 1\n", built.seed), 2.6)
    assert once.leader_id is not None
    for block in (40, 41):
        for one, score in ((built.seed, 2.5), (once.leader_id, 2.4)):
            built.run(one, score, block, Purpose.FINAL)
    twice = findings(built)
    assert twice.leader_id == once.leader_id and twice.looks == 2
    assert "compared 2 times" in " ".join(certainty(twice))


def test_the_final_comparison_uses_fresh_blocks_and_the_search_its_own(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    found = findings(built)
    assert found.leader_id == found.best_id == leader
    assert found.final is not None and found.search is not None
    assert found.final.blocks == (5, 6, 7)
    assert found.search.blocks == (0,)
    assert found.final.difference == pytest.approx(-0.1)
    assert found.search.difference == pytest.approx(-0.12)
    assert found.final.verdict is PairVerdict.BETTER


def test_the_chain_leads_from_the_seed_to_the_leader_with_its_ideas(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    found = findings(built)
    assert [step.idea for step in found.chain] == ["LR 0.1 -> 0.2", "LR 0.2 -> 0.3"]
    assert found.chain[-1].variant_id == leader
    assert [(one.name, one.before, one.after) for one in found.knobs] == [("LR", "0.1", "0.3")]
    assert found.lines_changed == 0


def test_graduates_stand_beside_the_seed_and_one_block_is_too_few(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    (one,) = findings(built).graduates
    assert (one.variant_id, one.rung, one.outcome) == (leader, "larger", "ok")
    assert one.comparison is not None and one.comparison.verdict is PairVerdict.TOO_FEW
    assert one.scale == pytest.approx(1.0)


def test_a_graduate_that_fails_says_why(tmp_path: Path) -> None:
    built, _, crashed = finished(tmp_path)
    built.run(crashed, None, 0, Purpose.GRADUATE, "larger/one-step", Status.OUT_OF_MEMORY, "4 GB")
    (one,) = [one for one in findings(built).graduates if one.variant_id == crashed]
    assert one.comparison is None
    assert one.outcome == "does not build there, out_of_memory: 4 GB"


def test_a_campaign_that_only_began_has_findings_too(tmp_path: Path) -> None:
    built = Built(tmp_path)
    found = findings(built)
    assert (found.leader_id, found.final, found.needs, found.noise) == (None, None, None, None)


def test_final_runs_count_in_the_ranking_like_any_other(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    first = ranking(Record.of(built.store))[0]
    assert first.variant_id == leader
    found = first.measured
    assert found.n == 4
    # the seed's mean less what the pairs say: 0.12 of the search, 0.10, 0.09 and 0.11 of the final runs
    assert found.mean == pytest.approx(2.51 - 0.105, abs=1e-3)


def test_an_operator_earns_by_children_that_beat_their_parents(tmp_path: Path) -> None:
    built, _, _ = finished(tmp_path)
    nudge, llm = earnings(Record.of(built.store))
    assert (nudge.operator, nudge.measured, nudge.better, nudge.on_front) == ("nudge", 2, 2, 1)
    assert (llm.operator, llm.measured, llm.better, llm.on_front) == ("llm_mutate", 1, 0, 0)
    assert nudge.slot_seconds == pytest.approx(20.0)


def test_knobs_that_come_and_go_are_told_apart_from_other_lines() -> None:
    after = SEED.replace("0.1", "0.2").replace(
        "WIDTH = 32  # knob: int 8 64\n", "DEPTH = 3  # knob: int 1 9\n"
    )
    changes = [(one.name, one.before, one.after) for one in changed_knobs(SEED, after)]
    assert changes == [("LR", "0.1", "0.2"), ("DEPTH", None, "3"), ("WIDTH", "32", None)]
    assert changed_lines(SEED, after + "print()\n") == 1


def test_the_selection_bias_holds_the_same_text_against_the_same(tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path)
    for block, gain in enumerate((0.04, 0.05, 0.06), start=9):
        built.run(built.seed, 2.5, block, Purpose.FINAL, more={"test_bpb": 2.6})
        built.run(leader, 2.5 - gain, block, Purpose.FINAL, more={"test_bpb": 1.0})
    found = find(Record.of(built.store), lambda one: source_of(built.store, one))
    assert found.search is not None and found.selection is not None
    claimed = -found.search.difference
    assert found.final is not None and found.selection.pairs == 6
    assert found.selection.fresh.value == pytest.approx(found.final.gain)
    assert found.selection.bias.value == pytest.approx(claimed - found.final.gain)
    assert found.selection.bias.low < found.selection.bias.value < found.selection.bias.high
    told = " ".join(certainty(found))
    assert "Selection bias: the search saw it 0.12" in told
    assert "the difference is 0.0" in told and "too much (95 %" in told


def test_claims_are_in_the_rows_that_nobody_was_asked_before(tmp_path: Path) -> None:
    """A leader that knows the rows that are always asked gains .1 there, and .02 at others."""
    built, leader, _ = finished(tmp_path)
    for rung, first, purpose in (
        ("proxy", 9, Purpose.FINAL),
        ("larger", 3, Purpose.GRADUATE),
    ):
        for block in (first, first + 1, first + 2):
            for one, gain in ((built.seed, 0.0), (leader, 0.02)):
                asked = 2.5 - 5 * gain
                built.run(one, asked, block, purpose, rung, more={"unseen_bpb": 2.4 - gain})
    began_without = findings(built)  # some final runs were asked none, as in an older store
    assert began_without.final is not None and began_without.final.metric == "val_bpb"
    for row in measurements(built.store, statuses=list(Status)):
        request = row.measurement.request
        if request.purpose in PAIRED and "unseen_bpb" not in row.measurement.metrics:
            built.store.void(row.id, "asked nothing new")
    found = findings(built)
    assert found.final is not None and found.final.metric == "unseen_bpb"
    assert found.final.gain == pytest.approx(0.02)
    assert found.search is not None and found.search.metric == "val_bpb"
    assert found.selection is not None and found.selection.fresh.value == pytest.approx(0.02)
    assert found.selection.search.mean == pytest.approx(0.12)
    (graduate,) = [one.comparison for one in found.graduates if one.comparison is not None]
    assert graduate.metric == "unseen_bpb" and graduate.gain == pytest.approx(0.02)
    (headline,), sure = said(found), " ".join(certainty(found))
    assert "unseen_bpb is 2.3800 against the seed's 2.4000" in headline
    assert "0.120 better (n=1, val_bpb), fresh blocks show 0.020 better (n=3, unseen_bpb)" in sure


def test_two_pairs_give_no_interval_and_no_selection_bias(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.50, 2.52], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.51)
    built.front({built.seed: "replicated"})
    for block, (seed, mine) in enumerate([(2.56, 2.69), (2.57, 2.71)], start=5):
        built.run(built.seed, seed, block, Purpose.FINAL, more={"test_bpb": 2.6})
        built.run(child, mine, block, Purpose.FINAL, more={"test_bpb": 2.5})
    found = findings(built)
    assert found.final is not None and found.final.verdict is PairVerdict.TOO_FEW
    assert found.selection is None
    told = " ".join([*said(found), *certainty(found)])
    assert "0.1350 worse (n=2; lower is better): looks worse; 2 pairs are too few to tell." in told
    assert "not distinguishable" not in told and "interval" not in told
    assert (
        "0.1000 better (n=2): looks better; 2 pairs are too few to tell." in told
    )  # the test text


def test_what_looks_much_worse_is_not_called_undistinguishable(tmp_path: Path) -> None:
    built = Built(tmp_path)
    built.runs(built.seed, [2.50, 2.52], Purpose.CALIBRATE)
    child = built.child(SEED.replace("0.1", "0.2"), built.seed)
    built.run(child, 2.51)
    built.front({child: "candidate"})
    built.runs(built.seed, [2.5, 2.5, 2.5], Purpose.FINAL, first=5)
    built.runs(child, [2.51, 2.7, 2.6], Purpose.FINAL, first=5)
    (line,) = said(findings(built))
    assert line.endswith(": looks worse; 3 pairs are too few to tell.")


def test_an_operator_is_told_with_validity_certified_gain_and_share_over_time(
    tmp_path: Path,
) -> None:
    built, leader, _ = finished(tmp_path)
    better = built.child(SEED.replace("0.1", "0.4"), leader, "llm_mutate")
    for block, (seed, first, second) in enumerate([(2.5, 2.4, 2.1), (2.6, 2.5, 2.2)], start=20):
        for one, bpb in ((built.seed, seed), (leader, first), (better, second)):
            built.run(one, bpb, block, Purpose.RACE)
    built.front({better: "certified", leader: "certified"})
    nudge, llm = earnings(Record.of(built.store))
    assert (nudge.proposals, nudge.valid, nudge.certified) == (2, 2, 1)
    assert nudge.certified_gain == pytest.approx(0.1)  # beside the seed: also its final runs say so
    assert (llm.proposals, llm.valid, llm.certified) == (2, 1, 1)
    assert llm.certified_gain == pytest.approx(0.3)  # beside the leader before it, not the seed
    assert nudge.shares == (1.0, 1.0, 0.0, 0.0) and llm.shares == (0.0, 0.0, 1.0, 1.0)
