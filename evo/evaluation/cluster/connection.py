"""The workers of a cluster: found, asked what they are, and accepted or refused by name.

All calls are bounded in time: a worker or a scheduler that stands still holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from asyncio import CancelledError
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from evo.evaluation.cluster.settings import ClusterSettings
from evo.evaluation.cluster.slurm import ask_for_jobs, open_slurm
from evo.evaluation.cluster.worker import (
    MAX_SILENCE_SECONDS,
    Introduction,
    introduce,
    leave_signals_alone,
    look_around,
    versions,
)
from evo.evaluation.slots import Slot, find_slots

CALL_SECONDS = 10.0
CONNECT_SECONDS = 10.0
JOBS_SECONDS = 30.0  # between two looks whether jobs are missing
LOOK_SECONDS = 240.0  # at a host, all together: the first start of CUDA can take a minute
FIRST_SECONDS = 60.0  # for the first worker, where nobody queues for it
DEVICES: dict[str, Literal["cpu", "cuda"]] = {
    "CPU": "cpu",
    "GPU": "cuda",
}  # the resource that a worker declares, one of it


class ClusterUnavailable(Exception):
    """No cluster, or none of its workers can be used. The message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that takes runs, one at a time. Its slot has a name of its own among all."""

    address: str
    name: str  # as Dask calls it
    slot: Slot
    machine: str
    resource: str


def list_workers(dask_scheduler: Any) -> dict[str, dict[str, Any]]:
    """What the scheduler knows of each worker; runs there. `silent` in seconds."""
    return {
        address: {
            "name": str(one.name),
            "threads": one.nthreads,
            "resources": dict(one.resources),
            "busy": bool(one.processing),
            "silent": time.time() - one.last_seen,
        }
        for address, one in dask_scheduler.workers.items()
    }


class Connection:
    """A scheduler, and the workers that were accepted. `look` is for one thread at a time."""

    def __init__(self, settings: ClusterSettings, say: Callable[[str], None] = lambda text: None):
        self.settings, self._say = settings, say
        self.id = f"evotrain-{uuid.uuid4().hex[:12]}"
        self.host_class = ""  # of the first worker, or as an earlier process found it
        self.members: dict[str, Member] = {}  # by address; replaced, never changed
        self.refused: dict[str, str] = {}
        self.classes: dict[str, str] = {}  # the host class of each worker that was seen
        self.hear: Callable[[dict[str, Any]], None] = lambda record: None
        self._here = versions()
        self._said: deque[str] = deque()
        self._asked = time.monotonic()  # for jobs
        self._cluster: Any = None
        self._client: Any = None

    # -- opening and closing -------------------------------------------------------------------------

    def open(self) -> None:
        """Reach the scheduler, or start one, and wait for a first worker. ClusterUnavailable without."""
        self.start()
        self._wait_for_one()

    def start(self) -> None:
        """Reach the scheduler, or start one. ClusterUnavailable."""
        try:
            from distributed import Client
        except ImportError as error:
            raise ClusterUnavailable(
                f"slots: {self.settings} needs Dask: pip install 'evotrain[cluster]', or "
                "pip install -e '.[cluster]' in a checkout"
            ) from error
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by us

        where = self.settings.dask
        if not where and self._cluster is None:
            self._cluster = (
                open_slurm(self.settings.slurm)
                if self.settings.slurm
                else _local_cluster(self.settings.dask_local)
            )
        try:
            self._client = Client(
                where or self._cluster, timeout=CONNECT_SECONDS, set_as_default=False, name="evo"
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterUnavailable(
                f"slots: no scheduler answers at {self.settings}; start it with `dask scheduler`"
            ) from error
        self._client.subscribe_topic(self.id, lambda event: self.hear(event[1]))

    def _wait_for_one(self) -> None:
        began, told = time.monotonic(), False
        while not self.members:
            with contextlib.suppress(OSError, TimeoutError):  # busy with its own beginning
                self.look()
            if self.members:
                break
            if not told:
                self._say(f"waiting for a worker of {self.settings}")
                told = True
            if not self.settings.slurm and time.monotonic() - began > FIRST_SECONDS:
                why = "; ".join(f"{one}: {why}" for one, why in self.refused.items())
                self.close()
                raise ClusterUnavailable(
                    f"slots: no worker of {self.settings} can be used: "
                    + (why or "there is none; `dask worker ADDRESS --nthreads 1 --resources CPU=1`")
                )
            time.sleep(0.2)

    def is_up(self) -> bool:
        """Whether the scheduler can be talked to."""
        return self._client is not None and self._client.status == "running"

    def reopen(self) -> None:
        """Reach the scheduler again. ClusterUnavailable while it is gone."""
        client, self._client = self._client, None
        if client is not None:
            _close(client)
        self.members = {}
        self.start()

    def close(self) -> None:
        """Leave; workers that we started end."""
        for one in (self._client, self._cluster):
            if one is not None:
                _close(one)
        self._client = self._cluster = None

    # -- workers ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """See who came and who is gone. OSError, TimeoutError when the scheduler does not answer."""
        found = self.on_scheduler(list_workers)
        alive = {one for one, told in found.items() if told["silent"] < MAX_SILENCE_SECONDS}
        for address in self.members.keys() - alive:
            self._said.append(f"worker {self.members[address].slot.name} is gone")
        members = {address: one for address, one in self.members.items() if address in alive}
        self.refused = {one: why for one, why in self.refused.items() if one in found}
        new = sorted(alive - members.keys() - self.refused.keys())
        if self.settings.dask_local:
            self.call(leave_signals_alone, workers=new)
        for resource, device in DEVICES.items():
            asked = [one for one in new if found[one]["resources"].get(resource) == 1]
            for address, said in self.call(introduce, device, workers=asked).items():
                name, threads = found[address]["name"], found[address]["threads"]
                self.classes[address] = getattr(said, "host_class", "")
                if why := objection(said, threads, self._here, self.host_class, self.settings):
                    self._refuse(address, why)
                elif member := _placed(address, name, said, resource, members.values()):
                    members[address] = member
                    self.host_class = self.host_class or said.host_class
                    self._said.append(f"worker {member.slot.name} joined")
                else:
                    self._refuse(address, f"every GPU of {said.host} has a worker already")
            new = [one for one in new if one not in asked]
        for address in new:
            self._refuse(
                address, "it declares neither CPU=1 nor GPU=1: start it with `--resources CPU=1`"
            )
        self.members = members
        self._ask_for_jobs()

    def _ask_for_jobs(self) -> None:
        """A job that reached its walltime is followed by another."""
        if self.settings.slurm and len(self.members) < self.settings.workers:
            now = time.monotonic()
            if now - self._asked > JOBS_SECONDS:
                self._asked = now
                ask_for_jobs(self._cluster, self.settings.slurm)

    def _refuse(self, address: str, why: str) -> None:
        self.refused[address] = why
        self._said.append(f"worker {address} is not used: {why}")

    def news(self) -> str:
        """What was not said yet of workers; "" when there is nothing."""
        said = []
        while self._said:
            said.append(self._said.popleft())
        return "; ".join(said)

    # -- calls -----------------------------------------------------------------------------------------

    def call(
        self, function: Callable[..., Any], *args: Any, workers: Collection[str]
    ) -> Mapping[str, Any]:
        """What a function of ours says at workers, beside their runs; the exception where it broke."""
        if not workers:
            return {}

        async def ask() -> Any:
            call = self._client.run(function, *args, workers=list(workers), on_error="return")
            return await asyncio.wait_for(call, CALL_SECONDS)

        said: Mapping[str, Any] = self._wait(ask())
        return said

    def tell(self, function: Callable[..., Any], *args: Any, workers: Collection[str]) -> None:
        """The same without waiting for what is said: one that stands still keeps nobody from hearing."""

        async def say() -> None:
            with contextlib.suppress(OSError, TimeoutError):
                call = self._client.run(function, *args, workers=list(workers), on_error="ignore")
                await asyncio.wait_for(call, CALL_SECONDS)

        if workers:
            asyncio.run_coroutine_threadsafe(say(), self._client.loop.asyncio_loop)

    def on_scheduler(self, function: Callable[..., Any]) -> Any:
        """What a function of ours says at the scheduler."""

        async def ask() -> Any:
            return await asyncio.wait_for(self._client.run_on_scheduler(function), CALL_SECONDS)

        return self._wait(ask())

    def _wait(self, asking: Any) -> Any:
        loop = self._client.loop.asyncio_loop
        return asyncio.run_coroutine_threadsafe(asking, loop).result(2 * CALL_SECONDS)

    def submit(self, member: Member, key: str, function: Callable[..., Any], *args: Any) -> Any:
        """One task for one worker, and for no other: a future. Dask never runs it twice."""
        return self._client.submit(
            function,
            *args,
            key=f"{self.id}-{key}",
            workers=[member.address],
            allow_other_workers=False,
            resources={member.resource: 1},
            retries=0,
            pure=False,
        )


@contextlib.contextmanager
def _surveyed(settings: ClusterSettings) -> Iterator[Connection]:
    """A connection whose workers have been looked at, left afterwards. ClusterUnavailable."""
    connection = Connection(settings)
    connection.start()
    try:
        end = time.monotonic() + FIRST_SECONDS
        while len(connection.members) + len(connection.refused) < max(settings.workers, 1):
            if (late := time.monotonic() > end) and connection.classes:
                break  # some are there
            try:
                connection.look()
            except (OSError, TimeoutError):  # workers are busy with their own beginning
                if late:
                    raise
            else:
                if late:
                    break
            time.sleep(0.2)
        yield connection
    except (OSError, TimeoutError) as error:
        raise ClusterUnavailable(f"slots: {settings} does not answer") from error
    finally:
        connection.close()


def survey_cluster(settings: ClusterSettings) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The workers that would be used, each with its host class, and those refused, with why."""
    with _surveyed(settings) as connection:
        members = connection.members.items()
        found = {one.slot.name: connection.classes[address] for address, one in members}
        return found, list(connection.refused.items())


