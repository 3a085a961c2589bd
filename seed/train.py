"""A small modern decoder language model, trained for a fixed budget.

Run by hand:  python train.py        (DEPTH, CONTEXT, BUDGET_SECONDS and SEED in the environment)

Everything here may be changed except the four calls into the harness: `progress`, `batch`,
`report` and `finish`. The score is bits per byte on text this process never sees, measured by
someone else from the model handed to `finish`: model(tokens int64 [B, t <= context]) -> logits
[B, t, vocab], causal, in eval mode. What a save and a strict load do not bring back does not exist.
An UPPER-case literal with a `# knob:` remark is a constant that an optimiser may turn.
"""

import math

import harness
import torch
import torch.nn.functional as F
from torch import nn

# ==================================================================================================
# Knobs
# ==================================================================================================

# Shape
WIDTH_PER_DEPTH = 32  # knob: int 8 96
HEAD_DIM = 32  # knob: choice 8 16 32 64
MLP_RATIO = 4  # knob: int 1 8
ACTIVATION = "relu2"  # knob: choice relu2 gelu silu
ROTARY_BASE = 1000.0  # knob: log 30 100000
TIE_EMBEDDINGS = False  # knob: choice False True
INIT_SCALE = 1.0  # knob: log 0.1 4

# Optimiser
OPTIMISER = "muon"  # knob: choice muon adamw
MATRIX_LR = 0.04  # knob: log 2e-3 4e-1
EMBED_LR = 0.3  # knob: log 3e-3 3
HEAD_LR = 0.02  # knob: log 5e-4 3e-1
MOMENTUM = 0.9  # knob: float 0.5 0.99
BETA1 = 0.8  # knob: float 0.5 0.95
BETA2 = 0.95  # knob: float 0.8 0.999
WEIGHT_DECAY = 0.1  # knob: float 0.0 2.0
NEWTON_SCHULZ_STEPS = 3  # knob: int 1 5

# Schedule
BATCH_TOKENS = 1280  # knob: log 128 8192
WARMUP = 0.02  # knob: float 0.0 0.2
WARMDOWN = 0.7  # knob: float 0.0 1.0
FINAL_LR = 0.05  # knob: float 0.0 0.5

# ==================================================================================================
# Scale: how everything else follows from depth and horizon
# ==================================================================================================
# Knobs are stated at the reference scale: depth 2 and a run of REFERENCE_TOKENS.
# width, heads   width = depth x WIDTH_PER_DEPTH, rounded to whole heads of HEAD_DIM
# Muon's rate    stays: an orthogonal step turns activations equally far at every width
# AdamW's rates  matrices and head ~ 1 / width, embedding stays (muP)
# weight decay   is stated per run and paid out by progress: it follows the horizon by itself
# batch          grows with the square root of the tokens that the horizon allows

REFERENCE_DEPTH = 2
REFERENCE_TOKENS = 4e5  # 8 seconds of one CPU core
FLOPS_PER_SECOND = {"cpu": 3e10, "cuda": 1e14}  # sustained; CPU measured, CUDA assumed
LARGE_VOCAB = 8192  # from here on the loss is worked out in slabs: quicker on a CPU, too
SLAB_LOGITS = {"cpu": 2**20, "cuda": 2**26}  # at once; CPU measured, CUDA assumed


class Scale:
    """Sizes and rates of this run."""

    def __init__(self, run):
        heads = max(1, round(run.depth * WIDTH_PER_DEPTH / HEAD_DIM))
        self.depth, self.heads, self.width = run.depth, heads, heads * HEAD_DIM
        self.relative_width = self.width / (REFERENCE_DEPTH * WIDTH_PER_DEPTH)
        self.rows = max(1, round(self.batch_tokens(run) / run.context))

    def batch_tokens(self, run):
        """Tokens a step. The horizon is the budget: in tokens, or in seconds of the device."""
        flops_per_token = 6 * 12 * self.depth * self.width**2
        if run.clock == "tokens":
            horizon = run.budget
        else:
            horizon = run.budget * FLOPS_PER_SECOND[run.device] / flops_per_token
        return BATCH_TOKENS * math.sqrt(horizon / REFERENCE_TOKENS)


# ==================================================================================================
# Model
# ==================================================================================================


