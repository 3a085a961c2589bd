"""Workers as jobs of Slurm: dask-jobqueue writes the script, submits and cancels; we say what a worker is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evo.evaluation.cluster.settings import OWN_KEYS

MEMORY = "8GB"  # of a worker's job, where the config names none: dask-jobqueue wants one


def job_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of dask-jobqueue for a job: a worker with one thread and one resource for each GPU.

    What `slots.slurm` says beside `jobs`, `gpus_per_job` and `cores` goes on as it stands: queue, walltime,
    account, memory, job_extra_directives, job_script_prologue, local_directory ... `cores` are CPUs of a job.
    """
    gpus = int(given.get("gpus_per_job", 0))
    own = {key: one for key, one in given.items() if key not in OWN_KEYS}
    workers = max(gpus, 1)
    resource = "GPU=1" if gpus else "CPU=1"
    directives = [f"--gres=gpu:{gpus}"] if gpus else []
    cpus = own.pop("cores", workers)
    return {
        "cores": workers,  # that is to say threads, one for each worker
        "job_cpu": cpus,
        "memory": MEMORY,
        "shebang": "#!/usr/bin/env bash",
        "death_timeout": 60,
        "scheduler_options": {"dashboard_address": ":0"},  # any port: two campaigns have no quarrel
        **own,
        "processes": workers,
        "job_extra_directives": [*directives, *own.get("job_extra_directives", [])],
        "worker_extra_args": ["--resources", resource, *own.get("worker_extra_args", [])],
    }


def open_slurm(given: Mapping[str, Any]) -> Any:
    """A cluster that asks for as many jobs as `jobs` says. ValueError when Slurm or its Dask is not there."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ValueError(
            "slots: slurm needs dask-jobqueue: pip install 'evotrain[cluster]'"
        ) from error
    cluster = SLURMCluster(**job_settings(given))
    ask_for_jobs(cluster, given)
    return cluster


def ask_for_jobs(cluster: Any, given: Mapping[str, Any]) -> None:
    """Jobs for those that ended, up to as many as there are to be; nothing when all are there."""
    cluster.scale(jobs=int(given.get("jobs", 1)))
