"""Prepared folders made of token numbers, without a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.tokens.growing import GrowingShards
from evo.tokens.preparing import Order, Prepared, Splitter, finish_folder
from evo.tokens.shards import token_type
from evo.tokens.sources import Source


def folder_of(
    path: Path, documents: list[NDArray[Any]], bytes_of: NDArray[Any], end: int = 0
) -> Prepared:
    """A folder of these documents, every tenth hidden; each begins with the token `end`."""
    path.mkdir()
    source = path.with_suffix(".source")
    source.touch()
    order = Order((str(source),), path, split="strata")
    splitter = Splitter("strata", [Source(source, ".txt")], 0.1)
    with GrowingShards(path, np.dtype(token_type(len(bytes_of))), "") as shards:
        shards.sure((0, 0))
        for number, one in enumerate(documents):
            of = splitter.split_of(0, number, 0)
            splitter.add(shards, of, np.concatenate([[end], one]), int(bytes_of[one].sum()))
        return finish_folder(order, shards, splitter.sources, splitter, bytes_of, end, "")


def some_documents(vocab: int, many: int = 60, length: int = 300) -> list[NDArray[Any]]:
    """Documents of different lengths that hold every kind of token but the first."""
    rng = np.random.default_rng(3)
    found = [rng.integers(1, vocab, length + number % 7) for number in range(many)]
    found[0][0] = vocab - 1
    return found


def some_sizes(vocab: int) -> NDArray[Any]:
    """Two to five bytes a token, none for the first."""
    return np.where(np.arange(vocab) == 0, 0, 2 + np.arange(vocab) % 4)
