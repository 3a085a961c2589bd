"""What is told of a campaign at its end: which rule ended it, and its summary."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.real import write_config

from .driving import Evo


def test_every_reading_command_tells_which_rule_ended_a_campaign_and_how_to_go_on(
    evo: Evo, tmp_path: Path
) -> None:
    stop = {"no_certified_gain_for": {"variants": 2}, "target": {"val_bpb": 0.001}}
    proof = {"attempts": 1, "most_pairs": 2}
    config = write_config(tmp_path, stop=stop, certification=proof, sandbox={"mode": "none"})
    where = ("--dir", tmp_path / "c")
    foreseen = evo("run", config, "--dry-run")
    assert "stop.no_certified_gain_for.variants: 0 of 2 children" in " ".join(foreseen.out.split())
    assert "give it 2 or more" in " ".join(foreseen.out.split())
    told = evo("run", config, *where, "--plain")
    assert told.code == 0
    assert "--set stop.no_certified_gain_for.variants=4" in " ".join(told.out.split())
    reason = "stop.no_certified_gain_for.variants: "
    assert reason in evo("log", *where).out.replace("\n", " ")
    assert reason in " ".join(evo("status", *where).out.split())
    ended, target = evo("status", *where, "--json").json()["stop"]
    assert ended["rule"] == "no_certified_gain_for.variants" and ended["is_reached"]
    assert target["rule"] == "target" and not target["is_reached"]
    assert reason in evo("list", "--json").out
    left = evo("resume", *where, "--set", "stop.no_certified_gain_for.variants=9", "--dry-run")
    assert "of 9 children" in " ".join(left.out.split())
