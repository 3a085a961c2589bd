"""`evo ablate` on the stand-in trainer: real runs, killed and resumed, and the patch that comes out of it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from evo.config import read_config
from evo.folder import Folder, create_campaign
from population.fingerprint import fingerprint
from population.reading import measurements, seed, source_of
from population.store import Store
from population.types import Outcome, Parent, Proposal, Purpose, Variant, variant_id

from .driving import Evo, process, started

EDITS = (("MIX = 0.8 ", "MIX = 0.94 "), ("TEMPERATURE = 1.0 ", "TEMPERATURE = 1.3 "))


@pytest.fixture
def champion(quick: Path, tmp_path: Path) -> str:
    """A campaign in which nothing has run yet, with a line of two edits; the id of the last variant."""
    folder = create_campaign(read_config(quick), tmp_path / "campaigns" / "quick-1")
    return add_line(folder)


def add_line(folder: Folder) -> str:
    with folder.open_store() as store:
        parent = seed(store)
        assert parent is not None
        source = source_of(store, parent)
        for number, (old, new) in enumerate(EDITS, 2):
            assert source.count(old) == 1
            source = source.replace(old, new)
            made = Variant(variant_id(source), source, fingerprint(source))
            above = (Parent(parent, "parent"),)
            store.add_proposal(
                Proposal(number, "nudge", above, Outcome.VARIANT, "", made, f"the idea {number}")
            )
            parent = made.id
    return parent


def test_a_dry_run_says_how_many_runs_and_changes_nothing(evo: Evo, champion: str) -> None:
    told = evo("ablate", champion[:8], "--dry-run", columns=80)
    assert told.code == 0, told.err
    assert "the idea 2 (nudge)" in told.out and "2 edits, 24 runs" in " ".join(told.out.split())
    assert max(map(len, told.out.splitlines())) <= 80
    found = evo("ablate", champion[:8], "--dry-run", "--runs", "12", "--json").json()
    assert (found["runs"], found["least_runs"], len(found["edits"])) == (12, 12, 2)
    assert not Path("ablations").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed",), "differs from the seed in no edits"),
        (("last", "--runs", "5"), "--runs 5: 2 edits take 12 runs at least"),
    ],
)
def test_what_cannot_be_ablated_is_said_in_a_line(
    evo: Evo, champion: str, words: tuple[str, ...], said: str
) -> None:
    told = evo("ablate", *words)
    assert (told.code, told.err.count("\n")) == (2, 1) and said in told.err
    assert not Path("ablations").exists()


def test_a_minimal_patch_needs_an_ablation(evo: Evo, champion: str) -> None:
    told = evo("export", champion[:8], "--minimal", "--patch")
    assert told.code == 2 and f"`evo ablate {champion[:8]}` makes one" in told.err


def runs_of(folder: Path) -> list[tuple[str, int]]:
    if not (folder / "campaign.db").exists():
        return []
    with Store.open(folder / "campaign.db", read_only=True) as store:
        rows = [row.measurement.request for row in measurements(store)]
    assert {one.purpose for one in rows} <= {Purpose.ABLATE}
    return [(one.variant_id, one.block) for one in rows]


@pytest.mark.soak
def test_an_ablation_that_was_killed_goes_on_and_makes_no_run_twice(
    evo: Evo, champion: str, tmp_path: Path
) -> None:
    folder, words = tmp_path / "ablations" / "quick-1", ("ablate", champion[:8], "--runs", "12")
    with started(*words, cwd=tmp_path) as running:
        end = time.monotonic() + 250
        while len(runs_of(folder)) < 2:
            assert time.monotonic() < end and running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
        running.wait()
    before = runs_of(folder)
    with Store.open(tmp_path / "campaigns/quick-1/campaign.db", read_only=True) as store:
        assert not measurements(store), "the campaign is only read"
    said = process(*words, "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    after = runs_of(folder)
    assert after[: len(before)] == before
    assert max(Counter(after).values()) == 1 and len(after) <= 12
    found = json.loads(said.out)
    assert found["complete"] and len(found["effects"]) == 2
    assert found["effects"][1]["verdict"] in ("harmful", "earns", "barnacle")
    told = evo("ablate", champion[:8], columns=80)
    assert runs_of(folder) == after, "what is complete is only told again"
    assert max(map(len, told.out.splitlines())) <= 80 and "minimal patch" in told.out
    assert (
        evo("status", "--dir", "ablations/quick-1", "--json").json()["minimal"] == found["minimal"]
    )
    if len(found["minimal"]) in (0, 2):
        return  # too noisy a machine to leave one out: the patch is the seed or the champion
    assert evo("export", champion[:8], "--minimal", "-o", "least.py").code == 0
    least = Path("least.py").read_text()
    kept = [new in least for _, new in EDITS]
    assert kept == [edit in found["minimal"] for edit in (1, 2)]
    assert evo("export", champion[:8], "--minimal", "--patch", "-o", "a.patch").code == 0
    Path("train.py").write_text(Path("campaigns/quick-1/train.py").read_text())
    subprocess.run(["git", "apply", "--unsafe-paths", "a.patch"], check=True, timeout=60)
    assert Path("train.py").read_text() == least
