"""Other campaigns that measure on the same cores or GPUs of this machine: each tells of the other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from evo.evaluation.tree import started_at as start_of
from evo.lock import Held, Holder, Unlockable, hold, holder_of
from population.reading import open_runs
from population.store import Store


def runtime_folder() -> Path:
    """Where this user's processes on this machine find each other; XDG_RUNTIME_DIR, else the temporary one."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(base if os.path.isdir(base) else tempfile.gettempdir()) / f"evotrain-{os.getuid()}"


class Neighbours:
    """Says who else uses our slots; called again and again, it says each neighbour once.

    A campaign keeps one locked file while it runs, named after its process; what it holds is the folder and
    the slots. A file that nobody locks is of a process that was killed, and removed. Where none can be kept
    nothing is said: this is a warning, and no slot is ever refused.
    """

    def __init__(self, folder: Path, slots: Sequence[str]) -> None:
        self._slots, self._kept, self._told = set(slots), ExitStack(), set[int]()
        self._place = runtime_folder()
        about = "\n".join([str(folder.resolve()), *slots])
        with suppress(OSError, Held, Unlockable):
            self._place.mkdir(mode=0o700, exist_ok=True)
            if self._is_ours():
                own = self._place / f"{os.getpid()}-{id(self)}"
                self._kept.enter_context(hold(own, about))
                self._kept.callback(own.unlink, missing_ok=True)

    def __call__(self) -> str:
        """What is new: a sentence, or "" where nothing is."""
        new = [one for one in self._others() if one[0].pid not in self._told]
        self._told |= {holder.pid for holder, _, _ in new}
        return "; ".join(
            f"{', '.join(shared)} also measured on by process {holder.pid} ({folder}): both are slower and "
            "noisier; give each its own with `slots` and taskset or CUDA_VISIBLE_DEVICES, or stop one"
            for holder, folder, shared in new
        )

    def close(self) -> None:
        """Use no slot any more."""
        self._kept.close()

    def _is_ours(self) -> bool:
        """A folder in a place that all may write to can be somebody else's."""
        found = self._place.lstat()
        return self._place.is_dir() and not self._place.is_symlink() and found.st_uid == os.getuid()

    def _others(self) -> list[tuple[Holder, str, list[str]]]:
        found = []
        with suppress(OSError):
            for path in sorted(self._place.iterdir()) if self._is_ours() else ():
                holder = holder_of(path)
                if holder is None:
                    path.unlink(missing_ok=True)
                    continue
                folder, *slots = holder.about.split("\n")
                if holder.pid != os.getpid() and (shared := sorted(self._slots & set(slots))):
                    found.append((holder, folder, shared))
        return found


# -- Ending what a killed campaign left running, known by process id and start time.


START_TOLERANCE_SECONDS = 1.0  # a pid whose process started at another time is someone else's
MARK = "EVOTRAIN_MARK"  # in the environment of our runs: tells them also after the clock was set
GONE_SECONDS = 5.0


def end_leftovers(store: Store) -> int:
    """Kill the processes of runs that were in flight when a campaign died and forget those runs.

    The runs themselves are made again, since no measurement of theirs was committed. Returns how many there
    were. Requests to models that were in flight keep their ceiling as their cost.
    """
    store.end_llm_calls("cut off: the campaign was killed")
    runs = open_runs(store)
    for run in runs:
        if run.pid is not None:
            _end_tree(run.pid, run.pid_started_at)
        store.close_run(run.request)
    return len(runs)


def end_strays(runs: Path) -> int:
    """Kill processes of ours that still work in `runs`, where no campaign runs; how many there were.

    A kill can come between the start of a run and its record, and before the box knows its parent.
    """
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if (
                f"{runs.absolute()}{os.sep}" in " ".join(process.cmdline())
                and MARK in process.environ()
            ):
                _end_tree(process.pid, start_of(process.pid))
                found += 1
    return found


def _end_tree(pid: int, started_at: float | None) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        if not _is_ours(root, started_at):
            return
        tree = [root, *root.children(recursive=True)]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(tree, timeout=GONE_SECONDS)


def _is_ours(process: psutil.Process, started_at: float | None) -> bool:
    if started_at is None:
        return False
    if abs(start_of(process.pid) - started_at) <= START_TOLERANCE_SECONDS:
        return True
    try:
        return MARK in process.environ()
    except psutil.AccessDenied:
        return False
