"""A train.py started by hand: as a campaign runs it, and counted as a campaign counts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from evo.evaluation.weights import count_parameters

SEED = Path(__file__).parents[2] / "seed"
TINY = """
import torch, harness
run = harness.start()
print("threads:", torch.get_num_threads())
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(run.vocab, run.vocab)
        self.same = self.table
        self.register_buffer("kept", torch.zeros(7, dtype=torch.int64))
        self.register_buffer("dropped", torch.zeros(100), persistent=False)
    def forward(self, tokens):
        return self.table(tokens)
model = Model()
x, y = run.batch(2)
run.report(model(x).mean(), x.numel())
import os, pathlib
if out := os.environ.get("OUT"):
    pathlib.Path(out).write_text(os.getcwd())
run.finish(model)
"""


def by_hand(folder, **environment):
    (folder / "train.py").write_text(TINY)
    shutil.copyfile(SEED / "harness.py", folder / "harness.py")
    if not (folder / "corpus").exists():
        (folder / "corpus").symlink_to(SEED / "corpus")
    known = {name: text for name, text in os.environ.items() if not name.endswith("NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=known | {"BUDGET_SECONDS": "0.1", "OUT": str(folder / "out")} | environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)


def test_by_hand_it_takes_one_thread_on_a_cpu_and_counts_what_the_saved_file_holds(tmp_path):
    told = by_hand(tmp_path)
    assert int(told["threads"]) == 1
    saved = Path((tmp_path / "out").read_text()) / "weights.safetensors"
    assert int(told["num_params"]) == count_parameters(saved) == 256 * 256 + 2 * 7
    assert int(by_hand(tmp_path, THREADS="3")["threads"]) == 3


LOOKS = """
import gc, harness
print("while importing:", gc.isenabled())
import torch
run = harness.start()
print("then:", gc.isenabled() and gc.get_freeze_count() > 50_000)
run.finish(torch.nn.Embedding(run.vocab, run.vocab))
"""


def test_nothing_looks_for_garbage_while_libraries_are_imported_but_from_the_start_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(f"{__name__}.TINY", LOOKS)
    told = by_hand(tmp_path)
    assert (told["while importing"].strip(), told["then"].strip()) == ("False", "True")
    for seed in (SEED / "train.py", SEED / "textbook.py"):  # what comes before it costs more
        source = seed.read_text()
        assert 0 < source.index("\nimport harness") < source.index("\nimport torch")
