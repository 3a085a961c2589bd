"""What holds for every test: those that need a sandbox are skipped only where a probe proves it is denied."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.soaking import (
    box_of_time,
    in_the_box,
    in_turn_when_soaking,
    pytest_addoption,
    pytest_terminal_summary,
    tell,
)

__all__ = [
    "box_of_time",
    "in_the_box",
    "pytest_addoption",
    "pytest_terminal_summary",
    "tell",
]

# `nohup make test &` begins with these ignored, which all that is started from here would inherit; handlers it
# does not inherit
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# the same examples every time, and as long as each takes; `--hypothesis-profile default` looks for new ones
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


gc.disable()  # while four thousand tests are collected; none of them is garbage before the end


@pytest.fixture(scope="session", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Campaigns of these tests do not see other campaigns of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip sandboxed tests with the probe's own reason, so that the summary counts them."""
    gc.freeze()
    gc.enable()
    in_turn_when_soaking(config, items)
    boxed = [item for item in items if "sandbox" in item.keywords]
    if not boxed:
        return
    from evo.evaluation.sandbox.image import open_image
    from evo.evaluation.sandbox.probe import probe

    open_image()  # held while the tests last, so that every process they start finds it made
    if denied := probe().denied:
        for item in boxed:
            item.add_marker(pytest.mark.skip(reason=denied))
