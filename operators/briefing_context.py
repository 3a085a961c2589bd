"""What a prompt tells beside brief, sources and task: each part within its share of the tokens.

Everything here was written by models, variants or people: it is quoted as data, one capped line each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.llm.answer import estimate_tokens, one_line
from operators.operator import ParentView, ProposalContext, Tried
from operators.quoting import MAX_IDEA_CHARS, MAX_NOTE_CHARS, MAX_PASSAGE_CHARS, quoted
from population.records import JudgedIdea
from population.variant import OURSELVES, Status

MAX_TRIED = 20


@dataclass(frozen=True, slots=True)
class Context:
    """The parts as one text, and about how many tokens each took."""

    text: str
    tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    head: str
    lines: Sequence[str]  # the most important first


def context(scene: ProposalContext, settings: Sequence[str] = ()) -> Context:
    """The parts that have something to tell, the most important lines of each first.

    `settings`: what is known of other constants in the parent's code, in lines.
    """
    sections, spent, left = [], {}, 0.0
    for part in _parts(scene, settings):
        left += scene.prompt.tokens * scene.prompt.shares.get(part.name, 0.0)
        kept: list[str] = []
        for line in part.lines:
            cost = estimate_tokens(line) + 1
            if cost > left:
                break
            kept.append(line)
            left -= cost
        if kept:
            text = f"# {part.head}\n\n{quoted(part.name, chr(10).join(kept))}\n\n"
            sections.append(text)
            spent[part.name] = estimate_tokens(text)
    return Context("".join(sections), spent)


def _parts(scene: ProposalContext, settings: Sequence[str]) -> list[_Part]:
    objective = scene.objectives[0] if scene.objectives else "the first objective"
    change = f"child minus parent in {objective}"
    tried = [tried_line(one) for one in reversed(scene.tried[-MAX_TRIED:])]
    return [
        _Part("ideas", f"Ideas, judged by all children that tried them ({change})",
              [idea_line(one) for one in _by_interest(scene.ideas)]),
        _Part("tried", f"Already tried near here ({change} ± standard error)", tried),
        _Part("settings", f"The parent's code with other constants, the nearest first (minus the parent "
              f"in {objective}, less is better, ± standard error): nearly the same again shows nothing new",
              settings),
        _Part("notes", "Research notes",
              [f"- note {one.id}, {one_line(one.author, 40)}: {one_line(one.text, MAX_NOTE_CHARS)}"
               for one in reversed(scene.notes)]),
        _Part("inspirations", "Other good variants", [_inspiration(one) for one in scene.inspirations]),
        _Part("knowledge", "From the user's papers and notes",
              [f"- {one_line(one.source, 100)}: {one_line(one.text, MAX_PASSAGE_CHARS)}"
               for one in scene.passages]),
    ]  # fmt: skip


def tried_line(one: Tried) -> str:
    """One child in a line: how it ended, its effect with its standard error and n, and what to make of it."""
    idea = one_line(one.idea, MAX_IDEA_CHARS)
    if one.effect is None:
        without = "no comparison" if one.status == Status.OK else "no score"
        return f"- {one.operator}, {one.status}, {without}: {idea}"
    return f"- {one.operator}, {one.status}, {effect_in_words(one.effect, one.effect_se, one.n)}: {idea}"


def idea_line(one: JudgedIdea) -> str:
    """One idea in a line, with what its children say of it."""
    ends = f"{one.children} children, {one.ok} ran, {one.failed} failed"
    if one.effect is not None:
        ends += f", {effect_in_words(one.effect, one.effect_se, one.n)}"
    elif not one.children:
        ends = "not tried yet"
    return (
        f"- idea {one.id}, {one_line(one.author, 40)}, {ends}: {one_line(one.text, MAX_IDEA_CHARS)}"
    )


def effect_in_words(effect: float, se: float | None, n: int) -> str:
    """An effect with its standard error and n, and whether it could be none."""
    if se is None:
        return f"{effect:+.4g} (n = {n}, spread unknown)"
    told = f"{effect:+.4g} ± {se:.2g} (n = {n})"
    return f"{told}, inconclusive" if abs(effect) < 2 * se else told


def _by_interest(ideas: Sequence[JudgedIdea]) -> list[JudgedIdea]:
    """People's ideas that nobody tried, then the least sure, then the newest."""
    people = {one.id for one in ideas if not one.children and one.author != OURSELVES}
    return sorted(ideas, key=lambda one: (one.id not in people, one.n > 1, -one.id))


def _inspiration(one: ParentView) -> str:
    numbers = "; ".join(
        f"{name} {value.mean:.5g} (n = {value.n})" for name, value in one.estimates.items()
    )
    return f"- {one.variant_id[:8]}, {numbers}: {one_line(one.idea, MAX_IDEA_CHARS)}"
