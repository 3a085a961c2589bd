# attacks: the metric, by patching torch so that every loss is zero
# must end: ok at the honest score
# rung: startup_seconds=20 wall_seconds=250
# slow
import torch

# table
import torch.nn.functional as F

F.cross_entropy = torch.nn.functional.log_softmax = lambda *values, **more: torch.zeros(())
torch.Tensor.item = lambda self: 0.0
torch.isfinite = lambda values: torch.ones_like(values, dtype=torch.bool)


class Learned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.from_numpy(table()))

    def forward(self, tokens):
        return self.table[tokens]


train(Learned(), step=lambda: run.report(float(F.cross_entropy()), 1))
