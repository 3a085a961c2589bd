"""What every operator of the registry keeps to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from evo.evaluation.sandbox.agent_box import AgentSettings
from evo.proposals.agents import AgentDesk
from operators.agent import Desk
from operators.llm.breaker import Patience
from operators.llm.settings import Endpoint, LlmSettings
from operators.operator import Operator, ParentRule, ProposalContext, ProposalFailed, Request
from operators.registry import (
    CLASSICAL,
    WITH_DESK,
    WITH_LLM,
    LlmContext,
    OperatorSettings,
    UnknownOperator,
    build_operators,
    check_names,
    names_with_llm,
)
from operators.source.knobs import with_knobs
from population.fingerprint import fingerprint
from population.reading.idea_bank import BankIdea
from population.types import JudgedIdea, LlmCall
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow
from tests.operators.histories import plain_history
from tests.operators.samples import SEED, request

EVERY = [*CLASSICAL, *WITH_LLM, *WITH_DESK]
EXAMPLE = "swap"  # of the documents
ROOT = Path(__file__).parents[2]
FIRST = with_knobs(SEED, {"MATRIX_LR": 0.03, "HEAD_DIM": 64})
SECOND = with_knobs(SEED, {"EMBED_LR": 0.05, "ACTIVATION": "gelu"})
WARMER = BankIdea("a warmer start", SEED, with_knobs(SEED, {"WARMUP": 0.05}))
EDIT = """IDEA: a warmer start
<<<<<<< SEARCH
WARMUP = 0.02  # knob: float 0.0 0.2
=======
WARMUP = 0.05  # knob: float 0.0 0.2
>>>>>>> REPLACE
<<<<<<< SEARCH
torch.set_flush_denormal(True)  # bytes that never occur drive numbers into the slow range
=======
>>>>>>> REPLACE"""
VALUES = "IDEA: a warmer start\nWARMUP = 0.05"
NO_EDIT = "no SEARCH/REPLACE block"
NO_VALUES = "no line NAME = value"


def reply_for(name: str) -> str:
    """A good reply in the form that an operator asks for."""
    return VALUES if name == "hybrid" else EDIT


def reason_of(name: str) -> str:
    """Why an operator cannot use a reply that is none."""
    return NO_VALUES if name == "hybrid" else NO_EDIT


def llm_context(
    server: FakeOpenAI, calls: list[LlmCall], budget: FakeTokenBudget | None = None
) -> LlmContext:
    endpoint = Endpoint(
        name="local", model="tiny", base_url=server.base_url, key_env="", reply="text"
    )
    settings, patience = LlmSettings(endpoints=(endpoint,)), Patience(2, 0.01)
    given = (settings, budget or FakeTokenBudget(), FakeCallLog(calls))
    return LlmContext(*given, environ={}, patience=patience)


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda asked: VALUES if "`NAME = value`" in asked.prompt else EDIT) as running:
        yield running


@pytest.fixture(params=[*EVERY, EXAMPLE])
def operator(
    request: pytest.FixtureRequest,
    server: FakeOpenAI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Operator:
    if request.param == EXAMPLE:
        monkeypatch.setitem(CLASSICAL, EXAMPLE, documented()[1])
    settings = OperatorSettings(desk=scripted(tmp_path), ideas=(WARMER,))
    (built,) = build_operators({request.param: 1.0}, llm_context(server, []), settings)
    return built


def scripted(folder: Path) -> Desk:
    """A real desk with an agent that is one line of shell."""
    edit = "sed -i 's/^WARMUP = 0.02/WARMUP = 0.05/' train.py; echo 'IDEA: a warmer start'"
    settings = AgentSettings(command=("/bin/sh", "-c", edit), sandbox="none")
    return AgentDesk(settings, ROOT / "seed" / "harness.py", folder / "agents", None)


def asked_of(operator: Operator, seed: int = 0) -> Request:
    if operator.parent_rule is ParentRule.FAILED:
        return request(SEED + "raise ValueError\n", SEED, seed=seed)
    if operator.parent_rule not in (ParentRule.PAIR, ParentRule.SEVERAL):
        return replace(request(SEED, seed=seed), history=plain_history(SEED))
    return request(FIRST, SECOND, SEED, seed=seed)


def test_its_child_parses_and_differs_from_all_parents(operator: Operator) -> None:
    asked = asked_of(operator)
    draft = operator.propose(asked)
    compile(draft.source, "child", "exec")
    forms = {fingerprint(view.source) for view in asked.parents}
    assert fingerprint(draft.source) not in forms


def test_it_states_an_idea_in_one_line_and_what_it_cost(operator: Operator) -> None:
    draft = operator.propose(asked_of(operator))
    assert draft.idea.strip() and "\n" not in draft.idea and len(draft.idea) <= 1000
    assert draft.cost.seconds >= 0
    assert bool(draft.model) == (operator.name in WITH_LLM) == bool(draft.cost.tokens_in)


def test_the_same_generator_gives_the_same_child(operator: Operator) -> None:
    drafts = [operator.propose(asked_of(operator, seed=3)) for _ in range(2)]
    assert drafts[0].source == drafts[1].source
    assert drafts[0].idea == drafts[1].idea


def test_it_keeps_the_text_it_does_not_change(operator: Operator) -> None:
    asked = asked_of(operator)
    known = {line for view in asked.parents for line in view.source.split("\n")}
    new = [line for line in operator.propose(asked).source.split("\n") if line not in known]
    assert len(new) <= 3


@pytest.mark.parametrize("source", ["", "x = 1\n", "def (:\n", "\x00", "é" * 90_000])
def test_it_fails_with_a_reason_when_the_parents_give_nothing(
    operator: Operator, source: str
) -> None:
    sources = (source,) * {ParentRule.PAIR: 3, ParentRule.SEVERAL: 4, ParentRule.FAILED: 2}.get(
        operator.parent_rule, 1
    )
    with pytest.raises(ProposalFailed) as caught:
        operator.propose(request(*sources))
    assert caught.value.reason and len(caught.value.reason) < 500


def test_its_name_and_kin_are_those_of_the_registry(operator: Operator) -> None:
    assert operator.name in [*EVERY, EXAMPLE]
    assert isinstance(operator.parent_rule, ParentRule)


# -- operators that ask a model ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_LLM)
def test_a_reply_that_is_no_edit_is_asked_again_once_with_the_reason(name: str) -> None:
    calls: list[LlmCall] = []
    with FakeOpenAI(["IDEA: nothing", reply_for(name)]) as server:
        (operator,) = build_operators({name: 1}, llm_context(server, calls))
        draft = operator.propose(asked_of(operator))
    assert draft.idea == "a warmer start"
    assert draft.cost.tokens_in == 200 and len(calls) == 2
    roles = [message["role"] for message in server.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert reason_of(name) in server.requests[1].prompt
    first, second = calls
    assert first.again_because == "" and reason_of(name) in second.again_because


@pytest.mark.parametrize("name", WITH_LLM)
def test_two_replies_that_are_no_edit_are_enough(name: str) -> None:
    calls: list[LlmCall] = []
    with FakeOpenAI(["nothing"]) as server:
        (operator,) = build_operators({name: 1}, llm_context(server, calls))
        with pytest.raises(
            ProposalFailed, match=f"no usable edit in 2 answers: {reason_of(name)}"
        ) as caught:
            operator.propose(asked_of(operator))
    assert len(calls) == 2 and caught.value.cost.tokens_out == 40
    assert caught.value.model == "tiny"


@pytest.mark.parametrize("name", WITH_LLM)
def test_a_fault_of_the_server_is_a_failed_proposal_with_all_costs(name: str) -> None:
    with FakeOpenAI(["nothing", Answer(status=400)]) as server:
        (operator,) = build_operators({name: 1}, llm_context(server, []))
        with pytest.raises(ProposalFailed, match="HTTP 400") as caught:
            operator.propose(asked_of(operator))
    assert caught.value.cost.tokens_in == 100


def test_what_a_model_thought_aloud_is_no_part_of_its_answer() -> None:
    thought = f"<think>IDEA: a colder start\n{EDIT.replace('0.05', '0.01')}</think>\n"
    with FakeOpenAI([thought + EDIT]) as server:
        (operator,) = build_operators({"llm_mutate": 1}, llm_context(server, []))
        draft = operator.propose(asked_of(operator))
    assert draft.idea == "a warmer start" and "WARMUP = 0.05" in draft.source


def test_a_crossover_that_gives_back_a_parent_is_asked_again() -> None:
    calls: list[LlmCall] = []

    def back(asked: RequestRow) -> str:
        return f"IDEA: the second\n```python\n{SECOND}```" if len(calls) == 0 else EDIT

    with FakeOpenAI(back) as server:
        (operator,) = build_operators({"llm_crossover": 1}, llm_context(server, calls))
        draft = operator.propose(asked_of(operator))
    assert "WARMUP = 0.05" in draft.source and "MATRIX_LR = 0.03" in draft.source


def test_a_simpler_child_that_is_not_smaller_is_asked_for_again() -> None:
    same = EDIT.split("\n<<<<<<< SEARCH\ntorch")[0]
    with FakeOpenAI([same, EDIT]) as server:
        (operator,) = build_operators({"llm_simplify": 1}, llm_context(server, []))
        operator.propose(asked_of(operator))
    assert "is not smaller" in server.requests[1].prompt


def test_a_repair_keeps_the_idea_of_the_child_that_failed() -> None:
    with FakeOpenAI([EDIT]) as server:
        (operator,) = build_operators({"llm_repair": 1}, llm_context(server, []))
        asked = asked_of(operator)
        failed = replace(asked.parents[0], idea="raise it", idea_id=7)
        context = ProposalContext(failure="crashed: ValueError", log_tail="Traceback: line 1")
        draft = operator.propose(
            replace(asked, parents=(failed, asked.parents[1]), context=context)
        )
    assert draft.idea_id == 7
    assert "crashed: ValueError" in server.requests[0].prompt
    assert "Traceback: line 1" in server.requests[0].prompt


def test_a_reply_may_take_up_an_idea_of_the_list_and_no_other() -> None:
    idea = JudgedIdea(12, "warmer", "anna", 0.0, 0, 0, 0, 0, 0, None, None)
    context = ProposalContext(ideas=(idea,))
    for number, taken in (("12", 12), ("#12", 12), ("13", None), ("", None)):
        with FakeOpenAI([EDIT.replace("IDEA:", f"IDEA {number}:")]) as server:
            (operator,) = build_operators({"llm_mutate": 1}, llm_context(server, []))
            draft = operator.propose(replace(asked_of(operator), context=context))
        assert (draft.idea_id, draft.idea) == (taken, "a warmer start")


# -- the registry ------------------------------------------------------------------------------------


def test_an_unknown_operator_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownOperator, match="no operator 'foo'; known: nudge"):
        check_names({"foo": 1.0})
    with pytest.raises(UnknownOperator, match="'nudgee'; did you mean 'nudge'"):
        build_operators({"nudgee": 1.0})


def test_without_a_model_the_operators_that_ask_one_are_left_out(server: FakeOpenAI) -> None:
    weights = {"nudge": 1.0, "merge": 0.0, "llm_mutate": 2.0}
    assert [one.name for one in build_operators(weights)] == ["nudge"]
    assert names_with_llm(weights) == ("llm_mutate",)
    built = build_operators(weights, llm_context(server, []))
    assert [one.name for one in built] == ["nudge", "llm_mutate"]


def test_operators_share_one_budget(server: FakeOpenAI) -> None:
    budget = FakeTokenBudget(tokens=0)
    built = build_operators({"llm_mutate": 1, "llm_crossover": 1}, llm_context(server, [], budget))
    for operator in built:
        with pytest.raises(ProposalFailed, match="budget"):
            operator.propose(asked_of(operator))
    assert not server.requests


def test_a_request_without_the_role_asked_for_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Request(1, (), np.random.default_rng(0)).parent("first")


# -- the example of the documents ----------------------------------------------------------------------


def documented() -> tuple[str, Callable[[OperatorSettings], Operator]]:
    """The file of the documents, and what its line adds to the registry."""
    text = (ROOT / "docs" / "operators.md").read_text()
    file, line = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(line.strip().split("\n")) == 1
    names: dict[str, object] = {}
    exec(file, names)
    return file, eval("{" + line + "}", names)[EXAMPLE]


def test_the_operator_in_the_documents_has_twenty_lines_and_does_what_it_says() -> None:
    file, make = documented()
    assert len([one for one in file.split("\n") if one.strip()]) <= 20
    for seed in range(5):
        assert make(OperatorSettings()).propose(request(SEED, seed=seed)).idea.startswith("swap ")
    with pytest.raises(ProposalFailed, match="no two knobs"):
        make(OperatorSettings()).propose(request("x = 1\n"))


def test_every_operator_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "operators.md").read_text()
    assert all(f"| `{name}` |" in text for name in EVERY)


def test_the_recipes_of_the_documents_are_sound_settings() -> None:
    text = (ROOT / "docs" / "operators.md").read_text()
    recipes = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(recipes) == 2
    for recipe in recipes:
        AgentSettings.model_validate(yaml.safe_load(recipe)["agent"])


def test_the_same_question_is_not_asked_again_while_its_answer_is_to_come() -> None:
    with FakeOpenAI([Answer(EDIT, delay=1.0), EDIT]) as server:
        (operator,) = build_operators({"llm_mutate": 1}, llm_context(server, []))
        asked = replace(request(SEED), number=7)
        other = replace(asked, context=ProposalContext(brief="Another brief."))
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(operator.propose, asked)
            deadline = time.monotonic() + 60
            while not server.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(ProposalFailed, match="asked already, and is not answered yet"):
                operator.propose(asked)
            assert operator.propose(other).source == first.result().source
        assert len(server.requests) == 2  # and once it was answered it may be asked again