class Normalise(torch.autograd.Function):
    """x over its root mean square, by hand: a third of the CPU time of F.rms_norm and its backward."""

    @staticmethod
    def forward(ctx, x):
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.add_(1e-6).reciprocal_().mul_(math.sqrt(x.shape[-1]))
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx, gradient):
        y, inverse = ctx.saved_tensors
        along = (gradient * y).mean(-1, keepdim=True)
        return torch.addcmul(gradient, y, along, value=-1).mul_(inverse)


class SquaredReLU(torch.autograd.Function):
    """relu(x)^2, by hand: the backward needs neither a threshold nor a power."""

    @staticmethod
    def forward(ctx, x):
        y = F.relu(x)
        ctx.save_for_backward(y)
        return y * y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return (gradient * y).mul_(2)


class NormaliseAndTurn(torch.autograd.Function):
    """Normalise and rotate in one: a rotation keeps inner products, so one backward serves both."""

    @staticmethod
    def forward(ctx, x, table):
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.add_(1e-6).reciprocal_().mul_(math.sqrt(x.shape[-1]))
        turn = torch.view_as_complex(table)
        y = x * inverse
        torch.view_as_complex(y.unflatten(-1, (-1, 2))).mul_(turn)
        ctx.save_for_backward(y, inverse, turn)
        return y

    @staticmethod
    def backward(ctx, gradient):
        y, inverse, turn = ctx.saved_tensors
        along = (gradient * y).mean(-1, keepdim=True)
        back = torch.addcmul(gradient, y, along, value=-1).mul_(inverse)
        torch.view_as_complex(back.unflatten(-1, (-1, 2))).mul_(turn.conj())
        return back, None


def rms_norm(x):
    """x over its root mean square along the last dimension; no gain."""
    return F.rms_norm(x, x.shape[-1:]) if x.is_cuda else Normalise.apply(x)


def activate(x):
    """The nonlinearity between the two matrices of the MLP."""
    if ACTIVATION == "relu2":
        return F.relu(x).square() if x.is_cuda else SquaredReLU.apply(x)
    return F.gelu(x) if ACTIVATION == "gelu" else F.silu(x)


def rotary_table(context, head_dim):
    """cos and sin of the rotary angles as pairs: [context, 1, head_dim / 2, 2]."""
    frequency = ROTARY_BASE ** -(torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(context), frequency)[:, None, :]
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def rotate(x, table):
    """QK-norm, then the rotary embedding, of x [B, t, heads, head_dim]; pairs are neighbours."""
    if not x.is_cuda:
        return NormaliseAndTurn.apply(x, table)
    (a, b), (cos, sin) = rms_norm(x).unflatten(-1, (-1, 2)).unbind(-1), table.unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).type_as(x)


def matrix(*shape):
    """A weight [..., out, in] whose product keeps the size of its input."""
    return nn.Parameter(torch.randn(*shape) * (INIT_SCALE / math.sqrt(shape[-1])))


class Attention(nn.Module):
    """Causal self-attention with QK-norm and rotary positions; starts as zero."""

    def __init__(self, scale):
        super().__init__()
        self.heads = scale.heads
        self.qkv = matrix(3, scale.width, scale.width)  # three matrices, one product
        self.out = nn.Parameter(torch.zeros(scale.width, scale.width))

    def forward(self, x, table):
        rows, length, width = x.shape
        qkv = F.linear(x, self.qkv.flatten(0, 1)).view(rows, length, 3 * self.heads, -1)
        qk, v = qkv.split((2 * self.heads, self.heads), dim=2)
        qk = rotate(qk, table)
        q, k = qk.transpose(1, 2).chunk(2, dim=1)
        y = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(rows, length, width), self.out)


class Block(nn.Module):
    """Attention and MLP, each on the normalised residual stream."""

    def __init__(self, scale):
        super().__init__()
        self.attention = Attention(scale)
        self.up = matrix(MLP_RATIO * scale.width, scale.width)
        self.down = nn.Parameter(torch.zeros(scale.width, MLP_RATIO * scale.width))

    def forward(self, x, table):
        x = x + self.attention(rms_norm(x), table)
        return x + F.linear(activate(F.linear(rms_norm(x), self.up)), self.down)


