"""The splits: training text in pieces that a block leaves out, and hidden text that only we see."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evo.evaluation.documents import (
    BUNDLED,
    EMBEDDED,
    DataSettings,
    Document,
    Text,
    look_at,
    prepared_in,
    read_text,
)
from evo.tokens.shards import HEADER_BYTES, DataError
from population.types import DocumentScore

__all__ = [
    "DataError",
    "DataSettings",
    "Dataset",
    "Floats",
    "Hidden",
    "Tokens",
    "bits_by_document",
    "bits_per_byte",
    "corrupted",
    "count_chunks",
    "look_ahead",
    "prepare",
    "secret_cuts",
]

Split = Literal["train", "val", "test"]
Floats = NDArray[np.float64]
Tokens = NDArray[Any]  # uint16, or uint32 where a vocabulary needs it
MAX_PIECES = 40
MIN_PIECES = 10
MAX_HIDDEN_TOKENS = 64 << 10
MAX_ROW_BYTES = 2 << 30  # of the logits of one row: a server answers at least one at once
MAX_COPIED_BYTES = 64 << 20  # of a piece that cannot be linked to; a larger one is pointed to
SMALL_BYTES = 64 << 20  # text up to here is read whole when looking ahead
LEFT_OUT = 0.1  # of the pieces, by block
_BLOCK, _SAMPLE = 0xB10C, 0x5A3B1E  # keep the two uses of seeds apart


@dataclass(frozen=True, slots=True)
class Hidden:
    """A fixed sample of a hidden split. `tokens` uint16 or uint32 [rows, context + 1]; `bytes` of the targets.

    `counted` [rows, context]: targets that stand for text; None: all. Of a prepared folder, tokens that stand
    for no bytes cost nothing, as nanochat and autoresearch count.
    """

    tokens: Tokens = field(repr=False)
    documents: tuple[str, ...]
    bytes: NDArray[np.float64] = field(repr=False)
    counted: NDArray[np.bool_] | None = field(default=None, repr=False)


def split_of(index: int) -> Split:
    """The split of the document at this position: stratified by whatever the order means (era)."""
    return {4: "val", 9: "test"}.get(index % 10, "train")  # type: ignore[return-value]


def prepare(settings: DataSettings, cache: Path) -> Dataset:
    """The dataset, its training pieces written under `cache` (nothing hidden is). Raises DataError."""
    return Dataset.of(read_text(settings), cache)


def look_ahead(settings: DataSettings, samples: Iterable[tuple[int, int]]) -> None:
    """Refuse now what `prepare` and `hidden` would refuse later; cheap. Raises DataError.

    `samples`: context and rows of each rung. Files too large to read in a moment are only looked at.
    """
    if _is_large(settings):
        return
    text = read_text(settings)
    splits = _split(text)
    for context, rows in samples:
        for split in ("val", "test"):
            _refuse_too_many(context, rows, text.vocab)
            _chunks(splits, split, context, rows)


def count_chunks(settings: DataSettings, context: int) -> int | None:
    """Chunks of the validation text; None where it is too large to read in a moment. Raises DataError."""
    if _is_large(settings):
        return None
    return int(_chunks(_split(read_text(settings)), "val", context, 0).sum())


def _is_large(settings: DataSettings) -> bool:
    """Whether the text cannot be read in a moment; a prepared folder is only mapped. Raises DataError."""
    size = sum(file.stat().st_size for file in look_at(settings))
    return size > SMALL_BYTES and prepared_in(settings) is None


def _split(text: Text) -> dict[str, list[Document]]:
    splits: dict[str, list[Document]] = defaultdict(list)
    if text.splits is not None:
        splits.update({name: list(those) for name, those in text.splits.items()})
    else:
        for index, document in enumerate(text.documents):
            splits[split_of(index)].append(document)
    if len(splits["train"]) < MIN_PIECES or not splits["val"] or not splits["test"]:
        raise DataError(
            f"data: {len(text.documents)} documents are too few to hide some and to leave some out "
            f"(at least {MIN_PIECES} for training, one each for validation and test); add text"
        )
    return dict(splits)


def _refuse_too_many(context: int, rows: int, vocab: int) -> None:
    if context < 2 or rows < 1 or rows * context > MAX_HIDDEN_TOKENS:
        raise DataError(
            f"rung: {rows} rows of {context} tokens are {rows * context:,}; score between 1 row "
            f"and {MAX_HIDDEN_TOKENS:,} tokens, with a context of 2 or more"
        )
    if (size := context * vocab * 4) > MAX_ROW_BYTES:
        raise DataError(
            f"rung: the logits of one row, {context} tokens of {vocab:,} values, take {size >> 20:,} MB, where "
            f"{MAX_ROW_BYTES >> 20:,} are the most; lower the rung's context, or take a smaller vocabulary"
        )


def _chunks(
    splits: dict[str, list[Document]], split: str, context: int, rows: int
) -> NDArray[np.int64]:
    """How many chunks each document of a split holds. DataError when they are too few to score."""
    chunks = np.array([(len(d.tokens) - 1) // context for d in splits[split]])
    if chunks.sum() < rows:
        raise DataError(
            f"data: the {split} documents hold {chunks.sum()} chunks of {context} tokens, fewer than "
            f"the {rows} rows to score; lower the rung's rows or context, or add text"
        )
    return chunks


class Dataset:
    """Training pieces on disk, hidden text in memory. `sources` must never be seen in a sandbox."""

    def __init__(
        self,
        name: str,
        text: Text,
        splits: dict[str, list[Document]],
        pieces: tuple[Path, ...],
        blocks: Path,
    ) -> None:
        self.id = name
        self.text = text
        self.vocab = text.vocab
        self.token_type = text.token_type
        # The same text lies there twice, split otherwise: no run may read either.
        self.sources = tuple(dict.fromkeys((*text.files, EMBEDDED, BUNDLED)))
        self._bytes_of = text.bytes_of
        self._splits = splits
        self._pieces, self._blocks = pieces, blocks
        # of each piece, before its tokens: a prepared shard is used as it lies
        self.header_bytes = HEADER_BYTES if text.pieces else 0
        self._served_type = np.dtype("uint16" if text.vocab <= 65_536 else "uint32")

    @classmethod
    def of(cls, text: Text, cache: Path) -> Dataset:
        """The dataset of a text that was read already, its training pieces written under `cache`."""
        splits, name = _split(text), text.digest()
        pieces = text.pieces or _write_pieces(splits["train"], text.token_type, cache / name)
        return cls(name, text, splits, pieces, cache / name)

    def __repr__(self) -> str:
        return f"Dataset({self.id}, vocab {self.vocab}, {len(self._pieces)} pieces)"

    def documents(self, split: Split) -> tuple[str, ...]:
        """The names of a split's documents, in order."""
        return tuple(document.name for document in self._splits[split])

    def left_out(self, block: int) -> frozenset[int]:
        """The piece numbers that a block does not see: a tenth of them, the same for everyone."""
        rng = np.random.default_rng(np.random.SeedSequence([block, _BLOCK]))
        count = max(1, round(len(self._pieces) * LEFT_OUT))
        return frozenset(map(int, rng.choice(len(self._pieces), count, replace=False)))

    def pieces(self, block: int) -> tuple[Path, ...]:
        """The block's training files, all in one folder that holds nothing else."""
        folder = self._blocks / f"block-{block}"
        out = self.left_out(block)
        kept = [path for number, path in enumerate(self._pieces) if number not in out]
        if not folder.is_dir():
            _publish(folder, lambda draft: _link_all(kept, draft))
        return tuple(folder / path.name for path in kept)

    def tokens(self, block: int) -> int:
        """Training tokens that a block sees: one epoch."""
        size = np.dtype(self.token_type).itemsize
        sizes = (path.stat().st_size - self.header_bytes for path in self.pieces(block))
        return sum(sizes) // size

    def epochs(self, block: int, tokens: int) -> float:
        """How often a run over this many tokens sees the block's text."""
        return tokens / self.tokens(block)

    def training_text(self) -> Tokens:
        """The beginning of the training text (up to 256 Ki tokens), for probes that hide nothing."""
        tokens = np.fromfile(
            self._pieces[0], dtype=self.token_type, count=256 << 10, offset=self.header_bytes
        )
        return self._served(tokens)

    def _served(self, tokens: NDArray[Any]) -> Tokens:
        """Tokens as they are asked: uint16, or uint32 where a vocabulary needs it."""
        served: Tokens = tokens.astype(self._served_type)
        return served

    def _hidden(self, rows: list[NDArray[Any]], names: Iterable[str]) -> Hidden:
        table = np.stack(rows)
        sizes = self._bytes_of[table[:, 1:]]
        counted = sizes > 0 if self.header_bytes else None
        return Hidden(self._served(table), tuple(names), sizes.sum(axis=1), counted)

    def hidden(self, split: Split, context: int, rows: int) -> Hidden:
        """The fixed sample of `rows` chunks over all documents of a split. Raises DataError."""
        if split == "train":
            raise DataError("the training split is not hidden")
        _refuse_too_many(context, rows, self.vocab)
        documents = self._splits[split]
        chunks = _chunks(self._splits, split, context, rows)
        tokens, names = [], []
        for number, (document, share) in enumerate(
            zip(documents, _allot(chunks, rows), strict=True)
        ):
            rng = np.random.default_rng(np.random.SeedSequence([context, rows, number, _SAMPLE]))
            for chunk in _spread(int(chunks[number]), int(share), rng):
                tokens.append(document.tokens[chunk * context : (chunk + 1) * context + 1])
                names.append(document.name)
        return self._hidden(tokens, names)

    def reserve(self, split: Split, context: int, rows: int) -> NDArray[np.int64]:
        """The chunks [n, 2] (document, number) that `hidden` leaves out; any stretch is spread over all.

        For rows that nobody was asked before: which ones is a matter of where they lie in this order.
        """
        chunks, found = _chunks(self._splits, split, context, rows), []
        for number, share in enumerate(_allot(chunks, rows)):
            count = int(chunks[number])
            rng = np.random.default_rng(np.random.SeedSequence([context, rows, number, _SAMPLE]))
            left = np.setdiff1d(np.arange(count), _spread(count, int(share), rng))
            places = (np.arange(len(left)) + rng.random(len(left))) / max(len(left), 1)
            numbers = np.full(len(left), number)
            found.append(np.column_stack((places, numbers, rng.permutation(left))))
        table = np.concatenate(found)
        order = np.lexsort((table[:, 1], table[:, 0]))
        return table[order, 1:].astype(np.int64)

    def rows(self, split: Split, context: int, chunks: NDArray[np.int64]) -> Hidden:
        """The rows at these places of a split, [n, 2] as `reserve` gives them."""
        documents = [self._splits[split][number] for number, _ in chunks]
        at = [int(chunk) * context for _, chunk in chunks]
        rows = [one.tokens[i : i + context + 1] for one, i in zip(documents, at, strict=True)]
        return self._hidden(rows, (document.name for document in documents))


