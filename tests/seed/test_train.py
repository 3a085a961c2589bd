"""The seed as it is: run by hand, in the roles of the contract, and at other scales."""

import contextlib
import json
import math
import mmap
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SEED = Path(__file__).parents[2] / "seed"
KNOB = re.compile(r"^([A-Z][A-Z0-9_]*) = (\S+)  # knob: (log|int|float|choice)((?: \S+)+)$", re.M)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def with_torch():
    """Imported where these tests run: every process of the suite reads this file."""
    global torch, safetensors
    import safetensors.torch
    import torch


def spec_of(folder, role="train", **changes):
    """A run of 12 steps on text that repeats itself, as a supervisor would order it."""
    data = Path(folder) / "train.bin"
    vocab = changes.get("vocab", 256)
    tokens = np.random.default_rng(0).integers(0, min(vocab, 4), 20_000)
    tokens = tokens + np.arange(20_000) % 7 * (vocab // 8)
    tokens.astype("<u2").tofile(data)
    return {
        "role": role, "seed": 1, "device": "cpu", "depth": 2, "context": 32, "vocab": vocab,
        "budget": 12 * 256, "clock": "tokens", "startup_seconds": 0.0, "exec_monotonic": 0.0,
        "threads": 1, "token_type": "<u2", "data": [str(data)], "progress_fd": None,
        "serve_after": False,
    } | changes  # fmt: skip


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Executes train.py here under a spec, with some literals changed, and returns its names."""

    def run(literals=(), **changes):
        monkeypatch.syspath_prepend(str(SEED))
        monkeypatch.setenv("EVOTRAIN_RUN", json.dumps(spec_of(tmp_path, **changes)))
        monkeypatch.setattr("harness.Run.finish", lambda self, model: None)
        source = (SEED / "train.py").read_text()
        for old, new in literals:
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        (tmp_path / "train.py").write_text(source)
        return runpy.run_path(str(tmp_path / "train.py"))

    yield run
    torch.set_flush_denormal(False)


@pytest.fixture
def build(names):
    """Executes train.py here under a spec and returns the model that it handed to finish."""
    return lambda **changes: names(**changes)["model"].eval()


def watching():
    """Counts how often the value of a tensor is read, and keeps the shapes of what is made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watched(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.read, self.shapes = 0, set()

        def __torch_dispatch__(self, operation, types, given=(), named=None):
            made = operation(*given, **(named or {}))
            self.read += operation is torch.ops.aten._local_scalar_dense.default
            self.shapes |= {made.shape} if isinstance(made, torch.Tensor) else set()
            return made

    return Watched()


def random_tokens(vocab, rows=3, length=32):
    return torch.from_numpy(np.random.default_rng(5).integers(0, vocab, (rows, length)))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_a_model_with_compiled_parts_is_saved_under_the_names_of_its_plain_twin(
    tmp_path, monkeypatch
):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(16, 16)
            self.parts = torch.nn.ModuleList([torch.nn.Linear(16, 16) for _ in range(2)])
            self.again = self.parts[0]  # tied: one module under two names

        def compile_parts(self):
            self.parts = torch.nn.ModuleList(
                [torch.compile(part, backend="eager") for part in self.parts]
            )
            self.again = self.parts[0]

        def forward(self, tokens):
            x = self.embed(tokens)
            for part in (*self.parts, self.again):
                x = torch.tanh(part(x))
            return x

    class Left(BaseException):
        pass

    def leave(*_):
        raise Left

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(SEED))
    import harness

    answers, expected = [], []
    monkeypatch.setattr(harness, "_leave", leave)
    monkeypatch.setattr(harness.Run, "serve", lambda self, answer: answers.append(answer))
    tokens, saved = random_tokens(16), str(tmp_path / "saved")
    for compiled in (True, False):  # one saves, the other serves what it saved
        for role in ("train", "serve"):
            run, model = harness.Run(spec_of(tmp_path, role, vocab=16, weights=saved)), Model()
            with torch.no_grad():
                expected += [model(tokens).numpy()] * (role == "train")
            if compiled == (role == "train"):
                model.compile_parts()
            with pytest.raises(Left):
                run.finish(model)
        assert np.allclose(answers.pop()(tokens.numpy()), expected[-1])
    assert not answers


def test_a_batch_can_be_viewed_flat(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SEED))
    import harness

    x, y = harness.Run(spec_of(tmp_path)).batch(4)
    assert x.shape == y.shape == (4, 32) and x.dtype == torch.int64
    assert (x[:, 1:].reshape(-1) == y[:, :-1].reshape(-1)).all()
    assert x.view(-1).shape == y.view(-1).shape == (128,)