@dataclass(frozen=True, slots=True)
class HostReport:
    """What one worker of a host says for all of them there; `said` is an exception where it broke."""

    host: str
    slots: tuple[Slot, ...]
    said: Any


def ask_hosts(
    settings: ClusterSettings, look: Callable[..., Any], *args: Any
) -> tuple[list[HostReport], list[tuple[str, str]]]:
    """What `look(folder of the worker, slots of the host, *args)` says at each host, and the workers refused.

    It is a task, as a run is, of one worker a host: one without a run if there is any. ClusterUnavailable.
    """
    with _surveyed(settings) as connection:
        known = connection.on_scheduler(list_workers)
        by_machine: dict[str, list[Member]] = {}
        for one in sorted(connection.members.values(), key=lambda one: one.slot.name):
            by_machine.setdefault(one.machine, []).append(one)
        asked: list[tuple[str, tuple[Slot, ...], bool, Any]] = []
        for members in by_machine.values():
            free = [one for one in members if not known.get(one.address, {"busy": True})["busy"]]
            slots = tuple(one.slot for one in members)
            key = f"look-{len(asked)}"
            future = connection.submit((free or members)[0], key, look_around, look, slots, *args)
            asked.append((members[0].slot.name.rpartition("/")[0], slots, bool(free), future))
        found, end = [], time.monotonic() + LOOK_SECONDS
        for host, slots, was_free, future in asked:
            try:
                said = future.result(timeout=max(end - time.monotonic(), 0.1))
            except TimeoutError:
                busy = "" if was_free else ": each of its workers has a run"
                said = TimeoutError(f"no answer within {LOOK_SECONDS:.0f} s{busy}")
            except (Exception, CancelledError) as error:  # noqa: BLE001 - border to Dask
                said = error
            found.append(HostReport(host, slots, said))
        return found, list(connection.refused.items())


