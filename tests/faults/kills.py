"""A real campaign that is killed again and again, and what must hold after every kill."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from evo.folder import DATABASE, Folder, config_of
from population.ladder import KINDS, Ladder
from population.lineage import Lineage
from population.reading import decisions, front, measurement, measurements, proposals, seed
from population.run_history import RunHistory
from population.store import Store, StoreError
from population.types import MeasurementRow, Purpose, Status
from tests.campaign.real import leftovers, lone_edits, start_evo, write_config
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow

KEY = "sk-standin-0123456789abcdef"
GONE_SECONDS = 100.0
MOMENT_SECONDS = 250.0
MAX_LIFE_SECONDS = 3.0
BEHIND = 4  # the front may be behind the rows by what two slots recorded within one write


class KilledCampaign:
    """Starts, kills and resumes one campaign in `home`; `kills` counts the rounds."""

    def __init__(
        self,
        home: Path,
        rng: random.Random,
        server: FakeOpenAI,
        task: Mapping[str, Any] | None = None,
    ) -> None:
        """`task`: the keys of a campaign file for another task than a sealed train.py; asks no model."""
        self.home, self.folder, self.server, self._rng = home, Folder(home / "c"), server, rng
        self.kills = Counter[str]()
        self._rows: dict[int, MeasurementRow] = {}
        self._born: dict[int, str | None] = {}
        self._variants = 8 if task is None else 4
        self._longest = MAX_LIFE_SECONDS
        self._has_documents = task is None or task["task"]["kind"] == "autoresearch"
        if task is not None:
            few = {"seed_blocks": 2, "seed_repeats": 0, "final_blocks": 0}
            changes = {"operators": {"nudge": 1}, "policy": few, "certification": {"attempts": 0}}
            values = {**task, **changes, "budget": {"variants": self._variants}}
            (home / "campaign.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
            return
        endpoint = {"name": "local", "model": "fake", "base_url": server.base_url}
        write_config(
            home,
            budget={"variants": self._variants},
            certification={},
            operators={"nudge": 1, "merge": 1, "llm_mutate": 2},
            llm={"endpoints": [endpoint | {"key_env": "STANDIN_KEY"}]},
        )

    def round(self) -> None:
        """Let it live for a random while, every second time until a model is asked; kill; check."""
        process, before = self._start(), len(self._rows)
        in_call, calls = self._rng.random() < 0.5, self._rng.randint(1, 6)
        asked = len(self.server.requests) + calls
        end = time.monotonic() + self._longest * (2.0 if in_call else self._rng.uniform(0.05, 1.0))
        while time.monotonic() < end and process.poll() is None:
            if in_call and len(self.server.requests) >= asked:
                time.sleep(self._rng.uniform(0.0, 0.4))  # an answer takes 0.4 s
                break
            time.sleep(0.01)
        self._kill(process)
        self.check()
        if len(self._rows) == before:  # a machine so busy that a life ends before it begins
            self._longest = min(self._longest * 1.2, 20.0)

    def round_at(self, moment: Callable[[], bool]) -> None:
        """Let it live until this moment; kill; check."""
        process = self._start()
        end = time.monotonic() + MOMENT_SECONDS
        while not moment():
            assert process.poll() is None, (self.home / "evo.log").read_text()
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.01)
        self._kill(process)
        self.check()

    def in_a_run(self) -> bool:
        """Whether something is measured already and something else is being measured."""
        try:
            with self.folder.open_store() as store:
                return bool(measurements(store)) and bool(store.query("SELECT 1 FROM runs"))
        except StoreError:  # there is none yet
            return False

    def finish(self) -> None:
        """Let it run to its end."""
        for _ in range(5):
            process = self._start()
            assert process.wait(timeout=280) == 0, (self.home / "evo.log").read_text()
            with self.folder.open_store() as store:
                if self._screens(store) >= self._variants:
                    break
        self.check(at_the_end=True)

    def _start(self) -> subprocess.Popen[bytes]:
        words = ["run", "campaign.yaml"]
        if self.folder.database.exists():
            with self.folder.open_store() as store:
                if self._screens(store) >= self._variants:  # it reached its end: more to do
                    self._variants += 6
            # said each time: a kill can come before it is written
            words = ["resume", "--set", f"budget.variants={self._variants}"]
        env = {"STANDIN_KEY": KEY}
        return start_evo(*words, "--dir", "c", "--plain", cwd=self.home, env=env)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        try:
            coordinator = psutil.Process(process.pid)
            tree = [coordinator, *coordinator.children(recursive=True)]
        except psutil.NoSuchProcess:
            tree = []
        ended_itself = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not ended_itself or process.returncode == 0, (self.home / "evo.log").read_text()
        self.kills["none" if ended_itself else "kill"] += 1
        self.kills["in a run"] += len(tree) > 1
        deadline = time.monotonic() + GONE_SECONDS
        while (left := [one for one in tree if _runs(one)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, left

    # -- what must hold ------------------------------------------------------------------------------

    def check(self, at_the_end: bool = False) -> None:
        """Nothing lost, nothing twice, nobody left, and the front is that of the rows."""
        deadline = time.monotonic() + GONE_SECONDS
        while leftovers(str(self.home)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not leftovers(str(self.home))
        if not self.folder.database.exists():
            return
        with self.folder.open_store() as store:
            self._check_rows(store)
            self._check_lineage(store)
            self._check_calls(store, at_the_end)
            self._check_front(store, 0 if at_the_end else BEHIND)
            if at_the_end:
                assert not store.query("SELECT * FROM runs")
                assert self._screens(store) == self._variants, self._told(store)
        self._check_no_key()

    def _check_rows(self, store: Store) -> None:
        every = {row.id: row for row in measurements(store, statuses=list(Status))}
        for id, row in self._rows.items():
            assert every.get(id) == row, f"measurement {id} was lost or changed"
        for id in every.keys() - self._rows.keys():
            whole = measurement(store, id).measurement
            assert whole.status is not Status.OK or whole.metrics
            assert whole.status is not Status.OK or bool(whole.documents) == self._has_documents
        self._rows = every
        keys = Counter(
            (one.request.variant_id, one.request.rung, one.request.block, one.request.repeat)
            for one in (row.measurement for row in every.values())
            if one.status is not Status.LOST
        )
        assert all(count == 1 for count in keys.values()), keys

    def _check_lineage(self, store: Store) -> None:
        made = {one.number: one.variant_id for one in proposals(store)}
        assert self._born.items() <= made.items()
        self._born = made
        assert not store.query(
            "SELECT variant_id FROM measurements WHERE variant_id NOT IN (SELECT id FROM variants)"
        )

    def _check_calls(self, store: Store, at_the_end: bool) -> None:
        """Every request that the server got is on record, also the one in flight at the kill."""
        prompts = Counter(row[0] for row in store.query("SELECT prompt FROM llm_calls"))
        got = Counter(
            "\n\n".join(f"## {one['role']}\n\n{one['content']}" for one in asked.body["messages"])
            for asked in self.server.requests
        )
        assert not got - prompts
        asked = store.query("SELECT count(*) FROM llm_calls WHERE outcome = 'asked'")[0][0]
        self.kills["in a call"] += bool(asked)
        assert not (at_the_end and asked)

    def _check_front(self, store: Store, behind: int) -> None:
        """The stored front is the one recomputed from the rows up to one of the last."""
        rows = measurements(store)
        config, seed_id = config_of(self.folder), seed(store)
        assert seed_id is not None
        fronts, family = [], Lineage.of(store)
        vetoed = Ladder.of(decisions(store, KINDS)).vetoed  # also what only the script's word says
        for cut in range(behind + 1):
            history = RunHistory(config.objectives, seed_id, config.constraints, family)
            for row in rows[: len(rows) - cut]:
                history.add(row)
            if behind:  # a veto comes after the row that it is about
                fronts.append(history.front("proxy"))
            history.veto(vetoed)
            fronts.append(history.front("proxy"))
        assert list(front(store, "proxy")) in fronts

    def _check_no_key(self) -> None:
        for path in self.home.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path

    def _told(self, store: Store) -> str:
        """What a reader of a failure wants to know."""
        odd = [
            (row.id, row.measurement.status.value, row.measurement.reason)
            for row in measurements(store, statuses=list(Status))
            if row.measurement.status is not Status.OK
        ]
        log = (self.home / "evo.log").read_text()[-3000:]
        return f"{self._screens(store)} screens of {self._variants}, not ok: {odd}\n{log}"

    @staticmethod
    def _screens(store: Store) -> int:
        rows = measurements(store)
        return sum(row.measurement.request.purpose is Purpose.SCREEN for row in rows)


def _runs(process: psutil.Process) -> bool:
    """Whether it does anything still: who is dead and not yet waited for by init does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_in_a_run_and_in_a_call(home: Path) -> Counter[str]:
    """One campaign killed while a run is under way, then while a model is asked, and run to its end."""
    edits, answers = lone_edits(delay=0.0), threading.Event()

    def script(asked: RequestRow) -> Answer:
        answers.wait(MOMENT_SECONDS)
        return edits(asked)

    answers.set()
    with FakeOpenAI(script) as server:
        campaign = KilledCampaign(home, random.Random(1), server)
        campaign.round_at(campaign.in_a_run)
        answers.clear()
        campaign.round_at(lambda asked=len(server.requests): len(server.requests) > asked)
        answers.set()
        campaign.finish()
    return campaign.kills


def kill_in_runs_of(home: Path, task: Mapping[str, Any], times: int) -> Counter[str]:
    """A campaign of a task killed so often while a run is under way, and run to its end."""
    with FakeOpenAI(lone_edits()) as server:
        campaign = KilledCampaign(home, random.Random(1), server, task)
        for _ in range(times):
            campaign.round_at(campaign.in_a_run)
        campaign.finish()
    return campaign.kills


def kill_again_and_again(
    home: Path, rounds: int, seed_number: int, is_over: Callable[[], bool] = lambda: False
) -> Counter[str]:
    """One campaign killed so often, or until `is_over`, then run to its end; how often what was hit."""
    with FakeOpenAI(lone_edits(delay=0.4)) as server:
        campaign = KilledCampaign(home, random.Random(seed_number), server)
        while campaign.kills["kill"] < rounds and not is_over():
            campaign.round()
        campaign.finish()
    assert (home / "c" / DATABASE).exists()
    return campaign.kills
