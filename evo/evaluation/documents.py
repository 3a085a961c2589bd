"""Where the text comes from: the embedded corpus, a user's files, or tokens, as documents."""

from __future__ import annotations

import glob
import hashlib
import json
import lzma
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evo.tokens.shards import (
    MAX_VOCAB,
    SAMPLE_TOKENS,
    DataError,
    PreparedFolder,
    Shard,
    is_prepared,
    map_tokens,
    open_prepared,
    read_table,
    refuse_repeated,
    refuse_wrong_tokens,
    token_type,
)

EMBEDDED = Path(__file__).parents[2] / "seed" / "corpus"
BUNDLED = EMBEDDED.with_name("tokens")  # a part of the same text as tokens
MIN_DOCUMENTS = 20  # below, files are cut into passages
PASSAGES = 100
MAX_GROUPS = 200  # that the hidden documents of a prepared folder are joined to
SAMPLE_BYTES = 1 << 16  # of each file, looked at to see whether it is text
_SPLIT_NAME = re.compile(r"(?:^|[^a-z])(train|valid|val|dev|test)(?:ing|idation)?(?:[^a-z]|$)")
MAX_INVALID = 0.3  # share of bytes that are no UTF-8 in what still passes for text


class DataSettings(BaseModel):
    """What to train on and to score with: `path`, `shards`, or the embedded text.

    `path` takes files or globs, read as bytes, or one folder that `evo data prepare` made; `shards` are files
    of tokens and need `bytes_per_token` (a .npy table of `vocab` numbers).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    bytes_per_token: str | None = None
    vocab: int | None = Field(default=None, ge=2, le=MAX_VOCAB)

    @field_validator("path", "shards", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        if self.path and self.shards:
            raise ValueError("give one of path and shards")
        if self.shards and (self.vocab is None or self.bytes_per_token is None):
            raise ValueError("shards need vocab and bytes_per_token")
        if not self.shards and (self.vocab not in (None, 256) or self.bytes_per_token is not None):
            raise ValueError(
                "vocab and bytes_per_token go with shards; text is read as bytes (256)"
            )
        return self


@dataclass(frozen=True, slots=True)
class Document:
    """One document as tokens (uint8, uint16 or uint32), under a name."""

    name: str
    tokens: NDArray[Any]

    def __repr__(self) -> str:
        return f"Document({self.name!r}, {len(self.tokens)} tokens)"


@dataclass(frozen=True, slots=True)
class Text:
    """All documents in their order, what they are counted in, and the files they came from.

    `splits`: which documents are hidden where files say so, by their names or in a prepared folder. `pieces`
    and `known_digest` of such a folder: its training shards are used as they lie.
    """

    documents: tuple[Document, ...]
    vocab: int
    bytes_of: NDArray[np.float64]  # bytes that each token stands for
    files: tuple[Path, ...]
    splits: Mapping[str, tuple[Document, ...]] | None = None
    pieces: tuple[Path, ...] = ()
    known_digest: str = ""

    def __reduce__(self) -> Any:
        """On its way to another machine a prepared folder is named, not sent: there, too, it has to lie."""
        values = (self.documents, self.vocab, self.bytes_of, self.files, self.splits)
        return (_at, (self.files[0],)) if self.pieces else (Text, values)

    @property
    def token_type(self) -> str:
        """The type of a stored token."""
        return token_type(self.vocab)

    def digest(self) -> str:
        """16 hex digits that change with any document."""
        if self.known_digest:
            return self.known_digest
        said = hashlib.sha256(f"{self.vocab} {len(self.documents)}".encode())
        said.update(self.bytes_of.tobytes())
        for document in self.documents:
            said.update(f"{document.name} {len(document.tokens)}".encode())
            said.update(np.ascontiguousarray(document.tokens).data)
        for name, those in (self.splits or {}).items():
            said.update(f"{name} {len(those)}".encode())
        return said.hexdigest()[:16]


def read_text(settings: DataSettings) -> Text:
    """The documents that `settings` ask for. Raises DataError."""
    if settings.shards:
        return _shards(settings)
    if folder := prepared_in(settings):
        return _at(folder)
    if settings.path:
        return _files(settings.path)
    return _embedded(EMBEDDED)


def look_at(settings: DataSettings) -> tuple[Path, ...]:
    """The files named, which are there and look right; without reading them whole. Raises DataError."""
    if folder := prepared_in(settings):
        return tuple(folder / one.name for one in open_prepared(folder).shards)
    texts = _found("path", settings.path)
    for file in texts:
        try:
            with open(file, "rb") as opened:
                _refuse_no_text(file, opened.read(SAMPLE_BYTES))
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    shards = _found("shards", settings.shards)
    for file in shards:
        map_tokens(file, settings.vocab)
    if settings.bytes_per_token is not None and settings.vocab is not None:
        _byte_table(settings.bytes_per_token, settings.vocab)
    return (*texts, *shards)


def prepared_in(settings: DataSettings) -> Path | None:
    """The folder of `evo data prepare` that the settings name, or None."""
    if len(settings.path) != 1:
        return None
    folder = Path(settings.path[0]).expanduser()
    return folder.resolve() if is_prepared(folder) else None


def _at(folder: Path) -> Text:
    return _prepared(open_prepared(folder))


def _prepared(folder: PreparedFolder) -> Text:
    """Shards for training as they lie; hidden documents in groups, so that short ones are asked, too."""
    shards = [(one, folder.tokens(one)) for one in folder.shards]
    refuse_repeated(str(folder.path), _beginnings([tokens for _, tokens in shards]))
    train = [Document(one.name, tokens) for one, tokens in shards if one.split == "train"]
    splits = {"train": tuple(train)}
    for name in ("val", "test"):
        hidden = [(one, tokens) for one, tokens in shards if one.split == name]
        splits[name] = tuple(
            group for one, tokens in hidden for group in _groups(folder, one, tokens)
        )
    return Text(
        documents=tuple(one for those in splits.values() for one in those),
        vocab=folder.vocab,
        bytes_of=folder.bytes_of,
        files=(folder.path,),
        splits=splits,
        pieces=tuple(folder.path / one.name for one in train),
        known_digest=folder.digest,
    )


def _groups(folder: PreparedFolder, shard: Shard, tokens: NDArray[Any]) -> list[Document]:
    """A shard's documents, neighbours joined where there are more than MAX_GROUPS."""
    ends = folder.ends(shard)
    wanted = np.linspace(0, len(tokens), MAX_GROUPS + 1)[1:]
    last = np.unique(np.minimum(np.searchsorted(ends, wanted), len(ends) - 1))
    chosen = ends if len(ends) <= MAX_GROUPS else ends[last]
    return [
        Document(f"{shard.split} {number}", tokens[begin:end])
        for number, (begin, end) in enumerate(pairwise([0, *map(int, chosen)]), 1)
    ]


