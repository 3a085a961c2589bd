"""A report of a folder, and a real browser to open it in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driving import Evo

Write = Callable[[Path], Path]


@pytest.fixture
def write_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Write:
    """`evo report` of a folder; the file."""

    def write(folder: Path) -> Path:
        target = tmp_path / "report.html"
        said = Evo(monkeypatch, capsys)("report", "--dir", folder, "-o", target)
        assert said.code == 0, said.err
        return target

    return write


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven; skipped where the machine has none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1280,1600",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as opened:
        yield opened
