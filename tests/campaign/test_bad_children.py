"""One real campaign whose model answers with every kind of bad child: each is a row with its reason."""

from __future__ import annotations

import itertools
import os

import pytest

from evo.folder import Folder
from population.reading import measurements, proposals
from population.types import Clock, Outcome, Purpose, Status
from tests.campaign.real import STANDIN, run_here, write_config
from tests.operators.fake_openai import FakeOpenAI

pytestmark = pytest.mark.sandbox

SOURCE = STANDIN.read_text()
LOOP = "while run.progress() < 1:\n    run.report(*model.learn(ROWS))\n"
assert LOOP in SOURCE


def whole(source: str) -> str:
    return f"IDEA: something new\n```python\n{source}\n```"


def loop(body: str) -> str:
    """The stand-in with something else done before its training."""
    return whole(SOURCE.replace(LOOP, f"{body}\n{LOOP}"))


NOT_CHILDREN = {
    "not an edit": ("I would lower the learning rate.", Outcome.FAILED),
    "does not apply": (
        "IDEA: x\n<<<<<<< SEARCH\nNOT THERE = 1\n=======\nNOT THERE = 2\n>>>>>>> REPLACE",
        Outcome.FAILED,
    ),
    "does not parse": (whole(SOURCE + "\ndef broken(:\n"), Outcome.FAILED),
    "no such import": (whole("import nosuchmodule\n" + SOURCE), Outcome.INVALID),
    "breaks the contract": (
        whole(SOURCE.replace("run.finish(model)", "# run.finish(model)")),
        Outcome.INVALID,
    ),
}
CHILDREN = {
    "NaN loss": (
        whole(SOURCE.replace("run.report(*", "run.report(float('nan'), *")),
        Status.CRASHED,
    ),
    "diverges": (
        whole(
            SOURCE.replace(LOOP, "while run.progress() < 1:\n    run.report(float('nan'), 64)\n")
        ),
        Status.DIVERGED,
    ),
    "memory": (
        loop("import time\nhog = [bytearray(1 << 26) for _ in range(8)]\ntime.sleep(1000)"),
        Status.OUT_OF_MEMORY,
    ),
    "hangs": (loop("import time\ntime.sleep(1000)"), Status.TIMED_OUT),
    "spins": (loop("while True:\n    pass"), Status.TIMED_OUT),
    "forks": (  # its children sleep: on a busy machine a bomb would use up its CPU seconds first
        loop("import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(1000)"),
        Status.CRASHED,
    ),
    "prints a gigabyte": (
        loop("for _ in range(1 << 14):\n    print('x' * (1 << 16))"),
        Status.CRASHED,
    ),
    "raises": (loop("raise ValueError('a \\x1b[31mred\\x1b[0m reason')"), Status.CRASHED),
}


@pytest.mark.soak
def test_every_kind_of_bad_child_ends_as_a_status_with_a_reason_and_the_campaign_goes_on(
    tmp_path, monkeypatch
):
    replies = [text for text, _ in (*NOT_CHILDREN.values(), *CHILDREN.values())]
    good = (whole(f"{SOURCE}\nNEW_{n} = 1\n") for n in itertools.count())
    asked = iter(replies)
    again = {"not an edit", "does not apply", "does not parse"}

    def script(request: object) -> str:
        # a reply that does not apply is asked for once more: answer it as badly again
        prompt = request.prompt  # type: ignore[attr-defined]
        for name in again:
            if NOT_CHILDREN[name][0] in prompt:
                return NOT_CHILDREN[name][0]
        return next(asked, None) or next(good)

    with FakeOpenAI(script) as server:  # type: ignore[arg-type]
        monkeypatch.setenv("STANDIN_KEY", "secret")
        monkeypatch.setattr("evo.config.GRACE_SECONDS", {Clock.CPU_SECONDS: 4.0})
        monkeypatch.setattr("evo.config.ANSWER_SECONDS", 45.0)  # a busy machine is slow to crash
        endpoint = {
            "name": "fake",
            "model": "fake",
            "base_url": server.base_url,
            "key_env": "STANDIN_KEY",
        }
        rung = {"depth": 1, "context": 64, "budget": 0.1, "rows": 64, "startup_seconds": 0.3}
        config = write_config(
            tmp_path,
            rungs={"proxy": rung | {"memory_mb": 300}},
            operators={"llm_mutate": 1},
            llm={"endpoints": [endpoint]},
            budget={"variants": len(CHILDREN) + 3},
        )
        ending = run_here(config, tmp_path / "c", queue=0)
    assert "variants" in ending.reason
    with Folder(tmp_path / "c").open_store() as store:
        made = proposals(store)
        screens = [
            row.measurement
            for row in measurements(store)
            if row.measurement.request.purpose is Purpose.SCREEN
        ]
    outcomes = [one.outcome for one in made if one.outcome is not Outcome.VARIANT]
    for _, expected in NOT_CHILDREN.values():
        outcomes.remove(expected)
    assert all(one.reason for one in made if one.outcome is not Outcome.VARIANT)
    statuses = [one.status for one in screens]
    said = [(one.status, one.reason) for one in screens]
    for name, (_, expected) in CHILDREN.items():
        assert expected in statuses, f"{name}: no {expected} in {said}"
        statuses.remove(expected)
    assert statuses.count(Status.OK) >= 3
    assert all(
        one.reason and "\x1b" not in one.reason for one in screens if one.status is not Status.OK
    )
    assert not [
        pid for pid in os.listdir("/proc") if pid.isdigit() and _runs_here(pid, str(tmp_path))
    ]


def _runs_here(pid: str, folder: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return folder.encode() in line.read()
    except OSError:
        return False
