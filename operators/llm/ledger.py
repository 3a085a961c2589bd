"""Where requests to models are written down: before they are sent, and again once they ended."""

from __future__ import annotations

from typing import Protocol

from population.variant import LlmCall

ASKED = "asked"  # the outcome of a call in flight; its tokens and dollars are its ceiling


class CallLog(Protocol):
    """Keeps every request. Called from several threads, once each a request, failed ones too."""

    def asked(self, call: LlmCall) -> int:
        """Write down a request about to be sent; its number. Durable on return: a kill forgets no cost."""
        ...

    def answered(self, number: int, call: LlmCall) -> None:
        """Replace it by what it cost and what came back."""
        ...


class NoLedger:
    """For checks outside a campaign."""

    def asked(self, call: LlmCall) -> int:
        """Nothing to keep."""
        return 0

    def answered(self, number: int, call: LlmCall) -> None:
        """Nothing to keep."""
