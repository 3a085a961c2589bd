"""The tournament on real training: real sandboxed runs of a small trainer, judged on fresh blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from evo.assembly.bench import open_bench
from evo.benchmark.contestants import BANKED
from evo.benchmark.real.cells import YARDSTICK, RealResult, compute_and_keep_real, real_cells
from evo.benchmark.real.landscape import (
    FAILED,
    RealLandscape,
    ScriptLandscape,
    grid,
    seconds_of,
    train,
)
from evo.benchmark.real.settings import read_real
from evo.benchmark.real.summary import mean_of, real_standings
from evo.config import ConfigError, read_config
from operators.source.knobs import read_knobs, same_value
from population.archive import Constraint
from population.reading.idea_bank import BankIdea, IdeaEffect, line_of
from population.types import Clock, Measurement, Status
from tests.campaign.real import STANDIN, write_config

SHIPPED = Path(__file__).parents[2] / "configs"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_config(tmp_path)
    path = tmp_path / "real.yaml"
    values = {
        "campaign": "campaign.yaml",
        "contestants": ["random", "ours"],
        "seeds": 2,
        "seconds": 3,
        "judged_blocks": 2,
    }
    path.write_text(yaml.safe_dump(values))
    return path


def evo(*words: str) -> str:
    from evo.cli import app

    said = CliRunner().invoke(app, list(words))
    assert said.exit_code == 0, said.output
    return said.stdout


@pytest.mark.soak
def test_contestants_run_for_real_and_a_second_call_runs_nothing(
    file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = json.loads(evo("bench", str(file), "-o", str(out), "--json"))
    cells = first["cells"]
    assert len(cells) == 4 and {one["cell"]["contestant"] for one in cells} == {"random", "ours"}
    for one in cells:
        assert one["runs"] >= 1 and one["failed"] == 0 and one["seconds"] > 0
        assert one["difference"] == 0.0 or one["knobs"]
    kept = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    again = json.loads(evo("bench", str(file), "-o", str(out), "--json"))
    assert again["standings"] == first["standings"]
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")} == kept
    assert "no ranking claimed" in (out / "real.md").read_text()
    page = (out / "real.html").read_text()
    assert "no ranking claimed" in page and "What each recommends" in page
    assert {one["contestant"] for one in first["standings"]} <= set(
        re.findall(r"<td[^>]*>(\w+)</td>", page)
    )


def test_a_setting_is_trained_with_its_knobs_and_one_that_fails_counts_as_bad(
    file: Path, tmp_path: Path
) -> None:
    config = read_config(tmp_path / "campaign.yaml")
    bench = open_bench(config, tmp_path / "work", {})
    source = STANDIN.read_text()
    landscape = RealLandscape(bench, bench.slots[0], source, 0)
    good = landscape.run(landscape.start, 0)
    assert landscape.values(landscape.start) == {one.name: one.value for one in read_knobs(source)}
    low = list(landscape.start)
    low[1] = 0  # MIX = 0: pairs are not looked at
    assert landscape.run(tuple(low), 0).values[0] > good.values[0] + 0.1
    broken = source.replace("run = harness.start()", "run = harness.start(); 1 / 0")
    landscape._source = broken
    assert landscape.run(landscape.start, 1).values[0] == pytest.approx(
        FAILED * good.values[0], rel=0.1
    )
    assert landscape.failed == 1


def test_a_run_that_the_machine_lost_is_made_again_and_the_cpu_clock_is_what_counts(
    file: Path, tmp_path: Path
) -> None:
    config = read_config(tmp_path / "campaign.yaml")
    bench = open_bench(config, tmp_path / "work", {})
    evaluate, states = bench.evaluator.evaluate, [Status.LOST, Status.LOST]

    def often_lost(*asked: Any) -> Measurement:
        if states:
            return Measurement(asked[0], states.pop(), "the machine was busy")
        return evaluate(*asked)

    bench.evaluator.evaluate = often_lost  # type: ignore[method-assign]
    found = train(bench, bench.slots[0], STANDIN.read_text(), 0)
    assert found.status is Status.OK and not states
    assert seconds_of(found, Clock.CPU_SECONDS) == found.cpu_seconds < found.wall_seconds
    assert seconds_of(found, Clock.TOKENS) == found.wall_seconds
    states += [Status.LOST] * 3
    with pytest.raises(ConfigError, match=r"3 runs in a row were lost.*the machine was busy"):
        train(bench, bench.slots[0], STANDIN.read_text(), 1)


def test_a_yardstick_is_judged_beside_the_contestants_on_the_same_blocks(
    file: Path, tmp_path: Path
) -> None:
    worse = STANDIN.read_text().replace("MIX = 0.8", "MIX = 0.0")
    assert worse != STANDIN.read_text()
    (tmp_path / "worse.py").write_text(worse)
    file.write_text(file.read_text() + "yardstick: worse.py\n")
    cells = real_cells(read_real(file))
    assert [one.contestant for one in cells] == ["random", "ours", YARDSTICK] * 2
    assert len({one.key for one in cells}) == 6
    (tmp_path / "cells").mkdir()
    found = compute_and_keep_real(cells[2], tmp_path / "cells")
    assert found.difference > 0.1 and (found.runs, found.n) == (0, 2)
    (table,) = real_standings([found], ["random", "ours"])
    assert table.contestant == YARDSTICK and table.minus is None
    file.write_text(file.read_text().replace("worse.py", "none.py"))
    with pytest.raises(ConfigError, match=r"yardstick: none\.py: no file there"):
        read_real(file)


def test_a_grid_holds_a_knobs_own_value_within_its_range() -> None:
    for knob in read_knobs((SHIPPED.parent / "seed" / "train.py").read_text()):
        values = grid(knob)
        assert any(same_value(one, knob.value) for one in values)
        assert all(knob.holds(one) for one in values) and len(set(values)) == len(values) > 1


def test_the_shipped_file_is_read_and_a_wrong_one_is_told_from_it(file: Path) -> None:
    shipped = read_real(SHIPPED / "bench-real.yaml")
    assert len(real_cells(shipped)) == 12
    assert len(real_cells(read_real(SHIPPED / "bench-ideas.yaml"))) == 15
    textbook = real_cells(read_real(SHIPPED / "bench-textbook.yaml"))
    assert len(textbook) == 18 and {one.contestant for one in textbook} == {
        "random", "tpe", "cmaes", "greedy", "ours", YARDSTICK
    }  # fmt: skip
    file.write_text(file.read_text() + "second: 3\n")
    with pytest.raises(ConfigError, match="second"):
        read_real(file)


def test_ours_less_another_is_taken_seed_by_seed(file: Path) -> None:
    cells = real_cells(read_real(file))
    shown = {("random", 0): 0.1, ("random", 1): 0.3, ("ours", 0): 0.0, ("ours", 1): 0.2}
    results = [
        RealResult(one, shown[one.contestant, one.seed], 0.0, 2, 9, 0, 5.0, {}) for one in cells
    ]
    random, ours = real_standings(results[::-1], ["random", "ours"])
    assert random.minus is not None and random.minus.value == pytest.approx(-0.1)
    assert ours.minus is None and ours.by_seed == (0.0, 0.2)
    assert mean_of([0.1, 0.3]).low == pytest.approx(0.2 - 12.706 * 0.1, rel=1e-3)


@pytest.mark.soak
def test_contestants_that_edit_draw_from_the_bank_of_the_campaign(tmp_path: Path) -> None:
    better = STANDIN.read_text()
    seed = better.replace("MIX = 0.8", "MIX = 0.0")  # a seed that does not look at pairs
    (tmp_path / "seed.py").write_text(seed)
    other = seed.replace("ROWS = 64", "ROWS = 65")
    ideas = [
        BankIdea(name, seed, after, effects=(IdeaEffect("val_bpb", "proxy", gain, 3, sd=0.01),))
        for name, after, gain in (("look at pairs", better, -0.5), ("a row more", other, -0.4))
    ]
    (tmp_path / "bank.jsonl").write_text("".join(f"{line_of(one)}\n" for one in ideas))
    write_config(
        tmp_path,
        train="seed.py",
        operators={"transplant": 1, "llm_mutate": 1},
        transplant={"banks": ["bank.jsonl"]},
    )
    path = tmp_path / "ideas.yaml"
    named = {"campaign": "campaign.yaml", "contestants": list(BANKED), "seeds": 2}
    path.write_text(yaml.safe_dump({**named, "seconds": 1.5, "judged_blocks": 1}))
    cells = real_cells(read_real(path))
    assert [one.contestant for one in cells] == [*BANKED] * 2
    (tmp_path / "cells").mkdir()
    found = {one.contestant: compute_and_keep_real(one, tmp_path / "cells") for one in cells[:3]}
    assert found["best of n ideas"].knobs == {"1.": "look at pairs"}
    assert all(one.difference < -0.1 and one.runs >= 3 for one in found.values())
    table = real_standings(list(found.values()), list(BANKED))
    assert [one.minus is None for one in table] == [False, False, True]

    write_config(tmp_path)
    with pytest.raises(ConfigError, match=r"takes its edits from idea banks.*banks: \[\.\.\.\]"):
        read_real(path)


def test_a_source_that_breaks_a_constraint_counts_as_one_without_a_score(
    file: Path, tmp_path: Path
) -> None:
    better = STANDIN.read_text()
    worse = better.replace("MIX = 0.8", "MIX = 0.0")
    config = read_config(tmp_path / "campaign.yaml")
    bench = open_bench(config, tmp_path / "work", {})
    slot, first = bench.slots[0], ScriptLandscape(bench, bench.slots[0], better, 0)
    limit = first.run(first.start, 0).values[0] + 0.05
    limited = [Constraint(name="val_bpb", at_most=limit)]
    landscape = ScriptLandscape(bench, slot, better, 0, limited)
    assert landscape.setting_of(better) == (0,) and landscape.setting_of(worse) == (1,)
    assert landscape.run((1,), 0).values[0] > 1.3 * limit and landscape.failed == 1
