"""How an evaluation speaks to whoever ordered it, and whether it has to end early."""

from __future__ import annotations

from typing import Protocol

from population.types import CurvePoint


class Watch(Protocol):
    """How an evaluation speaks to whoever ordered it."""

    def started(self, pid: int, started_at: float) -> None:
        """A role's outer process exists; `started_at` in seconds since the epoch."""

    def progress(self, point: CurvePoint) -> None:
        """The training role told a loss."""

    def stopping(self) -> bool:
        """Whether the run must end now."""
        ...

    def hopeless(self) -> str:
        """Why training is stopped early; "" while it is not."""
        ...


class Unwatched:
    """A Watch that listens to nothing and never stops a run."""

    def started(self, pid: int, started_at: float) -> None:
        """Nothing."""

    def progress(self, point: CurvePoint) -> None:
        """Nothing."""

    def hopeless(self) -> str:
        """Never."""
        return ""

    def stopping(self) -> bool:
        """Never."""
        return False
