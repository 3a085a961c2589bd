"""What proposes in a campaign: operators with their models, the agent's desk and the user's papers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evo.analysis.edits import bank_of
from evo.assembly.bench import Bench
from evo.config import SHIPPED, Config, ConfigError
from evo.evaluation.sandbox.agent_box import open_box
from evo.folder import AGENTS, DATABASE, Folder
from evo.proposals.agents import AgentDesk
from evo.runtime.budget import Budget
from evo.runtime.recorder import Recorder, StoredCalls
from evo.tasks.marks import END, START
from evo.tasks.settings import TaskSettings
from operators.agent import Desk
from operators.knowledge import Knowledge, Passage
from operators.llm.response_formats import Forms
from operators.llm.settings import LlmSettings, missing_keys
from operators.llm_operators import Ask
from operators.portfolio import Portfolio
from operators.prompting import fill
from operators.registry import (
    CONTROLS,
    WITH_LLM,
    LlmContext,
    OperatorSettings,
    build_operators,
    names_with_llm,
    open_client,
)
from operators.source.constants import tunable
from operators.source.knobs import KnobError, range_text, sound_knobs
from population.file_set import head_of
from population.reading.idea_bank import BankError, BankIdea, joined, read_bank
from population.store import Store, StoreError

MARKED = f"\n- Only what stands between {START} and {END} may change; an edit outside is rejected."
# They turn constants, join or undo what others changed, or need a model: without a knob they make nothing.
NEED_KNOBS = {"nudge", "tune", "merge", "revert", *CONTROLS, *WITH_LLM}
GUESSES = {"nudge", "tune"}  # they turn numbers without a comment where no constant has one
MAX_NAMED = 6  # constants in one sentence


def must_propose(config: Config) -> None:
    """ConfigError when no operator of a population can work here, or when none of its budgets can be spent."""
    for own in config.populations().values():
        _must_propose(own)


def _must_propose(config: Config) -> None:
    open_banks(config, Path("config"))
    asking = names_with_llm(config.operators)
    answers = bool(asking) and config.llm is not None and _can_answer(config.llm)
    weights = {name for name, weight in config.operators.items() if weight > 0}
    if not answers and weights <= set(asking):
        raise _in_want_of_a_model(config)
    if not answers and weights <= NEED_KNOBS:
        _must_have_knobs(config, weights)
    ends = config.budget.variants is not None or config.budget.seconds is not None
    if not ends and not answers and not config.operators.get("agent"):
        raise ConfigError(
            "budget: no model is asked here, so its budget is never spent and the campaign would not end: "
            "give budget.variants or budget.seconds"
        )


def _must_have_knobs(config: Config, operators: Collection[str]) -> None:
    """ConfigError when the seed has nothing that operators without a model could turn."""
    source = config.seed_source()
    try:
        if sound_knobs(source) or (config.task is not None and config.task.ranges):
            return
        names = [knob.name for knob in tunable(source, (), {})]
    except KnobError:
        return  # what does not parse is refused as such
    if names and GUESSES & {*operators}:
        return
    could = "no constant either"
    if names:
        one = "1 constant" if len(names) == 1 else f"{len(names)} constants"
        more = ", ..." if len(names) > MAX_NAMED else ""
        could = f"{one} could be knobs ({', '.join(names[:MAX_NAMED])}{more})"
    raise ConfigError(
        f"{config.train}: nothing could propose a child: no knob and no model. {could}: write "
        f"`{names[0] if names else 'LR'} = ...  # knob: log a b`, or name a model"
    )


def guessed_ranges(config: Config) -> str:
    """Of a seed without knob comments, which constants are turned all the same and how far; "" for others."""
    source = config.seed_source()
    if config.task is not None and config.task.ranges:
        return ""
    try:
        found = () if sound_knobs(source) else tunable(source, (), {})
    except KnobError:
        return ""
    if not found or not any(config.operators.get(name) for name in GUESSES):
        return ""
    told = [f"{one.name} = {one.text} ({range_text(one)})" for one in found[:MAX_NAMED]]
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    first = f"{found[0].name}: {range_text(found[0])}"
    names = f"a comment such as `# knob: {range_text(found[0])}`"
    if config.task is not None:
        names += f" or task.files: {{{config.task.named[0]}: {{{first}}}}}"
    return (
        f"{config.train.name}: no knob comments, so ranges are guessed: {', '.join(told)}{more}; "
        f"{names} names yours"
    )


def _in_want_of_a_model(config: Config) -> ConfigError:
    asking = names_with_llm(config.operators)
    need = "needs" if len(asking) == 1 else "need"
    wanted = f"{', '.join(asking)} {need} a model"
    return ConfigError(f"operators: {wanted}, and {_wanting(config)} is not set")


def build_portfolio(
    config: Config,
    client: Ask | None,
    desk: Desk | None = None,
    ideas: Sequence[BankIdea] = (),
) -> Portfolio:
    """The operators of a config; without a model, those that need none. `ideas`: of its banks."""
    settings = OperatorSettings(config.tune, desk=desk, ideas=tuple(ideas))
    operators = build_operators(config.operators, None, settings, client)
    if not operators:
        raise _in_want_of_a_model(config)
    models = [one.name for one in config.llm.endpoints] if config.llm else []
    return Portfolio(operators, config.operators, config.portfolio, models, CONTROLS)


def open_models(
    config: Config,
    budget: Budget,
    recorder: Recorder,
    stopping: threading.Event,
    say: Callable[[str], None],
    tell: Callable[[str], None],
    forms: Forms | None = None,
    reviews: bool = False,
) -> Ask | None:
    """What answers for the models of a config; None when no operator asks, or no endpoint has its key.

    `reviews`: also where no operator asks, since a model reviews.

    `say` hears of it now, `tell` of models that are paused and come back while the campaign runs.
    """
    if not reviews and not names_with_llm(config.operators):
        return None
    if config.llm is None or not _can_answer(config.llm):
        wanting = _wanting(config)
        say(f"no language model ({wanting} not set): running on the operators that need none")
        return None
    calls = StoredCalls(recorder)
    context = LlmContext(config.llm, budget, calls, stopping.is_set, say=tell, forms=forms)
    try:
        return open_client(context)
    except StoreError as error:
        raise ConfigError(f"llm: replay: {error}") from error


def open_desk(
    config: Config,
    folder: Folder,
    bench: Bench,
    budget: Budget,
    stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> Desk | None:
    """Where the agent of a config works; None when it has none that is used. `tell` hears when it rests."""
    if config.agent is None or not config.operators.get("agent"):
        return None
    harness = SHIPPED / "seed" / "harness.py"
    box = open_box(config.agent, hide=bench.hidden)
    work = (folder.path / AGENTS).resolve()
    return AgentDesk(
        config.agent, harness, work, box, stopping, budget,
        seed=bench.evaluator.seed_source, say=tell,
    )  # fmt: skip


def open_banks(
    config: Config, file: Path, tell: Callable[[str], None] = lambda text: None
) -> list[BankIdea]:
    """The ideas of all banks of a config, each once; none where `transplant` is not used.

    ConfigError for a bank that cannot be used; `tell` hears of every line that is left out. `file`: the config.
    """
    if not config.operators.get("transplant"):
        return []
    found = list[BankIdea]()
    for bank in map(Path, config.transplant.banks):
        try:
            if bank.is_dir():
                with Store.open(bank / DATABASE, read_only=True) as store:
                    ideas = bank_of(store)
                found += [replace(one, bank=bank.name) for one in ideas]
                continue
            ideas, wrong = read_bank(bank)
        except (BankError, StoreError) as error:
            raise ConfigError(
                f"{file}: transplant.banks: {error}; name one that is there, "
                "or leave transplant out of operators"
            ) from error
        found += ideas
        for one in wrong:
            tell(f"{one}; it is left out")
    return joined(found)


def open_papers(
    folder: Folder, config: Config, tell: Callable[[str], None], island: str = ""
) -> Callable[[str, int], tuple[Passage, ...]] | None:
    """How the user's papers are searched; None without any, or when no model would read them."""
    if config.knowledge is None or not names_with_llm(config.operators):
        return None
    if not config.knowledge.is_dir():
        raise ConfigError(f"{folder.config}: knowledge: no folder {config.knowledge}")
    index = f"knowledge-{island}.db" if island else "knowledge.db"
    return Knowledge(config.knowledge, folder.path / index, tell).find


