"""A coding agent works in a box of its own: what it may do there, and that nothing else comes of it."""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from evo.evaluation.sandbox.agent_box import AgentSettings, AgentUnusable, open_box
from evo.evaluation.sandbox.sandbox import SandboxUnavailable
from evo.files import take_back
from evo.proposals.agents import AgentDesk
from operators.llm.breaker import Patience
from operators.operator import ProposalFailed
from population.file_set import split_files
from tests.operators.fake_budgets import FakeTokenBudget

HARNESS = Path(__file__).parents[2] / "seed" / "harness.py"
FILES = {"train.py": "LR = 1\n", "BRIEF.md": "Do better.\n", "HISTORY.md": "Nothing yet.\n"}
EDIT = "echo 'LR = 2' > train.py; echo 'IDEA: twice the rate'"

pytestmark = pytest.mark.sandbox


class Narrow(AgentSettings):
    scratch_mb: ClassVar[int] = 16
    processes: ClassVar[int] = 40


def desk(tmp_path: Path, script: str, **settings: Any) -> AgentDesk:
    return desk_of(tmp_path, ("/bin/sh", "-c", script), **settings)


def desk_of(
    tmp_path: Path,
    command: tuple[str, ...],
    hide: tuple[Path, ...] = (),
    kind: type[AgentSettings] = AgentSettings,
    **settings: object,
) -> AgentDesk:
    more = {
        name: settings.pop(name)
        for name in ("stopping", "environ", "budget", "say", "patience")
        if name in settings
    }
    chosen = kind.model_validate({"command": command, "seconds": 120, **settings})
    box = open_box(chosen, hide)
    return AgentDesk(chosen, HARNESS, tmp_path / "agents", box, **more)


def refused(one: AgentDesk) -> str:
    with pytest.raises(ProposalFailed) as caught:
        one.work(FILES)
    return caught.value.reason


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_it_finds_four_files_and_train_py_is_taken_back(tmp_path: Path, sandbox: str) -> None:
    look = f"ls | tr '\\n' ' '; cat BRIEF.md HISTORY.md; cmp harness.py {HARNESS}; {EDIT}"
    shown = [str(HARNESS)]
    worked = desk(tmp_path, look, sandbox=sandbox, read_only=shown).work(FILES)
    assert worked.source == "LR = 2\n"
    assert "BRIEF.md HISTORY.md harness.py train.py" in worked.said
    assert "Do better." in worked.said and "Nothing yet." in worked.said
    assert worked.said.strip().endswith("IDEA: twice the rate")
    assert worked.cost.seconds > 0
    assert worked.cost.dollars is None  # not known, and not guessed
    assert list((tmp_path / "agents").iterdir()) == []


def test_it_sees_nothing_of_the_host_but_what_it_was_shown(tmp_path: Path) -> None:
    secret, shown = tmp_path / "secret.txt", tmp_path / "shown"
    shown.mkdir()
    secret.write_text("secret")
    (shown / "notes.txt").write_text("notes")
    (shown / "hidden.txt").write_text("hidden text")
    script = (
        f"cat {secret}; cat {shown}/hidden.txt; cat /placed/notes.txt; echo x > /placed/new; "
        f"echo x > /usr/new; echo x > {tmp_path}/new; echo x > harness.py; env; id -u; {EDIT}"
    )
    worked = desk(
        tmp_path,
        script,
        hide=(shown / "hidden.txt",),
        read_only=[f"{shown}", f"{shown}:/placed"],
        environment=["GIVEN", "NOT_SET"],
        environ={"GIVEN": "given", "KEPT": "kept from it"},
    ).work(FILES)
    assert "notes" in worked.said and "GIVEN=given" in worked.said
    assert "secret\n" not in worked.said and "hidden text" not in worked.said
    assert "kept from it" not in worked.said
    assert "1000" in worked.said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agents", "secret.txt", "shown"]
    assert sorted(os.listdir(shown)) == ["hidden.txt", "notes.txt"]
    assert not Path("/usr/new").exists()


