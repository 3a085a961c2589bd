import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32
DEPTH = 1

run = harness.start()


class Model(nn.Module):
    """Causal convolutions, each reaching twice as far back as the last."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(run.vocab, WIDTH)
        self.layers = nn.ModuleList(
            [nn.Conv1d(WIDTH, WIDTH, 3, dilation=2**n) for n in range(DEPTH + 1)]
        )
        self.out = nn.Linear(WIDTH, run.vocab)

    def forward(self, tokens):
        x = self.embed(tokens).transpose(1, 2)
        for layer in self.layers:
            x = x + F.relu(layer(F.pad(x, (2 * layer.dilation[0], 0))))
        return self.out(x.transpose(1, 2))


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
