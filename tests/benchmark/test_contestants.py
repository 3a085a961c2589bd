"""One contract for all contestants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from evo.benchmark.contestants import CONTESTANTS, SETTABLE, contestant_of
from evo.benchmark.contestants.contract import Contestant, Problem, Wish
from evo.benchmark.contestants.contract import play as made_by
from evo.benchmark.contestants.ours import Ours, OursSettings
from evo.benchmark.contestants.sources import setting_of, source_of
from evo.benchmark.landscapes.table import ERROR, Dial, Landscape, Setting, Shown, Table
from evo.search.scheduler import PolicySettings
from population.types import Purpose

RUNS = 40
FEW_RUNS = {"gp by optuna": 16}  # ten at random, then a tenth of a second and more each


@pytest.fixture(scope="module")
def hill() -> Landscape:
    """Error grows with the distance from one corner; names and numbers mixed."""
    dials = (
        Dial("op", ("none", "skip", "conv"), ordered=False),
        Dial("width", (16, 32, 64, 128), ordered=True),
        Dial("rate", (0.1, 0.2, 0.3), ordered=True),
    )
    places = np.indices((3, 4, 3)).reshape(3, -1)
    errors = places.sum(axis=0) + 10.0
    draws = errors[:, None] + np.array([-0.3, 0.0, 0.3])
    ones = np.ones(len(errors))
    return Landscape(Table("hill", dials, {ERROR: errors}, draws, 0.3 * ones, ones), seed=1)


def play(name: str, landscape: Landscape, seed: int = 0) -> tuple[Contestant, list[Setting]]:
    runs = FEW_RUNS.get(name, RUNS)
    problem = Problem(
        landscape.table.dials, landscape.objectives, landscape.start, float(runs), runs, seed
    )
    contestant = CONTESTANTS[name](problem, np.random.default_rng(seed))
    asked = [setting for setting, *_ in made_by(contestant, landscape.run, np.inf, runs)]
    return contestant, asked


Played = Callable[[str], tuple[Contestant, list[Setting]]]


@pytest.fixture(scope="module")
def played(hill: Landscape) -> Played:
    """Each contestant's first game, played once for all tests."""
    return cache(lambda name: play(name, hill))


@pytest.mark.parametrize("name", CONTESTANTS)
def test_a_contestant_asks_for_settings_of_the_landscape_and_recommends_one_it_ran(
    name: str, hill: Landscape, played: Played
) -> None:
    contestant, asked = played(name)
    assert len(asked) > FEW_RUNS.get(name, RUNS) // 2
    assert all(0 <= hill.table.place(setting) < 36 for setting in asked)
    assert contestant.recommend() in asked


@pytest.mark.parametrize("name", CONTESTANTS)
def test_the_same_seed_plays_the_same_game(name: str, hill: Landscape, played: Played) -> None:
    assert play(name, hill)[1] == played(name)[1]


@pytest.mark.parametrize("name", [one for one in CONTESTANTS if one != "seed again"])
def test_a_contestant_finds_something_better_than_the_start(
    name: str, hill: Landscape, played: Played
) -> None:
    contestant, _ = played(name)
    assert hill.regret(contestant.recommend()) < hill.regret(hill.start)


def test_doing_nothing_recommends_the_seed(hill: Landscape, played: Played) -> None:
    contestant, asked = played("seed again")
    assert set(asked) == {hill.start} and contestant.recommend() == hill.start


def test_ours_does_what_a_campaign_does(played: Played) -> None:
    contestant, _ = played("ours")
    assert isinstance(contestant, Ours)
    rows = [row.measurement.request for row in contestant.history.rows("table")]
    purposes = {request.purpose for request in rows}
    assert {Purpose.CALIBRATE, Purpose.SCREEN, Purpose.REMEASURE, Purpose.RACE} <= purposes
    assert [one.kind for one in contestant.search.decisions] == ["leaders"]


def test_local_search_climbs_by_steps_to_where_no_neighbour_is_better_then_starts_anew(
    hill: Landscape,
) -> None:
    calm = replace(hill, table=replace(hill.table, sd=0 * hill.table.sd))
    _, asked = play("local search", calm)
    best_and_around = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)]
    end = max(asked.index(one) for one in best_and_around)
    assert len(set(asked[: end + 1])) == end + 1  # no neighbour twice
    here = asked[0]
    for one in asked[1 : end + 1]:
        (turned,) = [at for at in range(3) if one[at] != here[at]]
        assert turned == 0 or abs(one[turned] - here[turned]) == 1  # names have no order
        here = one if sum(one) < sum(here) else here
    assert here == (0, 0, 0)
    assert asked[end + 1] not in best_and_around and len(asked) == RUNS


