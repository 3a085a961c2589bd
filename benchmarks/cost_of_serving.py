"""What `evo serve` costs beside a campaign that runs: its CPU seconds with one viewer against the campaign's.

    python benchmarks/cost_of_serving.py campaigns/NAME --seconds 300

The viewer does what the page does: it listens to the events, and fetches text and figures anew when told to.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil

from evo.campaigns import DATABASE, running_process
from population.reading import measurements
from population.store import Store
from population.types import Status

FIGURES = ("progress", "family")  # those in sight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    asked = parser.parse_args()
    number = running_process(asked.folder)
    if number is None:
        sys.exit(f"{asked.folder}: no campaign runs there")
    command = [sys.executable, "-c", "from evo.cli import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, str(asked.folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as serving:
        assert serving.stdout is not None
        base = serving.stdout.readline().decode().split()[0]
        key = httpx.get(base).text.split('href="/campaign/')[1].split('"')[0]
        threading.Thread(target=view, args=(f"{base}campaign/{key}",), daemon=True).start()
        time.sleep(10)  # opening the page is done once
        server, campaign = psutil.Process(serving.pid), psutil.Process(number)
        began, ours, own = time.monotonic(), spent(server), spent(campaign)
        runs = spent_by_runs(asked.folder)
        while time.monotonic() - began < asked.seconds and campaign.is_running():
            mine, theirs = spent(server) - ours, spent(campaign) - own
            seconds = time.monotonic() - began
            time.sleep(1)
        whole = theirs + spent_by_runs(asked.folder) - runs
        serving.terminate()
    print(
        f"in {seconds:.0f} s: evo serve {mine:.2f} CPU s ({1000 * mine / seconds:.1f} ms a second), "
        f"the campaign {whole:.1f} CPU s ({whole / seconds:.2f} cores): {100 * mine / whole:.2f} %"
    )


def view(page: str) -> None:
    """A page that is looked at, until the server ends."""
    try:
        httpx.get(page, timeout=60)
        for name in FIGURES:
            httpx.get(f"{page}figure/{name}", timeout=60)
        with httpx.stream("GET", f"{page}events", timeout=None) as events:
            for line in events.iter_lines():
                if line == "event: page":
                    for path in ("parts", *(f"figure/{name}" for name in FIGURES)):
                        httpx.get(f"{page}{path}", timeout=60)
    except httpx.HTTPError:
        return


def spent(process: psutil.Process) -> float:
    """CPU seconds of a process and of its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def spent_by_runs(folder: Path) -> float:
    """CPU seconds of all runs that are recorded: their processes are no children of the campaign's."""
    with Store.open(folder / DATABASE, read_only=True) as store:
        return sum(
            one.measurement.cpu_seconds for one in measurements(store, statuses=list(Status))
        )


if __name__ == "__main__":
    main()
