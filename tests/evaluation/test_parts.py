"""Slots, process trees and wires."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.evaluation.audit import shape_for
from evo.evaluation.channels import Wires, drain
from evo.evaluation.data import corrupted
from evo.evaluation.roles import (
    ADDED_TIMES,
    COMPILE_SHARE,
    COMPILED_AHEAD,
    CompiledCode,
    read_compiled,
)
from evo.evaluation.slots import find_slots
from evo.evaluation.tree import ProcessTree, folder_bytes, remove_folder


def test_without_a_gpu_there_is_a_slot_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    slots = find_slots()
    assert [slot.cpus for slot in slots] == [(core,) for core in sorted(os.sched_getaffinity(0))]
    assert len({slot.name for slot in slots}) == len(slots)
    assert find_slots(1) == slots[:1]
    with pytest.raises(ValueError, match="cores"):
        find_slots(len(slots) + 1)
    with pytest.raises(ValueError, match="less than one"):
        find_slots(0)


def test_with_gpus_there_is_a_slot_for_each_visible_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, GPU-aa'\necho '1, GPU-bb'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [(s.gpu, s.gpu_uuid, s.device) for s in find_slots()] == [
        (0, "GPU-aa", "cuda"),
        (1, "GPU-bb", "cuda"),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    assert [slot.name for slot in find_slots()] == ["gpu1"]


PARENT_THAT_WAITS_FOR_NOBODY = """
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    end = time.process_time() + 0.4
    while time.process_time() < end: pass
    print('burnt', flush=True)
    sys.stdin.readline()
    os._exit(0)
time.sleep(600)
"""


def test_a_tree_counts_children_that_ended_and_were_not_waited_for() -> None:
    command = [sys.executable, "-S", "-c", PARENT_THAT_WAITS_FOR_NOBODY]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, bufsize=0) as started:  # type: ignore[call-overload]
        tree = ProcessTree(started.pid)
        try:
            assert started.stdout.readline() == "burnt\n"
            both = tree.read(64)
            assert both.processes == 2 and both.cpu_seconds >= 0.39  # to a tick
            started.stdin.write("end\n")
            while (seen := tree.read(64)).processes == 2:
                time.sleep(0.01)
            assert seen.processes == 1
            assert both.cpu_seconds <= seen.cpu_seconds < both.cpu_seconds + 0.3  # and once
            assert tree.note_peak() >= seen.rss_bytes > 0
        finally:
            assert tree.kill(root_last=False)
    assert started.returncode == -9


BEHIND = """
import ctypes, os, threading, time
def work():
    time.sleep(0.2)
    if os.fork() == 0:
        time.sleep(60)
    held = bytearray(b"x") * (128 << 20)
    time.sleep(60)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall({}, 0)
"""


def test_a_process_whose_first_thread_has_exited_is_counted_and_ended_whole() -> None:
    source = BEHIND.format(60 if os.uname().machine == "x86_64" else 93)
    with subprocess.Popen([sys.executable, "-S", "-c", source]) as started:
        tree = ProcessTree(started.pid)
        try:
            deadline = time.monotonic() + 20
            while (seen := tree.read(64)).rss_bytes < 128 << 20 or seen.processes < 2:
                assert time.monotonic() < deadline, seen
                time.sleep(0.01)
            assert f"{started.pid} (python) Z" in Path(f"/proc/{started.pid}/stat").read_text()
            assert min(tree.note_peak(), tree.shared_once_bytes()) >= 100 << 20
        finally:
            assert tree.kill(root_last=False)
    assert started.returncode == -9


HOLDS = "held = bytearray(b'x') * (64 << 20); print('held', flush=True); input()"


def test_a_process_that_ends_while_the_tree_is_read_counts_for_no_memory() -> None:
    both = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {HOLDS!r}], stdin=subprocess.PIPE)
input()
child.communicate(b"\\n")
print("gone", flush=True)
input()
"""
    command = [sys.executable, "-S", "-c", both]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdin and started.stdout
        tree = ProcessTree(started.pid)
        try:
            assert started.stdout.readline() == b"held\n"
            assert tree.read(64).rss_bytes > 64 << 20
            assert tree.shared_once_bytes() > 64 << 20
            started.stdin.write(b"\n")
            started.stdin.flush()
            assert started.stdout.readline() == b"gone\n"
            assert tree.shared_once_bytes() < 64 << 20
        finally:
            assert tree.kill(root_last=False)


WORKS_EVERYWHERE = """
import os, sys, threading
def work(name):
    for count in range(1 << 40):
        os.pwrite(name, b"%20d" % count, 0)
for _ in range(2):
    os.fork()
files = [os.open(f"{sys.argv[1]}/{os.getpid()}-{n}", os.O_RDWR | os.O_CREAT) for n in range(2)]
threading.Thread(target=work, args=files[:1]).start()
work(files[1])
"""


