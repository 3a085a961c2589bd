"""Every attack ends as its first lines say, scores nothing it did not earn, and leaves nothing behind."""

from __future__ import annotations

import base64
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from evo.evaluation import evaluator
from evo.evaluation.audit import Exam, Server, ask_first
from evo.evaluation.data import Dataset, Floats, Tokens
from evo.evaluation.evaluator import WAITED
from evo.evaluation.sandbox import sandbox as sandbox_parts
from evo.evaluation.sandbox.sandbox import Sandbox
from population.types import Measurement, Purpose, Status
from tests.attacks.conftest import MARK, SECRET
from tests.attacks.table import ATTACKS, FOLDER, HONEST, Attack
from tests.evaluation.conftest import RUNG, Evaluate, FakeWatch

pytestmark = pytest.mark.sandbox
NOT_HELD = {"files", "metadata"}  # facts of a box that looks or marks are open in
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def honest_score(dataset: Dataset, rows: int) -> float:
    """The bits per byte of the fixed table that most attacks wrap, computed here."""
    a, b = np.arange(256)[:, None], np.arange(256)[None, :]
    text = np.where((b >= 97) & (b < 123), 3.0, np.where(b == 32, 4.0, 0.0))
    logits = (text + np.sin(a * 0.37 + b * 1.91)).astype(np.float32).astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    hidden = dataset.hidden("val", RUNG.context, rows).tokens
    return float(-logp[hidden[:, :-1], hidden[:, 1:]].mean() / math.log(2))


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, id=attack.name, marks=[pytest.mark.soak] if attack.slow else [])
        for attack in ATTACKS
    ],
)
def test_the_attack_ends_as_it_must(
    attack: Attack, evaluate: Evaluate, box: Sandbox, dataset: Dataset, targets: Mapping[str, str]
) -> None:
    if attack.open_in == box.name:  # where it is noted when a file was read, the next read is
        os.utime(np.__file__, (0, os.stat(np.__file__).st_mtime))
    seen = evaluate(
        attack.source(targets),
        box,
        fresh_roles=attack.fresh_roles,
        purpose=Purpose.FINAL if attack.final else Purpose.SCREEN,
        compiled_ahead=attack.compiled_ahead,
        **attack.rung,
    )
    if attack.open_in == box.name:  # run all the same: the row says so, and the page names it
        assert "GOT THROUGH" in seen.log_tail, f"closed in {box.name} by now: {seen.status}"
        assert NOT_HELD & {key for key, fact in seen.facts.items() if fact.startswith("none")}
        pytest.xfail(f"open in {box.name}, as docs/security.md says")
    assert "GOT THROUGH" not in seen.reason + seen.log_tail
    assert not list(Path(targets["REPOSITORY"]).glob(f"{MARK}*")), "written on the host"
    honest = honest_score(dataset, int(attack.rung.get("rows", RUNG.rows)))
    ends = attack.ends_in_landlock if box.name == "landlock" else attack.ends
    assert ending(seen, honest) in ends or seen.status.value in ends, (
        seen.status,
        seen.reason,
        seen.log_tail[-500:],
    )
    assert attack.because in seen.reason
    assert bool(seen.metrics) == bool(seen.documents) == (seen.status is Status.OK)
    assert attack.parameters in (None, seen.metrics.get("parameters"))
    if attack.name in IDLE:
        assert waited_in_vain(seen) <= 0.1, "a wait while it stood still"
    assert not UNSEEN.search(seen.reason + seen.log_tail) and len(seen.reason) < 500
    assert SECRET not in seen.reason + seen.log_tail


def ending(seen: Measurement, honest: float) -> str:
    """How a run ended, in the words of an attack's head."""
    if seen.status is Status.OK and seen.metrics["val_bpb"] == pytest.approx(honest, rel=1e-5):
        return HONEST
    return seen.status.value


IDLE = ("sleeps_to_look_crowded", "naps_to_look_crowded", "stops_to_look_crowded")


def waited_in_vain(seen: Measurement) -> float:
    """Seconds that a run which stands still is said to have waited for the machine, beyond its idle time."""
    assert seen.train_wall_seconds >= 1.5
    return float(seen.facts[WAITED]) - (seen.wall_seconds - 1.5)


FETCHES = """
import mmap, socket

def pread(fd):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(fd, 1, 8192)

def fault(fd):
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as pages:
        sum(pages[at] for at in range(0, len(pages), 4096))

def send(fd):
    one, other = socket.socketpair()
    os.sendfile(one.fileno(), fd, 8192, 4096)

class Model(Table):
    asked = 0

    def answer(self, tokens):
        self.asked += 1
        if not SERVES and self.asked > 2:
            for path in run.spec["data"]:
                fd = os.open(path, os.O_RDONLY)
                FETCH(fd)
                os.close(fd)
        return self.table[tokens]


train(Model())
"""


