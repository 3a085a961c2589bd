"""The seed against the yardstick: same shape, batch, data, core and CPU seconds, one run after the other.

The budget is counted from the first progress(), so that nobody pays for imports: torch.optim costs the
yardstick another CPU second before that. Every block runs both, and the order turns from block to block.
"""

import argparse
import json
import os
import re
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

SEED = Path(__file__).parent.parent / "seed"
CONTESTANTS = {"seed": SEED / "train.py", "yardstick": Path(__file__).parent / "yardstick.py"}


def seed_shape(arguments: argparse.Namespace) -> dict[str, int]:
    """Width, heads and rows of the seed at this scale, read off the seed itself."""
    run: Any = types.SimpleNamespace(
        seed=0, device="cpu", depth=arguments.depth, context=arguments.context, vocab=256,
        clock="cpu_seconds", budget=arguments.budget, progress=lambda: 1.0,
        finish=lambda model: None,
    )  # fmt: skip
    stand_in: Any = types.SimpleNamespace(start=lambda: run)
    sys.modules["harness"] = stand_in
    names = runpy.run_path(str(CONTESTANTS["seed"]))
    scale = names["scale"]
    if names["MLP_RATIO"] != 4:
        sys.exit("the yardstick's MLP has four times the width, the seed's has not")
    return {"width": scale.width, "heads": scale.heads, "rows": scale.rows}


def one_run(
    name: str, block: int, arguments: argparse.Namespace, shape: dict[str, int]
) -> tuple[float, float]:
    """Train one contestant on one block: its val_bpb and tokens a CPU second."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(CONTESTANTS[name], Path(folder) / "train.py")
        shutil.copy(SEED / "harness.py", folder)
        (Path(folder) / "corpus").symlink_to(SEED / "corpus")
        settings = {
            "SEED": block, "DEPTH": arguments.depth, "CONTEXT": arguments.context,
            "CLOCK": "cpu_seconds", "BUDGET_SECONDS": arguments.budget, "TMPDIR": folder,
            "OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "YARDSTICK_SHAPE": json.dumps(shape),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "train.py"],
            cwd=folder,
            env=os.environ | {key: str(value) for key, value in settings.items()},
            capture_output=True,
            encoding="utf-8",
            preexec_fn=lambda: os.sched_setaffinity(0, {arguments.core}),
        )
    if done.returncode:
        sys.exit(done.stderr)
    found = dict(re.findall(r"^(\w+): +(\S+)$", done.stdout.split("---")[-1], re.MULTILINE))
    return float(found["val_bpb"]), float(found["total_tokens"]) / arguments.budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--budget", type=float, default=8.0, help="CPU seconds a run")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    shape = seed_shape(arguments)
    print(f"shape: {shape}, {arguments.budget:g} CPU seconds, core {arguments.core}")
    print("block  seed bpb  yardstick bpb  seed tok/s  yardstick tok/s  ratio")
    ratios, wins = [], 0
    for block in range(arguments.blocks):
        order = list(CONTESTANTS) if block % 2 == 0 else list(CONTESTANTS)[::-1]
        result = {name: one_run(name, block, arguments, shape) for name in order}
        (seed, seed_speed), (plain, plain_speed) = result["seed"], result["yardstick"]
        ratios.append(seed_speed / plain_speed)
        wins += seed < plain
        print(
            f"{block:5d}  {seed:8.4f}  {plain:13.4f}  {seed_speed:10.0f}  {plain_speed:15.0f}"
            f"  {ratios[-1]:5.2f}",
            flush=True,
        )
    print(f"tokens/s, median of pairs: {statistics.median(ratios):.2f}")
    print(f"better val_bpb: {wins} of {arguments.blocks} blocks")


if __name__ == "__main__":
    main()