def test_a_stopped_tree_stands_still_in_every_thread_and_goes_on_afterwards(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", WORKS_EVERYWHERE, str(tmp_path)]
    with subprocess.Popen(["/bin/sh", "-c", '"$@" & wait', "sh", *command]) as started:
        tree = ProcessTree(started.pid)

        def counts() -> dict[str, str]:
            return {file.name: file.read_text() for file in tmp_path.iterdir()}

        def wait_for_all_to_move(before: dict[str, str]) -> None:
            deadline = time.monotonic() + 60
            while len(now := counts()) < 8 or any(now[name] == before.get(name) for name in now):
                assert time.monotonic() < deadline
                time.sleep(0.01)

        try:
            wait_for_all_to_move({})
            assert tree.stop(60.0)
            before = counts()
            time.sleep(0.05)
            assert counts() == before
            tree.go_on()
            wait_for_all_to_move(before)
        finally:
            assert tree.kill(root_last=False)


def test_shared_memory_cannot_be_resized_by_its_other_user() -> None:
    wires = Wires(4096)
    try:
        for size in (0, 8192):
            with pytest.raises(PermissionError):
                os.ftruncate(wires.shared, size)
    finally:
        wires.close()


def test_a_pipe_is_drained_in_rounds_and_its_end_is_seen() -> None:
    wires = Wires(0)
    try:
        assert drain(wires.log, 100) == b""
        os.write(wires.log_end, b"x" * 150)
        assert drain(wires.log, 100) == b"x" * 100
        wires.hand_over()
        assert drain(wires.log, 100) == b"x" * 50
        assert drain(wires.log, 100) is None
    finally:
        wires.close()


@given(st.integers(2, 70000 % 65536), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_corruption_keeps_what_is_before_the_cut_and_nothing_after(
    vocab: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, vocab, (5, length)).astype(np.uint16)
    cuts = rng.integers(1, length, 5) if length > 1 else np.ones(5, dtype=np.int64)
    other = corrupted(rows, cuts, vocab, rng)
    before = np.arange(length) < cuts[:, None]
    assert ((other == rows) == before).all()
    assert (other < vocab).all()


def test_answers_stay_small_however_large_the_vocabulary() -> None:
    assert shape_for(128, 256).rows == 64
    assert shape_for(1024, 65536).rows == 1
    assert shape_for(512, 1024).reply_bytes <= 32 << 20


def test_a_folder_deeper_than_any_path_is_noticed_and_removed_whole(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):  # more than Python recurses
        os.mkdir("d" * 60, dir_fd=here)
        deeper = os.open("d" * 60, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    with pytest.raises(OSError, match="too long"):
        folder_bytes(top, 20_000)
    remove_folder(top)
    assert not top.exists()


def test_folders_and_links_that_a_run_left_are_removed_and_nothing_behind_them(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_text("x")
    (top / "a" / "link").symlink_to(tmp_path)
    (top / "a" / "b").chmod(0)
    (top / "a").chmod(0o300)
    remove_folder(top)
    assert not top.exists() and kept.read_text() == "kept"


def test_compiled_code_is_read_through_no_link_and_what_cannot_be_read_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, hidden = tmp_path / "compiled", tmp_path / "hidden"
    for one in (folder, hidden):
        (one / "inductor").mkdir(parents=True)
        (one / "inductor" / "kernel.py").write_text(one.name)
    assert read_compiled(folder) == {"inductor/kernel.py": b"compiled"}
    (folder / "more").symlink_to(hidden)
    assert read_compiled(folder) == {"inductor/kernel.py": b"compiled"}
    (folder / "one.py").symlink_to(hidden / "inductor" / "kernel.py")
    assert read_compiled(folder) == {}
    link = tmp_path / "link"
    link.symlink_to(hidden)
    assert read_compiled(link) == {}, "a role put it in the place of its folder"
    (folder / "one.py").unlink()
    monkeypatch.chdir(folder)
    for _ in range(45):
        Path("f" * 250).touch()
        Path("d" * 99).mkdir()
        monkeypatch.chdir("d" * 99)
    assert read_compiled(folder) == {}
    monkeypatch.chdir(tmp_path)
    remove_folder(folder)


def test_what_a_variant_adds_to_compiled_code_is_bounded_by_what_the_seed_compiled() -> None:
    code = CompiledCode()
    code.cold_seconds["proxy"] = 2.0
    seed, told = {"seed.py": os.urandom(200_000)}, list[float]()
    blob = os.urandom(ADDED_TIMES * 200_000)

    def found(variant: str, added: dict[str, bytes]) -> Mapping[str, bytes]:
        def compile(begun: Mapping[str, bytes], seconds: float) -> Mapping[str, bytes]:
            told.append(seconds)
            return {**begun, **added}

        return code.of("proxy", variant, lambda: seed, compile)

    assert found("small", {"own.so": blob[:-1000]}) == {**seed, "own.so": blob[:-1000]}
    assert found("large", {"own.so": blob, "more.so": blob[:1000]}) == seed
    assert found("code", {"own.cpp": b"x += 1;" * 200_000}).keys() == {"seed.py", "own.cpp"}
    assert found("zeros", {"own.so": bytes(9 * len(blob))}) == seed
    assert found("spoils", {"seed.py": b"another's"}) == seed
    assert told == [COMPILE_SHARE * 2.0] * 5
    assert not code.facts("proxy", seed)
    assert code.facts("proxy", found("small", {})) == {COMPILED_AHEAD: "1 files, 599 kB packed"}
