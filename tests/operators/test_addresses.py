"""How servers are reached: refused fields, extra ones, addresses as people write them, and why not."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.llm.client import LlmClient
from operators.llm.response_formats import Forms
from operators.llm.settings import (
    Endpoint,
    LlmSettings,
    missing_keys,
    tidied,
    with_version,
    without_query,
)
from operators.operator import ProposalFailed
from population.types import LlmCall
from tests.operators.fake_budgets import FakeCallLog, FakeTokenBudget
from tests.operators.fake_openai import Answer, FakeOpenAI, RequestRow
from tests.operators.test_llm_client import KEY, MESSAGES, Bench


class Refusing:
    """A server that refuses fields in its own words, and says hello without them."""

    def __init__(self, *words: tuple[str, str], status: int = 400) -> None:
        self.words, self.status = words, status

    def __call__(self, asked: RequestRow) -> str | Answer:
        for name, said in self.words:
            if name in asked.body or (
                name == "system" and asked.body["messages"][0]["role"] == name
            ):
                return Answer(said, status=self.status)
        return "hello"


OPENAI = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
HOT = (
    "Unsupported value: 'temperature' does not support 0.5 with this model. "
    "Only the default (1) is supported."
)


@pytest.mark.parametrize(
    ("words", "left", "kept"),
    [
        ([("max_tokens", OPENAI)], "max_tokens", {"max_completion_tokens": 1000}),
        ([("temperature", HOT)], "temperature", {"max_tokens": 1000}),
        ([("max_tokens", OPENAI), ("temperature", HOT)], "temperature", {"max_completion_tokens": 1000}),
        ([("top_k", "Unrecognized request argument supplied: top_k")], "top_k", {"temperature": 0.5}),
        ([("reasoning_effort", "extra_forbidden: body.reasoning_effort: Extra inputs are not permitted")],
         "reasoning_effort", {"temperature": 0.5}),
        ([("system", "Unsupported value: 'messages[0].role' does not support 'system' with this model.")],
         "system", {"max_tokens": 1000}),
        ([("system", "System role not supported")], "system", {"max_tokens": 1000}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_field_refused_in_words_is_left_out_from_then_on_and_is_no_failure(
    words: list[tuple[str, str]], left: str, kept: dict[str, Any], status: int
) -> None:
    with FakeOpenAI(Refusing(*words, status=status)) as server:
        extra = {"top_k": 40, "reasoning_effort": "low"}
        bench = Bench(server, temperature=0.5, extra_body=extra)
        assert {bench.ask().text for _ in range(3)} == {"hello"}
    assert len(server.requests) == len(words) + 3
    for asked in server.requests[len(words) :]:
        assert left not in asked.body and kept.items() <= asked.body.items()
    if left == "system":
        (message,) = server.requests[-1].body["messages"]
        assert message == {"role": "user", "content": "be brief\n\nimprove this"}


def test_the_body_of_a_validator_names_the_field_as_well() -> None:
    said = (
        b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], '
        b'"msg": "Extra inputs are not permitted"}]}'
    )

    def script(asked: RequestRow) -> str | Answer:
        return Answer(status=422, body=said) if "top_k" in asked.body else "hello"

    with FakeOpenAI(script) as server:
        assert Bench(server, extra_body={"top_k": 4}).ask().text == "hello"


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("max_tokens is too large: 1000. This model supports at most 500 completion tokens", 500),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 500]", 500),
        (
            "max_tokens is too large: 1000. Your request has 1200 input tokens (1000 > 900 - 1200)",
            None,
        ),
    ],
)
def test_a_limit_that_is_too_large_for_a_server_is_lowered_or_left_to_it(
    said: str, sent: int | None
) -> None:
    def script(asked: RequestRow) -> str | Answer:
        is_large = asked.body.get("max_tokens", 0) > 500 or "max_completion_tokens" in asked.body
        return Answer(said, status=400) if is_large else "hello"

    with FakeOpenAI(script) as server:
        bench = Bench(server)
        assert [bench.ask().text for _ in range(2)] == ["hello"] * 2
    assert [one.body.get("max_tokens") for one in server.requests] == [1000, sent, sent]


def test_what_is_refused_is_kept_over_a_restart_and_told_where_somebody_set_it() -> None:
    said, kept = list[str](), dict[str, str]()

    def client(server: FakeOpenAI) -> LlmClient:
        body = {"temperature": 0.5, "max_tokens": 100, "reply": "text", "key_env": ""}
        one = Endpoint.model_validate(
            {"name": "a", "model": "m", "base_url": server.base_url, **body}
        )
        forms = Forms(kept, kept.update)
        return LlmClient(
            LlmSettings(endpoints=(one,)), FakeTokenBudget(), FakeCallLog([]), environ={},
            say=said.append, forms=forms,
        )  # fmt: skip

    with FakeOpenAI(Refusing(("max_tokens", OPENAI), ("temperature", HOT))) as server:
        for _ in range(2):
            assert client(server).ask(MESSAGES, np.random.default_rng(0)).text == "hello"
    assert len(server.requests) == 3 + 1
    assert said == ["the model a takes no temperature: not sent any more"]


def test_a_refusal_of_something_else_teaches_nothing() -> None:
    for said, status in (
        ("maximum context length is 4096 tokens; you requested 9000 (8000 in the completion)", 400),
        ("the temperature of the room is fine", 400),
        ("Unsupported parameter: 'temperature'", 403),
    ):
        with FakeOpenAI(["hello", Answer(said, status=status)]) as server:
            bench = Bench(server, temperature=0.5)
            bench.ask()
            assert said in bench.fails().reason
        assert len(server.requests) == 2


def test_a_form_that_is_refused_after_all_gives_way_to_the_next_one() -> None:
    def script(asked: RequestRow) -> str | Answer:
        kind = asked.body.get("response_format", {}).get("type", "text")
        if kind == "json_schema":
            return Answer("Invalid schema for response_format 'edit'", status=400)
        if kind == "json_object":
            return Answer("'response_format.type' must be 'json_schema' or 'text'", status=400)
        return "hello"

    with FakeOpenAI(script, forms=True) as server:
        bench = Bench(server, reply="schema")
        assert [bench.ask().text for _ in range(2)] == ["hello"] * 2
    assert len(server.requests) == 3 + 1


# -- what a config adds ------------------------------------------------------------------------------


def test_extra_fields_headers_and_a_query_go_with_every_request() -> None:
    environ = {"OPENAI_API_KEY": KEY, "AZURE": "azure-secret-1"}
    with FakeOpenAI(lambda asked: f"you sent {asked.headers['api-key']}") as server:
        bench = Bench(
            f"{server.base_url}/deployments/mine/?api-version=2024-10-21",
            environ=environ,
            extra_headers={"api-key": "${AZURE}", "X-Title": "evo"},
            extra_body={"chat_template_kwargs": {"enable_thinking": False}},
            top_p=0.9,
            reasoning_effort="low",
        )
        assert bench.ask().text == "you sent [key]"  # it is a secret like the key
    (asked,) = server.requests
    assert asked.path == "/v1/deployments/mine/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "azure-secret-1" and asked.headers["x-title"] == "evo"
    assert asked.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (asked.body["top_p"], asked.body["reasoning_effort"]) == (0.9, "low")
    one = Endpoint(name="a", model="b", key_env="", extra_headers={"api-key": "$AZURE"})
    assert missing_keys(LlmSettings(endpoints=(one,)), {}) == ("AZURE",)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"extra_body": {"model": "x"}}, "extra_body.model is ours to send: give `model`"),
        ({"extra_body": {"stream": False}}, "whether a server streams is found out"),
        ({"temperature": 3}, "temperature should be a number from 0 to 2 \\(given: 3\\)"),
        ({"top_p": "high"}, "top_p should be a number from 0 to 1"),
        ({"temperature": 1, "extra_body": {"temperature": 1}}, "temperature is given twice"),
        ({"extra_body": {"x": float("nan")}}, "cannot be sent as JSON"),
        ({"extra_headers": {"a b": "x"}}, "not the name and value of a header"),
        ({"extra_headers": {"a": "x\r\nHost: y"}}, "not the name and value of a header"),
        ({"base_url": "ftp://x/v1"}, "begins with ftp://"),
        ({"base_url": "http:///v1"}, "names no host"),
        ({"base_url": "http://a b/v1"}, "a blank in its middle"),
        ({"base_url": "http://h:99999/v1"}, "is not an address"),
    ],
)
def test_what_cannot_be_sent_is_said_when_the_config_is_read(
    wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Endpoint.model_validate({"name": "a", "model": "b", **wrong})


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" http://127.0.0.1:8000/v1/ \n", "http://127.0.0.1:8000/v1"),
        ('"http://h/v1"', "http://h/v1"),
        ("http://h/v1/chat/completions", "http://h/v1"),
        ("http://h/v1/chat/completions/?a=b#c", "http://h/v1?a=b"),
        ("http://h/v1/models", "http://h/v1"),
        ("localhost:11434", "http://localhost:11434"),
        ("192.168.0.7:8000/v1", "http://192.168.0.7:8000/v1"),
        ("api.example.com/v1", "https://api.example.com/v1"),
        ("HTTPS://api.example.com", "https://api.example.com"),
    ],
)
def test_an_address_is_read_as_it_was_meant(written: str, meant: str) -> None:
    assert tidied(written) == meant == tidied(meant)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_an_error_in_words(text: str) -> None:
    try:
        found = tidied(text)
    except ValueError as error:
        assert "base_url" in str(error)
        return
    assert tidied(found) == found
    assert with_version(found).partition("?")[0].endswith("/v1")
    assert "?" not in without_query(found)[0]


@pytest.mark.parametrize(
    "nothing",
    [
        Answer(status=404, body=b"404 page not found", content_type="text/plain"),
        Answer(status=405, body=b'{"detail": "Method Not Allowed"}'),
        Answer(body=b"<html>welcome</html>", content_type="text/html"),
    ],
)
def test_a_server_that_answers_only_under_v1_is_found_there_once_and_for_all(
    nothing: Answer,
) -> None:
    def script(asked: RequestRow) -> str | Answer:
        return "hello" if asked.path == "/v1/chat/completions" else nothing

    with FakeOpenAI(script) as server:
        bench = Bench(server.base_url.removesuffix("/v1"))
        assert [bench.ask().text for _ in range(2)] == ["hello"] * 2
    assert [one.path for one in server.requests] == [
        "/chat/completions", *["/v1/chat/completions"] * 2
    ]  # fmt: skip


def test_an_unknown_model_sends_nobody_to_another_address() -> None:
    with FakeOpenAI([Answer("the model 'tiny' does not exist", status=404)]) as server:
        bench = Bench(server.base_url.removesuffix("/v1"))
        assert "HTTP 404: the model 'tiny' does not exist" in bench.fails().reason
    assert {one.path for one in server.requests} == {"/chat/completions"}


# -- causes ------------------------------------------------------------------------------------------


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "ALL_PROXY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def told(url: str, attempts: int = 3, **endpoint: Any) -> tuple[str, int]:
    """Why no answer came, and how often it was tried."""
    bench = Bench(url, attempts=attempts, **endpoint)
    reason = bench.fails().reason.removeprefix("local: ")
    return reason, len(bench.calls)


def test_https_on_a_plain_port_is_named_and_not_tried_again(no_proxies: object) -> None:
    with FakeOpenAI(["hello"]) as server:
        reason, tries = told(server.base_url.replace("http:", "https:"))
    assert reason == "the server speaks no TLS there: should base_url begin with http://?"
    assert tries == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    parts = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run([*command.split(), *parts], check=True, capture_output=True)
    file.write_text(file.read_text("utf-8") + Path(f"{file}.crt").read_text("utf-8"), "utf-8")
    return file


@pytest.fixture
def sealed_server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FakeOpenAI(["hello"]) as server:
        inner = server._server
        inner.socket = context.wrap_socket(inner.socket, server_side=True)
        yield server.base_url.replace("http:", "https:")


def test_a_certificate_of_nobodys_is_named_and_taken_once_its_authority_is_given(
    no_proxies: pytest.MonkeyPatch, sealed_server: str, certificate: Path
) -> None:
    reason, tries = told(sealed_server)
    assert reason.startswith("the server's certificate is not trusted: self") and tries == 1
    assert "SSL_CERT_FILE=" in reason
    no_proxies.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    assert Bench(sealed_server).ask().text == "hello"


def test_a_file_of_certificates_that_is_not_there_is_named_before_anything_is_asked(
    no_proxies: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_proxies.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    reason, tries = told("https://127.0.0.1:9/v1")
    assert (
        reason == f"SSL_CERT_FILE={tmp_path / 'none.pem'} cannot be read: No such file or directory"
    )
    assert tries == 1
    with pytest.raises(ValueError, match="local: SSL_CERT_FILE="):
        Bench("https://127.0.0.1:9/v1").client.check()


def test_a_name_that_nobody_has_is_not_asked_for_again(no_proxies: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **more: object) -> object:
        raise socket.gaierror(codes.pop(0), "Name or service not known")

    no_proxies.setattr(socket, "getaddrinfo", unknown)
    codes = [int(socket.EAI_NONAME)]
    reason, tries = told("http://models.invalid/v1")
    assert reason == "there is no host models.invalid (DNS: Name or service not known)"
    assert tries == 1
    codes = [int(socket.EAI_AGAIN)] * 3
    reason, tries = told("http://models.invalid/v1")
    assert reason.startswith("no name server answers for models.invalid (DNS)") and tries == 3


def test_a_socks_proxy_without_its_extra_is_told_what_to_install(
    no_proxies: pytest.MonkeyPatch,
) -> None:
    no_proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    no_proxies.setitem(sys.modules, "socksio", None)
    reason, tries = told("http://192.0.2.1/v1")
    assert reason == (
        "ALL_PROXY names a SOCKS proxy, which needs an extra: pip install 'evotrain[socks]'"
    )
    assert tries == 1


@pytest.mark.parametrize("proxy", ["socks4://127.0.0.1:1", "127.0.0.1:1:2", "gopher://h"])
def test_a_proxy_that_cannot_be_used_is_named(no_proxies: pytest.MonkeyPatch, proxy: str) -> None:
    no_proxies.setenv("ALL_PROXY", proxy)
    reason, tries = told("http://192.0.2.1/v1")
    assert re.search("ALL_PROXY|cannot be sent", reason) and tries == 1


def test_a_proxy_that_is_not_there_is_named(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    reason, _ = told("http://192.0.2.1/v1")
    assert reason.startswith("the server cannot be reached: through HTTP_PROXY (NO_PROXY=host")


def test_a_question_goes_through_a_socks_proxy(no_proxies: pytest.MonkeyPatch) -> None:
    pytest.importorskip("socksio")
    with FakeOpenAI(["hello"]) as server, FakeSocks() as proxy:
        no_proxies.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        assert Bench(server).ask().text == "hello"
    assert proxy.passed == 1


class FakeSocks:
    """A SOCKS5 proxy for one connection to an address in numbers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.passed = self._socket.getsockname()[1], 0

    def __enter__(self) -> FakeSocks:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        here, _ = self._socket.accept()
        here.recv(262)  # the methods it knows
        here.sendall(b"\x05\x00")
        asked = here.recv(262)
        host, port = socket.inet_ntoa(asked[4:8]), int.from_bytes(asked[8:10], "big")
        there = socket.create_connection((host, port))
        here.sendall(b"\x05\x00\x00\x01" + asked[4:10])
        self.passed += 1
        for one, other in ((here, there), (there, here)):
            threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        while data := one.recv(65536):
            other.sendall(data)


def test_of_a_base_url_in_the_environment_that_is_none_the_cause_is_said() -> None:
    settings = LlmSettings(endpoints=(Endpoint(name="a", model="b", key_env=""),))
    calls = list[LlmCall]()
    client = LlmClient(
        settings, FakeTokenBudget(), FakeCallLog(calls), environ={"OPENAI_BASE_URL": "ftp://x"}
    )
    with pytest.raises(ProposalFailed, match="OPENAI_BASE_URL: base_url begins with ftp://"):
        client.ask(MESSAGES, np.random.default_rng(0))
