"""All operators by name: a new one is one file and one line here."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from operators.agent import Agent, Desk
from operators.hybrid import Hybrid
from operators.llm.accounting import CallLog, TokenBudget
from operators.llm.breaker import Patience
from operators.llm.response_formats import Forms
from operators.llm.settings import LlmSettings
from operators.llm_operators import Ask, LlmCrossover, LlmMutate, LlmRepair, LlmRewrite, LlmSimplify
from operators.merge import Merge
from operators.nudge import Nudge
from operators.operator import Operator
from operators.replicate import Replicate
from operators.revert import Revert
from operators.transplant import Transplant
from operators.tune import PRIMARY_SHARE, Tune, TuneSettings
from population.reading.idea_bank import BankIdea


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What a campaign file says to operators that can be set."""

    tune: TuneSettings = field(default_factory=TuneSettings)
    tune_share: float = PRIMARY_SHARE  # of its proposals, for the first objective alone
    desk: Desk | None = None  # where an agent works; None: there is no agent
    ideas: tuple[BankIdea, ...] = ()  # of all banks


CLASSICAL: dict[str, Callable[[OperatorSettings], Operator]] = {
    "nudge": lambda _: Nudge(),
    "merge": lambda _: Merge(),
    "tune": lambda settings: Tune(settings.tune, settings.tune_share),
    "revert": lambda _: Revert(),
    "transplant": lambda settings: Transplant(settings.ideas),
}
CONTROLS: dict[str, Callable[[OperatorSettings], Operator]] = {  # their children cannot gain
    "replicate": lambda _: Replicate(),
}
WITH_LLM: dict[str, Callable[[Ask], Operator]] = {
    "llm_mutate": LlmMutate,
    "llm_rewrite": LlmRewrite,
    "llm_crossover": LlmCrossover,
    "llm_repair": LlmRepair,
    "llm_simplify": LlmSimplify,
    "hybrid": Hybrid,
}
WITH_DESK: dict[str, Callable[[Desk], Operator]] = {
    "agent": Agent,
}


class UnknownOperator(ValueError):
    """A name that no operator has; the message names the nearest."""


@dataclass(frozen=True, slots=True)
class LlmContext:
    """What operators with a model need: settings, budget, where calls are written, when to stop.

    `say` hears when an endpoint begins to rest and when it is back.
    """

    settings: LlmSettings
    budget: TokenBudget
    call_log: CallLog
    stopping: Callable[[], bool] = lambda: False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    say: Callable[[str], None] = lambda text: None
    forms: Forms | None = None
    patience: Patience | None = None


def check_names(names: Mapping[str, float]) -> None:
    """Raises UnknownOperator for a name that no operator has."""
    known = [*CLASSICAL, *WITH_LLM, *WITH_DESK, *CONTROLS]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UnknownOperator(f"there is no operator {name!r}; {hint}known: {', '.join(known)}")


def names_with_llm(weights: Mapping[str, float]) -> tuple[str, ...]:
    """The operators among these that ask a model."""
    return tuple(name for name, weight in weights.items() if name in WITH_LLM and weight > 0)


def build_operators(
    weights: Mapping[str, float],
    llm: LlmContext | None = None,
    settings: OperatorSettings = OperatorSettings(),
    client: Ask | None = None,
) -> tuple[Operator, ...]:
    """The operators with a weight above 0, without those whose model (`llm`) or desk is None.

    `client`: what answers, where it is open already. Raises UnknownOperator. The client library is
    imported only when a model is asked.
    """
    check_names(weights)
    without_llm = CLASSICAL | CONTROLS
    built: list[Operator] = [
        without_llm[name](settings)
        for name, weight in weights.items()
        if name in without_llm and weight > 0
    ]
    if settings.desk is not None:
        chosen = (name for name, weight in weights.items() if name in WITH_DESK and weight > 0)
        built += (WITH_DESK[name](settings.desk) for name in chosen)
    asking = names_with_llm(weights)
    if asking and client is None and llm is not None:
        client = open_client(llm)
    if client is None:
        return tuple(built)
    return (*built, *(WITH_LLM[name](client) for name in asking))


def open_client(llm: LlmContext) -> Ask:
    """What answers: the endpoints, or the records of an earlier campaign (StoreError if unreadable)."""
    if llm.settings.replay is not None:
        from operators.llm.replay import Recorded, ReplayClient

        return ReplayClient(llm.settings, Recorded(llm.settings.replay), llm.call_log)
    from operators.llm.client import LlmClient

    given = (llm.settings, llm.budget, llm.call_log, llm.stopping, llm.environ, llm.say, llm.forms)
    return LlmClient(*given, llm.patience)
