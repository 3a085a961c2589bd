"""A run that tries to break out and says which tries got through: run by the probe inside each box.

SETTINGS, written in by the probe: canary (a file), port (TCP), datagrams (a UDP port), local (a socket file),
abstract (a socket name), supervisor and victim (process ids), scratch (bytes), word (marks the orphan).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SETTINGS: dict[str, Any] = {}


def works(*actions: Callable[[], object]) -> bool:
    """Whether any of these got through."""
    for action in actions:
        try:
            action()
        except OSError:
            continue
        return True
    return False


def write() -> None:
    """Change the canary."""
    with open(SETTINGS["canary"], "w", encoding="utf-8") as file:
        file.write("changed")


def empty() -> None:
    """Empty the canary, asking only to read it."""
    os.close(os.open(SETTINGS["canary"], os.O_RDONLY | os.O_TRUNC))


def link() -> None:
    """Bring the canary in under another name."""
    os.link(SETTINGS["canary"], "linked")


def read(path: str) -> None:
    """Open and read."""
    with open(path, "rb") as file:
        file.read(1)


def connect(family: int, address: str | tuple[str, int]) -> None:
    """Reach a socket of the host."""
    with socket.socket(family) as one:
        one.settimeout(1)
        one.connect(address)


def send(port: int) -> None:
    """A datagram to the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"out", ("127.0.0.1", port))


def spread() -> None:
    """Take a core that we were not given."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if os.sched_getaffinity(0) == before:
        raise OSError("no core gained")


def orphan() -> None:
    """Leave a process behind, with nothing of our environment."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 1 << 10)
            wait = "import time; time.sleep(60)"
            os.execve(sys.executable, [sys.executable, "-S", "-c", wait, SETTINGS["word"]], {})
        os._exit(0)
    os.wait()


def fill() -> None:
    """Take more of the folder that we may write to than its tmpfs is to hold; the kernel answers at once."""
    with open("filled", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, SETTINGS["scratch"] + (1 << 20))
    os.unlink("filled")


def main() -> None:
    """All tries; one line of JSON."""
    canary = SETTINGS["canary"]
    report = {
        "written": works(write, empty, link),
        "read": works(
            lambda: read(canary),
            lambda: os.listdir(os.path.dirname(canary)),
            lambda: read(f"/proc/{SETTINGS['supervisor']}/environ"),
        ),
        "seen": works(lambda: os.stat(canary)),
        "connected": works(
            lambda: connect(socket.AF_INET, ("127.0.0.1", SETTINGS["port"])),
            lambda: connect(socket.AF_UNIX, SETTINGS["local"]),
            lambda: connect(socket.AF_UNIX, "\0" + SETTINGS["abstract"]),
        ),
        "signalled": works(lambda: os.kill(SETTINGS["victim"], signal.SIGKILL)),
        "filled": SETTINGS["scratch"] > 0 and works(fill),
        "spread": works(spread),
    }
    # Whether these arrived is for the other side to say.
    works(lambda: send(SETTINGS["datagrams"]))
    for change in (lambda: os.chmod(canary, 0o604), lambda: os.utime(canary, (1, 1))):
        works(change)
    orphan()
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
