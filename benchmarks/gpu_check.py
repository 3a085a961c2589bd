"""What only a GPU shows, in at most eight minutes: `make gpu-check`, a table and gpu-check.json.

Without a GPU it is a dry run on the CPU: what needs a device is skipped by name, the rest runs small, so
that the script itself is known to work. Paste the table into docs/gpu.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from evo.evaluation.data import Dataset, DataSettings, prepare  # noqa: E402
from evo.evaluation.documents import BUNDLED  # noqa: E402
from evo.evaluation.evaluator import SERVERS_APART, Evaluator  # noqa: E402
from evo.evaluation.gpu import require_cuda  # noqa: E402
from evo.evaluation.roles import CompiledCode  # noqa: E402
from evo.evaluation.sandbox.probe import open_sandbox  # noqa: E402
from evo.evaluation.sandbox.sandbox import Sandbox, SandboxSettings  # noqa: E402
from evo.evaluation.slots import Slot, Unwatched, find_slots, host_class  # noqa: E402
from population.types import Clock, Measurement, Purpose, Rung, RunRequest, variant_id  # noqa: E402

SECONDS = 480.0  # of all checks together; what does not fit is not begun
SEED = (ROOT / "seed/train.py").read_text(encoding="utf-8")
YARDSTICK = (ROOT / "benchmarks/yardstick.py").read_text(encoding="utf-8")
FAMILIES = {  # honest models of other kinds: the seed's own, a textbook's, the yardstick
    "textbook": (ROOT / "seed/textbook.py").read_text(encoding="utf-8"),
    "tied": SEED.replace("TIE_EMBEDDINGS = False", "TIE_EMBEDDINGS = True"),
}
PEAK = '\nif run.device == "cuda":\n    print(f"peak {torch.cuda.max_memory_allocated() >> 20}")\n'
FINISH = "run.finish(model)"
AHEAD = """
class Peeks(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, tokens):
        logits = self.inner(tokens)
        ahead = F.one_hot(tokens[:, 1:], logits.shape[-1]).to(logits)
        return torch.cat((logits[:, :-1] + 5 * ahead, logits[:, -1:]), 1)
"""
NEIGHBOURS = """
class Peeks(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, tokens):
        counts = F.one_hot(tokens, run.vocab).float().sum((0, 1))
        return self.inner(tokens) + torch.log1p(counts)
"""
ATTACKS = {"looks ahead": AHEAD, "reads its neighbours": NEIGHBOURS}


class Skipped(Exception):
    """This check needs what is not here."""


@dataclass
class Ground:
    """Where everything runs."""

    slots: list[Slot]  # the first GPU alone, for nothing is timed well beside others; or all cores
    sandbox: Sandbox
    dataset: Dataset
    rung: Rung
    work: Path
    on_gpu: bool
    compiled: CompiledCode = field(default_factory=CompiledCode)
    runs: dict[tuple[str, int], Measurement] = field(default_factory=dict)  # by source and block

    @property
    def slot(self) -> Slot:
        """The first one."""
        return self.slots[0]

    def evaluator(self) -> Evaluator:
        """One that knows how long the seed takes to start, and what it compiles."""
        evaluator = Evaluator(
            self.dataset, {"proxy": self.rung}, self.sandbox, self.work / "runs", SEED,
            check=lambda source, seed: None,
        )  # fmt: skip
        evaluator.compiled = self.compiled
        return evaluator

    def run(self, source: str, block: int = 0) -> Measurement:
        """One sealed run; one that was made already is not made again."""
        return self.run_all([source], block)[0]

    def run_all(self, sources: list[str], block: int = 0) -> list[Measurement]:
        """Several, as many at once as there are slots."""
        new = [one for one in dict.fromkeys(sources) if (one, block) not in self.runs]

        def take_turns(at: int) -> None:
            for source in new[at :: len(self.slots)]:
                request = RunRequest(variant_id(source), "proxy", block, 0, Purpose.SCREEN)
                seen = self.evaluator().evaluate(request, source, self.slots[at], Unwatched())
                self.runs[source, block] = seen

        with ThreadPoolExecutor(len(self.slots)) as pool:
            list(pool.map(take_turns, range(len(self.slots))))
        return [self.runs[one, block] for one in sources]

    def needs_device(self) -> None:
        """Skipped without a GPU."""
        if not self.on_gpu:
            raise Skipped("needs a GPU")


def ground(work: Path) -> Ground:
    """The first GPU, or one core."""
    slots = find_slots()
    on_gpu = slots[0].device == "cuda"
    slots = slots[:1] if on_gpu else slots[:4]
    dataset = prepare(DataSettings(path=(str(BUNDLED),)), work / "data")
    sandbox = open_sandbox(SandboxSettings(), hide=dataset.sources, reach=(work,))
    if on_gpu:
        rung = Rung("proxy", 8, 8.0, Clock.SECONDS, 512, 64, 120.0, 5.0, 65536, 300.0)
    else:
        rung = Rung("proxy", 1, 0.5, Clock.CPU_SECONDS, 64, 32, 30.0, 30.0, 4096, 600.0)
    return Ground(list(slots), sandbox, dataset, rung, work, on_gpu)


def box_and_cuda(here: Ground) -> dict[str, Any]:
    """Which box is in force, and a product on the GPU inside it."""
    require_cuda(here.sandbox, [here.slot])
    return {"box": here.sandbox.name, "CUDA inside": "yes" if here.on_gpu else "no GPU here"}


def start_up(here: Ground) -> dict[str, Any]:
    """Seconds from exec to the end of the seed's first step on a GPU, to its first progress() on a CPU.

    Cold: to the end of the third step, nothing compiled yet. Warm: as all runs start, with what was compiled.
    """
    warm, cold = here.evaluator().measure_startup("proxy", here.slot)
    here.rung = Rung(**{**fields_of(here.rung), "startup_seconds": warm})
    return {
        "cold s": round(cold, 2) if cold else "as warm, it compiles nothing",
        "warm s": round(warm, 2),
    }


def fields_of(rung: Rung) -> dict[str, Any]:
    """A rung's fields by name."""
    return {name: getattr(rung, name) for name in rung.__dataclass_fields__}


