"""How much memory a GPU has in use, through NVML (not measured on a GPU by us)."""

from __future__ import annotations

import contextlib
from typing import Any


class GpuMemory:
    """The peak use of one GPU beyond what was in use at the start. Stays 0 without NVML."""

    def __init__(self, uuid: str) -> None:
        self.peak_bytes = 0
        self._handle: Any = None
        with contextlib.suppress(ImportError):
            import pynvml

            self._nvml = pynvml
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self._before = self._used()

    def sample(self) -> None:
        """Look once."""
        self.peak_bytes = max(self.peak_bytes, self._used() - self._before)

    def _used(self) -> int:
        if self._handle is None:
            return 0
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        except self._nvml.NVMLError:
            return 0
