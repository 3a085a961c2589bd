"""`evo adopt FILE`: what a script of someone's lacks, read and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.real import STANDIN

from .driving import Evo

GPT = """
import sys
import torch
from model import GPT
sys.exit("never run")
learning_rate = 6e-4
block_size = 64
vocab_size = 65
batch_size, cap = 12, 2**19
TOKENS = 2**19

def get_batch(split):
    return torch.zeros(1), torch.zeros(1)

def get_lr(it):
    return learning_rate

model = GPT(vocab_size)
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
iter_num = 0
while True:
    x, y = get_batch("train")
    if iter_num % 100 == 0:
        losses = estimate_loss()
        print(f"step {iter_num}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    logits, loss = model(x, y)
    scaler.scale(loss).backward()
    optimizer.step()
    iter_num += 1
    if iter_num > 1000:
        break
"""
FOREST = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--trees", type=int, default=100)
args = parser.parse_args()
model = Forest(args.trees, random_state=args.seed).fit(X, y)
print("Test accuracy:", model.score(X, y))
"""


@pytest.fixture
def gpt(tmp_path: Path) -> Path:
    path = tmp_path / "gpt.py"
    path.write_text(GPT)
    return path


def test_what_a_typical_loop_lacks_is_told_with_its_lines(evo: Evo, gpt: Path) -> None:
    said = evo("adopt", gpt, "--json").json()
    found, lines = said["found"], GPT.splitlines()
    assert said["missing"] == [
        "start",
        "data",
        "clock",
        "loop",
        "report",
        "hand-over",
        "evaluation",
    ]
    at = {one["name"]: one["line"] for one in found["parts"]}
    assert lines[at["data"] - 1].strip().startswith("x, y = get_batch")
    assert lines[at["clock"] - 1].startswith("def get_lr")
    assert lines[at["loop"] - 1] == "while True:"
    assert lines[at["evaluation"] - 1].strip().startswith("if iter_num % 100")
    write = {one["name"]: one["write"] for one in found["parts"]}
    assert write["hand-over"] == "run.finish(model)"
    assert write["report"].startswith("run.report(loss, ")
    assert found["metrics"] == [[at["evaluation"] + 2, "step {}: train loss {}, val loss {}"]]
    assert {one["name"]: one["value"] for one in found["settings"]} == {
        "learning_rate": 6e-4,
        "block_size": 64,
        "vocab_size": 65,
        "iter_num": 0,
        "TOKENS": 2**19,
    }
    assert found["predicts_tokens"] and found["trains"]
    text = evo("adopt", gpt)
    assert text.code == 0 and "7 things to write" in text.out
    assert max(map(len, text.out.splitlines())) <= 80


def test_a_script_that_predicts_no_tokens_is_said_to(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "forest.py").write_text(FOREST)
    said = evo("adopt", "forest.py")
    assert "no training loop with a backward pass, predicts no tokens as far as seen" in said.out
    assert "this seems to be another" in said.out
    assert "Test accuracy: {}" in said.out and "argument --seed (line 4)" in said.out
    assert "2 could be knobs: --seed 1, --trees 100" in said.out


def test_a_script_that_keeps_the_contract_lacks_nothing(evo: Evo) -> None:
    assert evo("adopt", STANDIN, "--json").json()["missing"] == []
    assert "None of the calls is missing" in evo("adopt", STANDIN).out


def test_what_is_no_python_is_said_and_a_script_without_harness_is_led_here(
    evo: Evo, quick: Path, gpt: Path, tmp_path: Path
) -> None:
    (tmp_path / "no.py").write_text("def (:\n")
    said = evo("adopt", "no.py")
    assert said.code == 2 and "no.py: cannot be read as Python" in said.err
    assert "`evo adopt`" in " ".join(evo("evaluate", gpt, "--config", quick).out.split())
