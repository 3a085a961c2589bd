"""Slots on a cluster: real workers in processes of their own, and what is promised when they go."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evo.evaluation.cluster import cluster_slots, worker
from evo.evaluation.cluster.cluster_slots import ClusterSlots
from evo.evaluation.cluster.connection import Connection, ask_hosts, objection, survey_cluster
from evo.evaluation.cluster.settings import ClusterSettings, read_cluster
from evo.evaluation.cluster.slurm import job_settings
from evo.evaluation.cluster.worker import Assignment, Introduction, Leased, receive, renew
from evo.evaluation.local_slots import RunProgress, RunStarted
from evo.evaluation.slots import Slot
from population.types import CurvePoint, Status
from tests.cli.driving import QUICK, Evo
from tests.evaluation.clusters import ROOT, ClusterDriver, Processes, SleepingKit, asleep

SLOT = Slot("here/cpu0", "cpu", (0,))
HERE = {"evotrain": "abc", "python": "3.11.7", "torch": "2.13.0"}
CPU = Introduction("here", "here 1", HERE, (SLOT,), "a processor, torch 2.13.0")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Processes]:
    pytest.importorskip("distributed")
    processes = Processes(tmp_path_factory.mktemp("cluster"))
    try:
        processes.scheduler()
        processes.worker("a")
        processes.worker("b")
        yield processes
    finally:
        processes.close()


@pytest.fixture
def driver(cluster: Processes) -> Iterator[ClusterDriver]:
    connection = Connection(ClusterSettings(dask=cluster.address))
    connection.open()
    driver = ClusterDriver(ClusterSlots(connection, SleepingKit))
    driver.until(lambda: driver.slots.capacity() == 2)
    yield driver
    driver.slots.close()


def test_each_worker_makes_one_run_at_a_time_and_tells_of_it(driver: ClusterDriver) -> None:
    driver.submit(asleep(0.05, "a"), asleep(0.05, "b"))
    driver.submit(asleep(0.05, "c"))
    assert driver.slots.capacity() == 0
    with pytest.raises(ValueError, match="free"):
        driver.slots.submit([asleep(0.1, "d")])
    driver.until_ended(3)
    assert {one.status for one in driver.ended()} == {Status.OK}
    slots = {one.request: one.slot for one in driver.ended()}
    assert slots[asleep(0.05, "a")[0]] == slots[asleep(0.05, "b")[0]], "a pair has one slot"
    assert len(set(slots.values())) == 2
    assert sum(isinstance(one, RunStarted) for one in driver.events) == 3
    assert any(isinstance(one, RunProgress) for one in driver.events)
    assert driver.slots.capacity() == 2


def test_workers_too_busy_to_answer_at_the_start_get_what_they_need_later(
    cluster: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(ClusterSettings(dask=cluster.address))
    connection.open()
    call, late = connection.call, [TimeoutError()]

    def slow(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if function is receive and late:
            raise late.pop()
        return call(function, *args, **more)

    monkeypatch.setattr(connection, "call", slow)
    driver = ClusterDriver(ClusterSlots(connection, SleepingKit))
    try:
        driver.until(lambda: driver.slots.capacity() == 2)
    finally:
        driver.slots.close()
    assert not late


@pytest.fixture
def of_cluster(cluster: Processes, driver: ClusterDriver, tmp_path: Path) -> Path:
    """A campaign file whose slots are the workers of that cluster, which have joined it."""
    path = tmp_path / "far.yaml"
    path.write_text(QUICK + f'slots: {{dask: "{cluster.address}"}}\n')
    return path


def test_the_doctor_looks_once_at_each_host_and_names_its_workers(
    cluster: Processes, of_cluster: Path, monkeypatch, capsys
) -> None:
    said = Evo(monkeypatch, capsys)("doctor", of_cluster, "--on-workers", "--json").json()
    (host,) = said["hosts"]
    assert len(host["workers"]) == 2 and len(set(host["workers"])) == 2
    found = {one["name"]: one for one in host["checks"]}
    assert {"python", "torch", "devices", "sandbox", "memory", "disk"} <= found.keys()
    assert found["sandbox"]["text"] == "in force: none", "by the campaign's own settings"
    assert str(cluster.folder) in found["disk"]["text"], "where the worker is, not where we are"
    assert not {"devices", "sandbox"} & {one["name"] for one in said["checks"]}, "nothing runs here"
    assert said["ok"]


def look_breaks(folder: Path, slots: tuple[Slot, ...]) -> None:
    raise OSError(f"{len(slots)} in a bad place")


def test_a_look_that_breaks_at_a_host_is_told_of_that_host(
    cluster: Processes, driver: ClusterDriver
) -> None:
    (one,), _ = ask_hosts(ClusterSettings(dask=cluster.address), look_breaks)
    assert isinstance(one.said, OSError) and str(one.said) == "2 in a bad place"


@pytest.mark.parametrize(
    ("slots", "code", "why"),
    [
        ('{dask: "tcp://127.0.0.1:1"}', 1, "no scheduler answers at tcp://127.0.0.1:1"),
        ("1", 2, "names no cluster"),
    ],
)
def test_workers_that_cannot_be_reached_are_told_of_in_one_line(
    tmp_path: Path, monkeypatch, capsys, slots: str, code: int, why: str
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("evo.evaluation.cluster.connection.CONNECT_SECONDS", 0.5)
    path = tmp_path / "far.yaml"
    path.write_text(QUICK + f"slots: {slots}\n")
    said = Evo(monkeypatch, capsys)("doctor", path, "--on-workers")
    assert said.code == code
    assert why in " ".join((said.out + said.err).split())
    assert "Traceback" not in said.out + said.err


def test_workers_too_busy_to_answer_a_survey_at_first_are_asked_again(
    cluster: Processes, driver: ClusterDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, late = Connection.look, [TimeoutError()]

    def slow(connection: Connection) -> None:
        if late:
            raise late.pop()
        look(connection)

    monkeypatch.setattr(Connection, "look", slow)
    found, _ = survey_cluster(ClusterSettings(dask=cluster.address))
    assert len(found) == 2 and not late


def test_a_cluster_that_does_not_end_in_time_is_left_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FakeSlow:
        def close(self, timeout: float) -> None:
            raise TimeoutError(f"timed out after {timeout} s.")

    connection, broken = Connection(ClusterSettings(dask_local=1)), list[object]()
    monkeypatch.setattr(threading, "excepthook", broken.append)
    monkeypatch.setattr(connection, "_cluster", FakeSlow())
    connection.close()
    assert broken == []


def answers_of_a_child() -> list[signal.Handlers]:
    """In a worker: how what it starts would take each signal."""
    asked = (
        "import signal; print(*(int(signal.getsignal(n) is signal.SIG_IGN) for n in (1, 2, 15)))"
    )
    out = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True).stdout
    return [signal.Handlers(int(one)) for one in out.split()]


def test_a_signal_to_the_whole_group_ends_no_worker_of_ours() -> None:
    """A terminal sends Ctrl-C, and its end, to every process in it; a service manager does so with SIGTERM."""
    connection = Connection(ClusterSettings(dask_local=1))
    connection.open()
    try:
        (address,) = connection.members
        before = connection.call(os.getpid, workers=[address])
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(before[address], number)
            assert connection.call(os.getpid, workers=[address]) == before
        said = connection.call(answers_of_a_child, workers=[address])[address]
        assert said == [signal.SIG_DFL] * 3, "a run's processes can be ended"
    finally:
        connection.close()


def test_a_run_is_stopped_by_its_lease_early_or_at_once(driver: ClusterDriver) -> None:
    early, now = asleep(60, "early"), asleep(60, "now")
    driver.submit(early)
    driver.submit(now)
    driver.until(lambda: sum(isinstance(one, RunProgress) for one in driver.events) >= 2)
    driver.slots.cancel(early[0], "its loss is above its peers' median")
    driver.slots.cancel(now[0])
    driver.until_ended(2)
    ended = {one.request: (one.status, one.reason) for one in driver.ended()}
    assert ended[early[0]] == (Status.STOPPED, "its loss is above its peers' median")
    assert ended[now[0]] == (Status.LOST, "stopped on request")


def test_a_late_twin_of_a_run_that_was_given_up_is_void(
    cluster: Processes, driver: ClusterDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_slots, "GIVE_UP_SECONDS", 0.1)
    monkeypatch.setattr(cluster_slots, "RENEW_SECONDS", 0.1)
    one = asleep(0.5, "late")
    driver.submit(one)
    driver.until(lambda: any(isinstance(event, RunStarted) for event in driver.events))
    for name in ("a", "b"):
        cluster.send(name, signal.SIGSTOP)
    driver.slots.cancel(one[0])
    try:
        driver.until_ended(1)
    finally:
        for name in ("a", "b"):
            cluster.send(name, signal.SIGCONT)
    driver.submit(asleep(0.01, "after it"))
    driver.submit(asleep(0.01, "after it, too"))
    driver.until_ended(3)
    assert Counter(run.request for run in driver.ended())[one[0]] == 1
    assert driver.ended()[0].status is Status.LOST


def test_an_answer_that_never_comes_holds_up_no_other(
    driver: ClusterDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a client that was left: Dask calls back for all futures of a process in one thread."""
    from distributed import Future

    release, fetch = threading.Event(), Future.result

    def hangs_once(future: Any, timeout: float | None = None) -> Any:
        if not hanging:
            hanging.append(future)
            release.wait(100)
        return fetch(future, timeout)

    hanging = list[Any]()
    monkeypatch.setattr(Future, "result", hangs_once)
    driver.submit(asleep(0.01, "its answer hangs"))
    driver.until(lambda: bool(hanging))
    driver.submit(asleep(0.01, "another"))
    driver.until_ended(1)
    release.set()
    driver.until_ended(2)


