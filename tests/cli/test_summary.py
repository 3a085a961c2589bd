"""What is told of a campaign at its end: which rule ended it, and its summary."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evo.report.summary import (
    MARK,
    SUMMARY,
    CampaignSummary,
    SummaryPart,
    _foreign,
    render_summary,
    write_summary,
)
from evo.runtime.budget import BudgetSettings
from evo.search.halting import HALTED
from population.reading import decisions, measurements
from population.store import Store, StoreError
from tests.campaign.fakes import make_campaign, make_store
from tests.campaign.real import lone_edits, start_evo, write_config
from tests.campaign.test_certifying import ONCE, POLICY, FakeNoise
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow

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
    written = (tmp_path / "c" / SUMMARY).read_text()
    assert is_whole(written) and reason in " ".join(written.split())
    assert "--set stop.no_certified_gain_for.variants=4\n" in written
    left = evo("resume", *where, "--set", "stop.no_certified_gain_for.variants=9", "--dry-run")
    assert "of 9 children" in " ".join(left.out.split())


# -- SUMMARY.md ------------------------------------------------------------------------------------

MODELS = "> Written by m-one from the rows; every number was checked against them."
HEADINGS = (
    "## What was tried",
    "## What holds",
    "## What was refuted, or is not shown",
    "## What transfers to larger scale",
    "## What it cost",
    "## What to try next",
    "## How to reproduce it",
)


def is_whole(text: str) -> bool:
    places = [text.find(f"\n{one}\n") for one in HEADINGS]
    lines = [line for line in text.splitlines() if "evo " not in line]  # a folder may be long
    narrow = all(len(line) <= 80 for line in lines)
    return places == sorted(places) and places[0] > 0 and narrow and "\n\n\n" not in text


def test_a_summary_is_true_of_a_fake_campaign_at_every_row(tmp_path: Path, evo: Evo) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    told = evo("report", "--summary", "--dir", tmp_path)
    assert told.code == 0 and is_whole(told.out) and "Nothing is certified" in told.out
    for variants in (1, 3, 12):
        made = {"evaluator": FakeNoise(gain=0.03), "policy": POLICY, "certification": ONCE}
        make_campaign(open_store, budget=BudgetSettings(variants=variants), **made).run()
        told = evo("report", "--summary", "--dir", tmp_path)
        assert told.code == 0 and is_whole(told.out), told.out
        with open_store() as store:
            certified = [
                str(one.variant_id)
                for one in decisions(store, ("verdict",))
                if one.detail["verdict"] == "certified"
            ]
        for one in certified:
            assert f"{one[:8]} is certified better than" in " ".join(told.out.split())
    assert certified
    found = evo("report", "--summary", "--json", "--dir", tmp_path).json()["summary"]
    assert [f"## {one['title']}" for one in found["parts"]] == list(HEADINGS)


def test_a_summary_never_takes_the_place_of_a_file_that_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / SUMMARY
    assert not write_summary(path, f"{MARK}\nfirst\n") and path.read_text().endswith("first\n")
    assert not write_summary(path, f"{MARK}\nsecond\n") and "second" in path.read_text()
    path.write_text("my own notes\n")
    assert "exists" in write_summary(path, f"{MARK}\nthird\n")
    assert path.read_text() == "my own notes\n"


def test_what_a_variant_says_of_itself_is_no_markup_in_a_summary() -> None:
    evil = SummaryPart("What holds", (_foreign("<script>x</script> [a](http://b) `c` # d"),))
    text = render_summary(CampaignSummary("t", "s", "h", True, (evil,)))
    assert "\\<script>" in text and "\\[a\\]" in text and "\\`c\\`" in text


def test_a_model_tells_a_finished_campaign_once_if_the_rows_know_each_number_of_it(
    evo: Evo, tmp_path: Path
) -> None:
    edits, prompts, tells = lone_edits(delay=0), list[str](), [Answer(status=500)]

    def script(asked: RequestRow) -> Answer:
        if "summary of a finished" not in asked.prompt:
            return edits(asked)
        prompts.append(asked.prompt)
        return tells[-1]

    def ended(*words: object) -> tuple[str, str, int]:
        """SUMMARY.md after this command, what it printed, and how often a model was asked for a summary."""
        prompts.clear()
        told = evo(*words, "--dir", tmp_path / "c", "--plain")
        written = (tmp_path / "c" / SUMMARY).read_text()
        assert told.code == 0 and is_whole(written)
        return written, " ".join(told.out.split()), len(prompts)

    with FakeOpenAI(script) as server:
        one = {"name": "fake", "model": "m-one", "base_url": server.base_url, "key_env": ""}
        changes = {"budget": {"variants": 1}, "sandbox": {"mode": "none"}, "slots": 1}
        config = write_config(
            tmp_path, operators={"llm_mutate": 1}, llm={"endpoints": [one]}, **changes
        )
        written, said, asked = ended("run", config)
        assert asked and "no summary by a model: fake: " in said and MODELS not in written
        tells.append(Answer("It gained 0.98765 at least."))
        written, said, asked = ended("resume", "--set", "llm.notes_every=0")
        assert not asked and MODELS not in written and "asking a model" not in said
        written, said, asked = ended("resume", "--set", "llm.notes_every=40")
        assert asked == 1 and MODELS not in written and "0.98765" not in written
        rejected = "the summary by fake was rejected: '0.98765' is in none of the rows"
        assert rejected in said and rejected in " ".join(
            evo("log", "--dir", tmp_path / "c").out.split()
        )
        tells.append(Answer("## What was tried\n\nOf 2 new children, nothing else is known."))
        written, said, asked = ended("resume", "--set", "budget.variants=2")
        assert asked == 1 and "2 new children" in prompts[0] and "<data summary" in prompts[0]
        assert MODELS in written and 0 < written.find("else is known") < written.find("\n## ")
        assert ended("resume")[::2] == (written, 0), "nothing is new since a model answered"
        _, said, asked = ended(
            "resume", "--set", "budget.variants=3", "--set", "budget.llm_tokens=1"
        )
        assert not asked, "the budget is spent"
    with Store.open(tmp_path / "c" / "campaign.db", read_only=True) as store:
        calls = store.query(
            "SELECT outcome, tokens_in FROM llm_calls WHERE prompt LIKE '%summary of a finished%'"
        )
    assert [tuple(one) for one in calls][-2:] == [("ok", 100)] * 2


@pytest.mark.soak
def test_a_campaign_killed_twice_halts_by_its_own_rule_and_ends_in_one_summary_and_one_page(
    tmp_path: Path, evo: Evo
) -> None:
    stop = {"no_certified_gain_for": {"variants": 8}}
    proof = {"attempts": 2, "most_pairs": 3}
    budget, box = {"variants": 500}, {"mode": "none"}
    config = write_config(
        tmp_path, stop=stop, certification=proof, sandbox=box, slots=2, budget=budget
    )
    folder = tmp_path / "c"
    first = ("run", str(config), "--dir", str(folder), "--plain")
    again = ("resume", "--dir", str(folder), "--plain")
    for words, rows in ((first, 2), (again, 5)):
        running, end = start_evo(*words, cwd=tmp_path), time.monotonic() + 240
        while measured(folder) < rows:
            assert running.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        running.kill()
        running.wait()
    assert start_evo(*again, cwd=tmp_path).wait(600) == 0
    with Store.open(folder / "campaign.db", read_only=True) as store:
        assert len(decisions(store, (HALTED,))) == 1
    status = evo("status", "--dir", folder, "--json").json()
    assert status["phase"].startswith("stop.no_certified_gain_for.variants: ")
    assert is_whole((folder / SUMMARY).read_text())
    assert evo("report", "--dir", folder, "-o", tmp_path / "report.html").code == 0


def measured(folder: Path) -> int:
    try:
        with Store.open(folder / "campaign.db", read_only=True) as store:
            return len(measurements(store))
    except StoreError:
        return 0
