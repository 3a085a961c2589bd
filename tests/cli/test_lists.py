"""Lists on a terminal: as long as was asked, the front told from the others, vetoes seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.findings import find
from evo.cli.app import PANELS
from evo.terminal.screens import closing_screen
from population.archive import DEFAULT_OBJECTIVES
from population.reading import source_of
from population.types import LlmCall, Purpose
from tests.analysis.built import SEED, Built
from tests.terminal.test_screens import shown, unwrapped

from .driving import Evo


@pytest.fixture
def wide(tmp_path: Path) -> Built:
    """A campaign with 15 variants on its front and three others."""
    built = Built(tmp_path / "campaigns" / "built-1")
    built.runs(built.seed, [2.5, 2.51], Purpose.CALIBRATE)
    children = [
        built.child(SEED.replace("0.1", f"0.1{place:02d}"), built.seed) for place in range(17)
    ]
    for place, child in enumerate(children):
        built.run(child, 2.3 + place / 100)
    built.front(dict.fromkeys(children[:15], "candidate"))
    return built


def test_top_shows_as_many_as_were_asked_for(evo: Evo, wide: Built) -> None:
    told = evo("top", "-n", "3").out
    assert sum("n=" in line for line in told.splitlines()) == 3
    assert "3 of 18 variants, 15 on the front; -n shows more" in told
    assert len(evo("top", "-n", "3", "--json").json()) == 3
    assert len(evo("top", "-n", "99", "--json").json()) == 18
    assert "shows more" not in evo("top", "-n", "99").out


def test_top_tells_the_front_from_the_others(evo: Evo, wide: Built) -> None:
    lines = [line for line in evo("top", "-n", "18").out.splitlines() if "n=" in line]
    assert [("candidate" in line, "off front" in line) for line in lines] == [
        *[(True, False)] * 15,
        *[(False, True)] * 3,
    ]


def test_a_narrow_terminal_leaves_out_columns_before_it_cuts_the_idea(
    evo: Evo, wide: Built
) -> None:
    assert "parameters" in evo("top", columns=120).out
    told = evo("top", columns=80).out.splitlines()
    assert max(map(len, told)) <= 80
    assert "parameters" not in told[1]  # it says the same everywhere
    assert 80 - told[1].index("idea") >= 24


def test_a_vetoed_variant_is_marked_before_the_campaign_takes_the_veto_and_after(
    evo: Evo, wide: Built
) -> None:
    member = evo("top", "--json").json()[0]["variant_id"]
    assert evo("veto", member).code == 0
    (line,) = [one for one in evo("top").out.splitlines() if member[:8] in one]
    assert "vetoed" in line and "candidate" not in line
    wide.store.finish_request(1)
    wide.store.add_decision("vetoed", member, {"author": "ada"})
    wide.front({})
    rows = {row["variant_id"]: row["vetoed"] for row in evo("top", "-n", "99", "--json").json()}
    assert rows.pop(member) and not any(rows.values())


def test_the_closing_screen_folds_a_long_front(wide: Built) -> None:
    found = find(Record.of(wide.store), lambda one: source_of(wide.store, one))
    screen = closing_screen("built", "done", found, DEFAULT_OBJECTIVES[:2], [], " --dir x")
    text = shown(screen)
    assert text.count("candidate") == 12
    assert "… 3 more: `evo top -n 15 --dir x` shows all" in unwrapped(text)


def test_the_status_fits_a_screen_and_shows_the_rest_when_asked(evo: Evo, wide: Built) -> None:
    for operator in ("tune", "merge", "revert", "llm_mutate", "llm_crossover", "hybrid"):
        child = wide.child(SEED + f"# {operator}\n", wide.seed, operator)
        wide.run(child, 2.6)
        call = LlmCall("b", "b", "p", "r", 900, 10, 0.1, 1.0, "ok", 1, {"sources": 800})
        wide.store.add_llm_call(call)
    wide.store.add_request("idea", {"text": "x"}, "ada")
    wide.store.add_request("idea", {"text": "y"}, "ada")
    wide.store.add_request("inject", {"source": ""}, "ada")
    lines = evo("status", columns=80).out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "2 ideas, 1 inject: waiting for the next `evo resume`" in text
    assert "prompts" not in text and "sources 100 %" in evo("status", "--all").out
    assert evo("status", "--json").json()["asked"] == {"idea": 2, "inject": 1}


def test_the_budget_of_variants_counts_children_that_were_measured(evo: Evo, wide: Built) -> None:
    wide.child(SEED + "# not measured yet\n", wide.seed)
    assert evo("status", "--json").json()["budget"]["variants"]["used"] == 17


def test_help_names_what_is_to_be_typed(evo: Evo) -> None:
    for command in [name for names in PANELS.values() for name in names]:
        told = evo(command, "--help").out
        assert not re.search(r"\{[a-z_]+\}|<list", told), command
