"""What lies outside a box can be neither read nor changed nor reached."""

from __future__ import annotations

import json
import os
import socket
import uuid
from pathlib import Path

import pytest

from evo.evaluation.data import Dataset
from evo.evaluation.sandbox.sandbox import Sandbox
from population.types import Status

from .boxes import every_box, every_rung
from .conftest import RUNG, Evaluate
from .variants import variant

TRIES = """
import ctypes, errno, fcntl, pathlib, platform, resource, socket
libc = ctypes.CDLL(None, use_errno=True)

def tried(action):
    try:
        return repr(action())
    except OSError as error:
        return 'denied: ' + errno.errorcode.get(error.errno, str(error))

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), 'call')

def changed(path, change):
    # some boxes say that it worked and do nothing: what counts is what is there afterwards
    before = os.stat(path)
    change()
    after = os.stat(path)
    if (before.st_mode, before.st_uid, before.st_mtime) == (after.st_mode, after.st_uid, after.st_mtime):
        raise OSError(0, 'nothing changed')

def marked(path):
    os.setxattr(path, 'user.x', b'1')
    return os.getxattr(path, 'user.x')

def connect(family, address):
    with socket.socket(family) as one:
        one.settimeout(1)
        one.connect(address)

def datagram():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto(b'x', LOCAL)

spec = json.loads(os.environ['EVOTRAIN_RUN'])
code, home = os.path.dirname(harness.__file__), os.environ['HOME']
print(json.dumps({
    'read': tried(lambda: open(SECRET).read()),
    'corpus': tried(lambda: open(CORPUS, 'rb').read(1)),
    'homes': tried(lambda: os.listdir(HOME)),
    'environment': tried(lambda: open(f'/proc/{PARENT}/environ').read()),
    'memory': tried(lambda: open(f'/proc/{PARENT}/mem', 'rb')),
    'list': tried(lambda: os.listdir(os.path.dirname(SECRET))),
    'write': tried(lambda: open(SECRET, 'w')),
    'truncate': tried(lambda: os.truncate(SECRET, 0)),
    'append code': tried(lambda: open(code + '/train.py', 'a')),
    'new code': tried(lambda: open(code + '/more.py', 'w')),
    'data': tried(lambda: open(spec['data'][0], 'r+b')),
    'python': tried(lambda: open(os.__file__, 'a')),
    'device': tried(lambda: open('/dev/filler', 'w')),
    'shared': tried(lambda: open(SHARED, 'w')),
    'root': tried(lambda: open('/filler', 'w')),
    'device node': tried(lambda: os.mknod('node', 0o20666, os.makedev(1, 3))),
    'link': tried(lambda: os.link(SECRET, 'linked')),
    'remove': tried(lambda: os.remove(spec['weights'])),
    'replace': tried(lambda: os.symlink('x', 'y') or os.replace('y', spec['weights'])),
    'chmod': tried(lambda: changed(SECRET, lambda: os.chmod(SECRET, 0o777))),
    'chmod code': tried(lambda: changed(code + '/train.py', lambda: os.chmod(code + '/train.py', 0o707))),
    'utime': tried(lambda: changed(SECRET, lambda: os.utime(SECRET, (1, 1)))),
    'utime data': tried(lambda: changed(spec['data'][0], lambda: os.utime(spec['data'][0], (1, 1)))),
    'chown': tried(lambda: changed(SECRET, lambda: os.chown(SECRET, 1, 1))),
    'attribute': tried(lambda: marked(code + '/train.py')),
    'tcp': tried(lambda: connect(socket.AF_INET, ('127.0.0.1', PORT))),
    'unix': tried(lambda: connect(socket.AF_UNIX, LOCAL)),
    'datagram': tried(datagram),
    'abstract': tried(lambda: connect(socket.AF_UNIX, chr(0) + ABSTRACT)),
    'vsock': tried(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
    'netlink': tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    'signal': tried(lambda: os.kill(PARENT, 9)),
    'limit': tried(lambda: resource.prlimit(PARENT, resource.RLIMIT_NOFILE, (16, 16))),
    'userns': tried(lambda: call(272 if platform.machine() == 'x86_64' else 97, 0x10000000)),
    'affinity': tried(lambda: os.sched_setaffinity(0, range(os.cpu_count()))),
    'nice': tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, 1)),
    'ring': tried(lambda: call(425, 8, 0)),
    'lease': tried(lambda: fcntl.fcntl(os.open(code + '/train.py', os.O_RDONLY), 1024, 0)),
    'locks': tried(lambda: fcntl.lockf(open(code + '/train.py'), fcntl.LOCK_SH) or
                   fcntl.fcntl(open(code + '/train.py'), fcntl.F_GETLK, bytes(32))),
}))
print(json.dumps(sorted(os.environ)))
"""
# What a namespace answers with a thing of its own instead of an error, and why that does not matter.
HARMLESS = {"homes"}  # an empty folder, where Python lies below a home


