"""The boxes to test in: those that work here, by name, and none at all."""

from __future__ import annotations

import pytest

from evo.evaluation.sandbox.probe import probe

needs_bwrap = pytest.mark.skipif(bool(probe("bwrap").denied), reason=probe("bwrap").denied)
needs_landlock = pytest.mark.skipif(bool(probe("landlock").denied), reason=probe("landlock").denied)
RUNGS = [
    pytest.param("bwrap", marks=needs_bwrap),
    pytest.param("landlock", marks=needs_landlock),
]
every_box = pytest.mark.parametrize("rung", RUNGS)
every_rung = pytest.mark.parametrize("rung", [*RUNGS, "none"])
