"""Ending what a killed campaign left running, known by process id and start time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

from evo.evaluation.tree import started_at as start_of
from population.reading import open_runs
from population.store import Store

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
        store.close_run(run.order)
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