@every_box
def test_a_variant_reads_changes_and_reaches_nothing_outside(
    evaluate: Evaluate,
    sandbox: Sandbox,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    secret = tmp_path / "secret"
    secret.write_text("unchanged")
    before, shared = secret.stat(), f"/dev/shm/evotrain-{uuid.uuid4().hex}"
    with Listening(tmp_path) as listening:
        names = {
            "SECRET": str(secret),
            "CORPUS": str(dataset.sources[0] / "sotu.txt.xz"),
            "HOME": str(Path.home()),
            "SHARED": shared,
            "PORT": listening.port,
            "LOCAL": str(listening.local),
            "ABSTRACT": listening.abstract,
            "PARENT": os.getpid(),
        }
        settings = "\n".join(f"{name} = {value!r}" for name, value in names.items())
        seen = evaluate(variant(end=settings + TRIES), sandbox)
    assert seen.status is Status.OK, seen.reason
    tries, environment = (json.loads(line) for line in seen.log_tail.strip().splitlines()[-2:])
    through = {name: result for name, result in tries.items() if "denied" not in result}
    harmless = HARMLESS | ({"shared"} if sandbox.name == "bwrap" else set())  # its own, in memory
    assert through.keys() <= harmless, through
    assert ".ssh" not in tries["homes"] and ".bashrc" not in tries["homes"]
    assert secret.read_text() == "unchanged" and not Path(shared).exists()
    assert (secret.stat().st_mode, secret.stat().st_mtime) == (before.st_mode, before.st_mtime)
    assert "OPENAI_API_KEY" not in environment and "SSH_AUTH_SOCK" not in environment


class Listening:
    """Sockets of every kind that a variant must not reach."""

    def __init__(self, folder: Path) -> None:
        self.local, self.abstract = folder / "socket", f"evotrain-{uuid.uuid4().hex}"
        self._open = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._open[0].getsockname()[1]

    def __enter__(self) -> Listening:
        for address in (str(self.local), "\0" + self.abstract):
            one = socket.socket(socket.AF_UNIX)
            one.bind(address)
            one.listen()
            self._open.append(one)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            one.close()


HABITS = """
import ctypes, multiprocessing, resource, shutil, subprocess
import psutil

def works(action):
    try:
        action()
    except (OSError, psutil.Error):
        return False
    return True

def execute():
    with open(os.open('own', os.O_CREAT | os.O_WRONLY, 0o755), 'wb') as file:
        file.write(open('/bin/true', 'rb').read())
    subprocess.run(['./own'], check=True)

IN_PROC = ('cpuinfo', 'devices', 'filesystems', 'meminfo', 'stat', 'uptime', 'version', 'vmstat', 'self/status')

def chmod():
    os.chmod('plain', 0o600)

open('plain', 'w').close()
print(json.dumps({
    'psutil': works(lambda: psutil.Process().memory_info()),
    '/dev/stdin': works(lambda: open('/dev/stdin')),
    '/dev/fd': works(lambda: os.listdir('/dev/fd')),
    'getrusage': works(lambda: resource.getrusage(resource.RUSAGE_SELF)),
    'own program': works(execute),
    'copy': works(lambda: shutil.copy('plain', 'copied')),
    'copyfile': works(lambda: shutil.copyfile('plain', 'copied too')),
    'chmod': works(chmod),
    'lock of processes': works(multiprocessing.Lock),
    'proc': [name for name in IN_PROC if works(lambda: open('/proc/' + name))],
}))
print(json.dumps({
    'core': resource.getrlimit(resource.RLIMIT_CORE),
    'file': resource.getrlimit(resource.RLIMIT_FSIZE)[0] >> 20,
    'descriptors': resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    'no new rights': ctypes.CDLL(None).prctl(39, 0, 0, 0, 0),
    'input': __import__('sys').stdin.read(),
}))
"""
ALWAYS = {"getrusage", "copyfile"}
IN_NAMESPACES = {"own program", "copy", "chmod", "lock of processes"}
FOUND = {  # as docs/security.md tells those who write honest scripts
    "bwrap": (
        ALWAYS | IN_NAMESPACES,
        ["cpuinfo", "devices", "filesystems", "meminfo", "stat", "version"],
    ),
    "landlock": (ALWAYS | {"/dev/stdin"}, ["cpuinfo", "filesystems", "version"]),
}


@every_rung
def test_an_honest_script_finds_what_the_page_says_and_the_limits_of_every_run(
    evaluate: Evaluate, sandbox: Sandbox
) -> None:
    seen = evaluate(variant(end=HABITS), sandbox)
    assert seen.status is Status.OK, seen.reason
    habits, limits = map(json.loads, seen.log_tail.strip().splitlines()[-2:])
    in_proc = habits.pop("proc")
    if sandbox.name in FOUND:
        assert ({name for name, held in habits.items() if held}, in_proc) == FOUND[sandbox.name]
    assert limits == {
        "core": [0, 0],
        "file": RUNG.memory_mb,
        "descriptors": 1024,
        "no new rights": 1,
        "input": "",
    }
