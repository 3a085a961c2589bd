"""The `task` of a campaign file: which command is run on which files, and where its figures are found."""

from __future__ import annotations

import re
import re._parser as sre  # type: ignore[import-not-found]  # how a pattern is built
import string
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evo.evaluation.static_check import check_source, check_syntax
from evo.tasks.autoresearch import PREPARE, takes_what_is_there
from evo.tasks.marks import marks_objection
from population.file_set import MAX_FILES, is_python, is_sound, paths_of, split_files
from population.metrics import METRICS, SEARCHABLE

MAX_FILE_BYTES = 200_000  # of one file that evolves
PLACEHOLDERS = ("seed", "out", "python", "depth")
# What we read ourselves of a run of any command; everything else is the script's word.
MEASURED = ("wall_seconds", "cpu_seconds", "peak_memory_mb", "added_nodes")
# Keys that mean something to the sealed training alone.
NOT_OF_A_COMMAND = ("data", "allow_repeats", "clock", "exact", "stopping")
NOT_OF_ITS_RUNG = ("context", "rows", "startup_seconds")


class TaskError(Exception):
    """The task cannot be used as it stands; the message names the folder, the key and the fix."""


class MetricSettings(BaseModel):
    """Where one figure of a run is found: in a line that it prints, or in a JSON file that it writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str | None = Field(
        default=None, description="a line with {} for the number, or re: and a pattern"
    )
    file: str | None = Field(default=None, description="a JSON file that a run writes")
    key: str | None = Field(default=None, description="in that file, dots between levels")
    pick: Literal["last", "first", "min", "max", "mean"] = "last"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.line is None) == (self.file is None):
            raise ValueError('give either line: "accuracy: {}", or file and key')
        if (self.file is None) != (self.key is None):
            raise ValueError("file and key belong together: file: results.json, key: eval.accuracy")
        if self.line is not None and not self.line.startswith("re:") and "{}" not in self.line:
            raise ValueError(f"line: {self.line!r} has no {{}} where the number stands")
        if self.line is not None and self.line.startswith("re:"):
            try:
                groups = re.compile(self.line[3:].strip()).groups
            except re.error as error:
                raise ValueError(f"line: {self.line!r} is no pattern: {error}") from error
            if repeats_a_repeat(self.line[3:].strip()):
                raise ValueError(
                    f"line: {self.line!r} repeats what repeats: on a line made for it that takes for ever, "
                    "and a script chooses its lines; write the inner one with ++ or *+, or use a line with {}"
                )
            if groups not in (1, 2):
                raise ValueError(f"line: {self.line!r} needs one group around the number")
        return self

    @property
    def in_words(self) -> str:
        """Where it is looked for."""
        return f'the line "{self.line}"' if self.file is None else f"{self.key} in {self.file}"


class TaskSettings(BaseModel):
    """What evolves where it is no train.py under our contract.

    A command that trains and tells its score; or the train.py of an autoresearch repository, sealed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["command", "autoresearch"]
    folder: Path = Field(default=Path(), description="what a run sees; by default the config's")
    files: tuple[str, ...] = Field(
        default=("train.py",),
        min_length=1,
        max_length=MAX_FILES,
        description="what evolves: paths in that folder, * for any name",
    )
    command: str = Field(default="", description="one line of shell, in that folder")
    seed: Literal["auto", "mix", "none"] = Field(
        default="auto",
        description="what a block changes; auto: {seed} where it is named, else mix: literal seeds",
    )
    python: str = Field(
        default="auto", description="what `python` is; auto: the folder's .venv, else ours"
    )
    environment: tuple[str, ...] = Field(
        default=(), description="NAME=value sets a variable, NAME hands ours on"
    )
    read_only: tuple[str, ...] = Field(
        default=(), description="more that a run may read: PATH, or PATH:PLACE in the box"
    )

    @field_validator("files")
    @classmethod
    def _inside(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for one in files:
            path = PurePosixPath(one)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"{one}: name the files inside task.folder")
        return files

    @field_validator("command")
    @classmethod
    def _known_placeholders(cls, command: str) -> str:
        try:
            named = [
                name for _, name, _, _ in string.Formatter().parse(command) if name is not None
            ]
        except ValueError as error:
            raise ValueError(f"{error}; a brace that is meant as one is written twice") from error
        if unknown := [name for name in named if name not in PLACEHOLDERS]:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(
                f"there is nothing to put for {{{unknown[0]}}}; known: {known}. A brace that is meant as one "
                "is written twice"
            )
        return command

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.kind == "command" and not self.command.strip():
            raise ValueError('command: how is it run? "python train.py --seed {seed}"')
        if self.kind == "autoresearch":
            given = self.model_fields_set & {
                "command",
                "python",
                "environment",
                "read_only",
                "seed",
            }
            used = [key for key in sorted(given) if getattr(self, key) not in ("", "auto", ())]
            if used or self.files != ("train.py",):
                raise ValueError(
                    f"{(used or ['files'])[0]}: an autoresearch train.py is run by us, under our seal; "
                    "kind: command runs a command of yours"
                )
        return self

    @property
    def file(self) -> str:
        """What evolves, in words: the file by its path inside the folder, or the files."""
        return ", ".join(self.files)

    @property
    def alone(self) -> bool:
        """Whether one Python file evolves, which is its own source; else a source names its files."""
        return len(self.files) == 1 and is_python(self.files[0])

    def texts(self, source: str) -> dict[str, str]:
        """What a source has in each file that evolves, by path."""
        return {self.files[0]: source} if self.alone else split_files(source)

    @property
    def mixes(self) -> bool:
        """Whether the literal seeds of the files that evolve are mixed with the block."""
        named = any("{seed}" in one for one in (self.command, *self.environment))
        return self.seed == "mix" or (self.seed == "auto" and not named)


