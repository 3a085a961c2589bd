"""What holds for every test: those that need a sandbox are skipped only where a probe proves it is denied."""

from __future__ import annotations

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

# the same examples every time, and as long as each takes; `--hypothesis-profile default` looks for new ones
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip sandboxed tests with the probe's own reason, so that the summary counts them."""
    in_turn_when_soaking(config, items)
    boxed = [item for item in items if "sandbox" in item.keywords]
    if not boxed:
        return
    from evo.evaluation.probe import probe

    if denied := probe().denied:
        for item in boxed:
            item.add_marker(pytest.mark.skip(reason=denied))
