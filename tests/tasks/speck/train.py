"""A very small language model with the imports and the loop of an autoresearch script: for the tests."""

import time

import torch
from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, evaluate_bpb, get_device, make_dataloader
from torch.nn import functional as F

WIDTH = 32
BATCH_SIZE = 8
LEARNING_RATE = 0.02


class Speck(torch.nn.Module):
    """The next token from the last one."""

    def __init__(self, vocab):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab, WIDTH)
        self.head = torch.nn.Linear(WIDTH, vocab)

    def forward(self, idx, targets=None, reduction="mean"):
        """Logits, or the loss where targets are given."""
        logits = self.head(self.embedding(idx)).float()
        if targets is None:
            return logits
        return F.cross_entropy(
            logits.view(-1, logits.size(-1)), targets.view(-1), reduction=reduction
        )


torch.manual_seed(42)
tokenizer = Tokenizer.from_directory()
model = Speck(tokenizer.get_vocab_size()).to(get_device())
optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
loader = make_dataloader(tokenizer, BATCH_SIZE, MAX_SEQ_LEN, "train")
x, y, epoch = next(loader)
spent, step = 0.0, 0
while True:
    began = time.time()
    loss = model(x, y)
    loss.backward()
    x, y, epoch = next(loader)
    progress = min(spent / TIME_BUDGET, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * (1 - progress)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if step > 2:
        spent += time.time() - began
    step += 1
    if step > 2 and spent >= TIME_BUDGET:
        break

print("---\nval_bpb: 0.000001")
val_bpb = evaluate_bpb(model, tokenizer, BATCH_SIZE)
print(f"---\nval_bpb: {val_bpb:.6f}")
