"""Which Python a task runs in, and one that is made once of a list of packages."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path
from shutil import which

import pytest

from evo.tasks.interpreters import interpreter, make_environment
from evo.tasks.settings import TaskError, TaskSettings
from population.types import Status
from tests.tasks.test_command import measured


def write_wheel(folder: Path, value: int) -> str:
    """A package of one module, as an index would give it; its name."""
    name = "answer-1.0-py3-none-any.whl"
    files = {
        "answer.py": f"VALUE = {value}\n",
        "answer-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: answer\nVersion: 1.0\n",
        "answer-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digest = {
        path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for path, text in files.items()
    }
    record = "".join(f"{path},sha256={digest[path]},{len(text)}\n" for path, text in files.items())
    files["answer-1.0.dist-info/RECORD"] = record + "answer-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskSettings:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "requirements.txt").write_text(f"./{write_wheel(tmp_path / 'mine', 42)}\n")
    return TaskSettings(
        kind="command",
        folder=tmp_path / "mine",
        command="python train.py",
        python="requirements.txt",
    )


def test_a_list_of_packages_is_installed_once_and_again_when_it_changes(task: TaskSettings) -> None:
    said: list[str] = []
    make_environment(task, said.append)
    first, seen = interpreter(task)
    assert list(first.parent.parent.glob("lib/*/site-packages/answer.py"))
    assert first.parent.parent in seen
    make_environment(task, said.append)
    assert len(said) == 1 and "installing what requirements.txt names, once" in said[0]
    packages = task.folder / "requirements.txt"
    packages.write_text(f"# one more line\n{packages.read_text()}")
    make_environment(task, said.append)
    assert len(said) == 2 and interpreter(task)[0] != first


LOCKED = """
[project]
name = "mine"
version = "0"
requires-python = ">=3.11"
dependencies = ["answer"]
[tool.uv.sources]
answer = {path = "answer-1.0-py3-none-any.whl"}
"""
CAMPAIGN = """
name: locked
task: {kind: command, folder: mine, command: python train.py, python: uv.lock}
metrics: {score: {line: "score {}"}}
objectives: [{name: score}]
rungs: {proxy: {budget: 60}}
budget: {variants: 1}
"""


@pytest.mark.sandbox
@pytest.mark.skipif(which("uv") is None, reason="uv is not here")
def test_what_uv_lock_names_is_installed_and_found_by_a_run_in_the_box(
    task: TaskSettings, tmp_path: Path
) -> None:
    (task.folder / "pyproject.toml").write_text(LOCKED)
    (task.folder / "train.py").write_text("import answer\nprint('score', answer.VALUE)\n")
    (tmp_path / "locked.yaml").write_text(CAMPAIGN)
    for value in (42, 43):  # another lock: another environment
        write_wheel(task.folder, value)
        (task.folder / "uv.lock").unlink(missing_ok=True)
        subprocess.run(["uv", "lock", "--offline", "-q"], cwd=task.folder, check=True)
        run = measured(tmp_path / "locked.yaml")
        assert (run.status, run.reason, run.metrics.get("score")) == (Status.OK, "", value)
    places = tmp_path / "cache" / "evotrain" / "environments"
    assert len(list(places.glob("*/made"))) == 2 and not (task.folder / ".venv").exists()
    (task.folder / "uv.lock").write_text("version = 1\nnothing = [\n")
    with pytest.raises(TaskError, match=r"uv\.lock cannot be installed: "):
        make_environment(task.model_copy(update={"python": "uv.lock"}), lambda text: None)


def test_a_list_that_cannot_be_installed_says_so_and_leaves_nothing(
    task: TaskSettings, tmp_path: Path
) -> None:
    (task.folder / "requirements.txt").write_text("./nowhere.whl\n")
    with pytest.raises(TaskError, match=r"requirements\.txt cannot be installed: .*nowhere"):
        make_environment(task, lambda text: None)
    assert not list((tmp_path / "cache" / "evotrain" / "environments").glob("*/"))
    gone = task.model_copy(update={"python": "other.txt"})
    with pytest.raises(TaskError, match=r"there is no file .*other\.txt"):
        make_environment(gone, lambda text: None)


def test_a_conda_environment_is_found_by_its_name(
    task: TaskSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "conda" / "envs" / "torch" / "bin"
    place.mkdir(parents=True)
    (place / "python").symlink_to("/bin/sh")
    monkeypatch.setenv("CONDA_ROOT", str(tmp_path / "conda"))
    named = task.model_copy(update={"python": "conda:torch"})
    make_environment(named, lambda text: None)
    assert interpreter(named)[0] == place / "python"
    with pytest.raises(TaskError, match=r"no conda environment other in .*give the path"):
        interpreter(task.model_copy(update={"python": "conda:other"}))
