"""The family tree on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from rich.tree import Tree

from evo.terminal.tables import FAINT, one_line
from evo.terminal.text import clip, plain, short
from population.lineage import Branch

IDEA_CHARACTERS = 70


def family_tree(
    branch: Branch, remarks: Mapping[str, str], marked: Mapping[str, str], depth: int | None
) -> Tree:
    """A branch and what is below it, at most `depth` generations.

    `remarks`: score by variant; `marked`: standing on the front. Not recursive: a lineage may be deeper
    than the stack.

    """
    root = Tree(_label(branch, remarks, marked), guide_style=FAINT)
    waiting = [(root, branch, 0)]
    while waiting:
        place, here, level = waiting.pop()
        if depth is not None and level >= depth and here.children:
            place.add(Text(f"… {descendants(here)} more", FAINT))
            continue
        for child in here.children:
            waiting.append((place.add(_label(child, remarks, marked)), child, level + 1))
    return root


def descendants(branch: Branch) -> int:
    """How many variants come below this one."""
    total, waiting = 0, list(branch.children)
    while waiting:
        here = waiting.pop()
        total += 1
        waiting.extend(here.children)
    return total


def _label(branch: Branch, remarks: Mapping[str, str], marked: Mapping[str, str]) -> Text:
    standing = marked.get(branch.variant_id, "")
    label = Text.assemble((short(branch.variant_id), "bold"))
    label.append(f"  {remarks.get(branch.variant_id, 'not measured')}")
    if standing:
        label.append(f"  {standing}", "green")
    label.append(f"  {plain(branch.operator)}", FAINT)
    return one_line(label.append(f"  {clip(branch.idea, IDEA_CHARACTERS)}"))
