"""The companion of train.py: data, clock, and the hand-over of the trained model.

Read-only, on the untrusted side of the wall: nothing here is believed by whoever scores the model.

    import harness
    run = harness.start()          # seed, device, depth, context, vocab
    while run.progress() < 1:      # 0 .. 1 of the budget; drive schedules with it
        x, y = run.batch(rows)     # int64 [rows, context] twice: tokens and their successors
        ...
        run.report(loss, tokens)   # loss in nats per token (float or 0-d tensor), tokens of this step
    run.finish(model)              # model(tokens [B, t <= context]) -> logits [B, t, vocab]; never returns

The same file runs in three roles. `train` trains and saves. `serve` finds progress() at 1 at once, loads the
saved weights in finish() and answers logits. Started by hand (`python train.py`) it trains on the embedded
corpus (DEPTH, BUDGET_SECONDS, CONTEXT, CLOCK, SEED and THREADS in the environment), scores itself and prints a
summary. On a CPU it takes one thread, as every run of a campaign does; THREADS=0 takes what torch takes.
"""

import gc
import json
import lzma
import math
import os
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RECORD = struct.Struct("<4sdddqq")  # kind, progress, wall seconds since exec, loss, tokens, steps
REQUEST = struct.Struct("<4sIII")  # b"ASK\0", request number, rows, length; then tokens
REPLY = struct.Struct(
    "<4sIIII"
)  # b"ANS\0", request number, rows, length, vocab; float32 in shared memory
WEIGHTS = "weights.safetensors"
RECENT_STEPS = 8  # the longest of them says what another step may take
REFUSED = 3  # the exit code of what the harness itself ends
PROFILED = (2, 5)  # steps before and after those that a run is looked at in, where it is asked to
COMPILED_AFTER = 3  # steps: a start that only compiles, on zeros for a text, is over then
OPERATIONS = 5  # the dearest, that it tells then
CURVE_STEP = 1 / 64  # a loss is read off the device this often, so that the loop itself never waits

if (
    "torch" not in sys.modules
):  # what is imported until start() stays: to look for garbage in it takes
    gc.disable()  # a seventh of the time that importing torch takes