def _can_answer(llm: LlmSettings) -> bool:
    """Whether any endpoint has its key, or records answer for them."""
    return llm.replay is not None or any(one.key(os.environ) for one in llm.endpoints)


def _wanting(config: Config) -> str:
    """What is to be set before a model can be asked."""
    names = missing_keys(config.llm, os.environ) if config.llm else ("llm: endpoints",)
    return ", ".join(names)


def contract_in_words(config: Config, bench: Bench) -> str:
    """What every train.py of a campaign can rely on, for models."""
    if config.command is not None:
        return command_in_words(config, config.command, bench)
    assert bench.dataset is not None
    data, rung = bench.dataset, bench.rungs[0]
    on_cpu = all(slot.device == "cpu" for slot in bench.slots)
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "is not installed"
    return fill(
        "contract.md" if config.task is None else "autoresearch.md",
        pieces=str(len(data.pieces(0))),
        token_type=data.token_type,
        tokens=f"{data.tokens(0):,}",
        context=str(rung.context),
        vocab=str(data.vocab),
        top=str(data.vocab - 1),
        device="One CPU core and one thread" if on_cpu else "One GPU",
        memory=str(rung.memory_mb),
        torch=torch,
    )


def _files_in_words(task: TaskSettings) -> str:
    """How a source of several files is read and edited."""
    added = ", ".join(f"`{one}`" for one in task.may_add)
    new = f"no file goes, and a new one may come where its path fits {added}" if added else ""
    return (
        f"It consists of {', '.join(f'`{one}`' for one in sorted(task.paths))}, shown as one text: above the "
        f"lines of each file stands a line that names it, such as `{head_of(min(task.paths))}`. Those lines "
        f"stay as they are; {new or 'no file comes or goes'}. Where the same lines stand in several files, "
        "the first line to look for is the one that names the file. A whole file is given below the line that "
        "names it"
    )


def command_in_words(config: Config, task: TaskSettings, bench: Bench) -> str:
    """What every variant of a command's file can rely on, for models."""
    return fill(
        "command.md",
        what=f"It is `{task.file}`" if task.alone else _files_in_words(task),
        command=task.lines[-1],
        metrics="\n".join(f"- {name}: {one.in_words}" for name, one in config.metrics.items()),
        seconds=f"{bench.rungs[0].wall_seconds:g}",
        memory=str(bench.rungs[0].memory_mb),
        marks=MARKED if START in bench.evaluator.seed_source else "",
    )