def _allot(chunks: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """How many rows each document gives: in proportion, one at least while there are enough."""
    share = rows * chunks / chunks.sum()
    given: NDArray[np.int64] = np.minimum(
        np.maximum(np.floor(share).astype(np.int64), chunks > 0), chunks
    )
    order = np.argsort(given - share, kind="stable")  # the most short-changed first
    while given.sum() < rows:
        for index in order:
            if given.sum() < rows and given[index] < chunks[index]:
                given[index] += 1
    while given.sum() > rows:
        spare = given > (1 if (given > 1).any() else 0)  # a document's only row goes last
        given[int(np.argmax(np.where(spare, given - share, -np.inf)))] -= 1
    return given


def _spread(chunks: int, rows: int, rng: np.random.Generator) -> list[int]:
    """`rows` different chunk numbers, one at random from each of as many equal stretches."""
    bounds = [chunks * i // rows for i in range(rows + 1)] if rows else []
    return [int(rng.integers(a, b)) for a, b in pairwise(bounds)]


def _write_pieces(documents: list[Document], token_type: str, folder: Path) -> tuple[Path, ...]:
    count = min(MAX_PIECES, len(documents))
    names = [f"{number:02d}.bin" for number in range(count)]

    def write(draft: Path) -> None:
        for number, name in enumerate(names):
            with (draft / name).open("wb") as file:
                for document in documents[number::count]:
                    np.ascontiguousarray(document.tokens, dtype=token_type).tofile(file)
            (draft / name).chmod(0o444)

    pieces = folder / "pieces"
    if not pieces.is_dir():
        _publish(pieces, write)
    return tuple(pieces / name for name in names)


def _publish(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all, also while others make it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, with the same content
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _link_all(files: list[Path], folder: Path) -> None:
    for file in files:
        try:
            os.link(file, folder / file.name)
        except OSError:  # another file system, or one without hard links
            if file.stat().st_size > MAX_COPIED_BYTES:
                (folder / file.name).symlink_to(file)
            else:
                shutil.copy2(file, folder / file.name)


def bits_by_document(cost: Floats, hidden: Hidden) -> tuple[DocumentScore, ...]:
    """Bits and scored bytes per document, in the order of the split, from nats [rows, length]."""
    bits: dict[str, float] = {}
    sizes: dict[str, int] = {}
    if hidden.counted is not None:
        cost = np.where(hidden.counted, cost, 0.0)
    for name, row, size in zip(hidden.documents, cost.sum(axis=1), hidden.bytes, strict=True):
        bits[name] = bits.get(name, 0.0) + float(row) / math.log(2)
        sizes[name] = sizes.get(name, 0) + int(size)
    return tuple(DocumentScore(name, bits[name], sizes[name]) for name in bits)


def bits_per_byte(documents: tuple[DocumentScore, ...]) -> float:
    """All bits over all scored bytes."""
    return sum(d.bits for d in documents) / sum(d.bytes for d in documents)


def secret_cuts(
    count: int, length: int, rng: np.random.Generator, looks: int = 1
) -> NDArray[np.int64]:
    """Where each row's truth ends for B, 1 .. length - 1: [looks, count], rising from look to look.

    A position is checked against a peek by the rows cut right after it. Half the rows of a look share the
    positions evenly, so that with two rows a position none is left out; half crowd the end, log-uniform
    in their distance from it: peeking in the last few positions is seen in many rows.
    """
    even, cuts = (count + 1) // 2, np.empty((looks, count), dtype=np.int64)
    for look in cuts:
        spread = (np.arange(even) + rng.random()) * (length - 1) / even
        early = np.floor(np.exp(rng.uniform(0, np.log(length), count - even))).astype(np.int64)
        crowd = np.clip(length - early, 1, length - 1)
        look[:] = rng.permutation(np.concatenate([1 + spread.astype(np.int64), crowd]))
    return np.sort(cuts, axis=0)


def corrupted(
    inputs: Tokens, cuts: NDArray[np.int64], vocab: int, rng: np.random.Generator
) -> Tokens:
    """The rows with every token from the cut on replaced by another one, at random."""
    shift = rng.integers(1, vocab, inputs.shape) if vocab > 1 else np.zeros(inputs.shape, np.int64)
    other = (inputs.astype(np.int64) + shift) % vocab
    kept = np.arange(inputs.shape[1]) < cuts[:, None]
    mixed: Tokens = np.where(kept, inputs, other).astype(inputs.dtype)
    return mixed
