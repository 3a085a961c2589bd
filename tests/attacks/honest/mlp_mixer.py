import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32
DEPTH = 1

run = harness.start()


class Model(nn.Module):
    """Positions mixed by a triangular matrix, features by an MLP."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(run.vocab, WIDTH)
        self.mix = nn.ParameterList(
            [torch.randn(run.context, run.context) * 0.02 for _ in range(DEPTH)]
        )
        self.mlp = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
                for _ in range(DEPTH)
            ]
        )
        self.out = nn.Linear(WIDTH, run.vocab)

    def forward(self, tokens):
        x, length = self.embed(tokens), tokens.shape[1]
        for mix, mlp in zip(self.mix, self.mlp, strict=True):
            x = x + mix.tril()[:length, :length] @ x
            x = x + mlp(x)
        return self.out(x)


def train(model, rows=8, rate=3e-3, after_step=lambda: None, before_finish=lambda: None):
    fast = globals().get("faster", lambda model: model)(model)
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    while run.progress() < 1:
        x, y = run.batch(rows)
        loss = F.cross_entropy(fast(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        after_step()
        run.report(loss.detach(), x.numel())
    before_finish()
    run.finish(fast)


train(Model())
