"""At 80 columns no label, name or number of a screen is cut: only what people and models wrote ends in dots."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from population.store import Store
from population.types import Purpose, Status
from tests.analysis.built import CONFIG, SEED, Built, choose, finished

from .driving import Evo

FREE = "lorem ipsum " * 40  # what is told in its own words may end in dots
RUNG = "larger_by_far"
OBJECTIVES = (
    "val_bpb",
    "parameters",
    "added_nodes",
    "peak_memory_mb",
    "serve_tokens_per_second",
    "train_wall_seconds",
)


def wide(folder: Path) -> Built:
    """A campaign of which everything is long: names, numbers, columns, ideas."""
    built = Built(folder)
    config = CONFIG | {
        "rungs": {"proxy": {"depth": 2, "budget": 8}, RUNG: {"depth": 12, "budget": 3600}},
        "objectives": [
            {"name": one, "direction": "minimise", "epsilon": 0.0, "limit": None}
            for one in OBJECTIVES
        ],
    }
    built.store.set_setting("config", config)
    more = dict.fromkeys(OBJECTIVES[1:], 123456.789)
    for block, bpb in enumerate([2.50123, 2.52123, 2.51123]):
        built.run(built.seed, bpb, block, Purpose.CALIBRATE, more=more)
    built.run(built.seed, 3.0, 0, Purpose.GRADUATE, f"{RUNG}/one-step", more=more)
    built.run(built.seed, 2.2, 0, Purpose.GRADUATE, RUNG, more=more)
    parent = built.seed
    for place in range(12):
        operator = ("crossover_of_three_models", "nudge", "a_coding_agent_of_ones_own")[place % 3]
        child = built.child(f"{SEED}x = {place}\n", parent, operator, FREE)
        built.run(
            child, 2.4 - 0.01234 * place, more={one: v * (1 + place) for one, v in more.items()}
        )
        if place == 5:
            built.run(child, None, 1, status=Status.CRASHED, reason=FREE)
        if place in (6, 11):
            choose(built, child, rung=RUNG)
            built.run(child, 3.0, 0, Purpose.GRADUATE, f"{RUNG}/one-step", more=more)
            built.run(child, 2.1, 0, Purpose.GRADUATE, RUNG, more=more)
        parent = child
    built.runs(built.seed, [2.50, 2.51, 2.52], Purpose.FINAL, first=105)
    built.runs(parent, [2.20, 2.22, 2.21], Purpose.FINAL, first=105)
    built.front({parent: "certified", built.seed: "replicated"})
    built.store.add_event("start", "begun")
    built.store.add_event("end", f"stopped: {FREE}")
    built.believe()
    return built


COMMANDS = [
    "status", "status --all", "top", "top -n 100", "tree", "tree --top 3", "history best", "show best",
    "show leader", "ladder", "graduates", "approve", "diff seed best", "idea", "note", "log", "list",
    "compare campaigns/wide-1 campaigns/other-1",
]  # fmt: skip


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    for name in ("wide-1", "other-1"):
        wide(tmp_path / "campaigns" / name).store.close()
    with Store.open(tmp_path / "campaigns" / "wide-1" / "campaign.db") as store:
        store.add_request("idea", {"text": FREE}, "somebody with a long name")
    return tmp_path


def cut(text: str) -> list[str]:
    """The lines on which something else than free text is cut."""
    return [line for line in text.splitlines() if "…" in re.sub(r"\b(l\w*|i\w*)? ?…", "", line)]


@pytest.mark.parametrize("command", COMMANDS)
def test_80_columns_cut_no_label(evo: Evo, campaigns: Path, command: str) -> None:
    said = evo(*command.split(), columns=80)
    assert said.code == 0 and not cut(said.out)
    if command != "log":  # a line an event, whole
        assert all(len(line) <= 80 for line in said.out.splitlines())


def test_what_a_table_has_no_room_for_is_named(evo: Evo, campaigns: Path) -> None:
    narrow, broad = (" ".join(evo("top", columns=width).out.split()) for width in (80, 240))
    assert "no room for: peak memory mb, serve tokens per second, train wall seconds*" in narrow
    assert "no room for" not in broad and "1,481,481 1,481,481 1,481,481" in broad


def test_what_is_remarked_of_a_step_up_the_ladder_stands_below_it_over_the_whole_width(
    evo: Evo, tmp_path: Path
) -> None:
    built = Built(tmp_path / "campaigns" / "one-1")
    for one, sizes in (
        (built.seed, (100.0, 291.0)),
        (built.child(SEED + "x\n", built.seed), (1, 1.54)),
    ):
        built.run(one, 2.5, purpose=Purpose.CALIBRATE, more={"parameters": sizes[0]})
        built.run(one, 3.0, 0, Purpose.GRADUATE, "larger/one-step", more={"parameters": sizes[1]})
    choose(built, one)
    built.store.close()
    said = [line.rstrip() for line in evo("ladder", columns=80).out.splitlines()]
    (row,) = (place for place, line in enumerate(said) if line.startswith(one[:8]))
    assert "waits for approval" in said[row] or "to run" in said[row]
    assert (
        said[row + 1]
        == "  does not grow with depth: 1.54 times its size at the proxy, the seed 2.91"
    )
    assert said[row + 2] == "  times"


def test_a_variant_without_remarks_has_no_folded_head_and_a_state_is_listed_whole(
    evo: Evo, tmp_path: Path
) -> None:
    built, leader, crashed = finished(
        tmp_path / "campaigns" / "a-campaign-with-quite-a-long-name-1"
    )
    built.store.add_event("end", "budget spent, variants (3)")
    built.store.close()
    assert "what" not in evo("show", leader, columns=80).out.split("rung ")[1]
    assert "what happened" in evo("show", crashed, columns=80).out
    listed = evo("list", columns=60).out
    assert "…" not in listed
    state = evo("list", "--json").json()[0]["state"]
    assert all(word in listed for word in state.split())
