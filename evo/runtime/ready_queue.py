"""The children that wait for their first run, in the order in which they are to have it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator


class ReadyQueue:
    """Ids of children, each at most once. Not thread-safe: guarded by its owner's lock."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._waiting))

    def __contains__(self, child: str) -> bool:
        return child in self._waiting

    def add(self, children: Iterable[str]) -> None:
        """Children that wait after all others; one that waits already keeps its place."""
        self._waiting.extend(one for one in dict.fromkeys(children) if one not in self._waiting)

    def put_first(self, child: str) -> None:
        """A child that is to run before all others, whether it waited or not."""
        self.remove(child)
        self._waiting.appendleft(child)

    def remove(self, child: str) -> bool:
        """A child that waits no longer; whether it did."""
        if child not in self._waiting:
            return False
        self._waiting.remove(child)
        return True
