"""Contestants that ask a model: a real client over real HTTP, answered by a script that turns one knob."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from evo.benchmark.asking import CALLS
from evo.benchmark.cells import compute
from evo.benchmark.contestants import ASKING, CONTESTANTS
from evo.benchmark.settings import read_bench
from evo.benchmark.tournament import cells_of
from evo.config import ConfigError
from population.store import Store
from tests.operators.fake_openai import FakeOpenAI, RequestRow

KNOB = re.compile(r"^(\w+) = (\d+)  # knob: int (\d+) (\d+)$", re.MULTILINE)


def turning() -> Callable[[RequestRow], str]:
    """Turns the numeric knobs of the script it is shown in turn, a step further each time."""
    count = 0

    def answer(asked: RequestRow) -> str:
        nonlocal count
        count += 1
        knobs = KNOB.findall(asked.prompt)
        name, value, low, high = knobs[count % len(knobs)]
        size = int(high) - int(low) + 1
        moved = int(low) + (int(value) - int(low) + 1 + count // len(knobs) % (size - 1)) % size
        remark = f"  # knob: int {low} {high}"
        return (
            f"IDEA: {name} further\n\n<<<<<<< SEARCH\n{name} = {value}{remark}\n"
            f"=======\n{name} = {moved}{remark}\n>>>>>>> REPLACE\n"
        )

    return answer


def write(folder: Path, url: str, **changes: object) -> Path:
    values = {
        "landscapes": ["hpobench/car"],
        "contestants": ["random", *ASKING],
        "seeds": 2,
        "runs": 10,
        "llm": {
            "endpoints": [
                {
                    "name": "scripted",
                    "model": "m",
                    "base_url": url,
                    "key_env": "",
                    "price_in": 1,
                    "price_out": 1,
                }
            ]
        },
        **changes,
    }
    path = folder / "b.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def bench(path: Path, out: Path) -> dict[str, object]:
    from evo.cli import app

    ran = CliRunner().invoke(app, ["bench", str(path), "-o", str(out), "--workers", "1", "--json"])
    assert ran.exit_code == 0, ran.output
    told: dict[str, object] = json.loads(ran.stdout)
    return told


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object], int]:
    """A benchmark with a model: its folder, what it told, and how many requests the server had."""
    folder = tmp_path_factory.mktemp("asking")
    with FakeOpenAI(turning()) as server:
        told = bench(write(folder, server.base_url), folder / "out")
        return folder, told, len(server.requests)


def test_all_that_ask_a_model_play_beside_the_others_and_their_cost_is_told(
    played: tuple[Path, dict[str, object], int],
) -> None:
    folder, told, requests = played
    by_name = {one["contestant"]: one for one in told["published"]}  # type: ignore[attr-defined]
    assert set(by_name) == {"random", *ASKING} and by_name["random"]["llm_tokens"] == 0
    for name in ASKING:
        assert by_name[name]["runs"] >= 8
        assert by_name[name]["llm_dollars"] == pytest.approx(by_name[name]["llm_tokens"] / 1e6)
    probes = 2 * len(ASKING)  # of a cell each, for the form of its answers
    assert requests > 20
    assert 2 * sum(one["llm_tokens"] for one in by_name.values()) == 120 * (requests + probes)
    table = (folder / "out" / "b.md").read_text()
    assert "| tokens | dollars |" in table


def test_every_call_is_on_record_and_a_replay_needs_no_server(
    played: tuple[Path, dict[str, object], int], tmp_path: Path
) -> None:
    folder, told, requests = played
    record = folder / "out" / "cells" / CALLS
    with Store.open(record, read_only=True) as store:
        rows = list(store.query("SELECT outcome, prompt FROM llm_calls"))
    asked = [prompt for outcome, prompt in rows if outcome == "ok"]
    assert len(asked) >= requests
    again = write(tmp_path, "http://127.0.0.1:9/v1")
    values = yaml.safe_load(again.read_text())
    values["llm"]["replay"] = str(record)
    again.write_text(yaml.safe_dump(values))
    replayed = bench(again, tmp_path / "out")
    assert _regrets(replayed) == _regrets(told)


def test_n_edits_of_the_seed_know_nothing_of_each_other_and_greedy_ones_go_on_from_the_best(
    played: tuple[Path, dict[str, object], int],
) -> None:
    folder, _, _ = played
    cells = [json.loads(one.read_text()) for one in (folder / "out" / "cells").glob("*.json")]
    assert {one["cell"]["contestant"] for one in cells} >= {"best of n", "greedy llm"}
    with Store.open(folder / "out" / "cells" / CALLS, read_only=True) as store:
        prompts = [prompt for (prompt,) in store.query("SELECT prompt FROM llm_calls ORDER BY id")]
    alike = max(prompts.count(one) for one in prompts)
    assert alike >= 8  # the same question n times
    assert len(set(prompts)) > 12  # and others that tell what was tried


def test_an_answer_that_changes_more_than_knobs_is_no_run(tmp_path: Path) -> None:
    knob = "<<<<<<< SEARCH\nDEPTH = 2\n=======\nDEPTH = 3\n>>>>>>> REPLACE\n"
    with FakeOpenAI([f"IDEA: a line of code\n\n```python\nprint(1)\n```\n{knob}"]) as server:
        path = write(tmp_path, server.base_url, contestants=["random", "greedy llm"], runs=10)
        result = compute(cells_of(read_bench(path))[1])
    assert result.cell.contestant == "greedy llm"
    assert result.published.runs == 1  # the seed, and then no edit that could be looked up


def test_who_can_play_plays_by_default_and_what_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "http://127.0.0.1:9/v1")
    values = yaml.safe_load(path.read_text())
    del values["contestants"]
    path.write_text(yaml.safe_dump(values))
    assert read_bench(path).contestants == (*CONTESTANTS, *ASKING)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    values["llm"]["endpoints"][0]["key_env"] = "NO_SUCH_KEY"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set"):
        read_bench(path)
    del values["llm"]["endpoints"][0]["price_in"], values["llm"]["endpoints"][0]["key_env"]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    path.write_text(yaml.safe_dump({**values, "llm_dollars": 1}))
    with pytest.raises(ConfigError, match="llm_dollars cannot be kept"):
        read_bench(path)
    del values["llm"]
    path.write_text(yaml.safe_dump({**values, "contestants": ["greedy llm"]}))
    with pytest.raises(ConfigError, match="'greedy llm' asks a model"):
        read_bench(path)


def _regrets(told: dict[str, object]) -> dict[str, float]:
    return {one["contestant"]: one["regret"]["value"] for one in told["published"]}  # type: ignore[attr-defined]
