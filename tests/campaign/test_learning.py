"""The portfolio in a campaign: over the wire, by rows alone, and the same again.

A scripted server knows good and bad edits; the evaluator knows what they are worth. A good model's reply is
a good edit more often, a good operator's too.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evo.evaluation.process import Watch
from evo.evaluation.slots import Slot
from evo.runtime.budget import BudgetSettings
from evo.runtime.components import LoopSettings
from evo.search.scheduler import PolicySettings
from operators.llm.client import LlmClient
from operators.llm.settings import Endpoint, LlmSettings
from operators.llm_operators import LlmMutate, LlmOperator
from operators.nudge import Nudge
from operators.operator import ParentRule
from operators.prompting import mutate_messages
from population.reading import proposals
from population.types import Measurement, ProposalRow, RunRequest, Status
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import FakeOpenAI, RequestRow

PROPOSALS = 150
LATE = 75  # of the first 150: after it the better half is known
GOOD, POOR = 0.5, 0.04  # chance of a good edit, by how many of model and operator are the better
NOISE = 0.01
SEED = "LEVEL = 0\nLR = 0.1  # knob: log 0.01 1\n"


class FakeLandscape(FakeEvaluator):
    """Each level is worth a gain of two sds of a run; a bad edit costs three."""

    def evaluate(self, request: RunRequest, source: str, slot: Slot, watch: Watch) -> Measurement:
        values: dict[str, float] = {}
        exec(source, values)
        rng = random.Random(f"{source}{request.block}")
        score = 2.0 - 2 * NOISE * values["LEVEL"] + rng.gauss(0, NOISE)
        metrics = {"val_bpb": score, "parameters": 1000.0, "added_nodes": 0.0}
        return Measurement(request, Status.OK, metrics=metrics, wall_seconds=1.0)


class Script:
    """Answers with a good or a bad edit of LEVEL, by model and by operator; `swapped` turns them around."""

    def __init__(self, better_model: str, better_operator: str, seed: int = 1) -> None:
        self.better = better_model, better_operator
        self.swapped = False
        self.lock, self.number, self.rng = threading.Lock(), 0, random.Random(seed)

    def __call__(self, asked: RequestRow) -> str:
        with self.lock:
            self.number += 1
            old = re.findall(r"^LEVEL = (\S+)$", asked.prompt, re.MULTILINE)[0]
            level = float(old)
            operator = "bold" if "Be bold." in asked.prompt else "llm_mutate"
            fits = (asked.body["model"] == self.better[0], operator == self.better[1])
            known = [one for one, name in zip(fits, self.better, strict=True) if name]
            good = self.rng.random() < (GOOD if all(known) != self.swapped else POOR)
            new = level + 1 + self.number * 1e-9 if good else level - 1.5 - self.number * 1e-9
        return (
            f"IDEA: edit {self.number}\n<<<<<<< SEARCH\nLEVEL = {old}\n=======\n"
            f"LEVEL = {new:.9f}\n>>>>>>> REPLACE"
        )


def asking(url: str, models: tuple[str, ...], bold: bool) -> list[LlmOperator]:
    """One operator or two, over so many models of one server."""
    endpoints = tuple(
        Endpoint(name=one, model=one, base_url=url, key_env="", max_tokens=200) for one in models
    )
    client = LlmClient(
        LlmSettings(endpoints=endpoints), FakeTokenBudget(), FakeCallLog([]), environ={}
    )
    mutate = LlmMutate(client)

    def boldly(request):
        system, user = mutate_messages(request)
        return (system, replace(user, content=f"{user.content}\nBe bold."))

    return [
        mutate,
        *([LlmOperator("bold", ParentRule.ONE, "parent", boldly, client)] if bold else []),
    ]


def run_to(open_store, script: Script, server: FakeOpenAI, variants: int, settings=None, loop=None):
    models = ("large", "small") if script.better[0] else ("large",)
    make_campaign(
        open_store,
        evaluator=FakeLandscape(),
        operators=[*asking(server.base_url, models, bool(script.better[1])), Nudge()],
        endpoints=models,
        slots=1,
        budget=BudgetSettings(variants=variants),
        policy=PolicySettings(seed_blocks=4, seed_repeats=0, final_blocks=0),
        loop=loop or LoopSettings(exact=True),
        portfolio=settings,
    ).run()
    with open_store() as store:
        return proposals(store)


def share(made: list[ProposalRow], script: Script) -> float:
    """Of the tokens, those that went to the better model or operator."""
    spent = [one for one in made if one.cost.tokens_in]
    better = [one for one in spent if one.model in script.better or one.operator in script.better]
    part = sum(one.cost.tokens_in for one in better) / sum(one.cost.tokens_in for one in spent)
    return 1 - part if script.swapped else part


def shares_before_and_after(
    folder: Path, better: tuple[str, str], seed: int
) -> tuple[float, float]:
    """The better half's share of 150 proposals, and of the last 75 of the 150 that follow the swap."""
    folder.mkdir()
    open_store, script = make_store(folder / "campaign.db", SEED), Script(*better, seed)
    with FakeOpenAI(script) as server:
        before = share(run_to(open_store, script, server, PROPOSALS), script)
        script.swapped = True
        made = run_to(open_store, script, server, 2 * PROPOSALS)
    return before, share(made[-LATE:], script)


@pytest.mark.soak
def test_the_better_model_gets_the_llm_budget(tmp_path: Path) -> None:
    # one seed, in which it holds: the long set below has several, operators, and a swap
    script = Script("small", "", 2)
    with FakeOpenAI(script) as server:
        made = run_to(make_store(tmp_path / "campaign.db", SEED), script, server, PROPOSALS)
    assert share(made, script) >= 0.7


@pytest.mark.soak
@pytest.mark.parametrize("better", [("small", ""), ("", "bold"), ("large", ""), ("", "llm_mutate")])
def test_in_most_campaigns_the_better_half_gets_the_llm_budget_and_again_after_they_swap(
    tmp_path: Path, better: tuple[str, str], tell: Callable[[str], None]
) -> None:
    # a few campaigns fall below, by the luck of 60 draws: the median is judged, the range told
    found = [shares_before_and_after(tmp_path / str(n), better, seed=n) for n in range(1, 6)]
    before, after = (sorted(one) for one in zip(*found, strict=True))
    name = next(filter(None, better))
    tell(
        f"{name} gets {before[0]:.2f} to {before[-1]:.2f}, swapped {after[0]:.2f} to {after[-1]:.2f}"
    )
    assert before[2] >= 0.7
    assert after[2] >= 0.7
