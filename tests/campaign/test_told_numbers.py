"""What an edit did has one number in a prompt, wherever the prompt tells of it."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from operators.agent import history as history_of
from operators.hybrid import hybrid_messages
from operators.llm.answer import prompt_text
from operators.operator import Draft, ParentRule, ProposalFailed, Request
from operators.prompting import crossover_messages, mutate_messages
from population.archive import Direction, Objective
from population.fingerprint import fingerprint
from population.store import Store
from population.types import (
    Measurement,
    MeasurementRow,
    Outcome,
    Parent,
    Proposal,
    Purpose,
    RunRequest,
    Status,
    Variant,
    variant_id,
)
from tests.campaign.fakes import make_campaign, make_store

SEED = "LR = 0.5  # knob: log 0.01 1\nDEPTH = 2  # knob: int 1 9\n"
NUMBER = r"[+-]?\d+\.\d+"
CHANGE = re.compile(
    rf"(?:({NUMBER}) -> ({NUMBER}), )?([+-]\d+\.\d+(?: ± \d+\.\d+)?)(?: \([^)]*\))?"
    r"(?:, inconclusive)?: (.+)$"
)
IDEA = re.compile(r"^- idea (\d+), \w+, 1 child, 1 ran, 0 failed, ([+-]\d+\.\d+(?: ± \d+\.\d+)?)")


@dataclass
class FakeModel:
    """Keeps the prompt that it is asked with."""

    told: Callable[[Request], str]
    parent_rule: ParentRule
    name: str = "llm_mutate"
    prompts: list[str] = field(default_factory=list)

    def propose(self, request: Request) -> Draft:
        self.prompts.append(self.told(request))
        raise ProposalFailed("it is not asked for an answer")


KINDS: dict[str, tuple[Callable[[Request], str], ParentRule]] = {
    "mutate": (lambda one: prompt_text(mutate_messages(one)), ParentRule.ONE),
    "hybrid": (lambda one: prompt_text(hybrid_messages(one)), ParentRule.TUNED),
    "crossover": (lambda one: prompt_text(crossover_messages(one)), ParentRule.SEVERAL),
    "agent": (history_of, ParentRule.ONE),
}


def child_of(
    number: int, parents: tuple[str, ...], sources: dict[str, str], rate: float
) -> Variant:
    """Another constant of its first parent's code, or with two parents other code as well."""
    source = re.sub(r"LR = [\d.]+", f"LR = {rate:.4f}", sources[parents[0]])
    if len(parents) > 1 or number % 3 == 0:
        source += f"x{number} = {number}\n"
    return Variant(variant_id(source), source, fingerprint(source))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_has_one_number_in_a_prompt_also_when_runs_end_while_it_is_written(
    kind: str, seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    told, rule = KINDS[kind]
    model = FakeModel(told, rule)
    open_store = make_store(tmp_path / "campaign.db", SEED)
    late = _made(open_store, rng)
    campaign = make_campaign(open_store, operators=[model])
    history = campaign.components.history
    objective = Objective(name="val_bpb", direction=rng.choice(list(Direction)))
    history.objectives = (objective, *history.objectives[1:])
    believed = history.believed

    def meanwhile(*args, **named):
        if late and rng.random() < 0.1:
            one = late.pop(0)
            with open_store() as store:
                history.add(MeasurementRow(store.add_measurement(one), one))
        return believed(*args, **named)

    history.believed = meanwhile
    for number in range(100, 103):
        campaign.components.proposer.propose(number, None)
    assert len(model.prompts) == 3 or kind == "crossover"
    for prompt in model.prompts:
        _one_number_an_edit(prompt)


def _one_number_an_edit(prompt: str) -> None:
    numbers, named = defaultdict(set), dict[str, str]()
    for line in prompt.splitlines():
        idea = IDEA.match(line)
        if idea:
            named[f"idea {idea[1]}"] = line.rpartition(": ")[2]
            numbers[line.rpartition(": ")[2]].add(idea[2])
            continue
        found = CHANGE.search(line)
        if found is None:
            continue
        before, after, change, what = found.groups()
        what = named.get(what, what)
        numbers[re.sub(r"^LR = ([\d.]+)$", lambda one: f"edit LR {float(one[1])}", what)].add(
            change
        )
        if before is not None:
            step = 10.0 ** -len(before.partition(".")[2])
            assert abs(float(after) - float(before) - float(change.split()[0])) < 2.1 * step, line
    twice = {
        what: told for what, told in numbers.items() if len(told) > 1 and "told above" not in what
    }
    assert not twice, f"{twice}\n{prompt}"


def _made(open_store: Callable[[], Store], rng: random.Random) -> list[Measurement]:
    """Fill a store with children and runs; the runs that are still to come."""
    seed = variant_id(SEED)
    sources, late = {seed: SEED}, list[Measurement]()
    with open_store() as store:

        def run(variant: str, block: int, score: float, known: bool) -> None:
            purpose = Purpose.CALIBRATE if variant == seed else Purpose.REMEASURE
            metrics = {"val_bpb": score, "parameters": 10.0, "added_nodes": 0.0}
            one = Measurement(
                RunRequest(variant, "proxy", block, 0, purpose), Status.OK, metrics=metrics
            )
            if known:
                store.add_measurement(one)
            else:
                late.append(one)

        for block in range(3):
            run(seed, block, rng.uniform(1.5, 2.5), True)
        for number in range(2, rng.randint(6, 14)):
            first = rng.choice(list(sources))
            others = [one for one in sources if one != first]
            two = bool(others) and rng.random() < 0.3
            parents = (first, rng.choice(others)) if two else (first,)
            made = child_of(number, parents, sources, 0.013 + number * 0.07)
            roles = ("first", "second") if two else ("parent",)
            named = [Parent(one, role) for one, role in zip(parents, roles, strict=True)]
            if two:
                named.append(Parent(seed, "ancestor"))
            store.add_proposal(
                Proposal(
                    number, "llm_mutate", tuple(named), Outcome.VARIANT, variant=made,
                    idea=f"edit {number}", author="model", model="m",
                )
            )  # fmt: skip
            sources[made.id] = made.source
            for block in range(rng.randint(0, 3)):
                run(made.id, block, rng.uniform(1.5, 2.5), True)
            for block in range(3, 3 + rng.randint(0, 4)):
                run(made.id, block, rng.uniform(1.5, 2.5), False)
    return late
