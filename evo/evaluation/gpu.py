"""GPUs: whether CUDA is there inside the box, and how much memory is in use (not measured on a GPU by us)."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evo.evaluation.process import Ended
from evo.evaluation.sandbox.bare_run import run_source
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxUnavailable
from evo.evaluation.slots import Slot

PREFLIGHT_SECONDS = 180.0  # the first start of CUDA on a machine can take a minute
LOOK = """
import json
import torch

found = {"build": torch.version.cuda or "", "available": torch.cuda.is_available()}
if found["available"]:
    many = torch.cuda.device_count()
    every = [torch.ones(64, 64, device=f"cuda:{n}") for n in range(many)]
    found |= {"sum": sum(float((ones @ ones).sum()) for ones in every) / many, "devices": many}
print(json.dumps(found))
"""
LOOK_SUM = 64.0**3


def require_cuda(sandbox: Sandbox, slots: Sequence[Slot]) -> None:
    """Multiply on every GPU, inside the box. SandboxUnavailable when one is not there: torch would go on
    without a word on the CPU. Does nothing where no slot is a GPU.
    """
    gpus = [slot for slot in slots if slot.device == "cuda"]
    if not gpus:
        return
    with ThreadPoolExecutor(len(gpus)) as pool:
        wrong = list(pool.map(lambda slot: _missing(sandbox, slot), gpus))
    said = [f"{slot.name}: {why}" for slot, why in zip(gpus, wrong, strict=True) if why]
    if said:
        raise SandboxUnavailable(
            f"CUDA does not work inside the sandbox ({sandbox.name}), so runs would go on the CPU: "
            f"{'; '.join(said)}. Check that `python -c 'import torch; print(torch.cuda.is_available())'` "
            "says True outside it; then try `sandbox: landlock`, or `sandbox: bwrap`, instead"
        )


def _missing(sandbox: Sandbox, slot: Slot) -> str:
    """Why the GPU of a slot cannot be used inside the box; empty when it can."""
    folder = Path(tempfile.mkdtemp(prefix="evotrain-gpu-"))
    folder.chmod(0o711)
    try:
        line, code = run_source(sandbox, LOOK, folder, PREFLIGHT_SECONDS, slot)
    except (Ended, OSError) as error:
        return str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        found = json.loads(line)
    except ValueError:
        return line or f"it ended with {code}"
    if not found["build"]:
        return "torch is built without CUDA"
    if not found["available"]:
        return "torch.cuda.is_available() is False"
    many = 1 + len(slot.other_gpus)
    if found["devices"] != many or found["sum"] != LOOK_SUM:
        return f"{found['devices']} devices instead of {many}, sum {found['sum']}"
    return ""


class GpuMemory:
    """The peak use of a slot's GPUs together beyond what was in use at the start. Stays 0 without NVML."""

    def __init__(self, uuids: Sequence[str]) -> None:
        self.peak_bytes = 0
        self._handles: list[Any] = []
        with contextlib.suppress(ImportError):
            import pynvml

            self._nvml = pynvml
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                self._handles = [pynvml.nvmlDeviceGetHandleByUUID(one) for one in uuids]
        self._before = self._used()

    def sample(self) -> None:
        """Look once."""
        self.peak_bytes = max(self.peak_bytes, self._used() - self._before)

    def _used(self) -> int:
        if not self._handles:
            return 0
        try:
            return sum(int(self._nvml.nvmlDeviceGetMemoryInfo(one).used) for one in self._handles)
        except self._nvml.NVMLError:
            return 0
