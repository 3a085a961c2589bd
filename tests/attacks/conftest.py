"""What attacks reach for, and a look around after each: nothing of it may be left."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.evaluation.conftest import alive, box, dataset, evaluate, no_box, quick, sandbox, slot

__all__ = ["box", "dataset", "evaluate", "no_box", "quick", "sandbox", "slot"]  # fixtures

ROOT = Path(__file__).parents[2]
SECRET = "sk-attack-canary-5ecre7"
MARK = f"evotrain-attack-{os.getpid()}"  # of this process alone: another may attack beside it


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    """A key, a file, sockets and a bystander that no run may reach; by the names attacks call them."""
    monkeypatch.setenv("EVOTRAIN_TEST_KEY", SECRET)
    canary = tmp_path / "canary"
    canary.write_text("hidden")
    before = canary.stat()
    bystander = subprocess.Popen(["sleep", "600"])
    path, abstract = str(tmp_path / "socket"), f"target-{os.getpid()}-{id(tmp_path)}"
    addresses = [path, f"\0{abstract}"]
    listeners = [socket.create_server(("127.0.0.1", 0))]
    port = listeners[0].getsockname()[1]
    try:
        for address in addresses:
            listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listeners[-1].bind(address)
            listeners[-1].listen()
        for kind, address in (
            (socket.AF_INET, ("127.0.0.1", port)),
            (socket.AF_UNIX, f"\0{abstract}-d"),
        ):
            listeners.append(socket.socket(kind, socket.SOCK_DGRAM))
            listeners[-1].bind(address)
        yield {
            "CANARY": str(canary),
            "MARK": MARK,
            "REPOSITORY": str(ROOT),
            "WORKSPACES": str(tmp_path / "workspaces"),
            "SECRET": SECRET,
            "PARENT": str(os.getpid()),
            "BYSTANDER": str(bystander.pid),
            "PORT": str(port),
            "SOCKET": path,
            "ABSTRACT": abstract,
        }
        for listener in listeners:  # a connection or a datagram that nobody made
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                _ = listener.accept() if listener.type is socket.SOCK_STREAM else listener.recv(1)
        assert bystander.poll() is None, "a bystander was killed"
        after = canary.stat()
        assert (canary.read_text(), after.st_mode, after.st_mtime) == (
            "hidden",
            before.st_mode,
            before.st_mtime,
        )
    finally:
        for listener in listeners:
            listener.close()
        bystander.kill()
        bystander.wait()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No process, mount, file, shared memory, queue or socket of an attack."""
    yield
    assert not alive(MARK) and not alive(str(tmp_path)), "a process is left"
    assert not [line for line in _lines("/proc/self/mountinfo") if str(tmp_path) in line]
    assert not _ipc(), "an IPC object is left"
    for folder in ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), str(ROOT)):
        assert not [name for name in os.listdir(folder) if name.startswith(MARK)], (
            f"a file is left in {folder}"
        )
    assert MARK not in Path("/proc/net/unix").read_text(), "a socket is left"


def _ipc() -> list[str]:
    keys = [
        line.split()[0]
        for kind in ("shm", "msg", "sem")
        for line in _lines(f"/proc/sysvipc/{kind}")
    ]
    return [key for key in keys if key == str(0x5EED5EED)]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
