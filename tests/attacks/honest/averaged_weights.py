import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32
DEPTH = 1

run = harness.start()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.hidden = (
            nn.Embedding(run.vocab, WIDTH),
            nn.GRU(WIDTH, WIDTH, DEPTH, batch_first=True),
        )
        self.out = nn.Linear(WIDTH, run.vocab)

    def forward(self, tokens):
        return self.out(self.hidden(self.embed(tokens))[0])


shadow = {}


@torch.no_grad()
def follow(model):
    """An exponential average of the weights, kept beside the model."""
    for name, weight in model.named_parameters():
        shadow.setdefault(name, weight.clone()).lerp_(weight, 0.1)


@torch.no_grad()
def swap_in(model):
    for name, weight in model.named_parameters():
        weight.copy_(shadow.get(name, weight))


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


model = Model()
train(model, after_step=lambda: follow(model), before_finish=lambda: swap_in(model))