def _beginnings(parts: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What of each shard is looked at for text that stands there twice."""
    most = max(SAMPLE_TOKENS // 8, 4 * SAMPLE_TOKENS // max(len(parts), 1))
    return [part[:most] for part in parts]


@lru_cache(
    maxsize=1
)  # a campaign asks three times before its first run, and unpacking takes 0.2 CPU seconds
def _embedded(folder: Path) -> Text:
    index_file, packed = folder / "sotu.json", folder / "sotu.txt.xz"
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        text = lzma.decompress(packed.read_bytes())
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise DataError(
            f"{packed}: the embedded corpus cannot be read ({error}); reinstall"
        ) from error
    if hashlib.sha256(text).hexdigest() != index["sha256"]:
        raise DataError(f"{packed}: its sha256 is not the one in {index_file.name}; reinstall")
    whole = np.frombuffer(text, dtype=np.uint8)
    documents, at = [], 0
    for entry in index["documents"]:
        documents.append(Document(entry["name"], whole[at : at + entry["bytes"]]))
        at += entry["bytes"]
    return Text(tuple(documents), 256, np.ones(256), (folder,))


def _files(patterns: Sequence[str]) -> Text:
    files = _found("path", patterns)
    documents = [Document(_name(file, files), _bytes(file)) for file in files]
    return _divided(documents, files, _at_line_end, 256, np.ones(256), files)


def _shards(settings: DataSettings) -> Text:
    assert settings.vocab is not None and settings.bytes_per_token is not None  # validated
    files = _found("shards", settings.shards)
    table = Path(settings.bytes_per_token).expanduser()
    sizes = _byte_table(settings.bytes_per_token, settings.vocab)
    documents = [
        Document(_name(file, files), _tokens(file, settings.vocab, sizes)) for file in files
    ]
    refuse_repeated("data.shards", _beginnings([one.tokens for one in documents]))
    used = (*files, table)
    return _divided(documents, files, lambda _, at: at, settings.vocab, sizes, used)


def _divided(
    documents: list[Document],
    files: Sequence[Path],
    cut_at: Callable[[NDArray[Any], int], int],
    vocab: int,
    bytes_of: NDArray[np.float64],
    used: tuple[Path, ...],
) -> Text:
    """The text of files; where some are named for training and some for validation, they stay what they are.

    Without a file for testing every other document of the validation files is kept for it.
    """
    own = [_split_named(file) for file in files]
    if not {"train", "val"} <= set(own):
        return Text(_enough(documents, cut_at), vocab, bytes_of, used)
    splits = {
        name: _enough(
            [one for one, to in zip(documents, own, strict=True) if (to or "train") == name], cut_at
        )
        for name in ("train", "val", "test")
    }
    if not splits["test"]:
        splits["val"], splits["test"] = splits["val"][::2], splits["val"][1::2]
    every = tuple(one for those in splits.values() for one in those)
    return Text(every, vocab, bytes_of, used, splits)


def _split_named(file: Path) -> str:
    """The split that a file is named for, or its folder; "" for one that is named for none."""
    for name in (file.stem, file.parent.name):
        if found := _SPLIT_NAME.search(name.lower()):
            return {"train": "train", "test": "test"}.get(found[1], "val")
    return ""


def _found(key: str, patterns: Sequence[str]) -> tuple[Path, ...]:
    files: list[Path] = []
    for pattern in patterns:
        wide = str(Path(pattern).expanduser())
        named = (
            [Path(wide)]
            if Path(wide).exists()
            else map(Path, sorted(glob.glob(wide, recursive=True)))
        )
        matched = [path.resolve() for path in named]
        if not matched:
            raise DataError(
                f"data.{key}: {pattern}: no such file; give files or globs that exist, or the folder that "
                "`evo data prepare SOURCE... -o DIR` makes (docs/tokens.md)"
            )
        for path in matched:
            if path.is_dir():
                raise DataError(
                    f"data.{key}: {pattern}: is a folder; give its files, like {pattern}/*, or one "
                    "that `evo data prepare` made"
                )
        files += matched
    return tuple(dict.fromkeys(files))


def _name(file: Path, files: Iterable[Path]) -> str:
    same = sum(other.name == file.name for other in files)
    return file.name if same == 1 else str(file)


def _bytes(file: Path) -> NDArray[np.uint8]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    _refuse_no_text(file, raw[:SAMPLE_BYTES])
    return np.frombuffer(raw, dtype=np.uint8)


def _refuse_no_text(file: Path, sample: bytes) -> None:
    """DataError for NUL bytes or mostly no UTF-8: a picture or an archive trains nothing."""
    if b"\0" in sample:
        raise DataError(
            f"data.path: {file}: holds NUL bytes, so it is no UTF-8 text; give text files"
        )
    lost = len(sample) - len(sample.decode("utf-8", "ignore").encode())
    if lost > MAX_INVALID * len(sample):
        raise DataError(
            f"data.path: {file}: {lost / len(sample):.0%} of it is no UTF-8; give text files, as UTF-8"
        )


def _tokens(file: Path, vocab: int, bytes_of: NDArray[np.float64]) -> NDArray[Any]:
    tokens = map_tokens(file, vocab)
    refuse_wrong_tokens(file, tokens, vocab, bytes_of)
    highest = int(tokens.max())
    if highest >= vocab:
        raise DataError(
            f"{file}: holds token {highest}, but data.vocab is {vocab}; set data.vocab right"
        )
    return tokens


def _byte_table(file: str, vocab: int) -> NDArray[np.float64]:
    return read_table(Path(file).expanduser(), vocab, f"data.bytes_per_token: {file}")


def _enough(
    documents: list[Document], cut_at: Callable[[NDArray[Any], int], int]
) -> tuple[Document, ...]:
    """The documents; when they are few, the passages they are cut into, of about equal length."""
    documents = [document for document in documents if len(document.tokens)]
    total = sum(len(document.tokens) for document in documents)
    if len(documents) >= MIN_DOCUMENTS or not total:
        return tuple(documents)
    passages: list[Document] = []
    for document in documents:
        tokens = document.tokens
        count = max(
            round(PASSAGES * len(tokens) / total), math.ceil(MIN_DOCUMENTS / len(documents))
        )
        wanted = [len(tokens) * i // count for i in range(1, count)]
        ends = [cut_at(tokens, at) for at in wanted]
        bounds = sorted({0, *ends, len(tokens)})
        for number, (start, end) in enumerate(pairwise(bounds), 1):
            passages.append(Document(f"{document.name}#{number}", tokens[start:end]))
    return tuple(passages)


def _at_line_end(tokens: NDArray[np.uint8], at: int) -> int:
    """The next place after a newline, within 4,096 bytes; `at` itself where there is none."""
    ends = np.flatnonzero(tokens[at : at + 4096] == 10)
    return at + int(ends[0]) + 1 if len(ends) else at