class LossInSlabs(torch.autograd.Function):
    """Mean nats a token of x [n, width] @ head.T [width, vocab] by targets [n], a few positions at a time.

    Each slab's share of the gradients is worked out at once, so that its logits need not be kept.
    """

    @staticmethod
    def forward(ctx, x, head, targets):
        gradient, head_gradient, nats = torch.empty_like(x), torch.zeros_like(head), x.new_zeros(())
        many = max(SLAB_LOGITS[x.device.type] // len(head), 1)
        for part, out, wanted in zip(
            x.split(many), gradient.split(many), targets[:, None].split(many), strict=True
        ):
            slab = F.log_softmax(F.linear(part, head), -1, dtype=torch.float32)
            nats -= slab.gather(1, wanted).sum()
            slab.exp_().scatter_add_(1, wanted, slab.new_full(wanted.shape, -1))
            out.copy_(slab @ head)
            head_gradient += slab.mT @ part
        ctx.save_for_backward(gradient / len(x), head_gradient / len(x))
        return nats / len(x)

    @staticmethod
    def backward(ctx, gradient):
        x, head = ctx.saved_tensors
        return x * gradient, head * gradient, None


class Model(nn.Module):
    """tokens int64 [B, t] -> logits [B, t, vocab]; with targets [B, t], their mean nats instead."""

    def __init__(self, scale, vocab, context):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(vocab, scale.width))
        self.blocks = nn.ModuleList(Block(scale) for _ in range(scale.depth))
        self.head = None if TIE_EMBEDDINGS else nn.Parameter(torch.zeros(vocab, scale.width))
        self.register_buffer("table", rotary_table(context, HEAD_DIM), persistent=False)

    def forward(self, tokens, targets=None):
        table = self.table[: tokens.shape[1]]
        x = rms_norm(F.embedding(tokens, self.embedding))
        for block in self.blocks:
            x = block(x, table)
        if targets is not None:  # what changes the logits below has to change them here, too
            head = self.embedding / math.sqrt(x.shape[-1]) if TIE_EMBEDDINGS else self.head
            return LossInSlabs.apply(rms_norm(x).flatten(0, 1), head, targets.flatten())
        return F.linear(
            rms_norm(x), self.embedding / math.sqrt(x.shape[-1]) if TIE_EMBEDDINGS else self.head
        )


# ==================================================================================================
# Optimiser: Muon for matrices, AdamW for the rest
# ==================================================================================================
# Written out, not torch.optim: building one of those imports torch's compiler, a CPU second.
# Muon beats AdamW on the matrices already at the quickstart scale: 2.15 to 2.7 bits per byte.


def lying(x):
    """A matrix or a stack of them as [n, rows, cols], rows <= cols; a view where x allows it."""
    x = x if x.dim() == 3 else x[None]
    return x if x.shape[-2] <= x.shape[-1] else x.mT


def orthogonalise(x, steps):
    """The orthogonal matrices nearest to lying x [n, rows, cols], roughly (Muon, K. Jordan 2024).

    Newton-Schulz on the small Gram matrices, x itself only at the ends; in fp32, where rounding
    errors in x's null space stay harmless for up to five steps.
    """
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    gram, product = x @ x.mT, None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        factor.diagonal(dim1=-2, dim2=-1).add_(3.4445)
        product = factor if product is None else factor @ product
        if step + 1 < steps:
            gram = factor @ (gram @ factor)
    return product @ x


class Muon:
    """Nesterov momentum, orthogonalised; matrices of one shape, lying or standing, in one batch."""

    def __init__(self, parameters, rate):
        self.rate, self.groups, self.momenta = rate, {}, {}
        for p in parameters:
            self.groups.setdefault(tuple(sorted(p.shape[-2:])), []).append(p)

    def step(self, schedule, decay):
        """One update: `schedule` multiplies the rate, `decay` is the share of weight to take."""
        for shape, group in self.groups.items():
            gradient = torch.cat([lying(p.grad) for p in group])
            if shape not in self.momenta:
                self.momenta[shape] = torch.zeros_like(gradient)
            momentum = self.momenta[shape]
            momentum.lerp_(gradient, 1 - MOMENTUM)
            update = orthogonalise(gradient.lerp_(momentum, MOMENTUM), NEWTON_SCHULZ_STEPS)
            weights = [lying(p) for p in group]
            parts = update.split([len(w) for w in weights])
            torch._foreach_mul_(weights, 1 - decay)
            for p, weight, part in zip(group, weights, parts, strict=True):
                tall = math.sqrt(max(1.0, p.shape[-2] / p.shape[-1]))
                weight.add_(part, alpha=-self.rate * schedule * tall)


