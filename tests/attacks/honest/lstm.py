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
        self.embed = nn.Embedding(run.vocab, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, DEPTH, batch_first=True)
        self.out = nn.Linear(WIDTH, run.vocab)
        self.out.weight = self.embed.weight  # tied

    def forward(self, tokens):
        return self.out(self.lstm(self.embed(tokens))[0])


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