def repeats_a_repeat(pattern: str) -> bool:
    """Whether a repeat without a limit stands inside another, as in (a+)+: matching may take for ever."""
    return _repeats(sre.parse(pattern), False)


def _repeats(part: object, inside: bool) -> bool:
    if isinstance(part, sre.SubPattern):
        part = part.data
    if isinstance(part, tuple) and len(part) == 2 and part[0] in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        _, most, repeated = part[1]
        endless = most == sre.MAXREPEAT
        return (endless and inside) or _repeats(repeated, inside or endless)
    if isinstance(part, list | tuple):
        return any(_repeats(one, inside) for one in part)
    return False


def objection_to(source: str, seed: str, task: TaskSettings | None) -> str | None:
    """Why a source cannot be run, in one line; None when nothing speaks against it.

    `seed`: the source that the campaign began with. Without a task it has to keep the contract of train.py.
    """
    if task is None:
        return check_source(source, seed)
    if task.kind == "autoresearch":
        return check_source(source, seed, PREPARE) or takes_what_is_there(source)
    if paths_of(source) != paths_of(seed) or not is_sound(source):
        return f"it does not consist of {task.file}, each once below the line that names it"
    before = task.texts(seed)
    for path, text in task.texts(source).items():
        if len(text.encode(errors="replace")) > MAX_FILE_BYTES:
            return f"{path} is larger than {MAX_FILE_BYTES:,} bytes"
        said = check_syntax(text) if is_python(path) else None
        if said := said or marks_objection(text, before[path]):
            return said if task.alone else f"{path}: {said}"
    return None if task.alone else check_syntax(source)  # as a whole it is not too large either


def refuse_metrics(metrics: Iterable[str], searched: Iterable[tuple[str, str]]) -> None:
    """ValueError for metrics of a command that cannot be told apart from ours, or that nothing gives.

    `searched`: key and metric of what the campaign searches by.
    """
    named = list(metrics)
    for name in named:
        if name in METRICS:
            raise ValueError(
                f"metrics: {name} is the name of a figure that we measure, and a script's word is not that: "
                f"call yours reported_{name}, and name that in objectives"
            )
    for key, name in searched:
        if name not in (*named, *MEASURED):
            known = ", ".join((*named, *MEASURED))
            ours = " (of a sealed train.py alone)" if name in SEARCHABLE else ""
            raise ValueError(f"{key}: a command gives no metric {name!r}{ours}; known: {known}")