@pytest.mark.parametrize("way", ["pread", "fault", "send"])
def test_a_server_that_fetches_files_while_it_knows_hidden_text_wins_no_other_run(
    evaluate: Evaluate, box: Sandbox, dataset: Dataset, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_parts, "MAX_TEXT_MB", 0)  # a large text stays on the host's disk
    for piece in dataset.pieces(0):
        with piece.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    asked: list[list[bytes]] = []

    def ask(server: Server, exam: Exam, rng: np.random.Generator) -> tuple[Floats, ...]:
        asked.append([])
        costs = server.costs

        def noted(inputs: Tokens, *more: Tokens) -> Floats:
            asked[-1].append(inputs.tobytes())
            return costs(inputs, *more)

        monkeypatch.setattr(server, "costs", noted)
        return ask_first(server, exam, rng)

    monkeypatch.setattr(evaluator, "ask_first", ask)
    watch = FakeWatch()
    source = (FOLDER / "_table.py").read_text() + FETCHES.replace("FETCH(", f"{way}(")
    seen = evaluate(source, box, watch=watch, tries=1)
    assert ending(seen, honest_score(dataset, RUNG.rows)) == HONEST, seen.reason
    assert "from disk" in seen.facts["scorings"]
    assert len(watch.processes) == 3, "trained and asked, then two servers of the same weights"
    assert asked[0] and asked[0] == asked[1], "another order was worth the try"


LEAKED = """
import base64, zlib

TEXT = np.frombuffer(zlib.decompress(base64.b85decode("".join(PIECES))), dtype=np.uint8)


def by_grams(row, at):
    return KNOWN.get(row[at - 3 : at + 1].tobytes()) if at >= 3 else None


def by_start(row, at):
    start = STARTS.get(row[:4].tobytes())
    return TEXT[start + at + 1] if start is not None and at >= 4 else None


def mildly(row, at):
    return by_grams(row, at)


class Model(Table):
    def answer(self, tokens):
        logits = self.table[tokens].copy()
        for out, row in zip(logits, tokens.astype(np.uint8)):
            for at in range(len(row)):
                known = WAY(row, at)
                if known is not None:
                    out[at, known] += BONUS
        return logits


WIDTH = run.context + 1
STARTS = {TEXT[i : i + 4].tobytes(): i for i in range(0, len(TEXT), WIDTH)}
KNOWN = {TEXT[i : i + 4].tobytes(): TEXT[i + 4] for i in range(len(TEXT) - 4)}
train(Model())
"""


@pytest.mark.parametrize(("way", "bonus"), [("by_grams", 9), ("by_start", 9), ("mildly", 4)])
def test_hidden_text_that_earlier_runs_leaked_shows_at_rows_they_were_not_asked(
    evaluate: Evaluate, box: Sandbox, dataset: Dataset, way: str, bonus: int
) -> None:
    asked = dataset.hidden("val", RUNG.context, RUNG.rows).tokens.astype(np.uint8).tobytes()
    packed = base64.b85encode(zlib.compress(asked, 9)).decode()
    pieces = [packed[at : at + 4000] for at in range(0, len(packed), 4000)]
    leak = LEAKED.replace("WAY(", f"{way}(").replace("BONUS", str(bonus))
    source = (FOLDER / "_table.py").read_text() + f"PIECES = {pieces!r}\n" + leak
    seen = evaluate(source, box)
    assert seen.status is Status.CHEATED, seen.metrics
    assert "rows that runs are always asked" in seen.reason


def test_there_are_attacks_of_every_kind() -> None:
    assert len(ATTACKS) >= 40
    ends = {end for attack in ATTACKS for end in attack.ends}
    assert ends == {
        HONEST,
        "ok",
        "cheated",
        "rejected",
        "timed_out",
        "crashed",
        "diverged",
        "out_of_memory",
        "lost",
    }


def test_the_page_on_security_counts_the_attacks_as_they_are() -> None:
    page = (FOLDER.parents[2] / "docs" / "security.md").read_text()
    told = page.partition("## The attack suite")[2].partition("\n## ")[0]
    assert f"holds {len(ATTACKS)} real" in told
    rows = dict(re.findall(r"^\| (.+) \| (\d+) \|$", told, flags=re.M))
    ends = Counter(one.ends[0] if len(one.ends) == 1 else "one of several" for one in ATTACKS)
    assert {end: int(rows.pop(end)) for end in ends} == ends
    targets = Counter(one.attacks.partition(",")[0] for one in ATTACKS)
    for named, count in rows.items():
        assert int(count) == sum(targets.pop(target) for target in named.split(", ")), named
    assert not targets, "attacked by files that the page does not count"
    named = {one.name for one in ATTACKS if one.open_in == "landlock"}
    assert (
        set(re.findall(r"`(\w+)`", told.partition("come through: ")[2].partition(".")[0])) == named
    )
