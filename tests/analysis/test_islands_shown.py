"""What readers see of islands: whose a variant is, and what a sceptic left of a claim."""

from __future__ import annotations

from pathlib import Path

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import ranking
from evo.cli.ladder import summary_in
from evo.report.lineage import Marked, fold, lineage, place_all
from evo.report.page import colours
from evo.terminal.tables import ranking_table
from population.fingerprint import fingerprint
from population.islands import CHECKED
from population.lineage import tree
from population.types import Outcome, Parent, Proposal, Purpose, Variant, variant_id
from tests.analysis.built import SEED, Built
from tests.terminal.test_screens import shown


def bred(folder: Path, *islands: str) -> tuple[Built, list[str]]:
    """A campaign with a measured child of each of these islands."""
    built = Built(folder)
    built.runs(built.seed, [2.50, 2.52, 2.51], Purpose.CALIBRATE)
    made = []
    for island in islands:
        built.number += 1
        source = SEED.replace("0.1", f"0.{built.number}")
        one = Variant(variant_id(source), source, fingerprint(source))
        parents = (Parent(built.seed, "parent"),)
        said = ("nudge", parents, Outcome.VARIANT)
        built.store.add_proposal(Proposal(built.number, *said, variant=one, island=island))
        built.run(one.id, 2.50 - 0.05 * built.number)
        made.append(one.id)
    built.front({made[-1]: "candidate"})
    built.believe()
    return built, made


def test_every_screen_says_whose_a_variant_is_where_there_are_several(tmp_path: Path) -> None:
    built, (first, second) = bred(tmp_path / "c", "wide", "small")
    record = Record.of(built.store)
    ranked = ranking(record)
    assert {one.variant_id: one.island for one in ranked} == {
        built.seed: "", first: "wide", second: "small"
    }  # fmt: skip
    table = shown(ranking_table(ranked, record.objectives, record.seed_id))
    assert "island" in table and "wide" in table and "small" in table
    (root,) = tree(built.store)
    assert [one.operator for one in root.children] == ["nudge on wide", "nudge on small"]
    by_id = {one.variant_id: one for one in ranked}
    folds = fold(record, Marked())
    hues = colours(made.operator for made in record.births().values())
    figure = lineage(record, folds, place_all(record, folds), by_id, Marked(), hues)
    groups = {one.name: list(one.customdata) for one in figure.data if one.customdata is not None}
    assert groups["wide"] == [first] and groups["small"] == [second]
    assert groups["of all islands"] == [built.seed]


def test_one_population_has_no_islands_to_show(tmp_path: Path) -> None:
    built, _ = bred(tmp_path / "c", "", "")
    record = Record.of(built.store)
    assert "island" not in shown(ranking_table(ranking(record), record.objectives, record.seed_id))
    assert [one.operator for one in tree(built.store)[0].children] == ["nudge", "nudge"]


def test_what_was_tested_is_believed_by_the_runs_since_then(tmp_path: Path) -> None:
    built, (one,) = bred(tmp_path / "c", "wide")
    lucky = built.run(one, 1.9, 1, Purpose.REMEASURE)
    for block in (5, 6, 7):
        built.run(built.seed, 2.51, block, Purpose.CHECK)
        built.run(one, 2.53, block, Purpose.CHECK)
    before = {it.variant_id: it for it in ranking(Record.of(built.store))}[one]
    built.store.add_decision(CHECKED, one, {"chosen_by": lucky})
    built.believe()
    after = {it.variant_id: it for it in ranking(Record.of(built.store))}[one]
    assert before.measured.mean < 2.45 < 2.5 < after.measured.mean
    assert after.told("val_bpb")[0] > 2.5 and after.told("val_bpb")[2] == 3


def test_a_summary_tells_what_a_sceptic_upheld_and_what_it_refuted(tmp_path: Path) -> None:
    built, made = bred(tmp_path / "c", *["wide"] * 9)
    told = {
        "against": built.seed, "claimed": 0.2, "claimed_on": 1, "pairs": 4, "gain": 0.1, "se": 0.01,
        "log_e": 6.0, "more": {}, "chosen_by": 1, "seen": 2,
    }  # fmt: skip
    for one, verdict in zip(made, ("upheld", "unproven", *["refuted"] * 7), strict=True):
        built.store.add_decision(CHECKED, one, {**told, "verdict": verdict})
    built.believe()
    parts = {one.title: " ".join(one.lines) for one in summary_in(built.folder, built.store).parts}
    holds, refuted = parts["What holds"], parts["What was refuted, or is not shown"]
    said = f"{made[0][:8]} is upheld by the sceptic: 0.2 better than {built.seed[:8]} on 1 block"
    assert said in holds and "sceptic" not in holds.replace(said, "")
    assert f"{made[8][:8]} is refuted by the sceptic" in refuted and refuted.count("sceptic") == 6
    assert "2 earlier claims came out alike" in refuted