@pytest.mark.parametrize("network", [False, True])
def test_it_reaches_the_network_only_where_the_config_says_so(
    tmp_path: Path, network: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = (
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        )
        script = f'{os.path.realpath(sys.executable)} -c "{connect}" && echo reached; {EDIT}'
        worked = desk(tmp_path, script, network=network).work(FILES)
    assert ("reached" in worked.said) is network


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_what_it_leaves_running_ends_with_it(tmp_path: Path, sandbox: str) -> None:
    word = f"31{os.getpid()}"  # seconds that nobody else sleeps
    script = f"(setsid sleep {word} &) ; nohup sleep {word} & {EDIT}"
    assert desk(tmp_path, script, sandbox=sandbox).work(FILES).source == "LR = 2\n"
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or [])
    ]


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_one_that_hangs_is_ended_at_its_time_limit_and_its_work_is_lost(
    tmp_path: Path, sandbox: str
) -> None:
    script = f"{EDIT}; trap '' TERM HUP INT; while true; do sleep 1; done"
    assert "still running after" in refused(desk(tmp_path, script, sandbox=sandbox, seconds=1.5))
    assert list((tmp_path / "agents").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("rm train.py; ln -s /etc/passwd train.py", "is a link"),
        ("rm train.py; ln -s BRIEF.md train.py", "is a link"),
        ("rm train.py; mkfifo train.py", "is no regular file"),
        ("rm train.py; mkdir train.py", "is no regular file"),
        ("rm train.py", "is gone"),
        ("truncate -s 100001 train.py", "is larger than 100,000 bytes"),
        ("printf '\\377' > train.py", "is not UTF-8"),
        ("echo wrong; exit 3", "ended with exit code 3: wrong"),
        ("mkdir -p a/b; chmod 0 a/b a; rm train.py", "is gone"),
        ("head -c 30000000 /dev/zero > big; sleep 600", "MB of files"),
        ("truncate -s 1G train.py || exit 9", "exit code"),
        ("yes | head -c 40000000", "MB of output"),
        ("for i in $(seq 60); do sleep 600 & done; sleep 600", "processes"),
    ],
)
def test_what_cannot_be_taken_is_a_failed_proposal_with_its_reason(
    tmp_path: Path, script: str, told: str
) -> None:
    assert told in refused(desk(tmp_path, script, kind=Narrow))
    assert list((tmp_path / "agents").iterdir()) == []


def test_a_stop_of_the_campaign_ends_it(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    assert "stopped on request" in refused(desk(tmp_path, "sleep 600", stopping=stop.is_set))


def test_one_at_its_usage_limit_rests_at_once_shows_its_last_line_and_comes_back(
    tmp_path: Path,
) -> None:
    limit, said = tmp_path / "shown" / "limit", list[str]()
    limit.parent.mkdir()
    limit.touch()
    script = f"test -e {limit} && echo working && echo 'You hit your limit; resets 3pm' && exit 1; {EDIT}"
    patience = Patience(breaker_failures=5, first_rest_seconds=0.01)
    shown = {"sandbox": "none", "say": said.append, "patience": patience}
    one = desk(tmp_path, script, **shown)
    with pytest.raises(ProposalFailed, match="exit code 1: You hit your limit") as caught:
        one.work(FILES)
    assert caught.value.resting, "it says nothing of the search"
    limit.unlink()
    while one.is_unavailable():
        time.sleep(0.005)
    assert one.work(FILES).source == "LR = 2\n"
    assert len(said) == 2 and said[1] == "the agent sh works again"
    assert said[0].startswith(
        "the agent sh is paused (You hit your limit; resets 3pm); started again in"
    )


def test_one_that_fails_for_another_reason_rests_after_several_times(tmp_path: Path) -> None:
    patience = Patience(breaker_failures=3, first_rest_seconds=600)
    said = list[str]()
    shown = {"sandbox": "none", "say": said.append, "patience": patience}
    one = desk(tmp_path, "echo no such option; exit 2", **shown)
    for _ in range(2):
        refused(one)
        assert not one.is_unavailable() and not said
    refused(one)
    assert one.is_unavailable() and len(said) == 1 and "no such option" in said[0]
    assert refused(one) == "the agent rests after it failed"


def test_no_more_work_at_once_than_may(tmp_path: Path) -> None:
    one = desk(tmp_path, f"sleep 0.7; {EDIT}")
    threads = [threading.Thread(target=one.work, args=(FILES,)) for _ in range(2)]
    assert not one.is_unavailable()
    began = time.monotonic()
    for thread in threads:
        thread.start()
    while not one.is_unavailable():
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert time.monotonic() - began > 1.4
    assert not one.is_unavailable()


COST = 'echo \'{"tokens_in": 70, "tokens_out": 30, "dollars": 0.25}\' > cost.json'


def test_a_cost_file_is_believed_only_where_the_config_says_so(tmp_path: Path) -> None:
    budget = FakeTokenBudget()
    cost = desk(tmp_path, f"{COST}; {EDIT}", budget=budget).work(FILES).cost
    assert (cost.tokens_in, cost.dollars) == (0, None)
    believed = desk(tmp_path, f"{COST}; {EDIT}", cost_file="cost.json", budget=budget).work(FILES)
    assert (believed.cost.tokens_in, believed.cost.tokens_out, believed.cost.dollars) == (
        70,
        30,
        0.25,
    )
    assert budget.spent_tokens == 100


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"tokens_in": -1}', '{"dollars": "NaN"}', '{"dollars": 1e300}', "[" * 4000]
)
def test_a_cost_file_that_makes_no_sense_leaves_the_cost_unknown(tmp_path: Path, text: str) -> None:
    cost = desk(tmp_path, f"echo '{text}' > c; {EDIT}", cost_file="c").work(FILES).cost
    assert (cost.tokens_in, cost.tokens_out, cost.dollars) == (0, 0, None)


