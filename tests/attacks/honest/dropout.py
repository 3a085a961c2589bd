import harness
import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 32
DEPTH = 1

run = harness.start()


class Model(nn.Module):
    """Gated recurrence under dropout, which must be off when it is served."""

    def __init__(self):
        super().__init__()
        self.embed, self.drop = nn.Embedding(run.vocab, WIDTH), nn.Dropout(0.3)
        self.gru = nn.GRU(WIDTH, WIDTH, DEPTH + 1, batch_first=True, dropout=0.2)
        self.out = nn.Linear(WIDTH, run.vocab)

    def forward(self, tokens):
        return self.out(self.drop(self.gru(self.drop(self.embed(tokens)))[0]))


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
