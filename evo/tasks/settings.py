"""The `task` of a campaign file: which command is run on which files, and where its figures are found."""

from __future__ import annotations

import os
import re
import re._parser as sre  # type: ignore[import-not-found]  # how a pattern is built
import shlex
import string
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evo.evaluation.static_check import check_source, check_syntax
from evo.tasks.autoresearch import PREPARE, takes_what_is_there
from evo.tasks.marks import marks_objection
from operators.source.constants import tunable, wrong_range
from population.file_set import (
    ADDED,
    MAX_FILES,
    added_objection,
    is_python,
    is_sound,
    paths_of,
    place_of,
    split_files,
)
from population.metrics import JUDGED_PREFIX, METRICS, SEARCHABLE, is_held_out
from population.parsing import MAX_BYTES

DRIVER = (
    "evo-driver"  # the folder of a run that holds what calls an evaluator of OpenEvolve or Shinka
)
MAX_FILE_BYTES = MAX_BYTES  # of one file that evolves
PLACEHOLDERS = ("seed", "out", "python", "gpus")
OURS = "evo-"  # begins the names of what we put beside a script
# What we read ourselves of a run of any command; everything else is the script's word.
MEASURED = ("wall_seconds", "cpu_seconds", "peak_memory_mb", "added_nodes")
# Keys that mean something to the sealed training alone.
NOT_OF_A_COMMAND = ("data", "allow_repeats", "clock", "exact", "stopping")
NOT_OF_ITS_RUNG = ("depth", "context", "rows", "startup_seconds")
NOT_OF_ITS_GROUPS = {"keep": ("weights",), "graduation": ("budget_shares",)}


class TaskError(Exception):
    """The task cannot be used as it stands; the message names the folder, the key and the fix."""


