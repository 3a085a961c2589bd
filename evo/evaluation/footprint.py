"""What a tree of processes takes of the machine: memory, also where no process shows it, and files."""

from __future__ import annotations

from pathlib import Path

from evo.evaluation.tree import ProcessTree, Reading, folder_bytes
from evo.evaluation.wires import memory_device
from population.variant import Status

MOST_FILES = 20_000
LOOKS_PER_SCAN = 4  # files are looked through less often: it costs more


class Footprint:
    """Looks at a tree, and says which limit it broke. `folder`: where it writes to the host's disk."""

    def __init__(
        self,
        tree: ProcessTree,
        folder: Path | None,
        memory_bytes: int,
        scratch_bytes: int,
        shared_inode: int,
    ) -> None:
        self._tree, self._folder, self._shared_inode = tree, folder, shared_inode
        self._memory_bytes, self._scratch_bytes = memory_bytes, scratch_bytes
        self._looks = self._hidden = 0

    def objection(self, reading: Reading) -> tuple[Status, str] | None:
        """The limit that it is beyond by now, as a status and a reason; None within all of them."""
        self._looks += 1
        if self._looks % LOOKS_PER_SCAN == 1 and (found := self._scan()):
            return found
        used = self._used_bytes(reading)
        if used > self._memory_bytes:
            return Status.OUT_OF_MEMORY, f"more than {self._memory_bytes >> 20} MB of memory"
        return None

    def _used_bytes(self, reading: Reading) -> int:
        hidden = self._hidden
        used = reading.rss_bytes + hidden
        if used > self._memory_bytes and (hidden or reading.processes > 3):
            mapped = self._tree.shared_memory_bytes() if hidden else 0
            used = self._tree.shared_once_bytes() + max(hidden - mapped, 0)
        return used

    def _scan(self) -> tuple[Status, str] | None:
        """Memory files that nobody maps, and a scratch folder that lies on the host's disk."""
        unnamed = self._tree.open_unnamed()
        memory = memory_device()
        self._hidden = sum(
            size
            for (device, inode), size in unnamed.items()
            if device == memory and inode != self._shared_inode
        )
        if self._folder is None:
            return None
        used, files = folder_bytes(self._folder, MOST_FILES)
        used += sum(size for (device, _), size in unnamed.items() if device != memory)
        if used > self._scratch_bytes:
            return Status.CRASHED, f"more than {self._scratch_bytes >> 20} MB of files"
        if files > MOST_FILES:
            return Status.CRASHED, f"more than {MOST_FILES} files"
        return None