def test_a_run_whose_worker_is_killed_is_lost_once_and_can_be_made_again(
    cluster: Processes, driver: ClusterDriver
) -> None:
    one = asleep(60, "killed")
    driver.submit(one)
    driver.until(lambda: any(isinstance(event, RunStarted) for event in driver.events))
    driver.submit(asleep(0.2, "beside it"))
    started = next(event for event in driver.events if isinstance(event, RunStarted))
    members = {m.slot.name: m for m in driver.slots._connection.members.values()}
    name = members[started.slot].name.rpartition("-")[2]
    cluster.kill(name)
    driver.until_ended(2)
    assert {run.status for run in driver.ended()} == {Status.LOST, Status.OK}
    driver.submit(asleep(0.01, "on the other"))
    driver.until_ended(3)
    cluster.worker(name)
    driver.until(lambda: driver.slots.capacity() == 2)
    assert Counter(run.request for run in driver.ended()).most_common(1)[0][1] == 1
    assert "gone" in driver.slots._connection.news()


# -- without processes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "threads", "why"),
    [
        (CPU, 1, ""),
        (CPU, 4, "4 threads"),
        (ModuleNotFoundError("No module named 'evo'"), 1, "does not know this evotrain"),
        (replace(CPU, versions=HERE | {"torch": "2.5.0"}), 1, "torch 2.5.0 there and 2.13.0 here"),
        (replace(CPU, versions=HERE | {"python": "3.12.1"}), 1, "python 3.12.1"),
        (replace(CPU, versions=HERE | {"evotrain": "def"}), 1, "evotrain def there and abc here"),
        (replace(CPU, host_class="another, torch 2.13.0"), 1, "another, torch 2.13.0 there"),
        (replace(CPU, problem="slots: no GPU can be used here"), 1, "no GPU can be used here"),
    ],
)
def test_a_worker_that_differs_is_refused_by_what_differs(said, threads, why) -> None:
    found = objection(said, threads, HERE, CPU.host_class, ClusterSettings(dask="tcp://a:1"))
    assert why in found and bool(found) == bool(why)


