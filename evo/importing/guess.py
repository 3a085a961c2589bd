"""What a repository is, guessed from its files: the campaign file that takes it as it is. Nothing is run."""

from __future__ import annotations

from pathlib import Path

from evo.config import SHIPPED
from evo.importing.results import ImportFailure
from evo.importing.script import read_script
from evo.tasks.autoresearch import takes_what_is_there
from evo.tasks.problem_folders import kind_in, read_folder
from evo.tasks.settings import TaskError
from evo.tasks.starting import config_of_folder, goal_of, starting_config

MAX_METRICS, MAX_SETTINGS = 3, 8  # that are told


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
            raise TaskError(f"{source}: there is no {file}; --file names the script that evolves")
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
        script = read_script(code)
    except (TaskError, SyntaxError, UnicodeDecodeError) as error:
        raise ImportFailure(str(error)) from error
    if script.score is None:
        raise ImportFailure(
            f"{source / file} prints no figure that reads as a score; say how it is run and what it prints: "
            f'--command "python {file}" --metric "val loss {{}}" --goal min'
        )
    line, metric = script.score
    seeded = script.seed.split()[1] if script.seed.startswith("argument") else ""
    command = f"python {file}" + (f" {seeded} {{seed}}" if seeded else "")
    goal = goal_of(metric)
    said = [
        f'guessed: the score is the line "{metric}" ({file} line {line}), {goal} is better',
        f"guessed: seed: {script.seed}"
        + ("" if seeded else "; literal seeds are mixed with the block"),
    ]
    others = [one for at_, one in script.metrics if at_ != line][:MAX_METRICS]
    if others:
        said.append(f"it also prints: {'; '.join(others)}")
    constants = ", ".join(f"{one.name} {one.value:g}" for one in script.settings[:MAX_SETTINGS])
    if constants:
        said.append(f"could be knobs, with a comment each: {constants}")
    text = starting_config(folder, source, file, command, metric, goal, said)
    return {"campaign.yaml": text.encode(), "brief.md": brief}, said, file
