"""What the slots were used for."""

from __future__ import annotations

import pytest

from evo.analysis.campaign_view import Record
from evo.analysis.health import duties
from population.types import Purpose

from .built import Built


def test_slot_time_is_shared_out_over_what_the_runs_were_for(tmp_path):
    built = Built(tmp_path)
    built.runs(built.seed, [2.5, 2.5], Purpose.CALIBRATE)
    child = built.child("LR = 1\n", built.seed)
    built.run(child, 2.4)
    built.run(child, 2.4, 1, Purpose.REMEASURE)
    found = duties(row.measurement for row in Record.of(built.store).attempts)
    assert [(one.purpose, one.runs) for one in found] == [
        ("screen", 1),
        ("remeasure", 1),
        ("calibrate", 2),
    ]
    assert [one.share for one in found] == pytest.approx([0.25, 0.25, 0.5])
