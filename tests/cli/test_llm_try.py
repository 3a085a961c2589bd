"""`evo llm try`: one proposal from the seed, shown and not trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operators.fake_openai import Answer, FakeOpenAI

from .driving import ROOT, Evo

LINE = next(
    line for line in (ROOT / "tests/standins/quick.py").read_text().splitlines() if "# knob" in line
)
EDIT = f"IDEA: another value\n<<<<<<< SEARCH\n{LINE}\n=======\n{LINE}  \nADDED = 1\n>>>>>>> REPLACE"


@pytest.fixture
def config(quick: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K", "a-secret-key")
    return quick


def with_server(config: Path, server: FakeOpenAI) -> Path:
    prices = "price_in: 1, price_out: 2"
    one = f"{{name: mine, model: m-1, base_url: '{server.base_url}', key_env: K, reply: text, {prices}}}"
    config.write_text(
        config.read_text()
        + f"operators: {{nudge: 1, llm_mutate: 1}}\nllm: {{endpoints: [{one}]}}\n"
    )
    return config


def test_it_shows_prompt_answer_diff_and_cost_and_leaves_nothing(
    evo: Evo, config: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    with FakeOpenAI(["I would add a line.", EDIT]) as server:
        said = evo("llm", "try", with_server(config, server))
    assert said.code == 0, said.err
    for words in ("-- asked\n", LINE, "-- answered\n\nI would add a line.", "+ADDED = 1"):
        assert words in said.out
    assert "-- asked again, since no SEARCH/REPLACE block" in said.out
    assert "mine m-1: 100 tokens in, 20 out, 0.00014 dollars" in said.out
    assert "-- child: another value" in said.out and "a-secret-key" not in said.out
    assert sorted(tmp_path.iterdir()) == before, "no campaign is left behind"


def test_as_json_it_is_one_document_and_no_child_is_exit_code_1(evo: Evo, config: Path) -> None:
    with FakeOpenAI(["no", "no"]) as server:
        said = evo("llm", "try", with_server(config, server), "--json", "--operator", "llm_rewrite")
    told = said.json()
    assert said.code == 1 and told["outcome"] == "failed" and "no usable edit" in told["reason"]
    assert told["operator"] == "llm_rewrite" and told["cost"]["tokens_in"] == 200
    assert [one["said"]["reply"] for one in told["calls"]] == ["no", "no"] and told["diff"] == ""


def test_a_server_that_fails_and_a_name_that_is_none_are_told_in_one_line(
    evo: Evo, config: Path
) -> None:
    with FakeOpenAI([Answer("no such model", status=404)]) as server:
        file = with_server(config, server)
        said = evo("llm", "try", file)
        assert said.code == 1 and "-- no child: mine: HTTP 404: no such model" in said.out
        assert "names mine" in evo("llm", "try", file, "--endpoint", "other").err
        wrong = evo("llm", "try", file, "--operator", "llm_crossover")
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and "llm_mutate" in wrong.err


def test_without_a_model_or_its_key_it_says_what_is_wanting(
    evo: Evo, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "llm.endpoints" in evo("llm", "try", config).err
    with FakeOpenAI(["no"]) as server:
        file = with_server(config, server)
        monkeypatch.delenv("K")
        said = evo("llm", "try", file, "--set", "rungs.proxy.startup_seconds=auto")
    assert said.err.count("\n") == 1, "nothing is measured before"
    assert said.code == 2 and "K is not set" in said.err and server.requests == []
