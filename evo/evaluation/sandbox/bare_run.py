"""One source run to its end inside a box, outside any evaluation: what it said last."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from evo.evaluation.process import POLL_SECONDS, Limits, RoleProcess
from evo.evaluation.sandbox.sandbox import Sandbox, View
from evo.evaluation.slots import Slot, Unwatched

MEMORY_MB = 4096
LINE_CHARACTERS = 4096


def run_source(
    sandbox: Sandbox, source: str, folder: Path, seconds: float, slot: Slot | None = None
) -> tuple[str, int]:
    """The last line of output and the exit code. Ended when it breaks a limit, OSError when it cannot start.

    `folder` must be reachable for the sandbox's user; folders for code and scratch are made in it.
    """
    code, scratch, weights = (folder / name for name in ("code", "scratch", "weights"))
    code.mkdir()
    scratch.mkdir()
    weights.touch()
    (code / "train.py").write_text(source, encoding="utf-8")
    memory_mb = MEMORY_MB * (1 if slot is None else 4)
    view = View(code, (), scratch, weights, True, memory_mb, 1)
    cores: tuple[int, ...] = (min(os.sched_getaffinity(0)),)
    if slot is not None:
        view = replace(view, gpu=slot.gpu, gpu_uuid=slot.gpu_uuid, other_gpus=slot.other_gpus)
        cores = slot.cpus
    limits = Limits(seconds, memory_mb << 20, sandbox.settings.processes)
    role = RoleProcess(sandbox.launch(view), {}, limits, Unwatched(), cores)
    try:
        while role.exit_code is None:
            role.tick(POLL_SECONDS)
        return role.log.last_line(LINE_CHARACTERS), role.exit_code
    finally:
        role.close()
