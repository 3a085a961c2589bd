"""What a dead process is said to have died of: its exit and its last exception, no word before."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evo.evaluation.channels import Log
from evo.evaluation.sandbox.sandbox import Sandbox
from population.types import Status
from tests.evaluation.boxes import every_rung
from tests.evaluation.conftest import Evaluate
from tests.evaluation.variants import variant

CAUGHT = """
import traceback
try:
    raise MemoryError("out of memory")
except MemoryError:
    traceback.print_exc()
"""
CUDA = 'raise type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})("CUDA out of memory. Tried")'
ALLOCATOR = (
    "raise RuntimeError(\"[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't"
    ' allocate memory: you tried to allocate 4 bytes")'
)
ASYNCHRONOUS = (
    'raise RuntimeError("CUDA error: out of memory\\nCUDA kernel errors might be reported later")'
)
COMPILED = """
class BackendCompilerFailed(RuntimeError): __module__ = "torch._dynamo.exc"
raise BackendCompilerFailed("backend='inductor' raised:\\nOutOfMemoryError: CUDA out of memory.")
"""


def ended(script: str) -> bool:
    """Whether a real interpreter that ran this is said to have run out of memory."""
    command = [sys.executable, "-uIc", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    log = Log()
    log.hear(done.stdout)
    return log.ended_out_of_memory(done.returncode)


def test_an_exception_is_told_with_the_last_line_of_the_variants_own(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "harness.py").write_text("def refuse():\n    raise ValueError('no')\n")
    (code / "model.py").write_text("import harness\n\ndef f():\n    harness.refuse()\n")
    sources = {
        "import model\n\nmodel.f()": "ValueError: no (model.py line 4)",
        "import json\njson.loads('x')": r"JSONDecodeError: .* \(train.py line 2\)",
        "def f():\n  return 1 / 0\nf()": r"ZeroDivisionError: .* \(train.py line 2\)",
        CAUGHT + "import sys\nsys.exit(3)": "MemoryError: out of memory",
    }
    for source, said in sources.items():
        (code / "train.py").write_text(source)
        command = [sys.executable, "-s", str(code / "train.py")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        log = Log()
        log.hear(done.stdout)
        last = log.last_words(done.returncode)
        assert last == said or re.fullmatch(rf"[\w.]*{said}", last), last


@pytest.mark.parametrize(
    "script",
    [
        "raise MemoryError",
        "raise MemoryError('kept')",
        "import numpy; numpy.empty(1 << 56)",
        "import os, errno; raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))",
        CUDA,
        ALLOCATOR,
        ASYNCHRONOUS,
        COMPILED,
        f"try: 1 / 0\nexcept ZeroDivisionError: {CUDA}",
    ],
)
def test_an_exception_for_want_of_memory_that_ends_it_is_out_of_memory(script: str) -> None:
    assert ended(script)


@pytest.mark.parametrize(
    "script",
    [
        CAUGHT + "raise ValueError('shapes differ')",
        CAUGHT + "print('step 7'); raise SystemExit(1)",
        CAUGHT + "raise SystemExit(3)",
        CAUGHT + "raise SystemExit(0)",
        CAUGHT + "import os; os.abort()",
        "raise ValueError('this runs out of memory')",
        "raise RuntimeError('a word on MemoryError: none')",
        "try: raise MemoryError\nexcept MemoryError: raise KeyError('smaller_batch')",
        "print('MemoryError'); raise SystemExit('OutOfMemoryError: CUDA out of memory')",
    ],
)
def test_a_word_in_the_log_is_no_end_for_want_of_memory(script: str) -> None:
    assert not ended(script)


@every_rung
def test_a_crash_after_a_caught_want_of_memory_is_a_crash_with_its_own_reason(
    evaluate: Evaluate, sandbox: Sandbox
) -> None:
    seen = evaluate(variant(end=CAUGHT + "raise ValueError('shapes differ')"), sandbox)
    assert seen.status is Status.CRASHED
    assert re.fullmatch(r"ValueError: shapes differ \(train.py line \d+\)", seen.reason)