def test_run_by_hand_it_trains_and_prints_a_finite_score():
    done = subprocess.run(
        [sys.executable, str(SEED / "train.py")],
        env=os.environ | ONE_THREAD | {"CLOCK": "cpu_seconds", "BUDGET_SECONDS": "1.5"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    summary = dict(re.findall(r"^(\w+): +(\S+)$", done.stdout.split("---")[1], re.M))
    assert 1 < float(summary["val_bpb"]) < 6  # a uniform guess costs 8 bits a byte
    assert int(summary["num_steps"]) > 10


def test_at_least_fourteen_knobs_carry_a_remark_and_lie_in_their_range():
    knobs = KNOB.findall((SEED / "train.py").read_text())
    assert len(knobs) >= 14
    for name, literal, kind, arguments in knobs:
        value = literal.strip('"')
        if kind == "choice":
            assert value in arguments.split(), name
        else:
            low, high = map(float, arguments.split())
            assert low <= float(value) <= high, name
            assert kind != "log" or low > 0, name


def test_every_line_with_a_knob_remark_is_a_knob():
    text = (SEED / "train.py").read_text()
    assert len(KNOB.findall(text)) == len(re.findall(r"(?m)^[A-Z]\w* = .*# knob:", text))


def test_changing_the_future_leaves_earlier_logits_unchanged(build):
    model, tokens = build(), random_tokens(256)
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 77) % 256
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-4)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


def test_other_rows_and_a_shorter_row_give_the_same_logits(build):
    model, tokens = build(), random_tokens(256)
    with torch.no_grad():
        assert torch.allclose(model(tokens)[1:2, :9], model(tokens[1:2, :9]), atol=1e-4)


def test_a_save_and_a_strict_load_give_the_same_logits(build, tmp_path):
    trained, tokens = build(), random_tokens(256)
    safetensors.torch.save_model(trained, str(tmp_path / "w.safetensors"))
    fresh = build(role="serve")
    with torch.no_grad():
        before = fresh(tokens)
        safetensors.torch.load_model(fresh, str(tmp_path / "w.safetensors"), strict=True)
        assert not torch.equal(before, trained(tokens))
        assert torch.equal(fresh(tokens), trained(tokens))


def test_a_vocabulary_of_a_thousand_tokens_is_learned(build):
    model, tokens = build(vocab=1000, budget=60 * 256), random_tokens(1000)
    with torch.no_grad():
        assert model(tokens).shape == (3, 32, 1000)
        pattern = torch.arange(32)[None] % 7 * 125
        loss = torch.nn.functional.cross_entropy(model(pattern)[0, :-1], pattern[0, 1:])
    assert loss < 0.8 * math.log(1000)


