"""`evo data prepare`: sources into a folder of tokens, on all cores, resumed where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evo.tokens.growing import GrowingShards, checksums, write_whole
from evo.tokens.shards import (
    FORMAT,
    MANIFEST,
    TABLE,
    TOKENIZER,
    UNFINISHED,
    DataError,
    PreparedFolder,
    is_prepared,
    open_prepared,
)
from evo.tokens.sources import PACKED, Source, find_sources, read_documents
from evo.tokens.tokenizer import Encoder, read_tokenizer, train_bpe

PIECES = 40  # shards of training text: a block leaves out a tenth of them
MIN_DOCUMENTS = 30  # in all: some are hidden, and a block leaves some out
MAX_HIDDEN_SHARE = 0.1  # of the documents, in each hidden split
HIDDEN_BYTES = 64 << 20  # of text, in each: more is not asked in any campaign
UNPACKED = 3  # how much larger a packed file usually is, for the estimate above
SAMPLE_CHARACTERS = 200 << 20  # that a BPE is trained on
SAMPLE_FILES = 64
BATCH_CHARACTERS = 1 << 20  # that a process gets at once
SURE_CHARACTERS = 128 << 20  # between two points from which it goes on
WATCHED_SHARE = 64  # one document in so many is remembered, to see whether it comes again
MAX_TWICE = 0.01  # share of documents that stand twice and is not worth a word
Split = Literal["hash", "strata", "last file"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to make of which sources. `tokenizer` None: a BPE of `vocab` tokens is trained on them.

    `split` "last file" hides the documents of the last file, as nanochat and autoresearch do.
    """

    sources: tuple[str, ...]
    folder: Path
    vocab: int = 32_768
    tokenizer: Path | None = None
    split: Split = "hash"
    column: str = "text"
    licence: str = ""
    provenance: str = ""
    processes: int = 0  # 0: one a core


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: bytes of the sources on disk, and bytes of text that are tokens now."""

    done: int
    total: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that is done. `warnings`: what looks odd in it."""

    folder: PreparedFolder
    text_bytes: int
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Batch:
    """Some documents of one file, in order. `after`: how many of the file are done with them."""

    file: int
    after: int
    read: int  # characters of the file, so far
    texts: list[str]


@dataclass(frozen=True, slots=True)
class _Encoded:
    tokens: NDArray[Any]
    lengths: NDArray[np.int64]
    sizes: list[int]  # bytes of each text
    hashes: list[int]  # 64 bits of each


