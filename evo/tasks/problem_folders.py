"""The problem folders of OpenEvolve and Shinka as they are: what in them stands for keys of a campaign file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evo.tasks.settings import DRIVER, TaskError
from evo.yaml_reading import BadYaml, read_yaml

OPENEVOLVE, SHINKA = "openevolve", "shinka"
BEGINNING = {OPENEVOLVE: "initial_program.*", SHINKA: "initial.*"}
EVALUATOR = {OPENEVOLVE: "evaluator.py", SHINKA: "evaluate.py"}
CONFIG = "config.yaml"
SECONDS = 300.0  # of a run, where the folder says nothing
THRESHOLDS = (0.5, 0.75, 0.9)  # of stages, where it says nothing
SCORE = "combined_score"


@dataclass(frozen=True, slots=True)
class ProblemFolder:
    """What was found: the program that evolves, seconds a run, thresholds of stages, the brief, keys unused."""

    kind: str
    program: str
    seconds: float = SECONDS
    thresholds: tuple[float, ...] | None = None
    brief: str = ""
    unused: tuple[str, ...] = field(default=())

    @property
    def command(self) -> str:
        """The line that scores the program."""
        line = f"python {DRIVER}/run.py {self.program} {{out}}"
        if self.kind == SHINKA:
            return line
        told = "null" if self.thresholds is None else str(list(self.thresholds)).replace(" ", "")
        return f"{line} {told}"


def kind_in(folder: Path) -> str | None:
    """Whose problem folder it is, by the names in it; None for neither."""
    for kind, evaluator in EVALUATOR.items():
        if (folder / evaluator).is_file() and any(folder.glob(BEGINNING[kind])):
            return kind
    return None


def read_folder(kind: str, folder: Path) -> ProblemFolder:
    """What a folder says. TaskError where the program or the evaluator is missing, or its config is no YAML."""
    found = sorted(one for one in folder.glob(BEGINNING[kind]) if one.is_file())
    if not (folder / EVALUATOR[kind]).is_file():
        raise TaskError(
            f"task.folder: {folder} has no {EVALUATOR[kind]}, which a task of kind {kind} has"
        )
    if len(found) != 1:
        raise TaskError(
            f"task.folder: {folder} has {len(found) or 'no'} {BEGINNING[kind]}; name the program that evolves: "
            "task.files"
        )
    program = found[0].name
    if kind == SHINKA or not (folder / CONFIG).is_file():
        return ProblemFolder(kind, program, thresholds=None if kind == SHINKA else THRESHOLDS)
    try:
        given = read_yaml((folder / CONFIG).read_text(encoding="utf-8"))
    except (BadYaml, UnicodeDecodeError) as error:
        raise TaskError(f"task.folder: {folder / CONFIG} cannot be read: {error}") from error
    return _told(program, given if isinstance(given, Mapping) else {})


def _told(program: str, given: Mapping[str, Any]) -> ProblemFolder:
    evaluator, prompt = (
        one if isinstance(one := given.get(key), Mapping) else {} for key in ("evaluator", "prompt")
    )
    seconds = evaluator.get("timeout")
    stages = evaluator.get("cascade_thresholds", THRESHOLDS)
    cascade = str(evaluator.get("cascade_evaluation", "true")).lower() not in ("false", "off", "no")
    used = {"evaluator.timeout", "evaluator.cascade_thresholds", "evaluator.cascade_evaluation"}
    used |= {"prompt.system_message"}
    named = [
        f"{key}.{inner}" if isinstance(value, Mapping) else key
        for key, value in given.items()
        for inner in (value if isinstance(value, Mapping) else ("",))
    ]
    return ProblemFolder(
        OPENEVOLVE,
        program,
        float(seconds) if isinstance(seconds, int | float) and seconds > 0 else SECONDS,
        tuple(float(one) for one in stages if isinstance(one, int | float)) if cascade else None,
        str(prompt.get("system_message") or ""),
        tuple(one for one in named if one not in used),
    )


def completed(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keys and values of a campaign file with what its problem folder says; what is given there stands."""
    task = dict(values["task"])
    found = read_folder(task["kind"], folder)
    task.setdefault("files", [found.program])
    task.setdefault("command", found.command)
    rungs = values.get("rungs") or {"proxy": {}}
    if isinstance(rungs, Mapping):
        rungs = {
            name: {"budget": found.seconds, **one} if isinstance(one, Mapping) else one
            for name, one in rungs.items()
        }
    beside = {
        "metrics": {SCORE: {"file": "{out}/metrics.json", "key": SCORE}},
        "objectives": [{"name": SCORE, "direction": "maximise"}],
    }
    return {**beside, **values, "rungs": rungs, "task": task}
