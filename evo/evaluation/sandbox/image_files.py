"""Which of this machine's files a role needs: Python, its packages, a compiler, and their libraries."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Set
from importlib import metadata
from pathlib import Path

OWN = "evotrain"
WANTED = (
    "torch",
    "safetensors",
    "numpy",
    "scipy",
    "psutil",
)  # and whatever is not there for us alone
TOOLS = ("pip", "wheel", "uv")
NOT_OF_PYTHON = {"site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip"}
NOT_OF_PACKAGES = {"torch/bin", "torch/test", "tests"}
STILL_OF_PACKAGES = {"torch": ("torch/bin/torch_shm_manager",)}
SUFFIXES_LEFT_OUT = (".a", ".opt-1.pyc", ".opt-2.pyc", ".pyi")
PROGRAMS = (
    "sh bash env prlimit sleep cat true false echo uname ls cp mv rm mkdir chmod touch mktemp head tail sort "
    "wc tr cut grep sed awk mawk dirname basename readlink id nproc lscpu which test expr date ldconfig "
    "openssl ar nm objdump objcopy ranlib strip readelf c++filt"
)
SEARCHED = "/usr/bin:/bin:/usr/sbin:/sbin"
COMPILERS = ("gcc", "g++", "cc", "c++", "as", "ld")
OF_COMPILER = (
    "cc1",
    "cc1plus",
    "collect2",
    "liblto_plugin.so",
    "lto-wrapper",
    "libgcc.a",
    "libgcc_eh.a",
)
NOT_OF_COMPILER = {
    "lto1",
    "f951",
    "gnat1",
    "d21",
    "go1",
    "gm2",
    "cc1obj",
    "cc1objplus",
    "plugin",
    "adalib",
}
LINKED = (
    *("crt1.o", "crti.o", "crtn.o", "Scrt1.o", "libc_nonshared.a", "libgcc_s.so", "libstdc++.so"),
    *("libgomp.so", "libgomp.spec", "libc.so", "libm.so", "libdl.a", "libpthread.a", "librt.a"),
)
HEADERS = ("c++", "linux", "asm-generic", "asm", "bits", "sys", "gnu")
LIBRARIES = ("libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1", "libm.so.6", "libmvec.so.1")
DRIVER = ("libcuda", "libnvidia", "libnvcu")  # of a GPU: opened by name
OTHERS = ("/etc/ld.so.cache", "/usr/lib/locale/C.utf8")
SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
PT_LOAD, PT_DYNAMIC, DT_NEEDED, DT_STRTAB = 1, 2, 1, 5


class Files:
    """Regular files and links by where they lie; the folders in between follow from them."""

    def __init__(self) -> None:
        self.plain: dict[str, os.stat_result] = {}
        self.links: dict[str, str] = {}

    def add(self, path: str | Path, without: Set[str] = frozenset()) -> None:
        """A file, a link and what it leads to, or a whole folder less the names or paths in `without`."""
        place = self._real_folder(os.path.dirname(path)) + "/" + os.path.basename(path)
        if os.path.islink(place):
            self._add_link(place)
        elif os.path.isdir(place):
            self._add_folder(place, without)
        elif os.path.isfile(place):
            self.plain[place] = os.stat(place)

    def _add_link(self, place: str) -> None:
        if place not in self.links:
            self.links[place] = target = os.readlink(place)
            self.add(os.path.normpath(os.path.join(os.path.dirname(place), target)))

    def _add_folder(self, folder: str, without: Set[str]) -> None:
        for entry in os.scandir(folder):
            inside = f"{os.path.basename(folder)}/{entry.name}"
            if entry.name.endswith(SUFFIXES_LEFT_OUT) or entry.name in without or inside in without:
                continue
            if entry.is_symlink():
                self._add_link(entry.path)
            elif entry.is_dir():
                self._add_folder(entry.path, without)
            elif entry.is_file():
                self.plain[entry.path] = entry.stat()

    def _real_folder(self, folder: str) -> str:
        """The folder behind all links on the way to it, which are kept."""
        real = ""
        for number, name in enumerate(parts := folder.split("/")[1:]):
            if not name:
                continue
            real = f"{real}/{name}"
            if os.path.islink(real):
                self.links[real] = target = os.readlink(real)
                ahead = os.path.normpath(os.path.join(os.path.dirname(real), target))
                return self._real_folder("/".join([ahead, *parts[number + 1 :]]))
        return real


def files_of_a_role() -> Files:
    """What training and compiling need, by what is installed. OSError where something cannot be read."""
    files = Files()
    for link in filter(os.path.islink, SYSTEM_LINKS):
        files.links[link] = os.readlink(link)
    for name in OTHERS:
        files.add(name)
    _add_python(files)
    for name in packages():
        for place in _places(name):
            files.add(place, NOT_OF_PACKAGES - ({"tests"} if name == "numpy" else set()))
        for path in STILL_OF_PACKAGES.get(name, ()):
            files.add(str(metadata.distribution(name).locate_file(path)))
    for name in (*PROGRAMS.split(), *COMPILERS):
        if found := shutil.which(name, path=SEARCHED):
            files.add(found)
    _add_compiler(files)
    _add_libraries(files)
    return files


def packages() -> list[str]:
    """The packages that a train.py may import: torch and its like, and all that is not there for us alone."""
    ours = _needed_by((OWN,), extras=True) | {_plain(name) for name in (OWN, *TOOLS)}
    every = {
        _plain(one.metadata["Name"]) for one in metadata.distributions() if one.metadata["Name"]
    }
    # What somebody installed beside us may need a package that we need, too.
    return sorted(every & _needed_by((*WANTED, *(every - ours))) - {OWN})


def _needed_by(names: Iterable[str], extras: bool = False) -> set[str]:
    left, found = list(map(_plain, names)), set[str]()
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        left += [
            _plain(re.split(r"[^\w.-]", need, maxsplit=1)[0])
            for need in needs
            if "extra ==" not in need or (extras and name == OWN)
        ]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _places(name: str) -> set[Path]:
    """The files and folders at the top of where a package is installed."""
    one = metadata.distribution(name)
    home = Path(str(one.locate_file("")))
    if one.files is None:  # not installed by pip: by the names it may have
        top = name.replace("-", "_")
        return {place for place in (home / top, home / f"{top}.py") if place.exists()}
    tops_of = {Path(file).parts[0] for file in one.files}
    return {home / top for top in tops_of if top not in ("..", "/", "__pycache__")}


def _add_python(files: Files) -> None:
    files.add(Path(sys.executable))
    settings = Path(sys.prefix, "pyvenv.cfg")
    if settings.exists():
        files.add(settings)
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    for name in ("stdlib", "platstdlib", "include"):
        folder = Path(sysconfig.get_path(name, vars={**base, "installed_base": sys.base_prefix}))
        if folder.is_dir():
            files.add(folder, NOT_OF_PYTHON)
    if shared := sysconfig.get_config_var("INSTSONAME"):
        library = Path(str(sysconfig.get_config_var("LIBDIR")), str(shared))
        if library.exists():
            files.add(library)


def _add_compiler(files: Files) -> None:
    """gcc as torch.compile and triton call it: C and C++, with the C library's headers."""
    gcc = shutil.which("gcc", path="/usr/bin:/bin")
    if gcc is None:
        return
    names = [f"-print-prog-name={name}" for name in OF_COMPILER[:3]]
    names += [f"-print-file-name={name}" for name in (*OF_COMPILER[3:], *LINKED, "include")]
    for name in names:
        said = subprocess.run(
            [gcc, name], capture_output=True, encoding="utf-8", check=False
        ).stdout.strip()
        if os.path.isabs(said) and os.path.exists(said):
            files.add(Path(os.path.normpath(said)))
    runtime = subprocess.run(
        [gcc, "-print-libgcc-file-name"], capture_output=True, encoding="utf-8", check=False
    )
    if os.path.isabs(runtime.stdout):
        files.add(os.path.dirname(runtime.stdout), NOT_OF_COMPILER)
    triplet = subprocess.run(
        [gcc, "-dumpmachine"], capture_output=True, encoding="utf-8", check=False
    )
    include = Path("/usr/include")
    for name in (*HEADERS, triplet.stdout.strip()):
        if name and (include / name).is_dir():
            files.add(include / name)
    for path in include.glob("*.h"):
        files.add(path)


