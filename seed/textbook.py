"""A decoder language model as textbooks have it: the plain start of configs/textbook.yaml.

LayerNorm, learned positions, GELU, AdamW, a constant learning rate. The contract is that of train.py: all but
the four calls into the harness may be changed, and a literal with a `# knob:` remark may be turned.
"""

import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH_PER_DEPTH = 32  # knob: int 8 96
HEADS = 2  # knob: choice 1 2 4 8
MLP_RATIO = 4  # knob: int 1 8
ACTIVATION = "gelu"  # knob: choice gelu relu silu
DROPOUT = 0.0  # knob: float 0.0 0.5
INIT_STD = 0.02  # knob: log 0.005 0.5
TIE_EMBEDDINGS = False  # knob: choice False True

LEARNING_RATE = 1e-3  # knob: log 1e-4 1e-1
BETA1 = 0.9  # knob: float 0.5 0.99
BETA2 = 0.999  # knob: float 0.8 0.9999
WEIGHT_DECAY = 0.01  # knob: log 1e-4 1
BATCH_TOKENS = 2048  # knob: log 128 16384
WARMUP = 0.0  # knob: float 0.0 0.2
FINAL_LR = 1.0  # knob: float 0.0 1.0


class Block(nn.Module):
    """Causal self-attention and MLP, each on the layer-normalised residual stream."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = (
            nn.Linear(width, MLP_RATIO * width),
            nn.Linear(MLP_RATIO * width, width),
        )

    def forward(self, x):
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, HEADS, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(rows, length, width)))
        return x + self.drop(self.down(getattr(F, ACTIVATION)(self.up(self.norm2(x)))))

    def drop(self, x):
        """x with a share of its numbers zeroed while training."""
        return F.dropout(x, DROPOUT, self.training)


class Model(nn.Module):
    """tokens int64 [B, t] -> logits [B, t, vocab]."""

    def __init__(self, depth, vocab, context):
        super().__init__()
        width = max(1, round(depth * WIDTH_PER_DEPTH / HEADS)) * HEADS
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab, bias=False)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=INIT_STD)
        if TIE_EMBEDDINGS:
            self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def schedule(progress):
    """What the learning rate is multiplied by: a linear warm-up, then linearly to FINAL_LR."""
    warm = min(1.0, progress / WARMUP) if WARMUP else 1.0
    return max(warm, 1e-3) * (1 - (1 - FINAL_LR) * progress)


run = harness.start()
model = Model(run.depth, run.vocab, run.context).to(run.device)
optimiser = torch.optim.AdamW(
    model.parameters(), lr=LEARNING_RATE, betas=(BETA1, BETA2), weight_decay=WEIGHT_DECAY
)
rows = max(1, round(BATCH_TOKENS / run.context))
while (progress := run.progress()) < 1:
    x, y = run.batch(rows)
    loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    optimiser.zero_grad()
    loss.backward()
    for group in optimiser.param_groups:
        group["lr"] = LEARNING_RATE * schedule(progress)
    optimiser.step()
    run.report(loss.detach(), x.numel())
run.finish(model)
