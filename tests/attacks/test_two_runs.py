"""What one run leaves in the kernel is not found by the next: two evaluations in a row, of another block."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings
from population.types import Status
from tests.attacks.table import FOLDER
from tests.evaluation.boxes import needs_bwrap, needs_landlock
from tests.evaluation.conftest import Evaluate

pytestmark = pytest.mark.sandbox

# 64 bits as handfuls of names: the first run looks up those of ones in vain, the second takes the time of all.
NAMES = """
import numpy as np

WORD, BITS, FIRST_RUN = b"WORD", 0xB5A3_90C4_1F0E_7D26, FIRST
packages = os.path.dirname(os.path.dirname(np.__file__))
folders = [packages, "/usr/lib", "/usr/include", "/code", sys.prefix, "/data"]
seen = {}
for folder in filter(os.path.isdir, folders):
    found = 0
    for bit in range(64):
        names = [name(folder, WORD, bit, copy) for copy in range(COPIES)]
        if FIRST_RUN:
            for path in names if BITS >> bit & 1 else ():
                took(os.stat, path)
        else:
            found |= known(os.stat, folder, names) << bit
    seen[folder] = 64 - bin(found ^ BITS).count("1")
print("right:", max(seen.values()), min(seen.values()))
"""


def run(first: bool, word: str, evaluate: Evaluate, box: Sandbox) -> str:
    source = (FOLDER / "_table.py").read_text() + (FOLDER / "_missing_names.py").read_text()
    source += NAMES.replace('b"WORD"', repr(word.encode())).replace("FIRST\n", f"{first}\n", 1)
    seen = evaluate(source + "\ntrain(Table())\n", box, block=0 if first else 1)
    assert seen.status is Status.OK, (seen.reason, seen.log_tail)
    return seen.log_tail


@pytest.mark.parametrize(
    "rung",
    [
        pytest.param("bwrap", marks=needs_bwrap),
        pytest.param("landlock", marks=[needs_landlock, pytest.mark.soak]),
    ],
)
def test_names_that_one_run_looked_up_in_vain_are_new_to_the_next(
    evaluate: Evaluate, rung: str, tmp_path: Path
) -> None:
    box = open_sandbox(SandboxSettings.model_validate({"mode": rung}))
    word = f"{tmp_path}-{time.time_ns()}"
    run(True, word, evaluate, box)
    said = run(False, word, evaluate, box).split("right:")[1].split()
    # By chance 32 of 64 are right, and none is told: "new" everywhere gives the number of zeros.
    right = max(map(int, said))
    if rung == "landlock" and right >= 52:
        assert box.facts["files"].startswith("none")
        pytest.xfail("open in landlock, as docs/security.md says")
    assert right < 52, said
