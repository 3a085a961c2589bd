"""A campaign on four workers, of which everything is killed or stopped: no row is lost, and none is doubled."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from population.reading import measurements
from population.store import Store
from population.types import Measurement, Status
from tests.campaign.fakes import make_store
from tests.evaluation.clusters import ROOT, Processes
from tests.soaking import SoakBox

WORKERS = ("a", "b", "c", "d")
SECONDS = 1.0
HANG_SECONDS = 300.0
STOPPED_SECONDS = 30.0
CUT_SECONDS = 20.0


@dataclass
class FarCampaign:
    """One campaign, begun and resumed in processes of its own, on a cluster that is no part of it."""

    cluster: Processes
    variants: int
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        make_store(self.store)

    @property
    def store(self) -> Path:
        return self.cluster.folder / "campaign.db"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.cluster_campaign", str(self.store)]
        command += [self.cluster.address, str(self.variants), str(SECONDS)]
        with (self.cluster.folder / "coordinator.log").open("ab") as log:
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def rows(self) -> list[Measurement]:
        with Store.open(self.store) as store:
            return [row.measurement for row in measurements(store, statuses=list(Status))]

    def until_rows(self, many: int) -> None:
        self.until(lambda: len(self.rows()) >= many or self.is_over())

    def until(self, found: Callable[[], bool]) -> None:
        end = time.monotonic() + HANG_SECONDS
        while not found():
            assert time.monotonic() < end, self.log()
            time.sleep(0.2)

    def is_over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return (self.cluster.folder / "coordinator.log").read_text()[-3000:]

    def must_be_whole(self) -> None:
        """Each variant has its run, and no run has two rows that count."""
        assert "COMPLETE" in self.log(), self.log()
        rows = self.rows()
        done = Counter(row.request.key for row in rows if row.status is Status.OK)
        assert max(done.values()) == 1
        with Store.open(self.store) as store:
            known = {one for (one,) in store.query("SELECT id FROM variants")}
            under_way = store.query("SELECT count(*) FROM runs")[0][0]
        assert known == {key.variant_id for key in done} and not under_way
        assert len(known) == self.variants + 1


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Processes]:
    pytest.importorskip("distributed")
    processes = Processes(tmp_path)
    try:
        processes.scheduler()
        for name in WORKERS:
            processes.worker(name)
        yield processes
    finally:
        processes.close()
        assert not processes.left()


@pytest.mark.soak
def test_nothing_is_lost_or_doubled_when_workers_scheduler_and_coordinator_are_killed(
    cluster: Processes, box_of_time: SoakBox, tell: Callable[[str], None]
) -> None:
    rng, campaign = random.Random(5), FarCampaign(cluster, variants=60)
    campaign.start()
    done = Counter[str]()
    while not campaign.is_over() and done.total() < 20 and not box_of_time.is_over():
        campaign.until_rows(len(campaign.rows()) + rng.randint(1, 4))
        if campaign.is_over():
            break
        what = rng.choice(["worker", "worker", "scheduler", "coordinator"])
        done[what] += 1
        if what == "coordinator":
            campaign.kill()
            campaign.start()
        elif what == "worker":
            name = rng.choice(WORKERS)
            cluster.kill(name)
            cluster.worker(name)
        else:
            cluster.kill("scheduler")
            for (
                name
            ) in WORKERS:  # they end by themselves, too; one that had not joined yet waits on
                cluster.kill(name)
            cluster.scheduler()
            for name in WORKERS:
                cluster.worker(name)
    campaign.until(campaign.is_over)
    campaign.must_be_whole()
    lost = sum(row.status is Status.LOST for row in campaign.rows())
    tell(f"kills {dict(done)}: {len(campaign.rows())} rows, {lost} attempts lost, 0 results")


@pytest.mark.soak
def test_a_worker_that_stood_still_costs_one_attempt_and_no_result(cluster: Processes) -> None:
    campaign = FarCampaign(cluster, variants=40)
    campaign.start()
    campaign.until_rows(6)
    cluster.send("a", signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    cluster.send("a", signal.SIGCONT)
    campaign.until(campaign.is_over)
    campaign.must_be_whole()
    assert {row.status for row in campaign.rows()} <= {Status.OK, Status.LOST}


@dataclass
class Link:
    """A second network namespace, and the one cable to it, which has an end on each side."""

    name: str
    here: str = "10.213.77.1"

    @property
    def within(self) -> tuple[str, ...]:
        """The words before a command that is to run there."""
        return ("ip", "netns", "exec", self.name)

    def lay(self) -> None:
        near, far = f"{self.name}a", f"{self.name}b"
        ip("netns", "add", self.name)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        ip("addr", "add", f"{self.here}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", self.name, "addr", "add", "10.213.77.2/30", "dev", far)
        for one in (far, "lo"):
            ip("-n", self.name, "link", "set", one, "up")

    def cut(self) -> None:
        ip("link", "set", f"{self.name}a", "down")

    def mend(self) -> None:
        ip("link", "set", f"{self.name}a", "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True, timeout=30)


@pytest.fixture
def link() -> Iterator[Link]:
    if os.geteuid() != 0:
        pytest.skip("only root lays cables between network namespaces")
    if shutil.which("ip") is None:
        pytest.skip("no `ip` here (iproute2)")
    link = Link(f"evo{os.getpid()}")
    try:
        link.lay()
    except subprocess.CalledProcessError as error:
        link.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode(errors='replace').strip()}")
    yield link
    link.remove()


@pytest.mark.soak
def test_a_worker_whose_network_is_cut_loses_no_result_and_doubles_none(
    link: Link, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    pytest.importorskip("distributed")
    cluster = Processes(tmp_path, host=link.here)
    try:
        cluster.scheduler()
        cluster.worker("near")
        cluster.worker("far", within=link.within)
        campaign = FarCampaign(cluster, variants=30)
        campaign.start()
        campaign.until_rows(6)
        link.cut()
        before = len(campaign.rows())
        time.sleep(CUT_SECONDS)
        meanwhile = len(campaign.rows()) - before
        link.mend()
        campaign.until(campaign.is_over)
        campaign.must_be_whole()
        rows = campaign.rows()
        assert len({row.slot for row in rows}) == 2, "both had a share"
        assert {row.status for row in rows} <= {Status.OK, Status.LOST}
        lost = sum(row.status is Status.LOST for row in rows)
        tell(
            f"cut for {CUT_SECONDS:g} s: {meanwhile} rows meanwhile, {lost} attempts lost, 0 results"
        )
    finally:
        cluster.close()
    assert not cluster.left()


@pytest.mark.soak
def test_four_workers_share_a_campaign_and_how_busy_they_are_is_told(
    cluster: Processes, tell: Callable[[str], None]
) -> None:
    campaign = FarCampaign(cluster, variants=100)
    campaign.start()
    campaign.until(campaign.is_over)
    campaign.must_be_whole()
    runs = sorted(campaign.rows(), key=lambda row: row.started_at)[8:-8]  # without start and end
    span = runs[-1].started_at + runs[-1].wall_seconds - runs[0].started_at
    busy = sum(row.wall_seconds for row in runs) / (len(WORKERS) * span)
    tell(f"{busy:.1%} busy on {len(WORKERS)} workers with runs of {SECONDS:g} s")
    assert {row.slot for row in runs} == {row.slot for row in campaign.rows()}, (
        "all have their share"
    )
