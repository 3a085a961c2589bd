"""The Python that a task runs in: the folder's own, a named one, or one made once of a list of packages."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from evo.evaluation.tree import remove_folder
from evo.lock import Held, hold
from evo.tasks.settings import TaskError, TaskSettings
from operators.source.parse import parse

VENV = ".venv"
CONDA = "conda:"
LISTS = (".txt", ".lock")  # requirements.txt, uv.lock
MADE = "made"  # in an environment that was made whole
SECONDS = 3600.0  # of making one
LOOK_SECONDS = 20.0  # of looking for modules
_LOOK = """
import sys
from importlib.util import find_spec
print(*(one for one in sys.argv[1:] if not find_spec(one)))
"""


def interpreter(task: TaskSettings) -> tuple[Path, tuple[Path, ...]]:
    """The Python of a task, and the folders that it needs to be seen. TaskError where there is none.

    A virtual environment is a folder of links: the interpreter that they lead to has to be seen, too.
    """
    own = task.folder / VENV / "bin" / "python"
    if task.python == "auto":
        python = own if own.exists() else Path(sys.executable)
    elif task.python.startswith(CONDA):
        python = _of_conda(task.python.removeprefix(CONDA))
    elif packages := packages_of(task):
        python = _place_of(packages) / "bin" / "python"
    else:
        python = task.folder / Path(task.python).expanduser()
    if not os.access(python, os.X_OK) or python.is_dir():
        raise TaskError(f"task.python: {python} is no program that can be run")
    python = Path(
        os.path.abspath(python)
    )  # not through its links: by its place it knows its packages
    if python == Path(sys.executable):
        return python, ()
    roots = dict.fromkeys((python.parent.parent, Path(os.path.realpath(python)).parent.parent))
    seen = ("/usr", sys.base_prefix, sys.prefix)
    return python, tuple(
        root for root in roots if not any(root.is_relative_to(one) for one in seen)
    )


def missing_modules(task: TaskSettings, source: str) -> str:
    """What a file imports at its top and the task's Python has not, in words; "" for nothing, or not known yet.

    A package is looked for, not imported: nothing of it runs.
    """
    try:
        python, _ = interpreter(task)
        top = parse(source).body
    except (TaskError, SyntaxError):  # an environment that is still to be made; told as such
        return ""
    named = [alias.name for one in top if isinstance(one, ast.Import) for alias in one.names]
    named += [
        one.module
        for one in top
        if isinstance(one, ast.ImportFrom) and one.module and not one.level
    ]
    names = dict.fromkeys(name.partition(".")[0] for name in named)
    beside = {one.stem for path in task.files for one in (task.folder / path).parent.glob("*")}
    beside |= {one.stem for one in task.folder.glob("*")}
    try:
        done = subprocess.run(
            [python, "-c", _LOOK, *(one for one in names if one not in beside)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=LOOK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    missing = ", ".join(done.stdout.split())
    if not missing:
        return ""
    return f"imports {missing}, which {python} has not: install it there, or name another in task.python"


def packages_of(task: TaskSettings) -> Path | None:
    """The list of packages that `task.python` names, requirements.txt or uv.lock; None for a program."""
    named = task.folder / Path(task.python).expanduser()
    return named if named.suffix in LISTS else None


def make_environment(task: TaskSettings, say: Callable[[str], None]) -> None:
    """Install what the list of a task names, outside the box and with network, where that was not done before.

    Again once the list has changed. TaskError where it fails.
    """
    packages = packages_of(task)
    if packages is None:
        return
    if not packages.is_file():
        raise TaskError(f"task.python: there is no file {packages}")
    place = _place_of(packages)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(place.with_suffix(".held")):
            if (place / MADE).exists():
                return
            say(f"installing what {packages.name} names, once, into {place}")
            remove_folder(place)
            try:
                for command in _commands(packages, place):
                    _run(command, packages, place)
            except TaskError:
                remove_folder(place)
                raise
            (place / MADE).touch()
    except Held as error:
        raise TaskError(f"task.python: {packages.name} is being installed by {error}") from None


def _place_of(packages: Path) -> Path:
    """Where the environment of this list lies: another list, or another Python, has another."""
    said = f"{packages.name} {sys.version}".encode() + packages.read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "evotrain" / "environments" / hashlib.sha256(said).hexdigest()[:16]


def _commands(packages: Path, place: Path) -> list[list[str]]:
    if packages.suffix == ".lock":
        return [
            ["uv", "sync", "--frozen", "--no-install-project", "--project", str(packages.parent)]
        ]
    install = ["install", "--quiet", "--disable-pip-version-check", "-r", str(packages)]
    if find_spec("pip") is None:
        made = [sys.executable, "-m", "venv", str(place)]
        return [made, [str(place / "bin" / "python"), "-m", "pip", *install]]
    made = [sys.executable, "-m", "venv", "--without-pip", str(place)]
    return [
        made,
        [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), *install],
    ]


def _run(command: list[str], packages: Path, place: Path) -> None:
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(place)}
    try:
        done = subprocess.run(
            command,
            cwd=packages.parent,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except FileNotFoundError:
        raise TaskError(
            f"task.python: {packages.name} needs {command[0]}, which is not here"
        ) from None
    except subprocess.TimeoutExpired:
        raise TaskError(f"task.python: installing {packages} took more than an hour") from None
    if done.returncode:
        said = next((one for one in reversed(done.stderr.splitlines()) if one.strip()), "no reason")
        raise TaskError(f"task.python: {packages} cannot be installed: {said.strip()}")


def _of_conda(name: str) -> Path:
    """The Python of a conda environment, wherever conda keeps them here. TaskError."""
    roots = [os.environ.get("CONDA_ROOT"), os.environ.get("MAMBA_ROOT_PREFIX")]
    if program := os.environ.get("CONDA_EXE"):
        roots.append(str(Path(program).parents[1]))
    usual = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda")
    places = [Path(one) for one in roots if one]
    places += [Path.home() / one for one in usual] + [Path("/opt/conda")]
    for place in places:
        python = place / "envs" / name / "bin" / "python"
        if python.exists():
            return python
    raise TaskError(
        f"task.python: there is no conda environment {name} in {', '.join(map(str, places))}; give the path of "
        "its python"
    )