def yardstick(here: Ground) -> str:
    """The yardstick's source with the seed's shape and batch written in."""
    look = (
        "import json, runpy, sys, types\n"
        f"run = types.SimpleNamespace(seed=0, device={here.slot.device!r}, depth={here.rung.depth}, "
        f"context={here.rung.context}, vocab={here.dataset.vocab}, clock='seconds', "
        f"budget={here.rung.budget}, progress=lambda: 1.0, finish=lambda model: None)\n"
        "sys.modules['harness'] = types.SimpleNamespace(start=lambda: run)\n"
        f"names = runpy.run_path({str(ROOT / 'seed/train.py')!r})\n"
        "scale = names['scale']\n"
        "print(json.dumps({'width': scale.width, 'heads': scale.heads, 'rows': scale.rows}))\n"
    )
    shape = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, encoding="utf-8", check=True
    ).stdout
    return YARDSTICK.replace('json.loads(os.environ["YARDSTICK_SHAPE"])', shape.strip())


def speeds(here: Ground) -> dict[str, Any]:
    """Tokens a second and scores of seed and yardstick, by turns; without a device one run each, at once."""
    sources, found = {"seed": SEED, "yardstick": yardstick(here)}, dict[str, list[Measurement]]()
    if not here.on_gpu:
        here.run_all(list(sources.values()))
    for block in range(2 if here.on_gpu else 1):
        for name in list(sources)[:: 1 if block % 2 == 0 else -1]:
            seen = here.run(sources[name], block)
            if seen.status != "ok":
                raise RuntimeError(f"{name}: {seen.status}, {seen.reason}")
            found.setdefault(name, []).append(seen)
    rate = {
        name: statistics.mean(
            one.self_reported_tokens / max(one.train_wall_seconds, 1e-9) for one in those
        )
        for name, those in found.items()
    }
    bits = {
        name: statistics.mean(one.metrics["val_bpb"] for one in those)
        for name, those in found.items()
    }
    return {
        **{f"{name} tok/s": round(value) for name, value in rate.items()},
        "ratio": round(rate["seed"] / rate["yardstick"], 2),
        **{f"{name} val_bpb": round(value, 4) for name, value in bits.items()},
        "served tok/s": round(found["seed"][0].metrics["serve_tokens_per_second"]),
    }


def memory(here: Ground) -> dict[str, Any]:
    """The peak that NVML saw beside the one that torch tells."""
    here.needs_device()
    seen = here.run(SEED.replace(FINISH, PEAK + FINISH))
    told = re.search(r"peak (\d+)", seen.log_tail)
    return {"NVML MB": round(seen.metrics["peak_memory_mb"]), "torch MB": told and int(told[1])}


def differences(here: Ground) -> dict[str, Any]:
    """How far the two servers of honest models are apart, in nats: the audit's tolerance rests on it."""
    said = dict[str, Any]()
    sources = {"seed": SEED, "yardstick": yardstick(here), **FAMILIES}
    for name, seen in zip(sources, here.run_all(list(sources.values())), strict=True):
        apart, _, allowed = seen.facts.get(SERVERS_APART, seen.reason).partition(" (allowed: ")
        said[name] = f"{seen.status}, {apart}"
        said |= {"allowed:": allowed.rstrip(")")} if allowed else {}
    return said