def test_catcma_takes_numbers_names_pairs_and_what_cannot_be_chosen() -> None:
    dials = (
        Dial("fixed", (7,), ordered=True),
        Dial("pair", (0.1, 0.2), ordered=True),
        Dial("rate", (1, 2, 3, 4, 5), ordered=True),
        Dial("op", ("a", "b", "c"), ordered=False),
    )
    sizes = [len(one.choices) for one in dials]
    problem = Problem(dials, (ERROR,), (0, 0, 0, 0), np.inf, 200, 0)
    contestant = CONTESTANTS["catcma"](problem, np.random.default_rng(0))
    seen = []
    for _ in range(200):
        wish = contestant.ask()
        assert wish is not None
        seen.append(wish.setting)
        contestant.tell(wish, Shown((float(sum(wish.setting)),), 1.0))
    assert all(0 <= at < size for one in seen for at, size in zip(one, sizes, strict=True))
    first, last = (np.sum(part, axis=1).mean() for part in (seen[:40], seen[-40:]))
    assert last < first / 2


def test_ours_with_another_optimiser_keeps_all_other_settings(hill: Landscape) -> None:
    problem = Problem(hill.table.dials, hill.objectives, hill.start, 24.0, 24, 0)
    none_twice = OursSettings(policy=PolicySettings(remeasure_share=0, race_share=0))
    by_tpe, by_gp = (
        SETTABLE[one](problem, np.random.default_rng(0), none_twice) for one in ("ours", "ours, gp")
    )
    settings = [
        {one for one, *_ in made_by(each, hill.run, np.inf, 24)} for each in (by_tpe, by_gp)
    ]
    assert settings[0] != settings[1]
    for each in (by_tpe, by_gp):
        purposes = {row.measurement.request.purpose for row in each.history.rows("table")}
        assert Purpose.RACE not in purposes


def test_a_dear_seed_takes_little_of_what_ours_may_spend(hill: Landscape) -> None:
    dear = replace(
        hill.table, seconds=np.where(np.arange(36) == hill.table.place(hill.start), 3.0, 0.5)
    )
    contestant, asked = play("ours", Landscape(dear, seed=1))
    assert isinstance(contestant, Ours)
    rows = [row.measurement for row in contestant.history.rows("table")]
    on_seed = [one for one in rows if one.request.variant_id == contestant.history.seed_id]
    assert len(on_seed) == 1  # a second run would be more than a twentieth of the seconds
    assert len(asked) > RUNS // 2


def test_a_setting_survives_its_source(hill: Landscape) -> None:
    for setting in ((0, 0, 0), (2, 3, 1), (1, 2, 2)):
        source = source_of(hill.table.dials, setting)
        assert setting_of(hill.table.dials, source) == setting


class Again:
    """Wants its own setting on fresh blocks, and now and then on one that it names."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def ask(self) -> Wish | None:
        return Wish((0, 0, 0), 5 if len(self.told) == 2 else None) if len(self.told) < 6 else None

    def tell(self, wish: Wish, shown: Shown) -> None:
        self.told.append(shown.values[0])

    def recommend(self) -> Setting:
        return (0, 0, 0)

    def recommend_set(self) -> dict[Setting, tuple[float, ...]]:
        return {}


def test_a_game_ends_with_the_seconds_the_runs_or_the_wishes_and_a_fresh_block_is_behind_all(
    hill: Landscape,
) -> None:
    def blocks(seconds: float, most: int) -> list[int]:
        return [block for _, block, _ in made_by(Again(), hill.run, seconds, most)]

    assert blocks(np.inf, 99) == [0, 1, 5, 6, 7, 8]
    assert blocks(np.inf, 2) == [0, 1]
    assert blocks(2.5, 99) == [0, 1, 5]  # the run under way when the seconds end counts


OWN_CONTESTANT = """
from __future__ import annotations

from dataclasses import dataclass, field

from evo.benchmark.contestants.contract import BestSeen, Wish

WHO = {who!r}


@dataclass
class Mine(BestSeen):
    notes: list[str] = field(default_factory=list)
    start: tuple[int, ...] = ()

    def ask(self):
        return Wish(self.start)


def contestant(problem, rng):
    return Mine(notes=[WHO], start=problem.start)
"""


def test_a_file_with_a_dataclass_and_postponed_annotations_takes_part_and_names_do_not_meet(
    hill: Landscape, tmp_path: Path
) -> None:
    problem = Problem(hill.table.dials, hill.objectives, hill.start, 5.0, 5, 0)
    for who in ("one", "other"):
        (tmp_path / who).mkdir()
        (tmp_path / who / "mine.py").write_text(OWN_CONTESTANT.format(who=who))
    makes = [contestant_of(str(tmp_path / who / "mine.py")) for who in ("one", "other")]
    made = [make(problem, np.random.default_rng(0)) for make in makes]
    assert [one.notes for one in made] == [["one"], ["other"]]  # type: ignore[attr-defined]
    asked = [setting for setting, *_ in made_by(made[0], hill.run, np.inf, 3)]
    assert asked == [hill.start] * 3
