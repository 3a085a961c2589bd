"""Control groups: found only where they are ours to divide, and gone after use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evo.evaluation.sandbox.cgroups import Group, Parents, find_parents, parents


def v2(folder: Path, controllers: str, enabled: str) -> Path:
    """What a v2 group's folder looks like."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(enabled)
    return folder


def mount(point: Path, kind: str = "cgroup2", options: str = "rw", root: str = "/") -> str:
    """One line of mountinfo."""
    return f"30 23 0:26 {root} {point} rw,nosuid - {kind} cgroup {options}\n"


def test_a_v2_group_at_the_root_of_what_is_mounted_is_ours(tmp_path: Path) -> None:
    v2(tmp_path, "cpu memory pids", "memory pids")
    found = find_parents("0::/\n", mount(tmp_path))
    assert found.folders == (("pids", tmp_path), ("memory", tmp_path), ("cpuacct", tmp_path))


def test_a_v2_group_counts_cpu_time_whatever_its_controllers(tmp_path: Path) -> None:
    v2(tmp_path, "", "")
    found = find_parents("0::/\n", mount(tmp_path))
    assert found.controllers == ("cpuacct",)
    group = Group(found, 1, 1)
    (made,) = tmp_path.glob("evotrain-*")
    assert group.cpu_seconds() is None
    (made / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert group.cpu_seconds() == 2.5


def test_a_container_that_sees_its_own_group_as_the_root_may_use_it(tmp_path: Path) -> None:
    found = find_parents(
        "4:memory:/docker/1f\n", mount(tmp_path, "cgroup", "rw,memory", "/docker/1f")
    )
    assert found.folders == (("memory", tmp_path),)


def test_a_group_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    v2(tmp_path / "user.slice", "memory pids", "memory pids")
    assert not find_parents("0::/user.slice\n", mount(tmp_path)).folders
    lines = "4:memory:/service/7\n8:pids:/\n"
    mounts = mount(tmp_path, "cgroup", "rw,memory") + mount(tmp_path, "cgroup", "rw,pids")
    assert find_parents(lines, mounts).controllers == ("pids",)


def test_a_delegated_group_is_ours(tmp_path: Path) -> None:
    inside = v2(tmp_path / "user.slice" / "evo.scope", "memory pids", "pids memory")
    try:
        os.setxattr(inside, "user.delegate", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    found = find_parents("0::/user.slice/evo.scope\n", mount(tmp_path))
    assert dict(found.folders)["memory"] == inside


def test_nothing_is_held_where_there_are_no_groups() -> None:
    group = Group(Parents(), 1, 1)
    assert not group and not group.ran_out_of_memory()
    group.add(os.getpid())
    group.close()


def test_limits_are_written_as_each_version_wants_them(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    for parent in (Parents((("pids", tmp_path), ("memory", tmp_path))),):
        group = Group(parent, 64, 1 << 30)
        (made,) = tmp_path.glob("evotrain-*")
        assert (made / "pids.max").read_text() == "64"
        assert (made / "memory.max").read_text() == str(1 << 30)
        (made / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
        assert group.ran_out_of_memory()
        (made / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")
        assert not group.ran_out_of_memory()


@pytest.mark.skipif("cpuacct" not in parents().controllers, reason="no group counts here")
def test_a_real_group_counts_children_that_nobody_waited_for() -> None:
    group = Group(parents(), 64, 1 << 30)
    source = (
        "import os, signal, sys, time\nsys.stdin.readline()\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "for _ in range(50):\n    if os.fork() == 0:\n"
        "        while time.process_time() < 0.01: pass\n        os._exit(0)\n"
        "try:\n    os.wait()\nexcept ChildProcessError:\n    pass\n"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", source], stdin=subprocess.PIPE) as one:
        assert one.stdin
        group.add(one.pid)
        one.stdin.close()
        assert one.wait(60) == 0
    used = group.cpu_seconds()
    group.close()
    assert used is not None and used > 0.5


@pytest.mark.skipif("pids" not in parents().controllers, reason="no pids group is ours here")
def test_a_real_group_holds_the_number_of_processes_and_ends_them() -> None:
    group = Group(parents(), 4, 1 << 30)
    gate = "read -r go; for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; wait"
    shell = subprocess.Popen(
        ["/bin/sh", "-c", gate],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert shell.stdin and shell.stderr
    with shell.stdin, shell.stderr:
        group.add(shell.pid)
        shell.stdin.write(b"go\n")
        shell.stdin.flush()
        assert b"fork" in shell.stderr.readline()
        assert 1 < len(group._members()) <= 4
        group.close()
        shell.wait(60)
    assert not list(dict(parents().folders)["pids"].glob(f"evotrain-{os.getpid()}-*"))