@pytest.mark.parametrize(
    ("command", "settings", "told"),
    [
        (("no-such-agent",), {}, "there is no program 'no-such-agent'"),
        (("/bin/sh",), {"read_only": ["/no/such/folder"]}, "/no/such/folder does not exist"),
        (("/bin/sh",), {"read_only": ["relative"]}, "give absolute paths"),
        (("AGENT",), {}, "cannot be seen in the box; name its folder in agent.read_only"),
    ],
)
def test_an_agent_that_cannot_start_is_told_before_the_campaign_begins(
    tmp_path: Path, command: tuple[str, ...], settings: dict[str, object], told: str
) -> None:
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n" + EDIT)
    program.chmod(0o755)
    with pytest.raises(AgentUnusable, match=told.replace("(", r"\(")):
        desk_of(
            tmp_path, tuple(str(program) if one == "AGENT" else one for one in command), **settings
        )


def test_a_program_of_ones_own_is_found_where_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "agent"
    program.write_text("#!/bin/sh\n" + EDIT)
    program.chmod(0o755)
    for command, shown in (
        (str(program), str(tmp_path / "bin")),
        ("/opt/agents/agent", f"{tmp_path / 'bin'}:/opt/agents"),
    ):
        assert desk_of(tmp_path, (command,), read_only=[shown]).work(FILES).source == "LR = 2\n"


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_what_is_shown_is_found_by_the_name_that_the_user_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: str
) -> None:
    """In the home of whoever looks, and through links: of the path itself and of what is above it."""
    home, disk = tmp_path / "home", tmp_path / "disk"
    (disk / "1.2" / "bin").mkdir(parents=True)
    (disk / "notes").mkdir()
    (home / ".local").mkdir(parents=True)
    (home / ".local" / "bin").symlink_to(disk / "1.2" / "bin")
    (home / "notes").symlink_to(disk / "notes")
    (disk / "notes" / "a.txt").write_text("one of the notes\n")
    (disk / "notes" / "hidden.txt").write_text("hidden text\n")
    monkeypatch.setenv("HOME", str(home))
    program = disk / "1.2" / "bin" / "agent"
    looks = "".join(f"cat {at}/notes/*.txt; " for at in ("~", home, disk))
    program.write_text(f"#!/bin/sh\n{looks}{EDIT}")
    program.chmod(0o755)
    shown = ["~/.local/bin", "~/notes"]
    hide = (disk / "notes" / "hidden.txt",)
    for command in ("~/.local/bin/agent", str(home / ".local/bin/agent"), str(program)):
        one = desk_of(tmp_path, (command,), hide=hide, read_only=shown, sandbox=sandbox)
        worked = one.work(FILES)
        assert worked.source == "LR = 2\n" and worked.said.count("one of the notes") == 3
        assert sandbox == "none" or "hidden text" not in worked.said


def test_what_a_kill_left_behind_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "agents" / "old" / "work"
    left.mkdir(parents=True)
    left.chmod(0)
    desk(tmp_path, EDIT)
    assert not left.parent.exists()


def test_taking_back_never_waits_and_never_follows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for name, told in (("fifo", "no regular file"), ("link", "is a link"), ("none", "is gone")):
        with pytest.raises(ValueError, match=told):
            take_back(tmp_path / name, 10)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_without_a_box_the_config_has_to_say_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evo.evaluation.sandbox.probe import Probe

    monkeypatch.setattr(
        "evo.evaluation.sandbox.agent_box.probe", lambda mode: Probe(denied="No sandbox.")
    )
    with pytest.raises(SandboxUnavailable, match="agent: No sandbox"):
        desk(tmp_path, EDIT)
    assert desk(tmp_path, EDIT, sandbox="none").work(FILES).source == "LR = 2\n"


def test_several_files_are_taken_back_as_one_source_never_through_a_link(tmp_path: Path) -> None:
    files = {"lib/a.py": "A = 1\n", "b.py": "B = 1\n", "BRIEF.md": "x"}
    edit = "echo 'A = 2' > lib/a.py"
    worked = desk(tmp_path, edit, sandbox="none").work(files, ["lib/a.py", "b.py"])
    assert split_files(worked.source) == {"b.py": "B = 1\n", "lib/a.py": "A = 2\n"}
    away = f"mkdir {tmp_path}/out; mv lib/a.py {tmp_path}/out; rmdir lib; ln -s {tmp_path}/out lib"
    with pytest.raises(ProposalFailed, match=r"lib/a\.py as the agent left it leads out"):
        desk(tmp_path, away, sandbox="none").work(files, ["lib/a.py", "b.py"])
