"""What a repository is, guessed from its files: the campaign file that takes it as it is. Nothing is run."""

from __future__ import annotations

from pathlib import Path

from evo.config import SHIPPED
from evo.importing.results import ImportFailure
from evo.importing.script import Script, imported_by, read_script
from evo.tasks.autoresearch import takes_what_is_there
from evo.tasks.problem_folders import kind_in, read_folder
from evo.tasks.settings import TaskError
from evo.tasks.starting import config_of_folder, goal_of, packages_in, starting_config

MAX_METRICS, MAX_SETTINGS = 3, 8  # that are told
MAX_BESIDE = 100  # scripts beside one that are read


def guess(folder: Path, source: Path, file: str) -> tuple[dict[str, bytes], list[str], str]:
    """The files to start from with a repository as it is, what was guessed of it, and the file that evolves.

    `folder`: where they will lie; `source`: the repository; `file`: the script in it. ImportFailure where
    nothing can be guessed.
    """
    brief = (SHIPPED / "configs" / "brief-task.md").read_bytes()
    try:
        if kind := kind_in(source):
            found = read_folder(kind, source)
            said = [f"a problem folder of {kind}: {found.program} evolves, its evaluator scores it"]
            if found.unused:
                said.append(f"not used of its config.yaml: {', '.join(found.unused)}")
            text = config_of_folder(folder, source, kind, said)
            brief = found.brief.encode() or brief
            return {"campaign.yaml": text.encode(), "brief.md": brief}, said, found.program
        path = source / file
        if not path.is_file():
            there = ", ".join(sorted(one.name for one in source.glob("*.py"))[:MAX_METRICS])
            raise TaskError(
                f"{source}: there is no {file}; --file names the script that evolves"
                + (f", such as {there}" if there else "")
            )
        code = path.read_text(encoding="utf-8-sig")
        if (source / "prepare.py").is_file() and takes_what_is_there(code) is None:
            said = [
                f"an autoresearch repository: {file} as it is, sealed: we score it, on text it never saw"
            ]
            if (source / "program.md").is_file():  # it tells an agent to loop and to commit
                said.append(
                    "its program.md is not used; what of it is about the goal belongs into brief.md"
                )
            brief = (SHIPPED / "configs" / "brief-autoresearch.md").read_bytes()
            text = config_of_folder(folder, source, "autoresearch", said)
            return {"campaign.yaml": text.encode(), "brief.md": brief}, said, file
        text, said = _of_script(folder, source, file, code)
    except (TaskError, SyntaxError, UnicodeDecodeError) as error:
        raise ImportFailure(str(error)) from error
    return {"campaign.yaml": text.encode(), "brief.md": brief}, said, file


def _of_script(folder: Path, source: Path, file: str, code: str) -> tuple[str, list[str]]:
    """The campaign file for a script that is run as it is, and what was guessed. ImportFailure, SyntaxError."""
    script = read_script(code)
    runs, told_by, teller = _scored(source, file, script, code)
    if teller.score is None:
        raise ImportFailure(
            f"{source / file} prints no figure that reads as a score; say how it is run and what it prints: "
            f'--command "python {file}" --metric "val loss {{}}" --goal min'
        )
    line, metric = teller.score
    seeded = script.seed.split()[1] if script.seed.startswith("argument") else ""
    command = f"python {runs}" + (f" {seeded} {{seed}}" if seeded else "")
    goal = goal_of(metric)
    said = [
        f'guessed: the score is the line "{metric}" ({told_by} line {line}), {goal} is better',
        f"guessed: seed: {script.seed}"
        + ("" if seeded else "; literal seeds are mixed with the block"),
    ]
    if runs != file:
        said.append(f"guessed: {runs} is what is run, for it imports {file} and prints the score")
    if packages := packages_in(source):
        said.append(f"guessed: its packages are those of {packages}, installed once (task.python)")
    others = [one for at_, one in teller.metrics if at_ != line][:MAX_METRICS]
    if others:
        said.append(f"it also prints: {'; '.join(others)}")
    constants = ", ".join(f"{one.name} {one.value:g}" for one in script.settings[:MAX_SETTINGS])
    if constants:
        said.append(f"could be knobs: {constants}")
    return starting_config(folder, source, file, command, metric, goal, said), said


def _scored(source: Path, file: str, script: Script, code: str) -> tuple[str, str, Script]:
    """What is run, and the file that prints the score with what it holds; the script itself where none does.

    The script itself, else a module beside it that it imports, else a script beside it that imports it.
    """
    if script.score is not None:
        return file, file, script
    beside = dict[str, tuple[Script, set[str]]]()
    for path in sorted((source / file).parent.glob("*.py"))[:MAX_BESIDE]:
        try:
            text = path.read_text(encoding="utf-8-sig")
            beside[path.stem] = (read_script(text), imported_by(text))
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
    folder, own = Path(file).parent, Path(file).stem
    for name in sorted(imported_by(code) & beside.keys()):
        if beside[name][0].score is not None:
            return file, (folder / f"{name}.py").as_posix(), beside[name][0]
    for name, (one, imports) in beside.items():
        if own in imports and one.score is not None:
            runs = (folder / f"{name}.py").as_posix()
            return runs, runs, one
    return file, file, script