def test_mixed_allow_takes_other_versions_and_classes_but_no_worker_without_a_slot() -> None:
    allow = ClusterSettings(dask="tcp://a:1", mixed="allow")
    other = replace(CPU, versions=HERE | {"torch": "2.5.0"}, host_class="another")
    assert not objection(other, 1, HERE, CPU.host_class, allow)
    assert objection(replace(other, problem="no GPU"), 1, HERE, CPU.host_class, allow)


def lease(number: int = 3, told: list | None = None) -> Leased:
    request, source = asleep(1, "x")
    order = Assignment("someone", number, "kit", request, source, SLOT)
    return Leased(order, (told if told is not None else []).append)


def test_a_run_goes_on_while_its_lease_is_renewed_and_no_longer(monkeypatch) -> None:
    now = time.monotonic()
    one = lease()
    renew("someone", 1, 2, {})
    assert not one.stopping(), "said before it was given"
    renew("someone", 2, 3, {3: ""})
    assert not one.stopping() and not one.hopeless()
    renew("someone", 4, 4, {3: "hopeless"})
    renew("someone", 3, 3, {})  # overtaken
    assert one.hopeless() == "hopeless"
    renew("another", 9, 9, {})
    assert not one.stopping(), "what another coordinator says is not for it"
    renew("someone", 5, 4, {4: ""})
    assert one.stopping()
    two = lease(5)
    monkeypatch.setattr(time, "monotonic", lambda: now + worker.MAX_SILENCE_SECONDS + 5)
    assert two.stopping(), "nobody is there any more"


