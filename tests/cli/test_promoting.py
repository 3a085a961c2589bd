"""The commands about the ladder: approvals and vetoes, and the evidence it rests on."""

from __future__ import annotations

from pathlib import Path

import pytest

from population.reading import pending
from tests.analysis.built import Built, waiting

from .driving import Evo


@pytest.fixture
def campaign(tmp_path: Path) -> tuple[Built, str, str]:
    return waiting(tmp_path / "campaigns" / "built-1")


def test_what_waits_is_shown_with_its_evidence(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    _, first, second = campaign
    out = " ".join(evo("approve").out.split())
    assert "2 steps up the ladder wait for your approval" in out
    for part in (
        f"{first[:8]} to larger",
        "nudge: LR 0.1 -> 0.2",
        "LR 0.1 → 0.2 (knob)",
        "0.1000 better than the seed's at proxy (lower is better), on blocks that played no part",
        "looks better; 2 pairs are too few to tell",
        "replicated",
        "1.10 times the seed's",
        "2 runs, slot time not known before a run there",
        "2 runs of the seed and the controls come along once",
        f"{second[:8]} to larger",
        "(architecture)",
        f"evo veto {first[:8]}",
    ):
        assert part in out, part


def test_the_evidence_is_also_there_for_programs(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    first, second = evo("approve", "--json").json()
    assert (first["variant_id"], first["rung"], first["fresh"]) == (campaign[1], "larger", True)
    assert first["gain"]["difference"] == pytest.approx(-0.1) and first["gain"]["low"] is not None
    assert first["cost"]["runs"] == 2 and second["scale"] == pytest.approx(0.9)


def test_what_was_said_counts_before_any_campaign_has_heard_it(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    _, first, second = campaign
    said = evo("approve", first[:8])
    assert "approved" in said.out and "goes up to larger" in said.out
    assert [one["variant_id"] for one in evo("approve", "--json").json()] == [second]
    assert "is approved for every rung already" in evo("approve", first[:8]).err
    assert "vetoed" in evo("veto", second[:8], "--because", "reads the clock").out
    assert evo("approve", "--json").json() == []
    assert "Nothing waits" in evo("approve").out
    assert "lifted the veto" in evo("approve", second[:8]).out
    assert [one["variant_id"] for one in evo("approve", "--json").json()] == [second]


def test_the_seed_cannot_be_vetoed(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("veto", "seed")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert pending(campaign[0].store) == []


def test_an_unknown_rung_is_told(evo: Evo, campaign: tuple[Built, str, str]) -> None:
    said = evo("approve", campaign[1][:8], "--to", "largest")
    assert said.code == 2 and "the rungs above proxy are larger" in said.err


def test_the_status_of_a_campaign_that_waits_points_to_the_evidence(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    assert "next  evo approve\n" in evo("status").out


def test_evo_ladder_shows_the_ladder_also_before_anybody_went_up(
    evo: Evo, campaign: tuple[Built, str, str], tmp_path: Path
) -> None:
    out = " ".join(evo("ladder").out.split())
    assert "proxy → larger" in out and "waits for approval" in out and "evo approve" in out
    found = evo("ladder", "--json").json()
    assert [one["role"] for one in found["steps"]] == ["graduate", "graduate"]
    assert found["transfer"] is None and found["cost"][0]["rung"] == "proxy"
    empty = Built(tmp_path / "empty")
    assert "Nobody has been chosen" in evo("ladder", "--dir", empty.folder).out


def test_the_old_name_of_evo_ladder_does_the_same_with_one_line_of_advice(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    said, now = evo("graduates", "--json"), evo("ladder", "--json")
    assert (said.code, said.out) == (0, now.out)
    assert said.err == "evo: `evo graduates` is now called `evo ladder`\n" and not now.err
    assert "graduates" not in evo("--help").out.replace("graduate ", "")


def test_show_says_what_a_variant_was_chosen_for_and_what_people_said(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    _, first, second = campaign
    evo("approve", first[:8])
    evo("veto", second[:8])
    assert evo("show", first[:8], "--json").json()["ladder"] == {
        "chosen for": "larger as graduate",
        "approved for": "larger",
    }
    assert "vetoed" in evo("show", second[:8]).out


def test_reviewers_say_their_word_by_name_and_an_objection_waits_for_a_person(
    evo: Evo, campaign: tuple[Built, str, str]
) -> None:
    built, first, second = campaign
    told = evo("approve", first[:8], "--as", "ann")
    assert told.code == 2 and "nobody reviews here" in told.err and told.err.count("\n") == 1
    config = built.store.setting("config")
    config["graduation"] = {"promotion": "review", "reviewers": ["ann", "bob"]}
    built.store.set_setting("config", config)
    told = evo("veto", first[:8], "--as", "tim")
    assert told.code == 2 and "--as tim: graduation.reviewers are ann, bob" in told.err
    said = evo("approve", first[:8], "--as", "ann", "--reason", "reads well")
    assert f"ann approves {first[:8]}" in said.out
    out = " ".join(evo("approve").out.split())
    assert "ann approves: reads well" in out and "bob is awaited" in out, "one word of two"
    assert evo("approve", first[:8], "--as", "bob", "--json").json()["reviewer"] == "bob"
    assert [one["variant_id"] for one in evo("approve", "--json").json()] == [second]
    said = evo("veto", second[:8], "--as", "bob", "--because", "40 steps of warm-up")
    assert f"bob objects to {second[:8]}" in said.out
    waits = evo("approve", "--json").json()
    assert waits[0]["reviews"] == ["ann is awaited", "bob objects: 40 steps of warm-up"]
    assert "approved" in evo("approve", second[:8]).out, "a person decides for all"
    assert evo("approve", "--json").json() == []
