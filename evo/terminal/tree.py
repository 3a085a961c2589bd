"""The family tree on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from evo.analysis.comparison import Comparison, PairVerdict
from evo.analysis.variant_history import Chapter, Story, decision_in_words
from evo.terminal.sentences import beside
from evo.terminal.tables import FAINT, by_whom, one_line, pairs
from evo.terminal.text import clip, count, plain, short
from population.lineage import Branch
from population.metrics import label

IDEA_CHARACTERS = 70
STYLES = {PairVerdict.BETTER: "green", PairVerdict.WORSE: "red"}


def family_tree(
    branch: Branch,
    remarks: Mapping[str, str],
    marked: Mapping[str, str],
    depth: int | None,
    effects: Mapping[str, Comparison],
) -> Tree:
    """A branch and what is below it, at most `depth` generations.

    `remarks`: score by variant; `marked`: standing; `effects`: what it did to its parent's score. Not
    recursive: a lineage may be deeper than the stack.
    """
    root = Tree(_label(branch, remarks, marked, effects), guide_style=FAINT)
    waiting = [(root, branch, 0)]
    while waiting:
        place, here, level = waiting.pop()
        if depth is not None and level >= depth and here.children:
            place.add(Text(f"… {descendants(here)} more", FAINT))
            continue
        for child in here.children:
            waiting.append((place.add(_label(child, remarks, marked, effects)), child, level + 1))
    return root


def descendants(branch: Branch) -> int:
    """How many variants come below this one."""
    total, waiting = 0, list(branch.children)
    while waiting:
        here = waiting.pop()
        total += 1
        waiting.extend(here.children)
    return total


def _label(
    branch: Branch,
    remarks: Mapping[str, str],
    marked: Mapping[str, str],
    effects: Mapping[str, Comparison],
) -> Text:
    standing = marked.get(branch.variant_id, "")
    label = Text.assemble((short(branch.variant_id), "bold"))
    label.append(f"  {remarks.get(branch.variant_id, 'not measured')}")
    if standing:
        label.append(f"  {standing}", "green")
    label.append(f"  {plain(branch.operator)}", FAINT)
    if effect := effects.get(branch.variant_id):
        label.append(f"  {beside(effect)}", STYLES.get(effect.verdict, FAINT))
    return one_line(label.append(f"  {clip(branch.idea, IDEA_CHARACTERS)}"))


def story_screen(story: Story) -> Iterator[RenderableType]:
    """The story of a variant, one block a step, and how it compares with the seed."""
    for place, one in enumerate(story.chapters):
        title = Text.assemble((f"{place}  ", FAINT), (short(one.variant_id), "bold"))
        if one.standing:
            title.append(f"  {one.standing}", "green")
        yield title
        yield pairs([(f"   {name}", Text(text)) for name, text in _told(one)])
        yield Text("")
    yield pairs([(name, Text(text)) for name, text in _beside_seed(story)])


def _told(one: Chapter) -> Iterator[tuple[str, str]]:
    by = " ".join(plain(word) for word in (one.author, one.model) if word)
    by = f"from the idea bank {plain(one.bank)}" if one.bank else by
    yield "made by", f"{plain(one.operator)}, {by}, proposal {one.number}"
    yield "idea", plain(one.idea) or "none stated"
    if one.other_parents:
        yield "and from", ", ".join(map(short, one.other_parents))
    if one.effect is not None:
        yield "effect", f"{label(one.effect.metric)} {beside(one.effect)} compared with its parent"
    runs = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in one.runs.items())
    yield "runs", runs or "none"
    for decided in one.decisions:
        yield "decided", plain(decision_in_words(decided))


def _beside_seed(story: Story) -> Iterator[tuple[str, str]]:
    for name, found in (("search", story.search), ("fresh blocks", story.fresh)):
        if found is not None:
            note = (
                ", on blocks that chose it, races left out: flattering" if name == "search" else ""
            )
            yield f"against the seed, {name}", f"{label(found.metric)} {beside(found)}{note}"
    if story.fresh is None and story.search is not None:
        yield "against the seed, fresh blocks", "not measured: what the search says is unproven"


def subject(story: Story) -> str:
    """One line on a variant: its last idea, or how many edits it is away from the seed."""
    steps = len(story.chapters) - 1
    if steps == 1 and story.chapters[-1].idea:
        return clip(story.chapters[-1].idea, IDEA_CHARACTERS)
    return f"{short(story.variant_id)}: {count(steps, 'edit')} from the seed"


def commit_messages(story: Story, campaign: str) -> list[str]:
    """A message for each step from the seed on; the last one carries all that is known of the variant."""
    first = story.chapters[0]
    messages = [f"Begin with the seed of {plain(campaign)}\n\nvariant {first.variant_id}\n"]
    for one in story.chapters[1:]:
        lines = [clip(one.idea or one.operator, IDEA_CHARACTERS), "", f"variant {one.variant_id}"]
        whom = by_whom(one.author, one.model)
        lines.append(f"operator {plain(one.operator)}" + (f", by {whom}" if whom else ""))
        if one.effect is not None:
            lines.append(f"compared with its parent: {beside(one.effect)}")
        messages.append("\n".join(lines) + "\n")
    if len(messages) > 1:
        messages[-1] += "\n" + "\n".join(evidence_lines(story, first.variant_id)) + "\n"
    return messages


def evidence_lines(story: Story, base: str) -> list[str]:
    """What is known of a variant, in plain lines: for people who read a patch."""
    lines = [f"variant {story.variant_id}", f"applies to {base}", ""]
    lines += [f"{name}: {text}" for name, text in _beside_seed(story)]
    lines += ["", "The way from the seed:"]
    for place, one in enumerate(story.chapters[1:], start=1):
        effect = "" if one.effect is None else f" ({beside(one.effect)} compared with its parent)"
        bank = f" from the idea bank {plain(one.bank)}" if one.bank else ""
        lines.append(
            f"{place}. {plain(one.operator)}{bank}: {plain(one.idea) or 'no idea stated'}{effect}"
        )
    lines += [f"decided: {plain(decision_in_words(one))}" for one in story.chapters[-1].decisions]
    return lines
