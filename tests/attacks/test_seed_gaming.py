"""A variant that leaves the same weights whatever its block is rejected, by whichever process sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evo.evaluation.evaluator import WEIGHTS_DIGEST
from evo.evaluation.sandbox.sandbox import Sandbox
from evo.folder import Folder
from evo.runtime.recorder import add_judged
from population.reading import front, measurements
from population.types import Measurement, Purpose, Status, variant_id
from tests.attacks.table import ATTACKS
from tests.campaign.fakes import make_store
from tests.campaign.real import run_here, write_config
from tests.evaluation.conftest import Evaluate

pytestmark = pytest.mark.sandbox


def source_of(name: str) -> str:
    return next(attack for attack in ATTACKS if attack.name == name).source({})


SAME_WEIGHTS = source_of("prints_scores")  # its table is the same on every block
FIXED_SEED = source_of("fixes_its_seed")


def judged(path: Path, source: str, *found: Measurement) -> list[Measurement]:
    """What is recorded of these measurements, each by a process of its own."""
    open_store = make_store(path / "campaign.db", source)
    kept = []
    for one in found:
        with open_store() as store:
            kept.append(add_judged(store, one)[1])
    with open_store() as store:
        rows = [row.measurement.status for row in measurements(store)]
    assert rows == [one.status for one in kept]
    return kept


def test_equal_weights_on_two_blocks_are_rejected_also_after_a_resume(
    evaluate: Evaluate, box: Sandbox, tmp_path: Path
) -> None:
    found = [
        evaluate(SAME_WEIGHTS, box, block=block, purpose=Purpose.REMEASURE) for block in (0, 1)
    ]
    assert found[0].facts[WEIGHTS_DIGEST] == found[1].facts[WEIGHTS_DIGEST]
    first, second = judged(tmp_path, SAME_WEIGHTS, *found)
    assert first.status is Status.OK
    assert second.status is Status.REJECTED
    assert second.reason == "ignores the block: its final weights are those of block 0"
    assert not second.metrics and not second.documents


def test_a_fixed_seed_still_meets_other_documents_on_another_block(
    evaluate: Evaluate, box: Sandbox, tmp_path: Path
) -> None:
    found = [evaluate(FIXED_SEED, box, block=block, purpose=Purpose.REMEASURE) for block in (0, 1)]
    assert [one.status for one in judged(tmp_path, FIXED_SEED, *found)] == [Status.OK, Status.OK]
    assert found[0].facts[WEIGHTS_DIGEST] != found[1].facts[WEIGHTS_DIGEST]


def test_a_campaign_does_not_build_on_a_seed_that_ignores_its_block(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SAME_WEIGHTS)
    config = write_config(tmp_path, train=str(tmp_path / "train.py"))
    run_here(config, tmp_path / "c")
    with Folder(tmp_path / "c").open_store() as store:
        rows = [row.measurement for row in measurements(store)]
        assert set(front(store, "proxy")) <= {variant_id(SAME_WEIGHTS)}
    assert [one.status for one in rows] == [Status.OK, Status.REJECTED]
    assert "ignores the block" in rows[1].reason
