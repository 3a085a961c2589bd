"""The hard budget of tokens and dollars as the client sees it, calls in flight counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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


class OpenPurse:
    """A purse without a bottom, for checks outside a campaign."""

    def reserve(self, hold: Hold) -> bool:
        """Always granted."""
        return True

    def settle(self, hold: Hold, tokens: int, dollars: float | None) -> None:
        """Nothing to book."""