@pytest.mark.parametrize("vocab", [2, 257, 1000, 5003])
@pytest.mark.parametrize("slab", [1, 2**13, 2**20])
def test_the_loss_in_slabs_and_its_gradients_are_those_of_the_plain_one(names, vocab, slab):
    loss_in_slabs = (made := names(role="serve"))["LossInSlabs"].apply
    made["SLAB_LOGITS"]["cpu"] = slab
    draws = torch.Generator().manual_seed(vocab)
    x = torch.randn(37, 16, generator=draws, requires_grad=True)
    head = torch.randn(vocab, 16, generator=draws, requires_grad=True)
    targets = torch.randint(vocab, (37,), generator=draws)
    found = []
    for loss in (
        loss_in_slabs(x, head, targets),
        torch.nn.functional.cross_entropy(x @ head.T, targets),
    ):
        x.grad = head.grad = None
        (loss / 3).backward()
        found.append((loss.detach(), x.grad, head.grad))
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_at_a_large_vocabulary_no_step_holds_the_logits_of_all_its_tokens(names, tied):
    change = [("TIE_EMBEDDINGS = False", f"TIE_EMBEDDINGS = {tied}")]
    made = names(change, role="serve", vocab=8192)
    model, (x, y) = made["model"], (random_tokens(8192, rows=10), random_tokens(8192, rows=10))
    if not tied:
        torch.nn.init.normal_(model.head)
    with watching() as watched:
        loss = made["loss_of"](x, y)
        loss.backward()
    logits = [math.prod(shape) for shape in watched.shapes if shape[-1:] == (8192,)]
    assert 0 < max(logits) <= 2**20 < x.numel() * 8192
    ours = [p.grad for p in model.parameters()]
    model.zero_grad()
    plain = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    plain.backward()
    assert torch.allclose(loss, plain)
    for gradient, p in zip(ours, model.parameters(), strict=True):
        assert torch.allclose(gradient, p.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("large", [False, True])
def test_the_loop_reads_no_value_but_the_losses_of_the_curve(names, large):
    # on a GPU each reading waits for all the steps that are queued
    few = [("BATCH_TOKENS = 1280", "BATCH_TOKENS = 128")]
    few += [("LARGE_VOCAB = 8192", "LARGE_VOCAB = 256")] if large else []
    with watching() as watched:
        run = names(few, budget=640, context=8, depth=1)["run"]
    assert run.steps == 80
    assert 32 <= watched.read <= 65


def test_batches_that_are_copied_ahead_are_those_that_a_cpu_gets_and_none_is_used_before_its_copy(
    tmp_path, monkeypatch
):
    """The stream of copies is a fake: it writes down who waited for what."""
    monkeypatch.syspath_prepend(str(SEED))
    import harness

    told, one, two = [], harness.Run(spec_of(tmp_path)), harness.Run(spec_of(tmp_path))
    two.device, two._stream = "cpu:0", "copies"
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream(told))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: told.append("copy") or x)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda x, stream: told.append("kept"))
    for _ in range(3):
        for ours, plain in zip(two.batch(4), one.batch(4), strict=True):
            assert torch.equal(ours, plain)
    assert two.batch(5)[0].shape == (5, 32)
    wait = ["wait for copies", "kept", "copy"]
    assert told == ["copy", *wait, *wait, *wait, "copy", *wait]


class FakeStream:
    def __init__(self, told):
        self.told = told

    def wait_stream(self, other):
        self.told.append(f"wait for {other}")


def test_depth_is_the_dial_of_size(build):
    sizes = [parameters(build(role="serve", depth=depth)) for depth in (1, 2, 4)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] > 4 * sizes[1]


def test_the_seed_of_the_run_changes_the_weights(build):
    one, two = build(role="serve", seed=1), build(role="serve", seed=2)
    assert not torch.equal(next(one.parameters()), next(two.parameters()))


def execute(folder, spec, **options):
    shutil.copy(SEED / "train.py", folder)
    shutil.copy(SEED / "harness.py", folder)
    return subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=folder,
        env=os.environ | ONE_THREAD | {"EVOTRAIN_RUN": json.dumps(spec)},
        stdout=subprocess.DEVNULL,
        **options,
    )


def test_what_one_process_trained_another_serves_over_the_wire(tmp_path, build):
    weights = tmp_path / "handed.safetensors"
    assert execute(tmp_path, spec_of(tmp_path, weights=str(weights))).wait(250) == 0
    ask_read, ask = os.pipe()
    reply, reply_write = os.pipe()
    shared = os.memfd_create("logits")
    os.ftruncate(shared, 3 * 32 * 256 * 4)
    tokens = random_tokens(256)
    spec = spec_of(
        tmp_path, role="serve", weights=str(weights),
        ask_fd=ask_read, reply_fd=reply_write, shared_fd=shared,
    )  # fmt: skip
    server = execute(tmp_path, spec, pass_fds=(ask_read, reply_write, shared))
    os.write(ask, b"ASK\0" + np.array([7, 3, 32], "<u4").tobytes())
    os.write(ask, tokens.numpy().astype("<u2").tobytes())
    answer = os.read(reply, 20)
    assert answer[:4] == b"ANS\0"
    assert np.frombuffer(answer[4:], "<u4").tolist() == [7, 3, 32, 256]
    with mmap.mmap(shared, 0, prot=mmap.PROT_READ) as view:
        logits = np.frombuffer(bytes(view), "<f4").reshape(3, 32, 256)
    os.close(ask)
    os.close(ask_read)
    assert server.wait(250) == 0
    here = build(role="serve")
    safetensors.torch.load_model(here, str(weights), strict=True)
    with torch.no_grad():
        assert np.allclose(here(tokens).numpy(), logits, atol=1e-4)
    for fd in (reply, reply_write, shared):
        os.close(fd)
