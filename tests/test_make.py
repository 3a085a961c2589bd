"""The two commands of the README: what each installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def planned(target: str) -> str:
    """What `make TARGET` would do on a fresh machine."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    command = ["make", "--dry-run", "--always-make", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_demo_installs_what_it_needs_and_the_tests_add_the_rest() -> None:
    demo, tests = planned("demo"), planned("test")
    assert "pip install" in demo and "evo run configs/quickstart.yaml" in demo
    assert "dev" not in demo.split("pip install")[1]
    assert tests.count("pip install") == 2 and '".[dev,bench]"' in tests