class AdamW:
    """Adam with decoupled weight decay; one rate for its parameters."""

    def __init__(self, parameters, rate, beta1):
        self.parameters, self.rate, self.beta1 = list(parameters), rate, beta1
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def step(self, schedule, decay):
        """One update: `schedule` multiplies the rate, `decay` is the share of weight to take."""
        gradients = [p.grad for p in self.parameters]
        torch._foreach_mul_(self.parameters, 1 - decay)
        torch._foreach_add_(self.steps, 1)
        torch._fused_adamw_(
            self.parameters, gradients, self.mean, self.square, [], self.steps,
            lr=self.rate * schedule, beta1=self.beta1, beta2=BETA2, weight_decay=0.0, eps=1e-10,
            amsgrad=False, maximize=False,
        )  # fmt: skip


def optimisers(model, scale):
    """One optimiser a group: matrices, embedding, head."""
    matrices = list(model.blocks.parameters())
    if OPTIMISER == "muon":
        chosen = [Muon(matrices, MATRIX_LR)]
    else:  # entries of an orthogonal matrix are about 1 / sqrt(width): steps of equal size
        rate = MATRIX_LR / math.sqrt(REFERENCE_DEPTH * WIDTH_PER_DEPTH) / scale.relative_width
        chosen = [AdamW(matrices, rate, MOMENTUM)]
    chosen.append(AdamW([model.embedding], EMBED_LR, BETA1))
    if model.head is not None:
        chosen.append(AdamW([model.head], HEAD_LR / scale.relative_width, BETA1))
    return chosen


# ==================================================================================================
# Schedule
# ==================================================================================================


def learning_rate(progress):
    """The multiplier of every rate: linear warm-up, constant, linear warm-down to FINAL_LR."""
    if progress < WARMUP:
        return max(progress, 1e-3) / WARMUP
    if progress > 1 - WARMDOWN:
        return FINAL_LR + (1 - FINAL_LR) * (1 - progress) / WARMDOWN
    return 1.0


# ==================================================================================================
# Training
# ==================================================================================================

torch.set_flush_denormal(True)  # bytes that never occur drive numbers into the slow range
run = harness.start()
scale = Scale(run)
model = Model(scale, run.vocab, run.context).to(run.device)

# CUDA (speed not measured yet): bf16 autocast, micro-batches of at most DEVICE_TOKENS, compiled block
# by block: the whole model took 25 s at depth 6 on an H200, and more with depth. Nothing in the loop
# waits for the device except the harness, which reads a loss 64 times a run.
DEVICE_TOKENS = 65536
cuda = run.device == "cuda"
pieces = max(1, math.ceil(scale.rows * run.context / DEVICE_TOKENS)) if cuda else 1
rows = math.ceil(scale.rows / pieces)
if cuda:
    torch.set_float32_matmul_precision("high")
if cuda and run.progress() < 1:
    for block in model.blocks:
        block.compile(dynamic=False)


def loss_of(x, y):
    """Mean nats a token."""
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=cuda):
        if run.vocab >= LARGE_VOCAB:
            return model(x, y)
        logits = model(x)
    return F.cross_entropy(logits.float().flatten(0, 1), y.flatten())


def train():
    """Steps until the budget is used up; the schedule starts when the first one has compiled."""
    chosen, start, before = optimisers(model, scale), 0.0, 0.0
    while (progress := run.progress()) < 1:
        total = 0.0
        for _ in range(pieces):
            loss = loss_of(*run.batch(rows)) / pieces
            loss.backward()
            total = total + loss.detach()
        done = (progress - start) / (1 - start)
        schedule = learning_rate(done)
        with torch.no_grad():
            for optimiser in chosen:
                optimiser.step(schedule, WEIGHT_DECAY * schedule * (done - before))
        for p in model.parameters():
            p.grad = None
        start, before = start or min(run.progress(), 0.9), done
        run.report(total, pieces * rows * run.context)


train()
run.finish(model)
