"""Operator `agent`: a coding agent of the user's choice edits train.py in a folder of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from operators.briefing import MAX_IDEA_CHARS, fill, metrics_in_words, setting_in_words
from operators.llm.answer import one_line
from operators.operator import Draft, Kin, ProposalFailed, Request, Scene, Tried
from population.variant import Cost

_IDEA = re.compile(r"^[\s#*_>`-]*IDEA[\s*_`]*:[\s*_`]*(.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Worked:
    """What an agent left: train.py, the end of what it said, and what it cost."""

    source: str
    said: str
    cost: Cost


class Desk(Protocol):
    """Where an agent works: a folder in a box, for a limited time. Called from several threads."""

    name: str  # the agent's
    seconds: float
    most_bytes: int  # of train.py

    def work(self, files: Mapping[str, str]) -> Worked:
        """Let the agent work on these files. Raises ProposalFailed."""
        ...

    def rests(self) -> bool:
        """Whether all places at it are taken."""
        ...


class Agent:
    """Gives the agent the parent, the brief and the history; takes train.py back."""

    name = "agent"
    kin = Kin.ONE

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def rests(self) -> bool:
        """Whether another operator should go now: as many agents work as may at once."""
        return self._desk.rests()

    def propose(self, request: Request) -> Draft:
        """The parent as the agent changed it. Raises ProposalFailed with what was spent."""
        parent = request.parent("parent")
        files = {
            "train.py": parent.source,
            "BRIEF.md": self._brief(request),
            "HISTORY.md": history(request.scene),
        }
        worked = self._desk.work(files)
        if worked.source == parent.source:
            raise ProposalFailed("the agent changed nothing in train.py", worked.cost)
        idea = stated_idea(worked.said) or changes(parent.source, worked.source)
        return Draft(worked.source, idea, author=self._desk.name, cost=worked.cost)

    def _brief(self, request: Request) -> str:
        return fill(
            "agent.md",
            most_bytes=f"{self._desk.most_bytes:,}",
            seconds=f"{self._desk.seconds:.0f}",
            brief=request.scene.brief.strip() or "Lower the first objective.",
            numbers=metrics_in_words(request.parent("parent")),
            setting=setting_in_words(request.scene),
        )


def history(scene: Scene) -> str:
    """HISTORY.md: what was tried on this parent, each with its effect, standard error and n."""
    first = scene.objectives[0] if scene.objectives else "the first objective"
    head = (
        "# What was tried on this script\n\n"
        f"Each line is data about one earlier child: what made it, how its runs ended, child minus parent in "
        f"{first} ± standard error over n blocks, and its idea in the words of who had it.\n\n"
    )
    lines = "\n".join(map(_line, reversed(scene.tried)))
    return head + (f"{lines}\n" if lines else "Nothing yet.\n")


def _line(one: Tried) -> str:
    if one.effect is None:
        effect = "no score"
    elif one.effect_se is None:
        effect = f"{one.effect:+.4g} (n = {max(one.n, 1)}, spread unknown)"
    else:
        effect = f"{one.effect:+.4g} ± {one.effect_se:.2g} (n = {one.n})"
    idea = one_line(one.idea, MAX_IDEA_CHARS) or "no idea stated"
    return f"- {one.operator}, {one.status}, {effect}: {idea}"


def stated_idea(said: str) -> str:
    """The last IDEA line of what an agent said, as one capped line; "" without one."""
    found = _IDEA.findall(said)
    return one_line(found[-1].strip("*_ "), MAX_IDEA_CHARS) if found else ""


def changes(before: str, after: str) -> str:
    """How much an edit changed, for one that states no idea."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0))[2:]
    added, removed = (sum(line.startswith(mark) for line in lines) for mark in "+-")
    return f"no idea stated: {added} lines added, {removed} removed"
