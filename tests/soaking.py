"""Long tests in a time box: each kind has its turn, what does not fit is skipped and counted.

`--soak-minutes N` bounds a run of the soak: tests are taken from each kind in turn, none begins after N
minutes, and those that could go on for long ask `box_of_time.is_over()`. Without it all run to their end.
The figures that they `tell` are shown when all is done.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from population.statistics.intervals import share_at_most

FIGURE = "soak figure"
BOUND_FROM = 20  # tests of a kind that say something of how often it fails
KINDS_AT_LEAST = 4  # no test takes more than this part of the box


@dataclass
class SoakBox:
    """The time that a soak may take, in seconds on the monotonic clock."""

    seconds: float = float("inf")
    kinds: int = KINDS_AT_LEAST
    began: float = field(default_factory=time.monotonic)
    test_began: float = field(default_factory=time.monotonic)

    def begin_test(self) -> None:
        """The next test starts now, or is skipped."""
        self.test_began = time.monotonic()
        if self.test_began >= self.began + self.seconds:
            pytest.skip(f"not within the {self.seconds / 60:g} minutes of this soak")

    def is_over(self) -> bool:
        """Whether the test under way has had its share; asked where one more round could begin."""
        now, share = time.monotonic(), self.seconds / max(self.kinds, KINDS_AT_LEAST)
        return now >= min(self.began + self.seconds, self.test_began + share)


BOX = pytest.StashKey[SoakBox]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "minutes that the soak tests may take together; without it they run to their end"
    parser.addoption("--soak-minutes", type=float, default=float("inf"), help=text)
    text = "the box of attacks and honest models; without it the strongest that works here"
    parser.addoption("--box", choices=("auto", "bwrap", "landlock"), default="auto", help=text)


def in_turn(items: list[pytest.Item]) -> list[pytest.Item]:
    """One test of each kind, then another of each: what is cut off at the end is cut off of all."""
    kinds: dict[str, list[pytest.Item]] = {}
    for item in items:
        kinds.setdefault(item.nodeid.split("[")[0], []).append(item)
    rounds = itertools.zip_longest(*kinds.values())
    return [item for one in rounds for item in one if item is not None]


def in_turn_when_soaking(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Open the time box, and put the tests in turn where it may end before them."""
    minutes = config.getoption("--soak-minutes")
    soak = [item for item in items if "soak" in item.keywords]
    kinds = len({item.nodeid.split("[")[0] for item in soak})
    config.stash[BOX] = SoakBox(minutes * 60, kinds)
    if minutes != float("inf"):
        items[:] = [item for item in items if "soak" not in item.keywords] + in_turn(soak)


@pytest.fixture
def box_of_time(request: pytest.FixtureRequest) -> SoakBox:
    """The time box of this soak."""
    return request.config.stash[BOX]


@pytest.fixture(autouse=True)
def in_the_box(request: pytest.FixtureRequest) -> None:
    if "soak" in request.keywords:
        request.config.stash[BOX].begin_test()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """tell(text): a figure of this test, shown at the end of the whole run."""
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the soak covered, kind by kind, and every figure that was told."""
    ended: dict[str, Counter[str]] = {}
    figures: list[str] = []
    for word, when in (("passed", "call"), ("failed", "call"), ("skipped", "setup")):
        for report in terminalreporter.stats.get(word, []):
            if "soak" in getattr(report, "keywords", ()) and report.when == when:
                kind = report.nodeid.split("[")[0].split("::")[-1]
                ended.setdefault(kind, Counter())[word] += 1
                figures += [str(text) for name, text in report.user_properties if name == FIGURE]
    if ended:
        terminalreporter.section("what was covered")
    for kind, counts in ended.items():
        terminalreporter.write_line(
            f"{kind.removeprefix('test_').replace('_', ' ')}: {_said(counts)}"
        )
    for text in figures:
        terminalreporter.write_line(f"  {text}")


def _said(counts: Counter[str]) -> str:
    shown = ", ".join(f"{count} {word}" for word, count in counts.items())
    ran, failed = counts["passed"] + counts["failed"], counts["failed"]
    if ran < BOUND_FROM:
        return shown
    return f"{shown}; fails below {share_at_most(failed, ran):.1%} (95 %, one-sided)"