def start():
    """The run this process was started for; seeds every random generator that is loaded."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    spec = os.environ.get("EVOTRAIN_RUN")
    run = Run(json.loads(spec) if spec else _standalone_spec())
    np.random.seed(run.seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(run.seed)
        if run.spec["threads"]:
            torch.set_num_threads(run.spec["threads"])
    return run


class Run:
    """One run of train.py: what it may know, and the four calls it makes."""

    def __init__(self, spec):
        self.spec = spec
        self.seed = spec["seed"]  # of initialisation and data order; changes from block to block
        self.device = spec["device"]  # "cpu" or "cuda"
        self.depth = spec["depth"]  # the one dial of size
        self.context = spec["context"]  # tokens a row
        self.vocab = spec["vocab"]
        self.clock = spec["clock"]  # "seconds", "cpu_seconds" or "tokens"
        self.budget = spec["budget"]  # the horizon, in the clock's unit
        self.tokens = 0
        self.steps = 0
        self._first = None  # the clock when progress() was first asked
        self._reported = None  # the progress at the last report()
        self._recent = []  # shares of the budget that the last steps took; not the first one, which may compile
        self._next_record = 0.0
        self._profiler = None
        self._rng = np.random.default_rng([self.seed, 1])
        self._pieces = None
        self._stream, self._ahead = None, {}  # of copies to a GPU; the next batch by its rows

    # -- clock ---------------------------------------------------------------------------------------------

    def progress(self):
        """How much of the budget is used, 0 to 1: 0 at the first call, 1 when the clock has run out.

        1, too, once another step would run beyond the budget: a step is what lies between two reports.
        """
        done = self._done()
        return 1.0 if done + max(self._recent, default=0.0) > 1 else done

    def _done(self):
        if self.spec["role"] == "serve":
            return 1.0
        if self.spec["clock"] == "tokens":
            if self._first is None:
                self._first = 0.0
                self._send(b"INIT", 0.0, math.nan)
            done = self.tokens / self.spec["budget"]
        else:
            now = self._clock()
            if self._first is None:
                self._first = now
                self._send(b"INIT", 0.0, math.nan)
            startup = self.spec["startup_seconds"]  # None: as long as it took
            end = (self._first if startup is None else startup) + self.spec["budget"]
            done = (now - self._first) / max(end - self._first, 1e-9)
        return min(max(done, 0.0), 1.0)

    def _clock(self):
        if self.spec["clock"] == "cpu_seconds":
            used = os.times()
            return used.user + used.system + used.children_user + used.children_system
        return time.monotonic() - self.spec["exec_monotonic"]

    # -- data ----------------------------------------------------------------------------------------------

    def data(self):
        """The training text as read-only token arrays, one a piece (groups of whole documents)."""
        if self._pieces is None:
            dtype = np.dtype(self.spec["token_type"])
            offset = self.spec.get("data_offset", 0)  # of a header before the tokens
            pieces = [
                np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset))
                for path in self.spec["data"]
            ]
            self._pieces = [piece for piece in pieces if len(piece) > self.context + 1]
            self._ends = np.cumsum([len(piece) - self.context - 1 for piece in self._pieces])
        return self._pieces

    def batch(self, rows):
        """Random chunks of the training text: (x, y), int64 [rows, context], contiguous, on the device.

        On a GPU the next one, of as many rows, is copied there meanwhile.
        """
        tokens = self._chunks(rows) if self.device == "cpu" else self._copied_ahead(rows)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def _copied_ahead(self, rows):
        """Copies go through a stream of their own: none waits for the steps that are queued before it."""
        import torch

        def copy():
            with torch.cuda.stream(self._stream):
                return self._chunks(rows).pin_memory().to(self.device, non_blocking=True)

        self._stream = self._stream or torch.cuda.Stream()
        tokens = self._ahead.pop(rows, None)
        if tokens is None:
            tokens = copy()
        now = torch.cuda.current_stream()
        now.wait_stream(self._stream)  # before the next copy is in it
        tokens.record_stream(now)  # its memory is this stream's, too
        self._ahead = {rows: copy()}
        return tokens

    def _chunks(self, rows):
        """Random chunks, int64 [rows, context + 1], on the CPU."""
        import torch

        pieces = self.data()
        picks = self._rng.integers(0, self._ends[-1], rows)
        out = np.empty((rows, self.context + 1), dtype=np.int64)
        for row, pick in enumerate(picks):
            index = int(np.searchsorted(self._ends, pick, side="right"))
            at = int(pick) - (int(self._ends[index - 1]) if index else 0)
            out[row] = pieces[index][at : at + self.context + 1]
        return torch.from_numpy(out)

    # -- what the run says ---------------------------------------------------------------------------------

    def report(self, loss, tokens):
        """Tell the loss (nats per token) and the tokens of one step; cheap, it rarely reads the loss."""
        self.tokens += int(tokens)
        self.steps += 1
        if self.spec.get("profile"):
            self._profile()
        if self.spec.get("compiles") and self.steps == COMPILED_AFTER:
            _leave()
        done = self._done()
        if self._reported is not None and self.clock != "tokens":
            self._recent = [*self._recent, done - self._reported][-RECENT_STEPS:]
        self._reported = done
        if done >= self._next_record:
            value = float(loss)
            self._send(b"STEP", done, value)
            self._next_record = (math.floor(done / CURVE_STEP) + 1) * CURVE_STEP
            if not math.isfinite(value):
                _refuse(f"the loss is {value} at step {self.steps}")

    def _profile(self):
        """Look at a few steps and say what took longest in them; then it is over, nothing is scored."""
        torch, (first, last) = sys.modules.get("torch"), PROFILED
        if torch is None or self.steps > last:
            _leave()
        if self.steps == first:
            self._profiler = torch.profiler.profile()
            self._profiler.start()
        elif self.steps == last:
            self._profiler.stop()
            own = "self_device_time_total" if self.device != "cpu" else "self_cpu_time_total"
            found = (
                self._profiler.key_averages()
            )  # kernels count with the operation that starts them
            took = {one.key: getattr(one, own, 0) for one in found if "CPU" in str(one.device_type)}
            whole = sum(took.values()) or 1
            dearest = sorted(took, key=took.get, reverse=True)[:OPERATIONS]
            for name in dearest:
                print(f"OPERATION {100 * took[name] / whole:.1f} {name}", flush=True)
            _leave()

    def _send(self, kind, done, loss):
        fd = self.spec["progress_fd"]
        if fd is None:
            if kind == b"STEP":
                print(f"{done:5.0%}  step {self.steps:5d}  loss {loss:.4f}", flush=True)
            return
        elapsed = time.monotonic() - self.spec["exec_monotonic"]
        os.write(fd, RECORD.pack(kind, done, elapsed, loss, self.tokens, self.steps))

    # -- the hand-over -------------------------------------------------------------------------------------

    def finish(self, model):
        """Save the weights, or load and serve them, by role. Does not return.

        What does not survive a save and a strict load is not part of the model. A model that is not a
        torch module brings save(path), load(path) and answer(int64 [B, t]) -> logits [B, t, vocab].
        """
        if self.spec.get("compiles"):
            _leave()
        model = _uncompiled(model)
        if self.spec["role"] == "serve" and self.spec.get("rehearses"):
            if not _is_torch(model):
                _leave()  # before it has loaded anything such a model need not be able to answer
            model.eval()
        elif self.spec["role"] == "serve":
            _load(model, Path(self.spec["weights"]))
        else:
            self._send(b"DONE", 1.0, math.nan)
            _save(model, Path(WEIGHTS))
            _load(model, Path(WEIGHTS))
            if self.spec["role"] == "train":  # a file that stands: it can be written, not replaced
                shutil.copyfile(WEIGHTS, self.spec["weights"])
            self._send(b"SAVE", 1.0, math.nan)
        if self.spec["role"] == "alone":
            _summary(self, model)
        elif self.spec["role"] == "serve" or self.spec["serve_after"]:
            self.serve(_answerer(model, self.device))
        _leave()

    def serve(self, answer):
        """Answer requests until the evaluator hangs up. `answer`: int64 [B, t] -> float32 [B, t, vocab]."""
        ask, reply, shared = (self.spec[key] for key in ("ask_fd", "reply_fd", "shared_fd"))
        wide = np.dtype("<u2" if self.vocab <= 65536 else "<u4")
        self._send(b"REDY", 1.0, math.nan)
        while header := _read(ask, REQUEST.size):
            _, number, rows, length = REQUEST.unpack(header)
            size = rows * length * wide.itemsize
            tokens = np.frombuffer(_read(ask, size), dtype=wide).astype(np.int64)
            logits = np.ascontiguousarray(answer(tokens.reshape(rows, length)), dtype="<f4")
            if logits.shape != (rows, length, self.vocab):
                _refuse(
                    f"the model answered shape {logits.shape}, not {(rows, length, self.vocab)}"
                )
            _write_at(shared, logits)
            os.write(reply, REPLY.pack(b"ANS\0", number, *logits.shape))
        _leave()


def _is_torch(model):
    """A model of another kind brings its own save(path), load(path) and answer(tokens)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _uncompiled(model):
    """The model as it was before torch.compile, its parts too: their parameters have their own names."""
    model = getattr(model, "_orig_mod", model)  # a compiled module keeps the real one here
    if _is_torch(model):
        for module in list(model.modules()):
            for name, part in module._modules.items():
                module._modules[name] = getattr(part, "_orig_mod", part)
    return model


