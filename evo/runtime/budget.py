"""What a campaign may spend, and when it has spent it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from operators.llm.accounting import Hold

MAX_COUNT = 10**12  # nobody means more; beyond some 300 digits it would be no number any more


class BudgetSettings(BaseModel):
    """Limits of one campaign; it ends cleanly at the first one reached. None: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: int | None = Field(default=None, ge=0, le=MAX_COUNT, description="children measured")
    seconds: float | None = Field(
        default=None, gt=0, description="wall seconds of search and leaders' race"
    )
    llm_tokens: int | None = Field(
        default=None, ge=0, le=MAX_COUNT, description="tokens in and out, all models"
    )
    llm_dollars: float | None = Field(
        default=None, ge=0, description="dollars, where prices are known"
    )


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """What a campaign has used so far."""

    variants: int = 0
    seconds: float = 0.0
    llm_tokens: int = 0
    llm_dollars: float = 0.0


class Budget:
    """Counts what is spent against the limits; calls in flight count at their ceiling. Thread-safe.

    It is also the budget of the LLM client. `held_back`: the share of the seconds kept for the leaders' race.
    """

    def __init__(
        self, limits: BudgetSettings, spent: BudgetSpent = BudgetSpent(), held_back: float = 0.0
    ) -> None:
        self.limits = limits
        seconds = limits.seconds
        self.search_seconds = None if seconds is None else seconds * (1 - held_back)
        self._lock = threading.Lock()
        self._variants = spent.variants
        self._tokens = spent.llm_tokens
        self._dollars = spent.llm_dollars
        self._held_calls = 0
        self._held_tokens = 0
        self._held_dollars = 0.0
        self._refused = ""
        self._seconds_before = spent.seconds
        self._started = (
            time.monotonic()
        )  # a wall clock that jumps back must not lengthen a campaign

    def spent(self) -> BudgetSpent:
        """What has been used, without the calls in flight."""
        with self._lock:
            seconds = self._seconds_before + time.monotonic() - self._started
            return BudgetSpent(self._variants, seconds, self._tokens, self._dollars)

    def take_variant(self) -> bool:
        """Count one child in; False when the variants are used up."""
        with self._lock:
            if self.limits.variants is not None and self._variants >= self.limits.variants:
                return False
            self._variants += 1
            return True

    def add_variant(self) -> None:
        """Count in a child that a person wants, whether the limit allows for it or not."""
        with self._lock:
            self._variants += 1

    def return_variant(self) -> None:
        """A proposal that was counted in gave no child after all."""
        with self._lock:
            self._variants -= 1

    def reserve(self, hold: Hold) -> bool:
        """Set aside what a call may cost at most; False when it does not fit, and nothing is held."""
        with self._lock:
            tokens = self._tokens + self._held_tokens + hold.tokens
            dollars = self._dollars + self._held_dollars + (hold.dollars or 0.0)
            limits = self.limits
            if limits.llm_tokens is not None and tokens > limits.llm_tokens:
                self._refused = self._refused or f"LLM tokens ({limits.llm_tokens:,})"
                return False
            if limits.llm_dollars is not None and dollars > limits.llm_dollars:
                self._refused = self._refused or f"LLM dollars ({limits.llm_dollars:.2f})"
                return False
            self._hold(hold, +1)
            return True

    def settle(self, hold: Hold, tokens: int, dollars: float | None) -> None:
        """Replace a hold by what the call really cost."""
        with self._lock:
            self._hold(hold, -1)
            self._tokens += tokens
            self._dollars += dollars or 0.0

    def _hold(self, hold: Hold, sign: int) -> None:
        self._held_calls += sign
        self._held_tokens += sign * hold.tokens
        self._held_dollars += sign * (hold.dollars or 0.0)

    def exhausted(self, in_the_making: int = 0) -> str | None:
        """The first limit that is reached, in words; None while there is something left.

        Of the variants counted in, `in_the_making` may still be returned.
        """
        spent, limits = self.spent(), self.limits
        if limits.variants is not None and spent.variants - in_the_making >= limits.variants:
            return f"variants ({limits.variants})"
        if self.search_seconds is not None and spent.seconds >= self.search_seconds:
            return f"seconds ({limits.seconds:g})"
        with self._lock:
            # A refused call is the end only once no call in flight can give some of its ceiling back.
            return self._refused if self._refused and not self._held_calls else None
