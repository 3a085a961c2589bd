"""What docs and skill tell an agent works as it stands there: the commands, and the lines for two agents."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters

from tests.analysis.built import Built, finished
from tests.cli.driving import MAIN, ROOT, Evo
from tests.report.agents import ASK, READ, Agent, over_stdio

SKILL = (ROOT / "skills" / "evotrain" / "SKILL.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "community.md").read_text(encoding="utf-8")
STANDIN = ROOT / "tests" / "standins" / "quick.py"
NOT_HERE = {"evo run mine/campaign.yaml"}  # it would train the real seed: its dry run is tried


def commands_of(page: str) -> list[str]:
    """The lines of a page's shell blocks, without what is said of them."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("evo ")]


def block_of(page: str, kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)
    return str(found)


def test_every_command_of_the_skill_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    built, leader, _ = finished(tmp_path / "campaigns" / "built-1")
    source = STANDIN.read_text(encoding="utf-8")
    built.store._execute("UPDATE variants SET source = ? WHERE id = ?", [source, built.seed])
    built.store.close()
    (tmp_path / "train.py").write_text(source + "\nEXTRA = 1\n", encoding="utf-8")
    evo, told = Evo(monkeypatch, capsys), dict[str, str]()
    for line in commands_of(SKILL):
        if line not in NOT_HERE:
            said = evo(*shlex.split(line)[1:])
            assert said.code == 0, (line, said.err)
            told[line] = said.out
    assert len(told) >= 14 and leader[:8] in told["evo top"]
    assert {"overview", *ASK} <= set(re.findall(r"`(\w+)`", SKILL))
    assert set(re.findall(r"`(\w+)`", SKILL.split("## Propose")[1].split("```")[0])) >= ASK


def told_to_start(given: dict[str, Any], cwd: Path) -> StdioServerParameters:
    """What the lines for an agent start, with this environment's `evo`."""
    assert given["command"] == "evo"
    return StdioServerParameters(
        command=sys.executable, args=["-c", MAIN, *given["args"]], cwd=str(cwd)
    )


@pytest.mark.parametrize(
    "given",
    [
        json.loads(block_of(PAGE, "json"))["mcpServers"]["evotrain"],
        tomllib.loads(block_of(PAGE, "toml"))["mcp_servers"]["evotrain"],
    ],
    ids=["json", "toml"],
)
def test_the_lines_for_an_agent_start_a_server_that_lists_its_tools(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    built = Built(tmp_path / "campaigns" / "night-1")
    built.store.close()

    async def play(agent: Agent) -> tuple[set[str], str]:
        return await agent.tools(), str(agent.client.server_info.name)

    tools, name = over_stdio(told_to_start(given, tmp_path), play)
    assert tools == READ | ASK and name == "evotrain"


def test_the_page_lists_every_tool() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == READ | ASK
