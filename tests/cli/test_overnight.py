"""A campaign that is left alone: its terminal closes, or it was started not to mind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from evo.cli.follow import Frames
from population.reading import measurements
from population.store import Store, StoreError
from tests.campaign.fakes import make_campaign, make_store

from .driving import MAIN, Evo


def wait_for_a_run(folder: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        try:
            with Store.open(folder / "campaign.db", read_only=True) as store:
                if measurements(store):
                    return
        except StoreError:
            pass
        meanwhile()
        time.sleep(0.2)
    pytest.fail("nothing was measured")


@pytest.mark.parametrize("nohup", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_closed_terminal_stops_a_campaign_cleanly_unless_it_was_told_not_to_mind(
    evo: Evo, quick: Path, tmp_path: Path, nohup: bool
) -> None:
    folder = tmp_path / "campaigns" / "quick-1"
    variants = 2 if nohup else 500
    command = ("run", str(quick), "--set", f"budget.variants={variants}", "--set", "slots=1")
    ignore = (lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if nohup else None
    with (tmp_path / "night.log").open("w") as log:
        running = subprocess.Popen(
            [sys.executable, "-c", MAIN, *command], stdout=log, stderr=log, preexec_fn=ignore
        )
        try:
            wait_for_a_run(folder)
            running.send_signal(signal.SIGHUP)
            running.wait(240)
        finally:
            running.kill()
            running.wait()
    told = evo("log", "-n", "1").out
    assert ("budget spent" in told) is nohup, told
    assert ("stopped" in told) is not nohup, told
    assert evo("status", "--json").json()["running"] is None


def test_a_terminal_that_closes_on_the_live_view_leaves_a_summary_and_its_own_exit_code(
    quick: Path, tmp_path: Path
) -> None:
    folder, shown = tmp_path / "campaigns" / "quick-1", bytearray()
    endless = ("--set", "budget.variants=500", "--set", "slots=1")
    ours, its = os.openpty()
    os.set_blocking(ours, False)

    def look() -> None:
        with suppress(BlockingIOError):
            shown.extend(os.read(ours, 1 << 16))

    running = subprocess.Popen(
        [sys.executable, "-c", MAIN, "run", quick, *endless],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm"},
        preexec_fn=lambda: os.login_tty(its),
    )
    try:
        os.close(its)
        wait_for_a_run(folder, look)
        os.close(ours)
        code = running.wait(240)
    finally:
        running.kill()
        running.wait()
    assert b"\x1b[?25l" in shown, "the live view was not up"
    assert code == 128 + signal.SIGHUP
    assert "stopped" in (folder / "SUMMARY.md").read_text()


def test_the_bar_of_variants_counts_children_that_were_measured(tmp_path: Path) -> None:
    open_store = make_store(tmp_path / "campaign.db")
    campaign = make_campaign(open_store)
    frames = Frames(campaign, "night")
    campaign.components.budget.add_variant()
    (limit,) = frames.frame().limits
    assert (limit.used, limit.text) == (0, "0 of 10 measured, 1 proposed")
    campaign.run()
    (limit,) = Frames(campaign, "night").frame().limits
    assert (limit.used, limit.text) == (9, "9 of 10 measured, 10 proposed")
