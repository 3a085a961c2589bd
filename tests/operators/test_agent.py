"""What an agent is told, and what becomes of what it leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from operators.agent import Agent, Worked, changes, history, stated_idea
from operators.operator import ParentView, ProposalContext, ProposalFailed, Tried
from population.file_set import join_files
from population.types import Cost, JudgedIdea
from tests.operators.samples import SEED, SMALL, request

COST = Cost(7.0, dollars=None)
CONTEXT = ProposalContext(
    brief="Lower val_bpb.",
    objectives=("val_bpb",),
    noise_sd=0.004,
    tried=(
        Tried("oldest\x1b[31m, in\nlines", "nudge", "ok", 0.0123456, 0.0021, 4),
        Tried("once", "llm_mutate", "ok", -0.02, None, 1),
        Tried("", "agent", "diverged", None),
    ),
)


@dataclass
class FakeDesk:
    """Leaves what it is told to leave."""

    source: str
    said: str = "thinking\nIDEA: first\nIDEA: **a warmer start**\nbye"
    name: str = "scripted"
    seconds: float = 60.0
    most_bytes: int = 100_000
    files: Mapping[str, str] = field(default_factory=dict)

    def work(self, files: Mapping[str, str], taken: Sequence[str] = ("train.py",)) -> Worked:
        self.files = files
        return Worked(self.source, self.said, COST)

    def is_unavailable(self) -> bool:
        return True


def test_it_takes_the_source_the_last_stated_idea_and_the_cost() -> None:
    desk = FakeDesk(SMALL + "EXTRA = 1\n")
    draft = Agent(desk).propose(request(SMALL))
    assert (draft.source, draft.idea) == (SMALL + "EXTRA = 1\n", "a warmer start")
    assert (draft.author, draft.model, draft.cost) == ("scripted", "", COST)
    assert Agent(desk).is_unavailable()


def test_one_that_changed_nothing_has_failed_and_its_cost_counts() -> None:
    with pytest.raises(ProposalFailed, match="changed nothing") as caught:
        Agent(FakeDesk(SMALL)).propose(request(SMALL))
    assert caught.value.cost == COST


def test_it_is_told_the_task_the_brief_and_the_limits() -> None:
    desk = FakeDesk(SMALL + "EXTRA = 1\n")
    Agent(desk).propose(replace(request(SMALL), context=CONTEXT))
    assert set(desk.files) == {"train.py", "BRIEF.md", "HISTORY.md"}
    assert desk.files["train.py"] == SMALL
    for words in ("Lower val_bpb.", "60 seconds", "100,000 bytes", "IDEA:", "are noise"):
        assert words in desk.files["BRIEF.md"]


def test_it_is_told_of_the_parent_what_models_are_told() -> None:
    leader = ParentView("b" * 64, "leader", SMALL + "A = 2\n", {}, "a second one")
    context = replace(CONTEXT, contract="# What the script can rely on\n\n- torch", leader=leader)
    asked = request(SMALL.replace("WARMUP = 0.1", "WARMUP = 0.5"), context=context)
    view = replace(asked.parents[0], why="It is on the front.", larger=("at full: val_bpb 1.5",))
    desk = FakeDesk(SMALL)
    Agent(desk).propose(replace(asked, parents=(view,)))
    for words in (
        "What the script can rely on",
        view.why,
        "At larger scale: at full",
        "WARMUP = 0.5",
    ):
        assert words in desk.files["BRIEF.md"]
    assert "+A = 2" in desk.files["HISTORY.md"]


def test_the_history_is_in_numbers_with_their_uncertainty_the_newest_first() -> None:
    text = history(replace(request(SMALL), context=CONTEXT))
    lines = [line for line in text.split("\n") if line.startswith("- ")]
    assert [re.split("[,:]", line)[0] for line in lines] == ["- agent", "- llm_mutate", "- nudge"]
    assert "- nudge: +0.0123 ± 0.0021 (n = 4)" in text
    assert "- llm_mutate: -0.0200 (one run): once" in text and "- agent, diverged: " in text
    assert "\x1b" not in text and "<data tried " in text
    assert "Nothing was tried yet." in history(request(SMALL))


def test_it_can_name_an_idea_of_the_list_it_was_shown() -> None:
    idea = JudgedIdea(12, "warm up longer", "ada", 0.0, 0, 0, 0, 0, 0, None, None)
    context = replace(CONTEXT, ideas=(idea,))
    for said, number in (
        ("IDEA 12: longer", 12),
        ("IDEAS 13, 12: both", 12),
        ("IDEA 13: longer", None),
        ("IDEA: x", None),
    ):
        desk = FakeDesk(SMALL + "A = 1\n", said)
        draft = Agent(desk).propose(replace(request(SMALL), context=context))
        assert draft.idea_id == number
        assert "idea 12, ada, not tried yet: warm up longer" in desk.files["HISTORY.md"]


def test_an_agent_that_states_no_idea_is_told_by_how_much_it_changed() -> None:
    assert stated_idea("no idea here") == ("", "")
    assert changes(SEED, SEED + "A = 1\nB = 2\n") == "no idea stated: 2 lines added, 0 removed"
    draft = Agent(FakeDesk(SMALL + "A = 1\n", said="")).propose(request(SMALL))
    assert draft.idea == "no idea stated: 1 lines added, 0 removed"


def test_of_several_files_each_lies_there_by_its_path_and_is_named() -> None:
    both = join_files({"lib/model.py": SMALL, "train.py": "import lib.model\n"})
    desk = FakeDesk(both + "EXTRA = 1\n")
    assert Agent(desk).propose(request(both)).source == desk.source
    assert {"lib/model.py", "train.py"} < set(desk.files)
    assert desk.files["lib/model.py"] == SMALL
    assert "- `lib/model.py`\n- `train.py`\n" in desk.files["BRIEF.md"]
