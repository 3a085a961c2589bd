"""What a long campaign keeps on disk, and how much of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from evo.files import drafted
from population.types import DERIVED, RunRequest

MEGABYTE = 1e6


class KeepSettings(BaseModel):
    """What stays of a campaign beside its store, and how large its folder may grow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: bool = Field(default=False, description="of the front's members and of graduates")
    disk_mb: float | None = Field(
        default=None, gt=0, description="of the campaign's folder; beyond it the campaign stops"
    )


class KeptWeights:
    """The weights of front members and graduates: weights/RUNG/VARIANT.safetensors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, rung: str, variant_id: str) -> Path:
        """Where a variant's weights of a rung lie while they are kept."""
        return self._folder / rung / f"{variant_id}.safetensors"

    def take(self, request: RunRequest, weights: Path) -> None:
        """Copy what a run left, whole or not at all. A copy that fails costs no measurement."""
        target = self.path(request.rung, request.variant_id)
        if DERIVED in request.rung or target.exists():
            return
        with contextlib.suppress(OSError):  # a full disk
            target.parent.mkdir(parents=True, exist_ok=True)
            with drafted(target) as draft:
                shutil.copyfile(weights, draft)

    def prune(self, rung: str, members: Collection[str], recorded: Callable[[str], bool]) -> None:
        """Delete the weights of those who are recorded at this rung and not among the members."""
        for path in (self._folder / rung).glob("*.safetensors"):
            if path.stem not in members and recorded(path.stem):
                path.unlink(missing_ok=True)


class DiskBudget:
    """Says when a campaign's folder has grown beyond its budget."""

    def __init__(self, folder: Path, most_mb: float) -> None:
        self._folder, self._most_mb = folder, most_mb

    def __call__(self) -> str:
        """The reason to stop; "" while there is none."""
        used = used_mb(self._folder)
        if used <= self._most_mb:
            return ""
        return (
            f"{self._folder} takes {used:,.0f} MB of disk, more than keep.disk_mb: {self._most_mb:,g}; "
            "free some or raise it"
        )


def used_mb(folder: Path) -> float:
    """What a folder's files take on disk, in megabytes."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # workspaces come and go
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
    return total / MEGABYTE
