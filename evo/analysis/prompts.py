"""What was asked of models, by operator: calls, tokens, and which part of the prompts had how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from population.records import LlmCallRow

NOTES = "research notes"
CUT_OFF = "cut off"  # calls of a proposal that never came to be


@dataclass(frozen=True, slots=True)
class Prompts:
    """The calls of one operator. Tokens in and out are as billed; `parts` are estimates, the largest first.

    `dollars` leaves out calls of unknown price; `seconds` are those of all calls together.
    """

    operator: str
    calls: int
    tokens_in: int
    tokens_out: int
    dollars: float
    price_unknown: int
    seconds: float
    parts: Mapping[str, int]


def prompts(calls: Iterable[LlmCallRow]) -> list[Prompts]:
    """What each operator asked, the most tokens in first."""
    by_operator: dict[str, list[LlmCallRow]] = {}
    for one in calls:
        by_operator.setdefault(_asker(one), []).append(one)
    found = [_together(name, of) for name, of in by_operator.items()]
    return sorted(found, key=lambda one: -one.tokens_in)


def _asker(one: LlmCallRow) -> str:
    return one.operator or (CUT_OFF if one.proposal_number else NOTES)


def _together(operator: str, calls: list[LlmCallRow]) -> Prompts:
    parts = Counter[str]()
    for one in calls:
        parts.update(one.parts)
    return Prompts(
        operator=operator,
        calls=len(calls),
        tokens_in=sum(one.tokens_in for one in calls),
        tokens_out=sum(one.tokens_out for one in calls),
        dollars=sum(one.dollars or 0.0 for one in calls),
        price_unknown=sum(one.dollars is None for one in calls),
        seconds=sum(one.seconds for one in calls),
        parts=dict(parts.most_common()),
    )