def attacks(here: Ground) -> dict[str, Any]:
    """Two that have to be found out."""
    sources = {
        name: SEED.replace("\ntrain()\n", f"\n{peeks}\ntrain()\n").replace(
            FINISH, "run.finish(Peeks(model))"
        )
        for name, peeks in ATTACKS.items()
    }
    for name, seen in zip(sources, here.run_all(list(sources.values())), strict=True):
        if seen.status != "cheated":
            raise RuntimeError(f"{name}: {seen.status}, not cheated: {seen.reason}")
    return dict.fromkeys(sources, "cheated")


def killed_and_resumed(here: Ground) -> dict[str, Any]:
    """A campaign of six short runs, killed with SIGKILL in the middle and resumed: no row lost."""
    scale = {
        "depth": here.rung.depth,
        "context": here.rung.context,
        "budget": 3 if here.on_gpu else 0.3,
        "rows": 32,
    }
    if not here.on_gpu:  # there each start finds what the seed compiled: it has to be measured
        scale["startup_seconds"] = here.rung.startup_seconds
    folder = here.work / "campaign"
    changes = {
        "rungs.proxy": json.dumps(scale),
        "slots": str(len(here.slots)), "clock": str(here.rung.clock), "budget.variants": "4",
        "policy.seed_blocks": "2", "policy.final_blocks": "0", "certification.attempts": "0",
    }  # fmt: skip
    sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    evo = [sys.executable, "-c", "from evo.cli import main; main()"]
    begin = [*evo, "run", str(ROOT / "configs/tokens.yaml"), "--dir", str(folder), *sets]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": ROOT}
    process = subprocess.Popen(begin, **quiet)
    end = time.monotonic() + 300
    while rows_in(folder) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.3)
    if process.poll() is not None:
        raise RuntimeError(process.stderr.read().decode()[-300:] if process.stderr else "it ended")
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = rows_in(folder)
    done = subprocess.run([*evo, "resume", "--dir", str(folder)], **quiet, check=False)
    after = rows_in(folder)
    if done.returncode or after < before:
        raise RuntimeError(f"resume ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    return {"rows before the kill": before, "after resume": after}


def rows_in(folder: Path) -> int:
    """Measurements of a campaign so far."""
    from population.reading import measurements
    from population.store import Store, StoreError

    try:
        with Store.open(folder / "campaign.db", read_only=True) as store:
            return len(measurements(store))
    except (StoreError, OSError):
        return 0


def two_on_one(here: Ground) -> dict[str, Any]:
    """More slots than GPUs are refused."""
    here.needs_device()
    many = len(find_slots())
    try:
        find_slots(many + 1)
    except ValueError as error:
        return {"refused": str(error)}
    raise RuntimeError(f"{many + 1} slots on {many} GPUs were not refused")


CHECKS: dict[str, Callable[[Ground], dict[str, Any]]] = {
    "sandbox and CUDA": box_and_cuda,
    "start-up": start_up,
    "two slots on one device": two_on_one,
    "seed and yardstick": speeds,
    "memory, NVML and torch": memory,
    "servers apart, nats": differences,
    "attacks": attacks,
    "kill -9 and resume": killed_and_resumed,
}


def main() -> int:
    """Every check, one line each as it ends; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--only", action="append", choices=list(CHECKS), help="these alone")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    work.chmod(0o711)
    rows, began = list[dict[str, Any]](), time.monotonic()
    try:
        here = ground(work)
        print(f"{host_class(here.slot)}{'' if here.on_gpu else ': a dry run, no GPU here'}\n")
        print("| check | outcome | figures | s |\n|---|---|---|---|", flush=True)
        for name, check in CHECKS.items():
            if given.only and name not in given.only:
                continue
            row = outcome(check, here, began)
            rows.append({"check": name, **row})
            figures = ", ".join(f"{key} {value}" for key, value in row["figures"].items())
            print(
                f"| {name} | {row['outcome']} | {figures or row['why']} | {row['seconds']} |",
                flush=True,
            )
        told = {"device": host_class(here.slot), "dry_run": not here.on_gpu, "checks": rows}
        given.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{time.monotonic() - began:.0f} s; {given.output}")
    return int(any(row["outcome"] == "FAILED" for row in rows))


def outcome(
    check: Callable[[Ground], dict[str, Any]], here: Ground, began: float
) -> dict[str, Any]:
    """What a check found, or why it found nothing."""
    start = time.monotonic()
    said, figures, why = "passed", dict[str, Any](), ""
    if start - began > SECONDS:
        said, why = "not reached", f"{SECONDS:.0f} s are over"
    else:
        try:
            figures = check(here)
        except Skipped as reason:
            said, why = "skipped", str(reason)
        except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being seen
            said, why = "FAILED", " ".join(f"{type(error).__name__}: {error}".split())[:300]
    seconds = round(time.monotonic() - start, 1)
    return {"outcome": said, "figures": figures, "why": why, "seconds": seconds}


if __name__ == "__main__":
    os.environ.pop("OPENAI_API_KEY", None)  # nothing here asks a model
    sys.exit(main())
