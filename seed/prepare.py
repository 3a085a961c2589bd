"""Stands in for the prepare.py of an autoresearch repository: the same names, answered by the harness.

A train.py that takes its data, tokenizer, clock and evaluation from here trains and hands over its model
under evotrain's seal, without a line of it changed. It runs beside harness.py, on the untrusted side.
"""

import harness
import torch

run = harness.start()
MAX_SEQ_LEN = run.context
SERVES = run.spec["role"] == "serve"
SHORT = 2  # tokens of a row where nothing is learnt any more

_manual_seed = torch.manual_seed


def _seed_of_the_block(seed):
    """A literal seed would be the same on every block, and could be chosen for its luck."""
    return _manual_seed((int(seed) * 1_000_003 + run.seed) % 2**63)


torch.manual_seed = _seed_of_the_block


class _Clock(float):
    """The budget in seconds; what is divided by it or held against it is our clock, not the script's."""

    def __rtruediv__(self, spent):
        return run.progress()

    def __le__(self, spent):  # spent >= TIME_BUDGET
        return run.progress() >= 1

    def __lt__(self, spent):
        return run.progress() >= 1

    def __ge__(self, spent):  # spent <= TIME_BUDGET
        return run.progress() < 1

    def __gt__(self, spent):
        return run.progress() < 1

    def __sub__(self, spent):  # TIME_BUDGET - spent: what is left
        return float(self) * (1 - run.progress())


TIME_BUDGET = _Clock(run.budget)


def get_device():
    """Where to train."""
    return torch.device(run.device)


class Tokenizer:
    """What scripts ask of a tokenizer while they train: how many tokens there are."""

    @classmethod
    def from_directory(cls, *_, **__):
        """The one there is."""
        return cls()

    def get_vocab_size(self):
        """How many tokens there are."""
        return run.vocab

    def get_bos_token_id(self):
        """The token that begins a document."""
        return 0


def make_dataloader(tokenizer, B, T, split, buffer_size=1000):
    """Batches without end: tokens and their successors, int64 [B, T], and the epoch."""
    if split != "train":
        raise ValueError(
            f"only the training text is here, not {split!r}: the score is measured outside"
        )
    while True:
        if SERVES:
            tokens = torch.zeros((B, SHORT), dtype=torch.long, device=run.device)
            yield tokens, tokens, 1
            continue
        x, y = run.batch(B)
        run.tokens += B * T
        run.progress()
        yield x.contiguous(), y.contiguous(), 1


def evaluate_bpb(model, tokenizer, batch_size):
    """Hand the model over. Does not return: who trained does not learn the score."""
    run.finish(model)
