"""Measured edits leave a campaign as lines of a bank, and come back with what they did elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evo.assembly.proposers import open_banks
from evo.config import ConfigError, read_config
from evo.folder import change_config, config_of, create_campaign
from population.fingerprint import fingerprint
from population.reading.idea_bank import BankIdea, IdeaEffect, line_of, read_bank
from population.types import Outcome, Parent, Proposal, Purpose, Variant, variant_id
from tests.analysis.built import SEED, Built, finished

from .driving import QUICK, Evo

WIDER = BankIdea(
    "twice as wide",
    SEED,
    SEED.replace("32", "64"),
    author="a model",
    licence="MIT",
    effects=(IdeaEffect("val_bpb", "proxy", -0.2, 4, sd=0.01, campaign="old", child="abc"),),
)


@pytest.fixture
def campaign(tmp_path: Path) -> Built:
    return finished(tmp_path / "campaigns" / "built-1")[0]


def transplant(built: Built, idea: BankIdea, parent: str, source: str) -> str:
    """A child that tries an idea of a bank, recorded as a campaign does."""
    built.number += 1
    made = Variant(variant_id(source), source, fingerprint(source))
    origin = json.dumps({**json.loads(line_of(idea)), "bank": "elder"})
    proposal = Proposal(
        built.number, "transplant", (Parent(parent, "parent"),), Outcome.VARIANT, variant=made,
        idea=idea.idea, origin=origin,
    )  # fmt: skip
    built.store.add_proposal(proposal)
    return made.id


def test_every_measured_edit_is_a_line_with_its_effects_at_each_rung(
    evo: Evo, campaign: Built, tmp_path: Path
) -> None:
    said = evo("ideas", "export", "built-1", "-o", "bank.jsonl", "--licence", "MIT")
    assert said.code == 0 and "2 ideas" in said.out and "transplant" in said.out
    ideas, wrong = read_bank(tmp_path / "bank.jsonl")
    assert not wrong and [one.idea for one in ideas] == ["LR 0.1 -> 0.2", "LR 0.2 -> 0.3"]
    (effect,) = ideas[0].effect("val_bpb")
    assert (effect.rung, effect.n, effect.campaign) == ("proxy", 1, "built")
    assert effect.mean == pytest.approx(-0.05) and effect.date == "1970-01-01"
    assert ideas[0].licence == "MIT" and ideas[0].before == SEED
    text = (tmp_path / "bank.jsonl").read_text()
    assert "a bold idea" not in text, "an edit without a score is none to pass on"
    assert "here" not in text and str(tmp_path) not in text, "no host, no path"


def test_nothing_of_the_users_is_overwritten_without_force(
    evo: Evo, campaign: Built, tmp_path: Path
) -> None:
    (tmp_path / "mine.jsonl").write_text("mine")
    said = evo("ideas", "export", "-o", "mine.jsonl")
    assert said.code == 2 and "--force overwrites it" in said.err
    assert (tmp_path / "mine.jsonl").read_text() == "mine"
    assert evo("ideas", "export", "-o", "mine.jsonl", "--force", "--json").json()["ideas"]
    assert len(read_bank(tmp_path / "mine.jsonl")[0]) == 2


def test_what_a_transplant_did_here_joins_what_the_bank_said(
    evo: Evo, campaign: Built, tmp_path: Path
) -> None:
    child = transplant(campaign, WIDER, campaign.seed, WIDER.after)
    other = transplant(campaign, WIDER, campaign.seed, WIDER.after + "# elsewhere\nprint(1)\n")
    for one in (child, other):
        campaign.runs(one, [2.40, 2.42], Purpose.SCREEN)
    rows = campaign.store.query("SELECT text, author FROM ideas WHERE origin IS NOT NULL")
    assert rows == [("twice as wide", "bank elder")], "one idea, two children"
    evo("ideas", "export", "-o", "bank.jsonl")
    found = {one.id: one for one in read_bank(tmp_path / "bank.jsonl")[0]}[WIDER.id]
    assert (found.before, found.after, found.licence) == (WIDER.before, WIDER.after, "MIT")
    here = [one for one in found.effect("val_bpb") if one.transplant]
    assert found.effects[0] == WIDER.effects[0] and [one.n for one in here] == [2, 2]
    assert here[0].mean == pytest.approx(-0.1)
    told = " ".join(evo("show", child).out.split())
    assert f"from bank elder, idea {WIDER.id}" in told and "0.2000 better at proxy (n=4)" in told
    assert evo("show", child, "--json").json()["origin"]["bank"] == "elder"
    assert "from the idea bank elder" in evo("history", child).out


def test_a_bank_is_listed(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "bank.jsonl").write_text(f"{line_of(WIDER)}\n{{\n")
    said = evo("ideas", "list", "bank.jsonl")
    assert "twice as wide" in said.out and "0.2000 better at proxy (n=4)" in " ".join(
        said.out.split()
    )
    assert "bank.jsonl: line 2: not JSON" in said.err and said.code == 0
    assert evo("ideas", "list", "bank.jsonl", "--json").json()[0]["id"] == WIDER.id
    nothing = evo("ideas", "list", "none.jsonl")
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("operators: {transplant: 1}", "operators: transplant needs ideas"),
        (
            "operators: {transplant: 1}\ntransplant: {banks: [none.jsonl]}",
            "none.jsonl: No such file",
        ),
        ("operators: {transplant: 1}\ntransplant: {banks: [broken.jsonl]}", "line 1: not JSON"),
        ("operators: {transplant: 1}\ntransplant: {banks: [empty]}", "no campaign store"),
        ("transplant: {banks: 3}", "transplant.banks: should be a list"),
    ],
)
def test_a_bank_that_cannot_be_used_is_told_before_anything_runs(
    evo: Evo, tmp_path: Path, given: str, told: str
) -> None:
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "empty").mkdir()
    kept = [line for line in QUICK.splitlines() if not line.startswith("operators:")]
    (tmp_path / "c.yaml").write_text("\n".join([*kept, given]) + "\n")
    said = evo("run", "c.yaml")
    assert (said.code, said.err.count("\n")) == (2, 1) and told in said.err
    assert not (tmp_path / "campaigns").exists()


def test_a_bank_that_moved_is_named_anew_when_a_campaign_goes_on(
    quick: Path, tmp_path: Path
) -> None:
    there, moved = tmp_path / "bank.jsonl", tmp_path / "elsewhere.jsonl"
    there.write_text(f"{line_of(WIDER)}\n")
    given = ["operators={transplant: 1, nudge: 1}", f"transplant.banks=[{there}]"]
    folder = create_campaign(read_config(quick, given), tmp_path / "c")
    there.rename(moved)
    with pytest.raises(ConfigError, match=r"No such file or directory; name one that is there"):
        open_banks(config_of(folder), folder.config)
    changed = change_config(folder, [f"transplant.banks=[{moved}]"])
    (idea,) = open_banks(changed, folder.config)
    assert (idea.id, idea.bank) == (WIDER.id, "elsewhere")
