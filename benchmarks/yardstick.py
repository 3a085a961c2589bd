"""The yardstick: a plain nanoGPT-style loop of the seed's shape, through the same harness.

LayerNorm, learned positions, GELU, AdamW from torch.optim, cosine schedule. Shape and batch come from
YARDSTICK_SHAPE (JSON: width, heads, rows), so that compare_seed.py can make both equal.
"""

import json
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

import harness  # isort: skip - the companion beside the copy that runs

LEARNING_RATE = 6e-3  # best of 3e-3, 6e-3, 1.2e-2 and 2.4e-2 at the quickstart scale
MIN_LEARNING_RATE = LEARNING_RATE / 10
WARMUP = 0.05
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.99)
INIT = 0.1  # better than the usual 0.02 at this width, by 0.2 bits a byte


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(rows, length, width))
        out: torch.Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return out


class Model(nn.Module):
    def __init__(self, depth: int, width: int, heads: int, context: int, vocab: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=INIT / math.sqrt(2 * depth) if last else INIT)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


def learning_rate(progress: float) -> float:
    if progress < WARMUP:
        return LEARNING_RATE * max(progress, 1e-3) / WARMUP
    phase = (progress - WARMUP) / (1 - WARMUP)
    swing = 0.5 * (1 + math.cos(math.pi * phase))
    return MIN_LEARNING_RATE + swing * (LEARNING_RATE - MIN_LEARNING_RATE)


def main() -> None:
    run = harness.start()
    shape = json.loads(os.environ["YARDSTICK_SHAPE"])
    model = Model(run.depth, shape["width"], shape["heads"], run.context, run.vocab)
    model.to(run.device)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)
    while (progress := run.progress()) < 1:
        x, y = run.batch(shape["rows"])
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=run.device == "cuda"):
            logits = model(x)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        run.report(loss.detach(), x.numel())
    run.finish(model)


main()
