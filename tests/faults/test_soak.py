"""A campaign of two thousand variants costs as much a measurement at its end as at its beginning.

The soak runs every part for real, sandbox included, with the cheapest train.py there can be, so that what
is measured is the campaign. The short version in `make test` has an evaluator that does not even sleep, and
looks at memory and files alone: what time is spent on a busy machine says nothing of ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from evo.assembly.campaign import build_campaign
from evo.config import read_config
from evo.folder import Folder, config_of, create_campaign, locked
from evo.runtime import proposal_lane
from evo.runtime.budget import BudgetSettings
from evo.runtime.campaign import Campaign
from evo.runtime.components import LoopSettings
from evo.runtime.monitor import Notice
from population.reading import counts_by_status
from population.types import Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store
from tests.campaign.real import STANDIN, leftovers, write_config

CHEAPEST = STANDIN.parent / "cheapest.py"
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """The coordinator as a measurement was recorded."""

    wall: float
    cpu: float
    rss_mb: float
    files: int


def sampled(campaign: Campaign, is_over: Callable[[], bool] = lambda: False) -> list[Sample]:
    """Run it to its end, or until `is_over`; one sample a measurement."""
    samples: list[Sample] = []

    def sample() -> Sample:
        with open("/proc/self/statm") as statm:
            rss = int(statm.read().split()[1]) * PAGE / 2**20
        files = len(os.listdir("/proc/self/fd"))
        return Sample(time.monotonic(), time.process_time(), rss, files)

    def hear(event: Notice) -> None:
        if event.kind == "measured":
            samples.append(sample())
            if is_over():
                campaign.stop()

    campaign.components.board.listeners.append(hear)
    campaign.run()
    return samples


def growth(samples: list[Sample], clock: str, window: int) -> float:
    """Seconds of the last `window` measurements over those of the window after the first one."""

    def seconds(part: list[Sample]) -> float:
        return float(getattr(part[-1], clock) - getattr(part[0], clock))

    return seconds(samples[-window:]) / seconds(samples[window : 2 * window])


def test_two_hundred_variants_keep_hold_of_no_memory_and_no_files(tmp_path, monkeypatch):
    # few threads, all of them at work early: each opens the store for itself and keeps pages of it
    monkeypatch.setattr(proposal_lane, "MAX_IN_FLIGHT", 4)
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(
        open_store, evaluator=FakeEvaluator(), budget=BudgetSettings(variants=200)
    )
    samples = sampled(campaign)
    assert len(samples) > 200
    assert samples[-1].rss_mb - samples[60].rss_mb < 8
    assert samples[-1].files - samples[60].files <= 4


@pytest.mark.soak
@pytest.mark.sandbox
@pytest.mark.timeout(3600)
def test_two_thousand_variants_grow_neither_memory_nor_files_nor_time(tmp_path, box_of_time, tell):
    rung = {"depth": 1, "context": 64, "budget": 20_000, "rows": 16, "memory_mb": 1024}
    config = write_config(
        tmp_path,
        train=str(CHEAPEST),
        clock="tokens",
        certification={},
        rungs={"proxy": rung},
        budget={"variants": 2000},
    )
    folder = create_campaign(read_config(config), tmp_path / "c")
    with locked(folder):
        chosen = config_of(folder)
        samples = sampled(build_campaign(folder, chosen, LoopSettings()), box_of_time.is_over)
    with Folder(tmp_path / "c").open_store() as store:
        counts = counts_by_status(store)
    assert set(counts) <= {Status.OK, Status.LOST}, counts
    assert not leftovers(str(tmp_path))
    if len(samples) < 600:
        pytest.skip(f"{len(samples)} measurements in its time, too few to tell growth")
    grown = samples[-1].rss_mb - samples[200].rss_mb
    files = max(one.files for one in samples[-200:]) - max(one.files for one in samples[200:400])
    wall, cpu = growth(samples, "wall", 200), growth(samples, "cpu", 200)
    megabytes = (tmp_path / "c" / "campaign.db").stat().st_size / 2**20
    tell(
        f"{len(samples)} measurements in {samples[-1].wall - samples[0].wall:.0f} s: "
        f"memory {samples[200].rss_mb:.0f} MB {grown:+.1f} MB, open files {files:+}, time a measurement "
        f"x {wall:.2f} (coordinator's CPU x {cpu:.2f}), store {megabytes:.0f} MB"
    )
    assert grown < 20 and files <= 4
    assert wall < 1.3
