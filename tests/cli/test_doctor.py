"""What is said before anything runs: `evo doctor CONFIG`, and the forecast of `evo run --dry-run`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.campaign.real import STANDIN

from .driving import Evo, Said

KEY = "a-secret-key"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A real server that has one model for who has the key: its address, and what it was asked."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": "m-1"}]}).encode())

        def do_POST(self) -> None:
            got.append(self.path)
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            fault = {401: "wrong key"} if not known else {}
            if known and body["model"] != "m-1":
                fault = {404: f"no model {body['model']}"}
            message = {"content": '{"ok": true}'}
            choice = {"message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 20, "completion_tokens": 5}
            told: dict[str, Any] = {"choices": [choice], "usage": usage}
            for words in fault.values():
                told = {"error": {"message": words}}
            reply = json.dumps(told).encode()
            self.send_response(next(iter(fault), 200))
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()


def checks(said: Said) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in said.json()["checks"]}


def with_model(quick: Path, address: str, model: str = "m-1", operators: str = "") -> Path:
    text = quick.read_text() + (operators or "operators: {nudge: 1, llm_mutate: 1}\n")
    text += (
        f"llm: {{endpoints: [{{name: mine, model: {model}, base_url: '{address}', key_env: K}}]}}\n"
    )
    quick.write_text(text)
    return quick


def test_doctor_looks_at_every_part_of_a_config(evo: Evo, quick: Path) -> None:
    said = evo("doctor", quick, "--json")
    found = checks(said)
    for name in (
        "config",
        "seed",
        "data",
        "rung proxy",
        "rung larger",
        "operators",
        "slots",
        "disk",
    ):
        assert found[name]["ok"] is True, name
    assert "rights" in found["warning"]["text"]  # sandbox: none
    assert not any(name.startswith(" ") for name in found)
    assert "sandbox.fs_write" in found or not found["sandbox"]["ok"]
    assert "rung proxy" in evo("doctor", quick).out


def test_slots_lists_where_runs_would_be_and_why_the_rest_gives_none(
    evo: Evo, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr("evo.evaluation.slots.cpu_quota", lambda: 1.0)
    found = evo("slots", "--json").json()
    assert len(found["slots"]) == 1 and "torch" in found["slots"][0]["host_class"]
    why = {one["name"]: one["why"] for one in found["left_out"]}
    assert why["CUDA_VISIBLE_DEVICES"] == "says that no GPU is to be used"
    assert evo("slots", quick).out.startswith("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-none")
    said = evo("slots")
    assert said.code == 2 and "names no GPU" in said.err
    assert checks(evo("doctor", "--json"))["devices"]["ok"] is False


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        ("slotz: 3\n", "config", "did you mean 'slots'"),
        ("data: {path: nothing-there.txt}\n", "data", "no such file"),
        ("train: broken.py\n", "seed", "the seed cannot be used"),
        ("slots: 5000\n", "slots", "5000 asked"),
        ("operators: {llm_mutate: 1}\n", "operators", "needs a model"),
        ("budget: {variants: 1000000000}\n", "disk", "are free"),
        ("sandbox: {mode: landlock, least: image}\n", "sandbox", "least is image, and"),
    ],
)
def test_doctor_names_the_part_of_a_config_that_is_wrong(
    evo: Evo, quick: Path, change: str, name: str, told: str
) -> None:
    (quick.parent / "broken.py").write_text("import harness\nrun = harness.start()\n")
    key = change.split(":")[0]
    lines = [line for line in quick.read_text().splitlines() if not line.startswith(f"{key}:")]
    quick.write_text("\n".join(lines) + f"\n{change}")
    said = evo("doctor", quick, "--json")
    assert said.code == 1 and said.json()["ok"] is False
    assert checks(said)[name]["ok"] is False and told in checks(said)[name]["text"]


@pytest.mark.parametrize(
    ("key", "model", "ok", "told"),
    [
        (KEY, "m-1", True, "m-1: JSON by a schema; "),
        (
            KEY,
            "m-1",
            True,
            "s, whole; 20 tokens in, 5 out; price unknown: give price_in and price_out",
        ),
        (KEY, "m-2", False, "m-2: HTTP 404: no model m-2"),
        ("another-key", "m-1", False, "m-1: HTTP 401: wrong key"),
        ("", "m-1", None, "K is not set: m-1 is not asked"),
    ],
)
def test_doctor_asks_each_endpoint_of_a_config_a_small_question(
    evo: Evo,
    quick: Path,
    asked: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    model: str,
    ok: bool | None,
    told: str,
) -> None:
    monkeypatch.setenv("K", key)
    said = evo("doctor", with_model(quick, asked[0], model), "--json")
    found = checks(said)["model mine"]
    assert found["ok"] is ok and told in found["text"]
    assert set(asked[1]) <= {"/chat/completions", "/v1/chat/completions"}
    assert bool(asked[1]) == bool(key) and KEY not in said.out


def test_an_endpoint_that_no_operator_asks_is_told(
    evo: Evo, quick: Path, asked: tuple[str, list[str]]
) -> None:
    config = with_model(quick, asked[0], operators="operators: {nudge: 1}\n")
    assert "no operator asks a model: mine is never used" in told(evo("run", config, "--dry-run"))
    assert checks(evo("doctor", config, "--json"))["model mine"]["ok"] is None
    assert asked[1] == []


def told(said: Said) -> str:
    return " ".join(said.out.split())


def test_a_config_whose_operators_all_need_a_model_fails_at_the_dry_run(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    for words in (("--dry-run",), ()):
        said = evo("run", quick, "--set", "operators={llm_mutate: 1}", *words)
        assert (said.code, said.out) == (2, "")
        assert "llm_mutate needs a model" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "campaigns").exists()


def test_a_budget_that_can_never_be_spent_is_refused_and_one_that_limits_nothing_is_told(
    evo: Evo, quick: Path
) -> None:
    for wrong in ("9" * 400, "1000000000001"):
        said = evo("run", quick, "--dry-run", "--set", f"budget.variants={wrong}")
        assert said.code == 2 and "1000000000000 or less" in said.err
    endless = evo("run", quick, "--dry-run", "--set", "budget={llm_dollars: 3}")
    assert endless.code == 2 and "would not end" in endless.err
    vain = told(evo("run", quick, "--dry-run", "--set", "budget.llm_dollars=3"))
    assert "budget.llm_dollars: limits nothing, there is no llm in the config" in vain
    nothing = told(evo("run", quick, "--dry-run", "--set", "budget.variants=0"))
    assert "children none: only the seed is measured" in nothing


def test_a_config_for_gpus_says_so_on_a_machine_without(
    evo: Evo, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # nvidia-smi, too, is not found
    changes = ("--set", "clock=seconds", "--set", "rungs.proxy.budget=300")
    said = evo("run", quick, "--dry-run", *changes)
    assert "no GPU can be used here: this would train on" in told(said)
    assert "no GPU" not in told(evo("run", quick, "--dry-run"))
    quick.write_text(quick.read_text().replace("cpu_seconds", "seconds"))
    assert evo("doctor", quick).code == 1


def test_a_disk_too_small_for_the_plan_is_an_error(
    evo: Evo, quick: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = evo("run", quick, "--dry-run", "--set", "budget.variants=1000000000")
    assert said.code == 2 and "TB are needed" in said.err and "are free" in said.err
    assert "years, at" in told(said)
    monkeypatch.setattr(psutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert "1 MB are free" in evo("run", quick).err
    assert not (tmp_path / "campaigns").exists()
    assert evo("run", quick, "--dry-run", "--json").code == 2


def test_a_campaign_without_a_sandbox_warns_everywhere(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    assert "with all your rights" in told(evo("run", quick, "--dry-run"))
    said = evo("run", quick, "--set", "budget.variants=1", "--set", "policy.final_blocks=0")
    assert said.code == 0
    closing = said.out[said.out.rindex("budget spent") :]
    assert "with all your rights" in " ".join(closing.split())
    for command in ("log", "status"):
        assert "with all your rights" in told(evo(command)), command
    assert evo("status", "--json").json()["unprotected"].startswith("sandbox: none")


def test_a_seed_that_nothing_could_change_is_refused_before_it_is_run(
    evo: Evo, quick: Path, tmp_path: Path
) -> None:
    bare = re.sub(r"# knob:.*", "", STANDIN.read_text())
    (tmp_path / "bare.py").write_text(bare + "ROUNDS = 40\n")
    assert "ranges are guessed: SMOOTHING = 0.5 (float" in told(
        evo("run", quick, "--dry-run", "--set", "train=bare.py")
    )
    for extra in ((), ("--json",)):
        merges = ("--set", "operators={merge: 1}")
        said = evo("run", quick, "--dry-run", "--set", "train=bare.py", *merges, *extra)
        assert said.code == 2
        assert "nothing could propose a child: no knob and no model" in said.err
        assert "ROUNDS" in said.err and "bare.py" in said.err
    (tmp_path / "knob.py").write_text(bare + "ROUNDS = 40  # knob: int 1 50\n")
    assert evo("run", quick, "--dry-run", "--set", "train=knob.py").code == 0
    agent = ("operators={agent: 1}", "agent={command: [cat]}", "train=bare.py")
    assert evo("run", quick, "--dry-run", *(w for one in agent for w in ("--set", one))).code == 0


def test_knob_comments_that_cannot_be_read_are_told(evo: Evo, quick: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(STANDIN.read_text() + "rate = 1  # knob: lin 1 2\n")
    said = evo("run", quick, "--dry-run", "--set", "train=odd.py")
    assert "odd.py: 1 knob comment cannot be read: line" in told(said)


def test_a_seed_with_a_byte_order_mark_is_a_seed(evo: Evo, quick: Path, tmp_path: Path) -> None:
    (tmp_path / "marked.py").write_text(STANDIN.read_text(), encoding="utf-8-sig")
    assert evo("run", quick, "--dry-run", "--set", "train=marked.py").code == 0
