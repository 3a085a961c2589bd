"""Which cluster a campaign's slots are on: the forms that `slots` takes beside a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from evo.evaluation.slots import SlotSettings

HERE = "`{gpus_per_slot: N}`, `{cores: physical}`"
FORMS = '`{dask: "tcp://HOST:8786"}`, `{dask_local: N}` or `{slurm: {queue: ..., jobs: N}}`'
ADDRESS = re.compile(r"(tcp|tls|ucx)://\S+:\d+")
OWN_KEYS = {"jobs": 1, "gpus_per_job": 0}  # of slurm; what else stands there dask-jobqueue takes
CORES = ("each", "physical")
MIXED = ("refuse", "allow")


@dataclass(frozen=True)
class ClusterSettings:
    """One of: a scheduler that runs somewhere, workers of our own here, jobs of a batch system.

    `mixed`: whether workers of another version or host class than the first one's are taken, too.
    """

    dask: str = ""
    dask_local: int = 0
    slurm: dict[str, Any] = field(default_factory=dict)
    mixed: Literal["refuse", "allow"] = "refuse"

    @property
    def workers(self) -> int:
        """How many workers it asks for; 0 where somebody else starts them."""
        if self.slurm:
            one = {**OWN_KEYS, **self.slurm}
            return int(one["jobs"]) * max(int(one["gpus_per_job"]), 1)
        return self.dask_local

    def __str__(self) -> str:
        if self.dask:
            return self.dask
        return f"{self.workers} workers of {'slurm' if self.slurm else 'dask_local'}"


def read_slots(given: Mapping[str, Any]) -> ClusterSettings | SlotSettings | int | str:
    """What `slots` says as keys and values: of this machine, or of a cluster. ValueError, in one line."""
    here = {one.name for one in fields(SlotSettings)}
    if not given or not here.intersection(given):
        return read_cluster(given)
    if unknown := [one for one in given if one not in here]:
        raise ValueError(f"{unknown[0]}: not beside {', '.join(sorted(here.intersection(given)))}")
    settings = SlotSettings(**given)
    if settings.count != "auto":
        _must_count("count", settings.count, 1)
    _must_count("gpus_per_slot", settings.gpus_per_slot, 1)
    if settings.cores not in CORES:
        raise ValueError(f"cores: {settings.cores!r} is neither {CORES[0]!r} nor {CORES[1]!r}")
    return settings.count if settings == SlotSettings(settings.count) else settings


def read_cluster(given: Mapping[str, Any]) -> ClusterSettings:
    """The settings from plain values. ValueError, in one line, for any others."""
    known = {one.name: one for one in fields(ClusterSettings)}
    if unknown := [one for one in given if one not in known]:
        raise ValueError(f"no key {unknown[0]!r}; write a number, `auto`, {HERE}, {FORMS}")
    values = {key: one for key, one in given.items() if one not in (None, "", 0, {})}
    if len(values.keys() - {"mixed"}) != 1:
        raise ValueError(f"name one place: {FORMS}")
    if values.get("mixed", "refuse") not in MIXED:
        raise ValueError(f"mixed: {values['mixed']!r} is neither {MIXED[0]!r} nor {MIXED[1]!r}")
    address = values.get("dask", "tcp://host:1")
    if not isinstance(address, str) or not ADDRESS.fullmatch(address):
        raise ValueError(
            f"dask: {address!r} is no address of a scheduler; write it as tcp://HOST:8786"
        )
    _must_count("dask_local", values.get("dask_local", 1), 1)
    jobs = values.get("slurm", OWN_KEYS)
    if not isinstance(jobs, Mapping):
        raise ValueError("slurm: expected keys and values, such as {queue: gpu, jobs: 4}")
    for key, least in (("jobs", 1), ("gpus_per_job", 0)):
        _must_count(f"slurm.{key}", jobs.get(key, least), least)
    return ClusterSettings(**values)


def _must_count(key: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{key}: {value!r} is not a whole number of {least} or more")
