"""How long a tree of processes waited for cores that somebody else held: the machine's doing, not its own."""

from __future__ import annotations

import time
from collections.abc import Collection

from evo.evaluation.tree import TICK, ProcessTree, read_bytes

LOOK_SECONDS = 0.5  # long beside a tick, in which the kernel counts what a core does


class Crowding:
    """Adds up, look by look, what others took of `cpus` while the tree was ready to run there.

    Of both readings the smaller counts. A tree that sleeps is not waiting, however busy the cores; one that
    gets in its own way waits, but nobody else is there. Both must be so in the same half second.
    """

    def __init__(self, tree: ProcessTree, cpus: Collection[int]) -> None:
        self._tree, self._cpus = tree, cpus
        self._waits: dict[tuple[int, int], int] = {}  # nanoseconds by (thread, its process' start)
        self._looked = time.monotonic()
        self._own, self._busy, self._stolen = 0.0, *self._cores()
        self.seconds = 0.0

    def look(self, cpu_seconds: float) -> None:
        """Take what was since the last look; `cpu_seconds` are the tree's own, so far."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        busy, stolen = self._cores()
        others = busy - self._busy - (cpu_seconds - self._own)
        taken = stolen - self._stolen  # by other machines: who does not want to run loses none
        self.seconds += max(min(self._waited(), others), 0.0) + max(taken, 0.0)
        self._own, self._busy, self._stolen = cpu_seconds, busy, stolen

    def _waited(self) -> float:
        """Seconds that its threads stood ready since the last look; of those that ended, none."""
        waits = self._tree.waits()
        added = sum(wait - self._waits.get(thread, 0) for thread, wait in waits.items())
        self._waits = waits
        return added / 1e9

    def _cores(self) -> tuple[float, float]:
        """Seconds that these cores worked in this machine, and that other machines took of them."""
        busy = stolen = 0
        wanted = {f"cpu{number}".encode() for number in self._cpus}
        try:
            lines = read_bytes("/proc/stat").splitlines()
        except OSError:
            return 0.0, 0.0
        for words in map(bytes.split, lines):
            if words and words[0] in wanted:
                user, nice, system, _, _, interrupts, soft, steal = map(int, words[1:9])
                busy += user + nice + system + interrupts + soft
                stolen += steal
        return busy / TICK, stolen / TICK
