"""The hard budget of tokens and dollars as the client sees it, calls in flight counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from population.types import LlmCall


@dataclass(frozen=True, slots=True)
class Hold:
    """What one request may cost at most. `dollars` is None when the price is unknown."""

    tokens: int
    dollars: float | None


class TokenBudget(Protocol):
    """Grants requests while the budget lasts. Called from several threads at once.

    Every granted `reserve` is followed by exactly one `settle` with the same hold.
    """

    def reserve(self, hold: Hold) -> bool:
        """Set the hold aside if spent + held + this is within the budget; False: nothing is held."""
        ...

    def settle(self, hold: Hold, tokens: int, dollars: float | None) -> None:
        """Give the hold back and book what was spent, also where that is more than was held."""
        ...


class UnlimitedBudget:
    """A budget without a limit, for checks outside a campaign."""

    def reserve(self, hold: Hold) -> bool:
        """Always granted."""
        return True

    def settle(self, hold: Hold, tokens: int, dollars: float | None) -> None:
        """Nothing to book."""


# -- Where requests to models are written down: before they are sent, and again once they ended.


ASKED = "asked"  # the outcome of a call in flight; its tokens and dollars are its ceiling


class CallLog(Protocol):
    """Keeps every request. Called from several threads, once each a request, failed ones too."""

    def asked(self, call: LlmCall) -> int:
        """Write down a request about to be sent; its number. Durable on return: a kill forgets no cost."""
        ...

    def answered(self, number: int, call: LlmCall) -> None:
        """Replace it by what it cost and what came back."""
        ...


class NoCallLog:
    """For checks outside a campaign."""

    def asked(self, call: LlmCall) -> int:
        """Nothing to keep."""
        return 0

    def answered(self, number: int, call: LlmCall) -> None:
        """Nothing to keep."""