def test_progress_is_told_twice_a_second_at_most_and_no_point_is_dropped(monkeypatch) -> None:
    told: list[dict] = []
    one, clock = lease(told=told), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for step in range(1000):
        clock[0] += 0.01
        one.progress(CurvePoint(step / 1000, 2.0, step))
    clock[0] += 1
    one.progress(CurvePoint(1.0, 2.0, 1000))
    assert len(told) <= 10 / worker.RECORD_SECONDS + 2
    assert [point[2] for record in told for point in record["points"]] == list(range(1001))


def test_what_was_damaged_on_its_way_is_not_taken() -> None:
    digest, content = worker.packed(SleepingKit())
    receive(digest, content)
    with pytest.raises(ValueError, match="damaged"):
        receive(digest, content[:-1] + b"x")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "name one place"),
        ({"dask": "tcp://a:1", "dask_local": 2}, "name one place"),
        ({"dask": "host"}, "no address"),
        ({"dask_local": -1}, "whole number"),
        ({"dask_local": 1.5}, "whole number"),
        ({"slurm": {"jobs": 0}}, "slurm.jobs"),
        ({"slurm": "gpu"}, "keys and values"),
        ({"dask_local": 2, "mixed": "yes"}, "neither"),
        ({"ray": "auto"}, "no key 'ray'"),
    ],
)
def test_a_place_for_slots_that_is_none_is_refused_in_one_line(given, why) -> None:
    with pytest.raises(ValueError, match=why) as error:
        read_cluster(given)
    assert "\n" not in str(error.value)


def test_a_place_for_slots_is_read_and_counted() -> None:
    assert read_cluster({"dask_local": 4}).workers == 4
    assert read_cluster({"slurm": {"jobs": 3, "gpus_per_job": 8, "queue": "gpu"}}).workers == 24
    assert read_cluster({"dask": "tcp://10.0.0.1:8786", "mixed": "allow"}).mixed == "allow"


def test_a_job_of_slurm_holds_a_worker_with_one_thread_for_each_gpu() -> None:
    jobs = pytest.importorskip("dask_jobqueue")
    given = {"queue": "gpu", "walltime": "04:00:00", "gpus_per_job": 2, "jobs": 3, "account": "lab"}
    given |= {"memory": "64GB", "interface": "lo", "job_extra_directives": ["--exclusive"]}
    given |= {"cores": 16}
    with jobs.SLURMCluster(**job_settings(given)) as one:
        lines, address = one.job_script().splitlines(), one.scheduler_address
    assert lines[0] == "#!/usr/bin/env bash"
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert directives == [
        "#SBATCH -J dask-worker",
        "#SBATCH -p gpu",
        "#SBATCH -A lab",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=16",
        "#SBATCH --mem=60G",
        "#SBATCH -t 04:00:00",
        "#SBATCH --gres=gpu:2",
        "#SBATCH --exclusive",
    ]
    command = lines[-1].split()
    assert command[1:4] == ["-m", "distributed.cli.dask_worker", address]
    said = dict(itertools.pairwise(command))
    assert (said["--nthreads"], said["--nworkers"], said["--resources"]) == ("1", "2", "GPU=1")


SBATCH = """#!/bin/sh
here=$(dirname "$0")
cp "$1" "$here/job.sh"  # as sbatch does: the script may be gone when it answers
setsid sh "$here/job.sh" > /dev/null 2>&1 &
echo "Submitted batch job $!"
echo "sbatch $!" >> "$here/calls"
"""
SCANCEL = """#!/bin/sh
echo "scancel $1" >> "$(dirname "$0")/calls"
kill -9 -- "-$1"
"""


def test_a_batch_system_starts_the_workers_and_is_told_when_they_are_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL, "squeue": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    slurm = {"queue": "any", "interface": "lo", "local_directory": str(tmp_path), "jobs": 1}
    connection = Connection(ClusterSettings(slurm=slurm))
    connection.open()
    driver = ClusterDriver(ClusterSlots(connection, SleepingKit))
    driver.submit(asleep(0.01, "by a job"))
    driver.until_ended(1)
    driver.slots.close()
    assert driver.ended()[0].status is Status.OK
    (job,) = {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()}
    driver.until(lambda: not Path(f"/proc/{job}").exists())
    assert (tmp_path / "calls").read_text() == f"sbatch {job}\nscancel {job}\n"