def count_workers(settings: ClusterSettings) -> int:
    """How many workers there are to be; those of somebody's scheduler are counted. ClusterUnavailable."""
    if settings.workers:
        return settings.workers
    connection = Connection(settings)
    connection.start()
    try:
        return len(connection.on_scheduler(list_workers))
    except (OSError, TimeoutError) as error:
        raise ClusterUnavailable(f"slots: {settings} does not answer") from error
    finally:
        connection.close()


def objection(
    said: Introduction | BaseException,
    threads: int,
    here: Mapping[str, str],
    host_class: str,
    settings: ClusterSettings,
) -> str:
    """Why a worker is not used beside this coordinator; "" when it is. `host_class`: of the others."""
    if not isinstance(said, Introduction):
        return f"it does not know this evotrain ({type(said).__name__}: {said})"
    if said.problem:
        return said.problem
    if threads != 1:
        return f"it has {threads} threads: start it with `--nthreads 1`"
    if settings.mixed == "allow":
        return ""
    differing = [
        f"{name} {said.versions.get(name)} there and {mine} here"
        for name, mine in here.items()
        if said.versions.get(name) != mine
    ]
    if host_class not in ("", said.host_class):
        differing.append(f"{said.host_class} there, and this campaign is on {host_class}")
    return f"{'; '.join(differing)} (`mixed: allow` takes it)" if differing else ""


def _placed(
    address: str, dask_name: str, said: Introduction, resource: str, others: Collection[Member]
) -> Member | None:
    """A worker on a slot that no other of its machine has; cores are shared where there are too few."""
    used = Counter(
        one.slot.gpu_uuid or str(one.slot.cpus) for one in others if one.machine == said.machine
    )
    slot = min(said.slots, key=lambda one: used[one.gpu_uuid or str(one.cpus)])
    if used[slot.gpu_uuid or str(slot.cpus)] and slot.device != "cpu":
        return None
    name, names, number = f"{said.host}/{slot.name}", {one.slot.name for one in others}, 1
    while name in names:
        number += 1
        name = f"{said.host}/{slot.name}-{number}"
    return Member(address, dask_name, replace(slot, name=name), said.machine, resource)


def _local_cluster(workers: int) -> Any:
    import dask
    from distributed import LocalCluster

    resource = "GPU" if find_slots()[0].device == "cuda" else "CPU"
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # none asked for is 8787 on every address
            resources={resource: 1},
            silence_logs=logging.CRITICAL,
        )


def _close(one: Any) -> None:
    """Close a client or a cluster; one that does not answer is left to its own end."""

    def close() -> None:
        with contextlib.suppress(OSError, TimeoutError):
            one.close(timeout=CALL_SECONDS)

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(2 * CALL_SECONDS)