def _add_libraries(files: Files) -> None:
    """The shared libraries of the system that anything in the image names, and what those name."""
    known = _system_libraries()
    wanted = {*LIBRARIES, *(name for name in known if name.startswith(DRIVER))}
    looked: set[str] = set()
    while left := [path for path in files.plain if path not in looked and _is_binary(path)]:
        looked.update(left)
        wanted |= {name for path in left for name in needed_libraries(Path(path))}
        for name in wanted & known.keys():
            files.add(known[name])
    for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if os.path.exists(loader):
            files.add(Path(loader))


def _is_binary(path: str) -> bool:
    return ".so" in os.path.basename(path) or os.access(path, os.X_OK)


def _system_libraries() -> dict[str, Path]:
    """What the loader finds by name, by its own list."""
    kind = {"x86_64": "x86-64", "aarch64": "AArch64"}.get(os.uname().machine, os.uname().machine)
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if ldconfig is None:
        raise OSError("no ldconfig: the libraries that Python needs cannot be found")
    said = subprocess.run(
        [ldconfig, "-p"], capture_output=True, encoding="utf-8", check=True
    ).stdout
    found: dict[str, Path] = {}
    for name, about, path in re.findall(r"^\t(\S+) \((.*?)\) => (.+)$", said, flags=re.M):
        if kind in about:
            found.setdefault(name, Path(path))
    return found


def needed_libraries(path: Path) -> Iterator[str]:
    """The names of the libraries that an ELF file of 64 bits asks for; none for any other file."""
    with path.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01" or len(head) < 64:
            return
        at, size, count = (
            *struct.unpack_from("<Q", head, 32),
            *struct.unpack_from("<HH", head, 54),
        )
        file.seek(at)
        segments = [struct.unpack("<IIQQQQQQ", file.read(size)[:56]) for _ in range(count)]
        loads = [(one[3], one[2], one[5]) for one in segments if one[0] == PT_LOAD]
        for _, _, offset, _, _, length, _, _ in [one for one in segments if one[0] == PT_DYNAMIC]:
            file.seek(offset)
            entries = list(struct.iter_unpack("<QQ", file.read(length // 16 * 16)))
            names = [value for tag, value in entries if tag == DT_NEEDED]
            table = next((value for tag, value in entries if tag == DT_STRTAB), None)
            start = next((o for v, o, n in loads if table is not None and v <= table < v + n), None)
            if table is None or start is None:
                return
            base = next(o + table - v for v, o, n in loads if v <= table < v + n)
            for name in names:
                file.seek(base + name)
                yield file.read(256).split(b"\0", 1)[0].decode(errors="replace")
