import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32
DEPTH = 1

run = harness.start()


BACKEND = "aot_eager"  # quick to compile


def faster(model):
    """Compiled for training; the harness takes the model inside."""
    return torch.compile(model, backend=BACKEND)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(run.vocab, WIDTH)
        self.layers = nn.ModuleList([nn.Linear(2 * WIDTH, WIDTH) for _ in range(DEPTH)])
        self.out = nn.Linear(WIDTH, run.vocab)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            before = F.pad(x, (0, 0, 1, 0))[:, :-1]
            x = x + torch.tanh(layer(torch.cat([x, before], -1)))
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