class MetricSettings(BaseModel):
    """Where one figure of a run is found: in a line that it prints, a file that it writes, or by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str | None = Field(
        default=None, description="a line with {} for the number, or re: and a pattern"
    )
    file: str | None = Field(
        default=None, description="a file that a run writes: JSON, .csv or .tsv"
    )
    key: str | None = Field(
        default=None, description="in that file, dots between levels; or the column of a table"
    )
    pick: Literal["last", "first", "min", "max", "mean"] = "last"
    plausible: tuple[float, float] | None = Field(
        default=None, description="what is below the first or above the second is no score"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.line is not None and (self.file is not None or self.key is not None):
            raise ValueError('give either line: "accuracy: {}", or file and key')
        if self.file is not None and self.key is None:
            raise ValueError("file and key belong together: file: results.json, key: eval.accuracy")
        if self.plausible is not None and not self.plausible[0] < self.plausible[1]:
            raise ValueError("plausible: [LOWEST, HIGHEST], the smaller one first")
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
        if self.line is not None:
            return f'the line "{self.line}"'
        if self.file is not None:
            return f"{self.key} in {self.file}"
        return f"{self.key or 'its name'} below a line ---, in a METRIC line, or in {{out}}/metrics.json"


class TaskSettings(BaseModel):
    """What evolves where it is no train.py under our contract.

    A command that trains and tells its score; or the train.py of an autoresearch repository, sealed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["command", "autoresearch", "openevolve", "shinka"]
    folder: Path = Field(default=Path(), description="what a run sees; by default the config's")
    files: tuple[str, ...] | dict[str, dict[str, str]] = Field(
        default=("train.py",),
        min_length=1,
        max_length=MAX_FILES,
        description="what evolves: paths in that folder, * for any name; +parts/*.py: new files, too; below a "
        "path its constants, each with a range",
    )
    command: str | tuple[str, ...] = Field(
        default="",
        description="a line of shell, in that folder; of several all but the last are checks",
    )
    seed: Literal["auto", "mix", "none"] = Field(
        default="auto",
        description="what a block changes; auto: {seed} where it is named, else mix: literal seeds",
    )
    judge: str = Field(
        default="",
        description="a line of shell that grades what a run left in {out}; its folder no run sees",
    )
    python: str = Field(
        default="auto",
        description="what `python` is: a path, conda:NAME, or requirements.txt or uv.lock, installed once; "
        "auto: the folder's .venv, else ours",
    )
    environment: tuple[str, ...] = Field(
        default=(), description="NAME=value sets a variable, NAME hands ours on"
    )
    read_only: tuple[str, ...] = Field(
        default=(), description="more that a run may read: PATH, or PATH:PLACE in the box"
    )

    @field_validator("files", mode="before")
    @classmethod
    def _without_ranges(cls, given: Any) -> Any:
        """A path below which nothing stands has no ranges."""
        named = given.items() if isinstance(given, Mapping) else ()
        return {path: {} if one is None else one for path, one in named} or given

    @field_validator("files")
    @classmethod
    def _inside(
        cls, files: tuple[str, ...] | dict[str, dict[str, str]]
    ) -> tuple[str, ...] | dict[str, dict[str, str]]:
        for one in files:
            path = PurePosixPath(one.removeprefix(ADDED))
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"{one}: name the files inside task.folder")
        there = [one for one in files if not one.startswith(ADDED)]
        if not there:
            first = next(iter(files))
            raise ValueError(f"{first}: which file is there already? [train.py, {first}]")
        ordered = (*there, *(one for one in files if one.startswith(ADDED)))
        return {one: files[one] for one in ordered} if isinstance(files, dict) else ordered

    @field_validator("command", "judge")
    @classmethod
    def _with_braces(cls, given: tuple[str, ...] | str) -> tuple[str, ...] | str:
        lines = (given,) if isinstance(given, str) else given
        for one in lines:
            names_in(one)
        if len(lines) > 1 and not any(" " in one.strip() for one in lines[:2]):
            raise ValueError(f"each is a whole line of shell: write command: {' '.join(lines)}")
        return given

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.kind != "autoresearch" and not (self.lines and all(map(str.strip, self.lines))):
            raise ValueError('command: how is it run? "python train.py --seed {seed}"')
        if self.kind == "autoresearch":
            given = self.model_fields_set & {
                "command",
                "judge",
                "python",
                "environment",
                "read_only",
                "seed",
            }
            used = [key for key in sorted(given) if getattr(self, key) not in ("", "auto", ())]
            if used or self.named != ("train.py",):
                raise ValueError(
                    f"{(used or ['files'])[0]}: an autoresearch train.py is run by us, under our seal; "
                    "kind: command runs a command of yours"
                )
        return self

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of shell of a run: checks, and last what gives the score."""
        return (self.command,) if isinstance(self.command, str) else self.command

    @property
    def hidden(self) -> tuple[str, ...]:
        """The folders inside `folder` that the judge has to itself, by what its line names there. TaskError."""
        if not self.judge:
            return ()
        found = dict[str, None]()
        for word in shlex.split(self.judge, comments=False):
            if "{" in word or not (self.folder / word).is_file():
                continue
            path = PurePosixPath(os.path.normpath(word))
            if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
                raise TaskError(
                    f"task.judge: {word} lies where runs see it: put all that the judge needs into a folder of "
                    f"its own inside {self.folder}, such as judge/, which no run sees"
                )
            found[str(path.parent)] = None
        if not found:
            raise TaskError(
                f"task.judge: it names no file of {self.folder}: python judge/grade.py {{out}}/answers.csv"
            )
        inside = [one for one in self.named if _is_in(one.removeprefix(ADDED), found)]
        if inside:
            raise TaskError(f"task.files: {inside[0]} lies in a folder of the judge")
        return tuple(found)

    @property
    def file(self) -> str:
        """What evolves, in words: the file by its path inside the folder, or the files."""
        return ", ".join(self.paths)

    @property
    def named(self) -> tuple[str, ...]:
        """What `files` names, those that a variant may add last."""
        return tuple(self.files)

    @property
    def ranges(self) -> Mapping[str, str]:
        """The range of each constant that `files` names below its path, as in a knob comment."""
        files = self.files if isinstance(self.files, dict) else {}
        return {name: one for ranges in files.values() for name, one in ranges.items()}

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that evolve and are there from the beginning."""
        return tuple(one for one in self.named if not one.startswith(ADDED))

    @property
    def may_add(self) -> tuple[str, ...]:
        """The patterns of further files that a variant may have."""
        return tuple(one[len(ADDED) :] for one in self.named if one.startswith(ADDED))

    @property
    def alone(self) -> bool:
        """Whether one Python file evolves, which is its own source; else a source names its files."""
        return len(self.named) == 1 and is_python(self.named[0])

    def texts(self, source: str) -> dict[str, str]:
        """What a source has in each file that evolves, by path."""
        return {self.named[0]: source} if self.alone else split_files(source)

    @property
    def mixes(self) -> bool:
        """Whether the literal seeds of the files that evolve are mixed with the block."""
        named = any("{seed}" in one for one in (*self.lines, *self.environment))
        return self.seed == "mix" or (self.seed == "auto" and not named)


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(one) for one in folders)


