"""Reading a brief: its parts, what is missing, and what differs from the config."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.tasks.brief import PARTS, read_brief
from tests.cli.conftest import evo as evo
from tests.cli.driving import Evo

ROOT = Path(__file__).parents[2]
WHOLE = """Lower val_bpb. At most 4 GB of memory.
The calls into the harness must stay. Stop at 7:00. At the end say what holds.
"""


@pytest.mark.parametrize("name", ["brief", "brief-task", "brief-autoresearch"])
def test_the_shipped_briefs_have_every_part(name: str) -> None:
    found = read_brief((ROOT / "configs" / f"{name}.md").read_text())
    assert found.is_whole, [one.name for one in found.parts if not one.found]


@given(st.text(max_size=300))
def test_any_text_is_read_and_each_part_is_found_or_advised(text: str) -> None:
    found = read_brief(text, {"objectives": [{"name": "val_bpb"}]})
    assert [one.name for one in found.parts] == list(PARTS)
    assert all(bool(one.found) != bool(one.advice) for one in found.parts)


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("Lower val_bpb.", "task"),
        ("At most 4 GB of memory.", "limits"),
        ("The calls into the harness must stay.", "must not touch"),
        ("Stop at 7:00.", "when to stop"),
        ("At the end say what holds.", "what to summarise"),
    ],
)
def test_what_is_left_out_is_missing_and_nothing_else(sentence: str, part: str) -> None:
    found = read_brief(WHOLE.replace(sentence, ""))
    assert [one.name for one in found.parts if not one.found] == [part]


def test_what_a_brief_says_is_compared_with_the_config() -> None:
    objectives = [{"name": "val_bpb"}]
    text = WHOLE + "Stop when val_bpb is below 1.5, after 60 children in all.\n"
    said = read_brief(text, {"objectives": objectives, "budget": {"variants": 40}}).differs
    assert "stop.until is not set" in said[0] and '{until: "07:00"}' in said[0]
    assert "val_bpb: 1.5" in said[1] and "budget.variants is 40" in said[2]
    stop = {"until": "07:00", "target": {"val_bpb": 1.5}}
    config = {"objectives": objectives, "stop": stop, "budget": {"variants": 60}}
    assert read_brief(text, config).is_whole


def test_the_command_says_what_to_write_and_whether_that_is_all(tmp_path: Path, evo: Evo) -> None:
    path = tmp_path / "brief.md"
    path.write_text("Lower val_bpb.\n")
    told = evo("brief", "check", columns=80)
    assert told.code == 1 and "stop.until" in told.out
    assert all(len(line) <= 80 for line in told.out.splitlines())
    path.write_text(WHOLE)
    assert evo("brief", "check", path).code == 0
    read = evo("brief", "check", ROOT / "configs" / "quickstart.yaml", "--json").json()
    assert read["whole"] and not read["differs"]
    assert evo("brief", "check", tmp_path / "none.md").code == 2
