"""What docs and skill tell an agent works as it stands there: the commands, and the lines for two agents."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from evo.cli import app
from tests.analysis.built import Built, finished
from tests.cli.driving import MAIN, ROOT, Evo, commands_of
from tests.report.agents import ASK, READ, Agent, over_stdio

if TYPE_CHECKING:
    from mcp import StdioServerParameters

SKILL = (ROOT / "skills" / "evotrain" / "SKILL.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "community.md").read_text(encoding="utf-8")
STANDIN = ROOT / "tests" / "standins" / "quick.py"
NOT_HERE = {"evo run mine/campaign.yaml"}  # it would train the real seed: its dry run is tried


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
    from mcp import StdioServerParameters

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


def test_the_commands_of_the_walk_through_are_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    lines = commands_of(PAGE.split("## A night together")[1].split("\n## ")[0])
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    for line in lines:
        _, name, *words = shlex.split(line)
        command = root.commands[name]
        command.make_context(name, words)  # an option that is none, or a word too many, is an error
    assert len(lines) >= 10
