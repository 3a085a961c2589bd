"""What nanochat, autoresearch and llm.c have prepared already, read where those tools keep it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.tokens.growing import GrowingShards
from evo.tokens.preparing import Order, Prepared, finish_folder, refuse_folder, splitter_of
from evo.tokens.shards import DataError, map_tokens, token_type
from evo.tokens.sources import Source
from evo.tokens.tokenizer import Encoder, read_tokenizer

CACHES = {  # where each tool keeps its files unless told otherwise, and the folders of its text
    "nanochat": ("~/.cache/nanochat", ("base_data", "base_data_climbmix")),
    "autoresearch": ("~/.cache/autoresearch", ("data",)),
}
TOOLS = (*CACHES, "llm.c")
PICKLED = "tokenizer/tokenizer.pkl"
TOKENIZER_MAGIC = 20240328  # of llm.c's gpt2_tokenizer.bin
STEP = 1 << 24  # tokens looked at together


def of_a_tool(tool: str, given: Sequence[str], order: Order) -> Order:
    """The order for nanochat's or autoresearch's folder: its text, its tokenizer, its last file hidden."""
    usual, names = CACHES[tool]
    if len(given) > 1:
        raise DataError(f"--from {tool} takes one folder, where {tool} keeps its files ({usual})")
    folder = Path(given[0] if given else usual).expanduser()
    found = next((folder / name for name in names if list((folder / name).glob("*.parquet"))), None)
    if found is None:
        raise DataError(
            f"{folder}: holds no {' or '.join(names)} with parquet files; run {tool}'s own preparation first"
        )
    tokenizer = order.tokenizer or folder / PICKLED
    if not tokenizer.is_file():
        raise DataError(
            f"{tokenizer}: no file there; run {tool}'s own preparation first, or give --tokenizer"
        )
    parquet = str(found / "*.parquet")
    return replace(
        order,
        sources=(parquet,),
        tokenizer=tokenizer,
        split="last file",
        provenance=order.provenance or f"prepared by {tool}, its last file hidden",
    )


def import_tokens(order: Order) -> Prepared:
    """llm.c's shards as a prepared folder; `order.tokenizer` says what each token stands for.

    Files with `val` in their names are hidden; without such files, documents by their hash.
    """
    files = [Path(one) for one in order.sources]
    if missing := [one for one in files if not one.is_file()]:
        raise DataError(f"{missing[0]}: no such file; give llm.c's .bin files")
    if order.tokenizer is None:
        raise DataError(
            "--from llm.c needs --tokenizer: llm.c's gpt2_tokenizer.bin, a tokenizer.json or tiktoken's ranks"
        )
    refuse_folder(order.folder)
    sizes, end, text = _vocabulary(order.tokenizer)
    order.folder.mkdir(parents=True, exist_ok=True)
    named = hashlib.sha256(str([(str(one), one.stat().st_size) for one in files]).encode())
    sources = [Source(one.resolve(), ".bin") for one in files]
    hidden = [number for number, one in enumerate(files) if "val" in one.name]
    split = splitter_of(order, sources)
    with GrowingShards(order.folder, np.dtype(token_type(len(sizes))), named.hexdigest()) as shards:
        shards.restart()  # reading is quick: it begins anew
        shards.sure((0, 0))
        for number, file in enumerate(files):
            tokens = map_tokens(file)
            for document in documents_between(tokens, end):
                if int(document.max()) >= len(sizes):
                    raise DataError(
                        f"{file}: holds token {int(document.max())}, but {order.tokenizer} has {len(sizes)}"
                    )
                hashed = int.from_bytes(
                    hashlib.blake2b(document.tobytes(), digest_size=8).digest(), "big"
                )
                size = int(sizes[document].sum())
                if hidden:
                    of = ("val" if hashed % 2 else "test") if number in hidden else "train"
                else:
                    of = split.split_of(hashed, shards.documents, number)
                split.add(shards, of, document, size)
        shards.sure((len(files), 0))
        return finish_folder(order, shards, sources, split, sizes, end, text)


def documents_between(tokens: NDArray[Any], end: int) -> Iterator[NDArray[Any]]:
    """The documents of a shard, each from its end-of-text token to the next one."""
    begin = 0
    for at in range(0, len(tokens), STEP):
        for place in np.flatnonzero(tokens[at : at + STEP] == end):
            if at + int(place) > begin:
                yield tokens[begin : at + int(place)]
            begin = at + int(place)
    if begin < len(tokens):
        yield tokens[begin:]


def _vocabulary(file: Path) -> tuple[NDArray[np.int64], int, str]:
    """Bytes of each token, the one that begins a document, and the tokenizer's text ("" for llm.c's own)."""
    raw = file.read_bytes() if file.is_file() else b""
    if int.from_bytes(raw[:4], "little") == TOKENIZER_MAGIC:
        told = np.frombuffer(raw[:16], dtype="<u4")
        count, end = int(told[2]), int(told[3]) if told[1] > 1 else int(told[2]) - 1
        sizes, at = np.zeros(count, dtype=np.int64), 1024
        for number in range(count):
            if at >= len(raw):
                raise DataError(f"{file}: was cut short; copy it again")
            sizes[number] = raw[at]
            at += 1 + raw[at]
        sizes[end] = 0
        return sizes, end, ""
    text = read_tokenizer(file)
    encoder = Encoder(text, str(file))
    if encoder.end_of_text is None:
        raise DataError(f"{file}: has no end-of-text token, so documents cannot be told apart")
    return encoder.bytes_of, encoder.end_of_text, text