def names_in(command: str) -> list[str]:
    """The names in braces. ValueError where a brace cannot be read."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(command) if name is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is meant as one is written twice") from error


def refuse_unknown(task: TaskSettings, sets: Iterable[Collection[str]]) -> None:
    """ValueError for a name in braces that nothing is put in for. `sets`: the names that each rung sets."""
    each = [set(one) for one in sets]
    common = set.intersection(*each) if each else set()
    for where, lines, known in (
        ("task.command", task.lines, (*PLACEHOLDERS, *sorted(common))),
        ("task.judge", (task.judge,), PLACEHOLDERS),
    ):
        unknown = [name for line in lines for name in names_in(line) if name not in known]
        if unknown:
            listed = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(
                f"{where}: there is nothing to put for {{{unknown[0]}}}; known: {listed}. `set` of every rung "
                "may name more; a brace that is meant as one is written twice"
            )
    named = {name for line in task.lines for name in names_in(line)}
    if idle := sorted(set().union(*each) - named):
        raise ValueError(f"rungs: set: {idle[0]} stands nowhere in the command as {{{idle[0]}}}")


def refuse_ranges(task: TaskSettings | None, source: str) -> None:
    """TaskError for a constant that `files` names below a file and that the seed has not there."""
    files = task.files if task is not None and isinstance(task.files, dict) else {}
    for path, ranges in files.items():
        if said := wrong_range(source, ranges):
            raise TaskError(f"task.files: {path}: {said}")
        for knob in tunable(source, (), {}, ranges) if ranges else ():
            there = place_of(source, knob.line)[0]
            if knob.name in ranges and there not in ("", path):
                raise TaskError(f"task.files: {path}: {knob.name} is a constant of {there}")


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


def objection_to(
    source: str, seed: str, task: TaskSettings | None, beside: Collection[str] = ()
) -> str | None:
    """Why a source cannot be run, in one line; None when nothing speaks against it.

    `seed`: the source that the campaign began with. Without a task it has to keep the contract of train.py.
    `beside`: the names of modules that stand beside a train.py.
    """
    if task is None:
        return check_source(source, seed, beside=beside)
    if task.kind == "autoresearch":
        return check_source(source, seed, PREPARE, beside) or takes_what_is_there(source)
    if not is_sound(source) or bool(paths_of(source)) != bool(paths_of(seed)):
        return f"it does not consist of {task.file}, each once below the line that names it"
    if said := added_objection(source, seed, task.may_add):
        return f"it does not consist of {task.file}: {said}"
    before = task.texts(seed)
    for path, text in task.texts(source).items():
        if path not in before and path.startswith(OURS):
            return f"{path}: names that begin with {OURS} are ours"
        if len(text.encode(errors="replace")) > MAX_FILE_BYTES:
            return f"{path} is larger than {MAX_FILE_BYTES:,} bytes"
        said = check_syntax(text) if is_python(path) else None
        if said := said or marks_objection(text, before.get(path, "")):
            return said if task.alone else f"{path}: {said}"
    return None if task.alone else check_syntax(source)  # as a whole it is not too large either


def refuse_metrics(
    task: TaskSettings, metrics: Iterable[str], searched: Iterable[tuple[str, str]]
) -> None:
    """ValueError for metrics of a command that cannot be told apart from ours, or that nothing gives.

    `searched`: key and metric of what the campaign searches by.
    """
    named = list(metrics)
    for name in named:
        if name.startswith(JUDGED_PREFIX) and not task.judge:
            raise ValueError(
                f"metrics: {name}: a figure of that name is the judge's, and there is no task.judge"
            )
        if name in METRICS:
            raise ValueError(
                f"metrics: {name} is the name of a figure that we measure, and a script's word is not that: "
                f"call yours reported_{name}, and name that in objectives"
            )
    if len(held_out := [one for one in named if is_held_out(one)]) > 1:
        raise ValueError(
            f"metrics: {' and '.join(held_out)} are both held out; the final comparison tells one: keep one"
        )
    for key, name in searched:
        if is_held_out(name):
            raise ValueError(
                f"{key}: {name} is held out, by its name: nothing is searched by it; name another metric"
            )
        if name not in (*named, *MEASURED):
            known = ", ".join((*named, *MEASURED))
            ours = " (of a sealed train.py alone)" if name in SEARCHABLE else ""
            raise ValueError(f"{key}: a command gives no metric {name!r}{ours}; known: {known}")
