"""CUDA must be there inside the box: a run on the CPU instead is never silent."""

from __future__ import annotations

import pytest

from evo.evaluation import gpu
from evo.evaluation.gpu import require_cuda
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings, SandboxUnavailable
from evo.evaluation.slots import Slot

GPU = Slot("gpu0", "cuda", (), 0, "GPU-none")


@pytest.fixture
def unboxed() -> Sandbox:
    return open_sandbox(SandboxSettings(mode="none"))


def test_slots_without_a_gpu_ask_for_nothing(unboxed: Sandbox) -> None:
    require_cuda(unboxed, [Slot("cpu0", "cpu", (0,))])


def look(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    """A torch that finds this."""
    monkeypatch.setattr(gpu, "LOOK", f"print({found!r})")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ('{"build": "", "available": false}', "built without CUDA"),
        ('{"build": "13.0", "available": false}', "is_available"),
        ('{"build": "13.0", "available": true, "devices": 8, "sum": 262144.0}', "8 devices"),
        ("ModuleNotFoundError: No module named 'torch'", "No module named 'torch'"),
    ],
)
def test_a_gpu_that_is_not_there_inside_is_refused_aloud(
    unboxed: Sandbox, monkeypatch: pytest.MonkeyPatch, found: str, said: str
) -> None:
    look(monkeypatch, found)
    with pytest.raises(SandboxUnavailable, match=rf"gpu0: .*{said}"):
        require_cuda(unboxed, [GPU, GPU])


def test_a_gpu_that_multiplies_is_taken(unboxed: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    look(monkeypatch, '{"build": "13.0", "available": true, "devices": 1, "sum": 262144.0}')
    require_cuda(unboxed, [GPU])