def _save(model, path):
    if not _is_torch(model):
        model.save(path)
        return
    from safetensors.torch import save_model

    save_model(model, str(path))


def _load(model, path):
    if not _is_torch(model):
        model.load(path)
        return
    from safetensors.torch import load_model

    load_model(model, str(path), strict=True)
    model.eval()


def _answerer(model, device):
    if not _is_torch(model):
        return model.answer
    import torch

    @torch.inference_mode()
    def answer(tokens):
        logits = model(torch.from_numpy(tokens).to(device))
        if not isinstance(logits, torch.Tensor):
            what = type(logits).__name__
            _refuse(f"model(tokens) returned a {what}; return the logits alone, [B, t, vocab]")
        return logits.float().cpu().numpy()

    return answer


def _refuse(why):
    """Say why it ends here, as no exception would: with an exit code of its own."""
    print(why, file=sys.stderr, flush=True)
    sys.exit(REFUSED)


def _read(fd, size):
    """Exactly `size` bytes from a pipe; empty when the other end hung up."""
    parts, missing = [], size
    while missing:
        part = os.read(fd, min(missing, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _write_at(fd, array):
    """The whole array into shared memory, from its start."""
    view, at = memoryview(array).cast("B"), 0
    while at < len(view):
        at += os.pwrite(fd, view[at:], at)


def _leave():
    """Leave without the interpreter's tidying up, which costs time and can run code again."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


# -- started by hand ---------------------------------------------------------------------------------------


def _standalone_spec():
    """A run on the embedded corpus without a supervisor: one block, wall clock, scores itself."""
    exec_monotonic = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="train-"))
    documents = _corpus_documents(Path(__file__).parent / "corpus")
    for split, keep in {
        "train": lambda i: i % 10 not in (4, 9),
        "val": lambda i: i % 10 == 4,
    }.items():
        chosen = [text for index, text in enumerate(documents) if keep(index)]
        (folder / f"{split}.bin").write_bytes(b"".join(chosen))
    os.chdir(folder)
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_available()
    number = lambda name, default: float(os.environ.get(name, default))  # noqa: E731
    return {
        "role": "alone",
        "seed": int(number("SEED", 0)),
        "depth": int(number("DEPTH", 2)),
        "context": int(number("CONTEXT", 128)),
        "budget": number("BUDGET_SECONDS", 20),
        "clock": os.environ.get("CLOCK", "seconds"),
        "startup_seconds": None,
        "exec_monotonic": exec_monotonic,
        "device": "cuda" if on_gpu else "cpu",
        "threads": int(
            number("THREADS", 0 if on_gpu else 1)
        ),  # spinning threads waste a shared CPU
        "vocab": 256,
        "token_type": "uint8",
        "data": ["train.bin"],
        "progress_fd": None,
    }


def _corpus_documents(corpus):
    """The documents of the embedded corpus in the order of their index, as bytes."""
    index = json.loads((corpus / "sotu.json").read_text(encoding="utf-8"))
    text = lzma.decompress((corpus / "sotu.txt.xz").read_bytes())
    ends = np.cumsum([document["bytes"] for document in index["documents"]])
    return [
        text[end - document["bytes"] : end]
        for document, end in zip(index["documents"], ends, strict=True)
    ]


def _count_saved(path):
    """The numbers a safetensors file holds, as campaigns count: buffers too; of more than 32 bits, twice."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = [one for name, one in header.items() if name != "__metadata__"]
    wide = [one["dtype"] in ("F64", "I64", "U64", "C64") for one in tensors]
    return sum(math.prod(one["shape"]) << two for one, two in zip(tensors, wide, strict=True))


def _summary(run, model):
    """Score the model on the validation documents of a run started by hand, and say how it went."""
    text = np.fromfile("val.bin", dtype=np.uint8)
    chunks = len(text) // (run.context + 1)
    every = max(chunks // 256, 1)
    rows = text[: chunks * (run.context + 1)].reshape(chunks, -1)[::every].astype(np.int64)
    answer, nats = _answerer(model, run.device), 0.0
    for at in range(0, len(rows), 32):
        x, y = rows[at : at + 32, :-1], rows[at : at + 32, 1:]
        logits = answer(x).astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nats -= np.take_along_axis(logp, y[..., None], -1).sum()
    seconds = time.monotonic() - run.spec["exec_monotonic"]
    print("---")
    print(f"val_bpb:          {nats / math.log(2) / (rows.shape[0] * run.context):.6f}")
    print(f"training_seconds: {run.spec['budget']:.1f}")
    print(f"total_seconds:    {seconds:.1f}")
    print(f"total_tokens:     {run.tokens}")
    print(f"num_steps:        {run.steps}")
    print(f"num_params:       {_count_saved(Path(WEIGHTS))}")
    print(f"depth:            {run.depth}")
