"""Every fault a model's server can have: the campaign goes on, says so once, and comes back with it."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections import Counter

import pytest

from evo.folder import Folder
from evo.runtime import campaign as campaign_loop
from evo.runtime import proposal_lane
from evo.runtime.budget import Budget, BudgetSettings, BudgetSpent
from evo.runtime.monitor import Monitor
from evo.runtime.neighbours import end_leftovers
from evo.runtime.recorder import Recorder, StoredCalls
from operators.llm.breaker import Patience
from operators.llm.settings import Endpoint, LlmSettings
from operators.registry import LlmContext, build_operators
from population.reading import events, measurements, proposals, spent
from population.types import Outcome
from tests.campaign.fakes import FakeEvaluator, make_campaign, make_store
from tests.campaign.real import STANDIN, run_here, write_config
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow

KEY = "sk-faults-0123456789abcdef"
SEED = "LR = 0.5  # knob: float 0.01 0.9\nDEPTH = 2\n"

FAULTS = {
    "too slow": Answer("late", delay=60.0),
    "hangs up": Answer(hang_up=True),
    "429": Answer(status=429),
    "429 with Retry-After": Answer(status=429, headers={"retry-after": "0.2"}),
    "429 with a long Retry-After": Answer(status=429, headers={"retry-after": "3600"}),
    "500": Answer(status=500),
    "context too long": Answer("maximum context length exceeded", status=400),
    "empty choices": Answer(body=b'{"choices": []}'),
    "refuses": Answer(refusal="I will not"),
    "truncated": Answer("half an ans", finish_reason="length"),
    "broken JSON": Answer(body=b'{"choices": [{"message"'),
    "HTML": Answer(body=b"<html>Bad gateway</html>", content_type="text/html"),
    "ten megabytes": Answer("x" * 10_000_000),
    "drips": Answer("slow", drip_seconds=0.05),
    "wrong model": Answer("The model `tiny` does not exist", status=404),
    "key revoked": Answer(f"Incorrect API key provided: {KEY}", status=401),
    "not an edit": Answer("I would lower the learning rate."),
}


class Server:
    """Answers well, or with one fault while `fault` is set."""

    def __init__(self) -> None:
        self.fault: Answer | None = None
        self._values = itertools.count(1)

    def __call__(self, asked: RequestRow) -> Answer:
        if self.fault is not None:
            return self.fault
        was = re.search(r"^LR = .*$", asked.prompt, re.MULTILINE)
        assert was
        value = f"LR = 0.{next(self._values):05}  # knob: float 0.0 0.9"
        return Answer(f"IDEA: better\n<<<<<<< SEARCH\n{was[0]}\n=======\n{value}\n>>>>>>> REPLACE")


QUICK = Patience(3, 0.02, 0.3, 4, 0.3, 0.6)
FEW = 12  # failures in a row that close a search
AT_ONCE = Patience(1, 0.001, 0.01, 1, 0.001, 0.002)  # a rest of nights in a second


def campaign_with(open_store, url: str, variants: int, patience: Patience = QUICK, **changes):
    """A campaign over `nudge` and `llm_mutate` with everything real but the training."""
    endpoint = Endpoint(name="local", model="tiny", base_url=url, timeout_seconds=1.5)
    settings = LlmSettings(endpoints=(endpoint,))
    campaign = make_campaign(
        open_store,
        evaluator=FakeEvaluator(seconds=0.02),
        operators=build_operators({"nudge": 1.0}),
        budget=BudgetSettings(variants=variants),
        **changes,
    )
    components = campaign.components
    context = LlmContext(
        settings,
        components.budget,
        StoredCalls(components.recorder),
        components.stopping.is_set,
        {"OPENAI_API_KEY": KEY},
        lambda text: campaign.shared.say("model", text),
        patience=patience,
    )
    portfolio = components.proposer._portfolio
    portfolio.operators = build_operators({"nudge": 1.0, "llm_mutate": 1.0}, context)
    portfolio.weights = {"nudge": 1.0, "llm_mutate": 1.0}
    return campaign


def wait_until(condition, seconds: float = 200.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def made_by(open_store) -> Counter[tuple[str, Outcome]]:
    with open_store() as store:
        return Counter((one.operator, one.outcome) for one in proposals(store))


def model_events(open_store) -> list[str]:
    with open_store() as store:
        return [one.text for one in events(store, limit=10_000) if one.kind == "model"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_campaign_goes_on_without_its_model_and_with_it_again(name, tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    script.fault = FAULTS[name]
    with FakeOpenAI(script) as server:
        campaign = campaign_with(open_store, server.base_url, variants=100_000)
        thread = threading.Thread(target=campaign.run)
        thread.start()
        useful = name == "not an edit"  # such answers are no failures of the server
        assert useful or wait_until(lambda: model_events(open_store)), "it never said so"
        before = made_by(open_store)["nudge", Outcome.VARIANT]
        assert wait_until(lambda: made_by(open_store)["nudge", Outcome.VARIANT] >= before + 8)
        assert made_by(open_store)["llm_mutate", Outcome.VARIANT] == 0
        assert useful or len(model_events(open_store)) == 1
        script.fault = None
        assert wait_until(lambda: made_by(open_store)["llm_mutate", Outcome.VARIANT] >= 2)
        campaign.stop()
        thread.join(90)
        assert not thread.is_alive()
        asked = len(server.requests)
    said = model_events(open_store)
    assert useful or (len(said) == 2 and said[-1] == "the model local answers again"), said
    with open_store() as store:
        calls = store.query("SELECT outcome, prompt || reply FROM llm_calls")
        failed = [one for one in proposals(store) if one.outcome is Outcome.FAILED]
    assert len(calls) >= asked and all(one.reason for one in failed)
    assert KEY not in repr(calls) + repr(failed)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_server_that_is_not_there_yet_is_asked_ever_more_rarely_and_found_when_it_is(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    server = FakeOpenAI(script)
    url = server.base_url
    port = server._server.server_address[1]
    server._server.server_close()  # connection refused from here on
    campaign = campaign_with(open_store, url, variants=100_000)
    thread = threading.Thread(target=campaign.run)
    thread.start()
    assert wait_until(lambda: model_events(open_store))
    assert "cannot be reached" in model_events(open_store)[0]
    with FakeOpenAI(script, port=port):
        assert wait_until(lambda: made_by(open_store)["llm_mutate", Outcome.VARIANT] >= 2)
        campaign.stop()
        thread.join(90)
    assert len(model_events(open_store)) == 2


def test_a_server_that_hangs_does_not_keep_the_slots_waiting(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    script.fault = Answer("late", delay=60)
    with FakeOpenAI(script) as server:
        campaign = campaign_with(open_store, server.base_url, variants=100_000)
        client = campaign.components.proposer._portfolio.operators[1]._llm
        patient = client._settings.endpoints[0].model_copy(update={"timeout_seconds": 60.0})
        client._settings = client._settings.model_copy(update={"endpoints": (patient,)})
        thread = threading.Thread(target=campaign.run)
        thread.start()
        assert wait_until(lambda: len(server.requests) >= 3)
        before = made_by(open_store)["nudge", Outcome.VARIANT]
        assert wait_until(lambda: made_by(open_store)["nudge", Outcome.VARIANT] >= before + 8)
        assert len(server.requests) < 32
        campaign.stop()
        thread.join(90)
        assert not thread.is_alive()


def test_a_model_alone_that_is_down_is_waited_for(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    script.fault = Answer(status=503)
    with FakeOpenAI(script) as server:
        campaign = campaign_with(open_store, server.base_url, variants=3)
        portfolio = campaign.components.proposer._portfolio
        portfolio.operators = portfolio.operators[1:]
        endings = []
        thread = threading.Thread(target=lambda: endings.append(campaign.run()))
        thread.start()
        assert wait_until(lambda: model_events(open_store))
        time.sleep(1.0)
        script.fault = None
        thread.join(90)
    assert endings and "variants (3)" in endings[0].reason
    failed = made_by(open_store)["llm_mutate", Outcome.FAILED]
    assert failed <= 12, "it proposed while there was nothing to propose with"


@pytest.mark.parametrize(
    "fault",
    [
        Answer(status=503),
        Answer(body=b'{"error": {"code": 529, "message": "overloaded"}}'),
    ],
    ids=["503", "an error in a 200"],
)
def test_a_model_alone_that_rests_more_often_than_any_search_may_fail_closes_none(
    fault, tmp_path, monkeypatch
):
    monkeypatch.setattr(campaign_loop, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(proposal_lane, "FAILURES_IN_A_ROW", FEW)
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    script.fault = fault
    with FakeOpenAI(script) as server:
        campaign = campaign_with(open_store, server.base_url, variants=3, patience=AT_ONCE)
        portfolio = campaign.components.proposer._portfolio
        portfolio.operators = portfolio.operators[1:]
        endings = []
        thread = threading.Thread(target=lambda: endings.append(campaign.run()))
        thread.start()
        asked_for_long = wait_until(lambda: len(server.requests) > 2 * FEW or endings)
        script.fault = None
        thread.join(90)
    assert asked_for_long and endings and "variants (3)" in endings[0].reason
    assert made_by(open_store)["llm_mutate", Outcome.FAILED] > FEW
    assert len(model_events(open_store)) == 2, "it rested once, and came back"


def test_a_model_alone_whose_key_is_revoked_ends_the_search_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(proposal_lane, "MAX_WAIT_SECONDS", 0.01)  # between failures: 10 s otherwise
    monkeypatch.setattr(campaign_loop, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(proposal_lane, "FAILURES_IN_A_ROW", FEW)
    open_store = make_store(tmp_path / "campaign.db", SEED)
    script = Server()
    script.fault = Answer("Incorrect API key provided", status=401)
    with FakeOpenAI(script) as server:
        campaign = campaign_with(open_store, server.base_url, variants=3, patience=AT_ONCE)
        portfolio = campaign.components.proposer._portfolio
        portfolio.operators = portfolio.operators[1:]
        ending = campaign.run()
    assert f"{FEW} proposals in a row gave no new child; the last: " in ending.reason
    assert "HTTP 401" in ending.reason and KEY not in ending.reason


def test_a_call_cut_off_by_a_kill_counts_at_its_ceiling_in_the_next_process(tmp_path):
    open_store = make_store(tmp_path / "campaign.db", SEED)
    recorder = Recorder(open_store, print)
    recorder.start()
    endpoint = Endpoint(name="a", model="b", max_tokens=1000, key_env="", reply="text")
    settings = LlmSettings(endpoints=(endpoint,))
    budget = Budget(BudgetSettings(llm_tokens=1_500), BudgetSpent())
    (operator,) = build_operators(
        {"llm_mutate": 1.0}, LlmContext(settings, budget, StoredCalls(recorder), environ={})
    )
    with FakeOpenAI([Answer("late", delay=30)]) as server:
        operator._llm._environ = {"OPENAI_BASE_URL": server.base_url}
        ask = threading.Thread(target=_ask, args=(operator,), daemon=True)
        ask.start()
        assert wait_until(lambda: server.requests)
        with open_store() as store:  # what a process that takes over from here finds
            ((outcome, tokens_out),) = store.query("SELECT outcome, tokens_out FROM llm_calls")
            assert (outcome, tokens_out) == ("asked", 1000)
            end_leftovers(store)
            used = spent(store)
            assert used.tokens_out == 1000 and used.tokens_in > 0
            ((outcome,),) = store.query("SELECT outcome FROM llm_calls")
            assert outcome.startswith("cut off")
    again = Budget(
        BudgetSettings(llm_tokens=1_500), BudgetSpent(0, 0, used.tokens_in + used.tokens_out)
    )
    assert again.spent().llm_tokens > 1000


def _ask(operator) -> None:
    import numpy as np

    from operators.llm.answer import Message
    from operators.operator import ProposalFailed

    with contextlib.suppress(ProposalFailed, AssertionError):
        operator._llm.ask((Message("user", "x"),), np.random.default_rng(0), 2)


def test_the_board_keeps_few_events_whatever_comes():
    board = Monitor([])
    for number in range(1000):
        board.tell("model", str(number))
    assert len(board.events(10_000)) <= 100


@pytest.mark.sandbox
def test_no_key_is_in_a_sandbox_or_in_any_file_of_a_campaign(tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_KEY", KEY)
    spy = (
        "import os, glob\n"
        "print('ENVIRON', sorted(os.environ.items()))\n"
        "for name in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try:\n"
        "        print(name, open(name, 'rb').read())\n"
        "    except OSError as error:\n"
        "        print(name, error)\n"
    )
    source = STANDIN.read_text()
    loop = "while run.progress() < 1:"
    child = source.replace(loop, spy + loop)
    assert child != source
    reply = f"IDEA: the key is {KEY}\n```python\n{child}\n```"
    with FakeOpenAI([reply, reply, reply, Answer(status=401)]) as server:
        endpoint = {"name": "local", "model": "fake", "base_url": server.base_url}
        config = write_config(
            tmp_path,
            budget={"variants": 6},
            operators={"nudge": 1, "llm_mutate": 20},
            llm={"endpoints": [endpoint | {"key_env": "STANDIN_KEY"}]},
        )
        run_here(config, tmp_path / "c")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    with Folder(tmp_path / "c").open_store() as store:
        logs = [row[0] for row in store.query("SELECT log_tail FROM measurements")]
        assert measurements(store)
    seen = [log for log in logs if "ENVIRON" in log]
    assert seen, "the spy never ran"
    assert all(KEY not in log and "STANDIN_KEY" not in log for log in logs)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
