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
    assert "1 could be a knob: --trees 100" in said.out  # what draws the luck is none


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


MODEL = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, layers, heads, width, vocab, context):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.mix = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True) for _ in range(layers)
        )
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens, targets=None):
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        for layer in self.mix:
            x = layer(x, mask)
        if targets is not None:
            logits = self.head(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        else:
            logits = self.head(x[:, [-1], :])  # the last one is enough to go on writing
            loss = None
        return logits, loss
"""
LOOP = """
import os
import numpy as np
import torch
from net import Net

device, dataset = "cuda", "shakespeare"
batch_size = 4
grad_accum = 2 * 8
block_size = 1024
vocab_size = None
n_layer = 6
n_head = 6
n_embd = 48  # 8 a layer
max_iters = 5000
compile = False
exec(open("overrides.py").read())
device = "cuda"
torch.manual_seed(1337 + 1)

def get_batch(split):
    # read anew each time
    data = np.memmap(os.path.join("data", dataset, split + ".bin"), dtype=np.uint16, mode="r")
    at = torch.randint(len(data) - block_size, (batch_size,))
    rows = torch.stack([torch.from_numpy(data[i : i + block_size + 1].astype(np.int64)) for i in at])
    return rows[:, :-1], rows[:, 1:]

def held_out():
    model.eval()
    loss = model(*get_batch("val"))[1].item()
    model.train()
    return loss

vocab_size = vocab_size or 50304
model = Net(n_layer, n_head, n_embd, vocab_size, block_size).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
step = 0
X, Y = get_batch("train")
while True:
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * (1 - step / max_iters)
    if step % 100 == 0:
        print(f"step {step}: val loss {held_out():.4f}")
        torch.save(model.state_dict(), "checkpoint.pt")
    for micro_step in range(grad_accum):
        logits, loss = model(X, Y)
        loss = loss / grad_accum
        X, Y = get_batch("train")
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    step += 1
    if step > max_iters:
        break
"""


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.py").write_text(MODEL)
    (tmp_path / "mine" / "train.py").write_text(LOOP.replace('device = "cuda"\ntorch', "torch"))
    return tmp_path / "mine" / "train.py"


@pytest.mark.soak  # six starts of torch
@pytest.mark.sandbox
def test_a_typical_loop_that_was_changed_runs(evo: Evo, two_files: Path) -> None:
    said = evo("adopt", two_files, "-o", "adopted", "--try", "--json").json()
    assert (said["tried"]["status"], said["tried"]["reason"]) == ("ok", "")


def test_a_typical_loop_of_two_files_is_changed_in_a_few_lines(evo: Evo, two_files: Path) -> None:
    before = two_files.read_text()
    said = evo("adopt", two_files, "-o", "adopted", "--json").json()
    assert said["adopted"]["lines_in"] <= 14 and said["adopted"]["lines_out"] <= 24
    text, patch = (Path("adopted", name).read_text() for name in ("train.py", "adopt.patch"))
    assert "class Net" in text and "from net import" not in text  # joined: it evolves as well
    written = [line[1:] for line in patch.splitlines() if line[0] == "+" and line[:3] != "+++"]
    assert len(written) == said["adopted"]["lines_in"]
    assert "    step = int(run.progress() * max_iters)" in written
    assert "    run.report(loss * grad_accum, X.numel() * grad_accum)" in written
    assert "        return logits if targets is None else (logits, loss)" in written
    assert "    return run.batch(batch_size)" in written and "run.finish(model)" in written
    assert two_files.read_text() == before
    again = evo("adopt", two_files, "-o", "adopted")
    assert again.code and "holds train.py" in again.err


def test_what_was_guessed_of_a_loop_is_told(evo: Evo, two_files: Path) -> None:
    said = evo("adopt", two_files, "-o", "adopted")
    assert said.code == 0, said.err
    told = " ".join(said.out.split())
    assert "look at: n_embd = 48 with 6 layers: 8 x depth" in told
    assert "look at: grad_accum = 16: 1 for a small proxy" in told
    assert "evaluates or saves, left out" in told
    assert max(map(len, said.out.splitlines())) <= 80


def test_what_a_run_cannot_do_is_told_with_the_line_in_the_users_own_file(
    evo: Evo, two_files: Path
) -> None:
    said = evo("adopt", two_files, "-o", "kept")
    assert "the contract kept" in said.out and "to do" not in said.out, said.out
    text = two_files.read_text()
    text = text.replace("batch_size = 4\n", "batch_size = 4\ntext = open('input.txt').read()\n")
    text = text.replace("vocab_size = vocab_size or 50304", "vocab_size = len(set(text))")
    text += "if os.path.exists('more.bin'):\n    more = np.load('more.bin')\n"
    text += "open('log.txt', 'w').write('done')\n"
    two_files.write_text(text)
    lines = text.splitlines()
    read, sized, evaluates = (
        next(at for at, one in enumerate(lines, 1) if words in one)
        for words in ("open('input", "vocab_size = len", "if step % 100")
    )
    said = evo("adopt", two_files, "-o", "adopted", "--try")  # told before it fails
    told = " ".join(said.out.split())
    assert (
        f"to do: line {read} of train.py: a run sees no such file as in open('input.txt')" in told
    )
    assert f"to do: line {sized} of train.py: vocab_size = len(set(text))" in told
    assert told.count("to do: ") == 2, told
    assert "the calls are written in: " in told and "the contract kept" not in told
    assert f"look at: lines {evaluates} to {evaluates + 2} of train.py: evaluates or saves" in told


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("X, Y = get_batch", "X = get_batch"), "no `x, y = ...batch...()` in its loop"),
        (("batch_size", "many"), "no constant that reads as the rows of a batch"),
        (("    loss.backward()", "    pass"), "it trains no model that predicts the next token"),
    ],
)
def test_what_is_no_typical_loop_gets_a_config_that_runs_it_as_it_is(
    evo: Evo, two_files: Path, change: tuple[str, str], why: str
) -> None:
    two_files.write_text(two_files.read_text().replace(*change))
    said = evo("adopt", two_files, "-o", "adopted")
    assert said.code == 0, said.err
    assert f"no patch: {why}" in " ".join(said.out.split())
    assert sorted(path.name for path in Path("adopted").iterdir()) == ["brief.md", "campaign.yaml"]
    assert "kind: command" in Path("adopted/campaign.yaml").read_text()


def test_a_config_that_was_written_says_nothing_else_than_what_a_run_does(
    evo: Evo, two_files: Path
) -> None:
    for words in (("adopt", two_files, "-o", "own"), ("adopt", two_files, "-o", "as", "--command")):
        assert evo(*words).code == 0
    own, as_it_is = (Path(name, "campaign.yaml").read_text() for name in ("own", "as"))
    assert "a model is needed" not in own and "Without a model constants are turned" in own
    assert as_it_is.count("literal seeds are mixed with the block") == 2
    assert "without, noise" not in as_it_is


def test_a_module_whose_names_meet_the_scripts_stays_beside_it(evo: Evo, two_files: Path) -> None:
    two_files.write_text(two_files.read_text() + "\nclass Head:\n    pass\n")
    two_files.with_name("net.py").write_text(MODEL + "\nclass Head:\n    pass\n")
    said = evo("adopt", two_files, "-o", "adopted", "--json").json()
    assert "net.py" in said["files"] and said["adopted"]
    assert "from net import Net" in Path("adopted/train.py").read_text()


def test_without_a_folder_nothing_is_written_or_tried(evo: Evo, two_files: Path) -> None:
    for words in (["--try"], ["--command"]):
        said = evo("adopt", two_files, *words)
        assert said.code == 2 and "go with -o DIR" in said.err
    assert evo("adopt", two_files, "-o", "as-it-is", "--command").code == 0
    assert "kind: command" in Path("as-it-is/campaign.yaml").read_text()
