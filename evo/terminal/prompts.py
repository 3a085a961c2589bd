"""What was asked of models, in words."""

from __future__ import annotations

from collections.abc import Mapping

from evo.analysis.prompts import Prompts
from evo.terminal.numbers import count, duration, share
from evo.terminal.text import plain
from population.records import LlmCallRow


def prompts_line(one: Prompts) -> str:
    """One operator's calls: tokens as billed, then what the prompts were made of."""
    billed = f"{count(one.calls, 'call')}, {one.tokens_in:,} tokens in, {one.tokens_out:,} out"
    return f"{plain(one.operator)}: {billed}; {parts_in_words(one.parts)}"


def call_line(one: LlmCallRow) -> str:
    """One call: what its prompt was made of, what came back, and what it cost."""
    price = "price unknown" if one.dollars is None else f"{one.dollars:.3g} dollars"
    told = f"{one.tokens_in:,} tokens in, {one.tokens_out:,} out, {price}, {duration(one.seconds)}"
    ended = "" if one.outcome == "ok" else f"; {one.outcome}"
    return f"{by_whom(one.endpoint, one.model)}: {told}; {parts_in_words(one.parts)}{ended}"


def parts_in_words(parts: Mapping[str, int]) -> str:
    """The share that each part of a prompt had, by estimate, the largest first: what is billed is counted."""
    whole = sum(parts.values())
    if not whole:
        return "parts not told"
    largest_first = sorted(parts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share(tokens / whole)}" for name, tokens in largest_first)


def by_whom(*names: str) -> str:
    """Author and model, or endpoint and model, once where they are called alike."""
    return " ".join(dict.fromkeys(plain(name) for name in names if name))
