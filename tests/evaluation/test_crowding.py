"""A run is crowded when others hold its cores while it wants to run, and not by what it does itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from evo.evaluation import footprint as crowding
from evo.evaluation.footprint import Crowding


@dataclass
class FakeTree:
    """A tree of one thread that waited so long."""

    waited: float = 0.0

    def waits(self) -> dict[tuple[int, int], int]:
        return {(7, 1): round(self.waited * 1e9)}


@dataclass
class FakeMachine:
    """A second by a second: what the tree used and waited, what others used of its core or took of it."""

    tree: FakeTree = field(default_factory=FakeTree)
    own: float = 0.0
    busy: float = 0.0
    stolen: float = 0.0
    watching: float = 0.0
    now: float = 100.0

    def second(
        self,
        own: float = 0.0,
        waits: float = 0.0,
        others: float = 0.0,
        stolen: float = 0.0,
        watching: float = 0.0,
    ) -> None:
        self.own += own
        self.tree.waited += waits
        self.watching += watching
        self.busy += own + others + watching
        self.stolen += stolen
        self.now += 1.0


def crowded(
    monkeypatch: pytest.MonkeyPatch, *seconds: dict[str, float], first: FakeMachine | None = None
) -> float:
    machine = first or FakeMachine()
    monkeypatch.setattr(crowding.time, "monotonic", lambda: machine.now)
    monkeypatch.setattr(crowding.time, "thread_time", lambda: machine.watching)
    monkeypatch.setattr(Crowding, "_cores", lambda self: (machine.busy, machine.stolen))
    seen = Crowding(machine.tree, (0,))  # type: ignore[arg-type]
    for second in seconds:
        machine.second(**second)
        seen.look(machine.own)
    return seen.seconds


def test_a_tree_that_waits_while_others_work_on_its_core_is_crowded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = {"own": 0.25, "waits": 0.75, "others": 0.75}
    assert crowded(monkeypatch, shared, shared) == pytest.approx(1.5)


def test_what_another_machine_takes_of_the_core_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert crowded(monkeypatch, {"own": 0.5, "stolen": 0.5}) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "choice",
    [
        [{"others": 1.0}] * 3,  # it sleeps while others work
        [{"own": 1.0, "waits": 3.0}] * 3,  # four threads of its own on one core
        [{"others": 1.0}, {"own": 1.0, "waits": 3.0}] * 3,  # first one, then the other
        [{}] * 3,  # it waits for itself
        [{"own": 0.5, "waits": 0.5, "watching": 0.5}] * 3,  # it makes us work who watch it
    ],
)
def test_no_tree_is_crowded_by_what_it_does_itself(
    monkeypatch: pytest.MonkeyPatch, choice: list[dict[str, float]]
) -> None:
    assert crowded(monkeypatch, *choice) == 0.0


def test_what_was_before_it_began_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FakeMachine(busy=1000.0, stolen=50.0)
    shared = {"own": 0.5, "waits": 0.5, "others": 0.5}
    assert crowded(monkeypatch, shared, first=before) == pytest.approx(0.5)


def test_the_cores_of_this_machine_are_read() -> None:
    busy, stolen = Crowding(FakeTree(), (0,))._cores()  # type: ignore[arg-type]
    assert busy > 0 and stolen >= 0