def prepare_folder(
    order: Order,
    tell: Callable[[Progress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Write the folder, or finish one that was begun by the same order. Raises DataError."""
    out = order.folder
    refuse_folder(out)
    sources = find_sources(order.sources)
    sizes = [one.path.stat().st_size for one in sources]
    total = sum(sizes)
    split = splitter_of(order, sources)
    out.mkdir(parents=True, exist_ok=True)
    text = _tokenizer_text(order, sources, split, say)
    encoder = Encoder(text, str(order.tokenizer or TOKENIZER))
    processes = _processes(order)
    if total < 8 * BATCH_CHARACTERS:  # starting processes would take longer
        processes = 1
    named = _digest(order, sources, text)
    with GrowingShards(out, encoder.token_type, named) as shards:
        shards.sure(shards.place)
        watch = _Watch(shards)
        since = 0
        for batch, made in _encoded(sources, order.column, shards.place, text, processes):
            _add_all(batch, made, shards, split, encoder.end_of_text)
            watch.look(made.hashes)
            since += sum(made.sizes)
            shards.seen["text_bytes"] = shards.seen.get("text_bytes", 0) + sum(made.sizes)
            done = _done(sizes, batch, sources[batch.file])
            tell(Progress(done, total, shards.seen["text_bytes"]))
            if since >= SURE_CHARACTERS:
                shards.sure((batch.file, batch.after))
                since = 0
        shards.sure((len(sources), 0))
        return finish_folder(
            order,
            shards,
            sources,
            split,
            encoder.bytes_of,
            encoder.end_of_text,
            text,
            watch.share(),
        )


def finish_folder(
    order: Order,
    shards: GrowingShards,
    sources: Sequence[Source],
    split: Splitter,
    bytes_of: NDArray[np.int64],
    end_of_text: int | None,
    tokenizer: str,
    twice: float = 0.0,
) -> Prepared:
    """Headers, checksums and `tokens.json`, once every document is in its shard. Raises DataError.

    `twice`: the share of documents that stand there twice.
    """
    out = order.folder
    if shards.documents < MIN_DOCUMENTS:
        raise DataError(
            f"{shards.documents} documents are too few to hide some and to leave some out (at least "
            f"{MIN_DOCUMENTS}); add text"
        )
    threads = _processes(order)
    written = shards.finish(threads)
    if missing := {"train", "val", "test"} - {one.split for one in written}:
        raise DataError(f"no document fell to {', '.join(sorted(missing))}; add text")
    text_bytes = sum(one.bytes for one in written)
    np.save(out / TABLE, bytes_of.astype(np.uint16))
    sums = checksums([one.path for one in sources], threads)
    about = {
        "format": FORMAT,
        "vocab": len(bytes_of),
        "end_of_text": end_of_text,
        "token_type": str(shards.token_type),
        "tokenizer": "trained here" if order.tokenizer is None else order.tokenizer.name,
        "tokenizer_sha256": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "split": order.split,
        "hidden_share": round(split.share, 6),
        "documents": shards.documents,
        "text_bytes": text_bytes,
        "licence": order.licence or "not said",
        "provenance": order.provenance or "not said",
        "sources": [
            {"name": one.path.name, "bytes": one.path.stat().st_size, "sha256": sum_}
            for one, sum_ in zip(sources, sums, strict=True)
        ],
        "shards": [asdict(one) for one in written],
    }
    write_whole(out / MANIFEST, json.dumps(about, indent=1))
    (out / UNFINISHED).unlink()
    warnings = [f"{twice:.0%} of the documents stand there twice or more; leave the copies out"]
    return Prepared(open_prepared(out), text_bytes, tuple(warnings if twice > MAX_TWICE else ()))


def _processes(order: Order) -> int:
    return order.processes or len(os.sched_getaffinity(0))


def refuse_folder(folder: Path) -> None:
    """DataError for a folder that holds something else, or is done already."""
    if (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: is prepared already; give another folder, or delete it")
    if folder.is_dir() and not is_prepared(folder):
        others = [
            one for one in folder.iterdir() if one.name not in (TOKENIZER, f".{TOKENIZER}.draft")
        ]
        if others:
            raise DataError(
                f"{folder}: holds other files; give a folder that is empty or not there yet"
            )
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give one that is empty or not there yet")


def _hidden_share(sources: Sequence[Source]) -> float:
    """The share of documents in each hidden split: a tenth of a small text, enough of a large one."""
    text = sum(one.path.stat().st_size * (UNPACKED if is_packed(one) else 1) for one in sources)
    return min(MAX_HIDDEN_SHARE, HIDDEN_BYTES / max(text, 1))


def splitter_of(order: Order, sources: Sequence[Source]) -> Splitter:
    """How documents of these sources are split."""
    return Splitter(order.split, sources, _hidden_share(sources))


@dataclass(slots=True)
class Splitter:
    """Which shard a document goes to: by its hash, or by its place in the order."""

    kind: Split
    sources: Sequence[Source]
    share: float

    def split_of(self, hashed: int, number: int, file: int) -> str:
        """`number`: of the document, counted over all files."""
        if self.kind == "last file":
            if file < len(self.sources) - 1:
                return "train"
            return "val" if hashed % 2 else "test"
        if self.kind == "strata":
            every = round(1 / self.share)
            return {every // 2 - 1: "val", every - 1: "test"}.get(number % every, "train")
        place = (hashed >> 11) / (1 << 53)
        return "val" if place < self.share else "test" if place < 2 * self.share else "train"

    def add(self, shards: GrowingShards, of: str, document: NDArray[Any], size: int) -> None:
        """A document to a shard of its split; those for training go round."""
        if of != "train":
            shards.add(f"{of}.npy", of, document, size)
            return
        number = shards.seen.get("trained", 0)
        shards.seen["trained"] = number + 1
        shards.add(f"train-{number % PIECES:02d}.npy", of, document, size)


def hash_of(text: bytes) -> int:
    """64 bits of a document's content."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class _Watch:
    """How many documents come again, by a sample that does not grow with copies."""

    def __init__(self, shards: GrowingShards) -> None:
        self._shards, self._known = shards, set[int]()

    def look(self, hashes: Sequence[int]) -> None:
        """The next documents."""
        seen = self._shards.seen
        few = self._shards.documents < 1 << 16
        for one in hashes:
            if few or one % WATCHED_SHARE == 0:
                seen["watched"] = seen.get("watched", 0) + 1
                seen["twice"] = seen.get("twice", 0) + (one in self._known)
                self._known.add(one)

    def share(self) -> float:
        """Of the documents looked at, how many had come before."""
        return self._shards.seen.get("twice", 0) / max(self._shards.seen.get("watched", 0), 1)


def _add_all(
    batch: _Batch,
    made: _Encoded,
    shards: GrowingShards,
    split: Splitter,
    end_of_text: int | None,
) -> None:
    first = [] if end_of_text is None else [end_of_text]
    begin, at = np.array(first, dtype=made.tokens.dtype), 0
    for length, size, hashed in zip(made.lengths, made.sizes, made.hashes, strict=True):
        of = split.split_of(hashed, shards.documents, batch.file)
        document = np.concatenate([begin, made.tokens[at : at + int(length)]])
        split.add(shards, of, document, size)
        at += int(length)


def _batches(sources: Sequence[Source], column: str, place: tuple[int, int]) -> Iterator[_Batch]:
    """All documents from a place on."""
    for number in range(place[0], len(sources)):
        skip = place[1] if number == place[0] else 0
        texts, size, count, read = list[str](), 0, 0, 0
        for text in read_documents(sources[number], column):
            count, read = count + 1, read + len(text)
            if count <= skip:
                continue
            texts.append(text)
            size += len(text)
            if size >= BATCH_CHARACTERS:
                yield _Batch(number, count, read, texts)
                texts, size = [], 0
        if texts:
            yield _Batch(number, count, read, texts)


def _encoded(
    sources: Sequence[Source], column: str, place: tuple[int, int], tokenizer: str, processes: int
) -> Iterator[tuple[_Batch, _Encoded]]:
    """Batches in their order with their tokens; few are on their way at once, so that memory is bounded."""
    batches = _batches(sources, column, place)
    with _pool(tokenizer, processes) as submit:
        waiting = deque[tuple[_Batch, Future[_Encoded]]]()
        try:
            for batch in batches:
                future = submit(batch.texts)
                waiting.append((replace(batch, texts=[]), future))  # of no use any more
                if len(waiting) > 2 * processes:
                    yield _first_of(waiting)
            while waiting:
                yield _first_of(waiting)
        except BrokenProcessPool as error:
            raise DataError(
                "a process that makes tokens was killed, perhaps for lack of memory; the same command goes on"
            ) from error


def _first_of(waiting: deque[tuple[_Batch, Future[_Encoded]]]) -> tuple[_Batch, _Encoded]:
    batch, future = waiting.popleft()
    return batch, future.result()


@contextmanager
def _pool(tokenizer: str, processes: int) -> Iterator[Callable[[list[str]], Future[_Encoded]]]:
    if processes == 1:
        encoder = Encoder(tokenizer)

        def at_once(texts: list[str]) -> Future[_Encoded]:
            future = Future[_Encoded]()
            future.set_result(_encode(encoder, texts))
            return future

        yield at_once
        return
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin_process, initargs=(tokenizer,)
    )
    try:
        yield lambda texts: pool.submit(_encode_here, texts)
    finally:
        pool.shutdown(cancel_futures=True)


_here: list[Encoder] = []


def _begin_process(tokenizer: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started us ends us
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _here[:] = [Encoder(tokenizer)]


def _encode_here(texts: list[str]) -> _Encoded:
    return _encode(_here[0], texts)


def _encode(encoder: Encoder, texts: list[str]) -> _Encoded:
    raw = [text.encode("utf-8", "replace") for text in texts]
    whole = [
        text.decode() if b"?" in text else given for text, given in zip(raw, texts, strict=True)
    ]
    tokens, lengths = encoder.encode(whole)
    return _Encoded(tokens, lengths, [len(one) for one in raw], [hash_of(one) for one in raw])


def _tokenizer_text(
    order: Order, sources: Sequence[Source], split: Splitter, say: Callable[[str], None]
) -> str:
    """The tokenizer: kept from before, read, or trained now; it lies in the folder from then on."""
    kept = order.folder / TOKENIZER
    if order.tokenizer is not None:
        text = read_tokenizer(order.tokenizer)
    elif kept.is_file():
        return kept.read_text(encoding="utf-8")
    else:
        say(f"training a BPE of {order.vocab:,} tokens")
        text = train_bpe(_sample(order, sources, split), order.vocab)
    write_whole(kept, text)
    return text


def _sample(order: Order, sources: Sequence[Source], split: Splitter) -> Iterator[str]:
    """Training documents to make a BPE of: the beginning of up to SAMPLE_FILES files, hidden ones left out.

    By strata the hidden ones are known only where all is read.
    """
    chosen = list(range(0, len(sources), max(1, len(sources) // SAMPLE_FILES)))
    whole = len(chosen) == len(sources)
    number = 0
    for file in chosen:
        left = SAMPLE_CHARACTERS // len(chosen)
        for text in read_documents(sources[file], order.column):
            hashed = hash_of(text.encode("utf-8", "replace"))
            if split.split_of(hashed, number if whole else 0, file) == "train":
                yield text
            number, left = number + 1, left - len(text)
            if left <= 0:
                whole = False
                break


def _digest(order: Order, sources: Sequence[Source], tokenizer: str) -> str:
    """What must be the same to go on with a folder that was begun."""
    said = hashlib.sha256(f"{FORMAT} {order.split} {order.column} ".encode())
    said.update(tokenizer.encode())
    for one in sources:
        about = one.path.stat()
        said.update(f"{one.path} {about.st_size} {about.st_mtime_ns} {one.passage} ".encode())
    return said.hexdigest()


def _done(sizes: Sequence[int], batch: _Batch, source: Source) -> int:
    """Bytes on disk that are read, about: of a packed file only its text is known."""
    here = batch.read // (UNPACKED if is_packed(source) else 1)
    return sum(sizes[: batch.file]) + min(here, sizes[batch.file])


def is_packed(source: Source) -> bool:
    """Whether a file holds more text than it takes on disk."""
    return source.path.suffix.lower() in PACKED or source.kind == ".parquet"
