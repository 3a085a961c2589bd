from __future__ import annotations

from pathlib import Path

import pytest

from .driving import QUICK, Evo


@pytest.fixture
def evo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evo:
    """The command line, run in an empty folder, without a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return Evo(monkeypatch, capsys)


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """A campaign file for the stand-in trainer: about half a second a run."""
    path = tmp_path / "quick.yaml"
    path.write_text(QUICK)
    return path
