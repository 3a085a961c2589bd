"""Documents out of files: text, jsonl, parquet, plain or packed, one after the other and never a whole file."""

from __future__ import annotations

import glob
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from evo.tokens.shards import DataError

SEPARATOR = "<|endoftext|>"  # a line of a text file that stands between two documents
KINDS = (".txt", ".md", ".text", ".jsonl", ".json", ".ndjson", ".parquet")
PACKED = (".gz", ".zst")
FEW_FILES = 20  # plain texts up to here are cut into passages, so that some can be hidden
PASSAGES = 100
MIN_PASSAGE = 4096  # characters
MAX_DOCUMENT = 4 << 20  # characters: what is longer is cut at a line's end
ROWS = 256  # of a parquet file, read at once


@dataclass(frozen=True, slots=True)
class Source:
    """A file of documents. `passage`: characters after which a plain text is cut at the next line's end."""

    path: Path
    kind: str
    passage: int = MAX_DOCUMENT


def find_sources(given: Sequence[str]) -> list[Source]:
    """The files behind paths, folders and globs, each once, in order. Raises DataError."""
    paths: dict[Path, str] = {}
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.is_file() and kind_of(file)]
            if not found:
                raise DataError(
                    f"{one}: holds no file of text ({', '.join(KINDS)}, also .gz, .zst)"
                )
        elif path.exists():
            found = [path]
        elif not (found := [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]):
            raise DataError(f"{one}: no such file; give files, folders or globs that exist")
        for file in found:
            if not file.is_dir():
                paths[file.resolve()] = kind_of(file) or ".txt"
    plain = [path for path, kind in paths.items() if kind in KINDS[:3]]
    passage = MAX_DOCUMENT
    if 0 < len(plain) < FEW_FILES:
        whole = sum(path.stat().st_size for path in plain)
        passage = min(max(whole // PASSAGES, MIN_PASSAGE), MAX_DOCUMENT)
    return [
        Source(path, kind, passage if kind in KINDS[:3] else MAX_DOCUMENT)
        for path, kind in paths.items()
    ]


def kind_of(file: Path) -> str:
    """The ending that says how a file is read, without that of its packing; "" for none we know."""
    suffixes = [one.lower() for one in file.suffixes]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in KINDS else ""


def read_documents(source: Source, column: str) -> Iterator[str]:
    """The documents of a file, in order; `column` holds the text in jsonl and parquet. Raises DataError."""
    try:
        if source.kind == ".parquet":
            yield from _rows(source.path, column)
        elif source.kind in (".jsonl", ".ndjson", ".json"):
            with _opened(source.path) as file:
                yield from _lines(source.path, file, column)
        else:
            with _opened(source.path) as file:
                yield from _passages(source.path, file, source.passage)
    except (OSError, EOFError) as error:  # a packed file that is none, or was cut short
        raise DataError(f"{source.path}: cannot be read ({error})") from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(arrow(path).input_stream(str(path), compression="zstd"), 1 << 20)
    return path.open("rb")


def arrow(path: Path) -> Any:
    """pyarrow, where it is installed. Raises DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: needs pyarrow to be read: pip install 'evotrain[data]'"
        ) from error
    return pyarrow


def _rows(path: Path, column: str) -> Iterator[str]:
    pyarrow = arrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names[:8])
                raise DataError(f"{path}: has no column {column!r}; --column says which: {names}")
            for batch in file.iter_batches(batch_size=ROWS, columns=[column]):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str | None):
                        kind = type(text).__name__
                        raise DataError(
                            f"{path}: the column {column!r} holds {kind}, not text; see --column"
                        )
                    if text:
                        yield from _cut(text)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: no parquet file that can be read ({error})") from error


def _lines(path: Path, file: IO[bytes], column: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path}: line {number} is no JSON ({error}); one object a line"
            ) from error
        text = row if isinstance(row, str) else row.get(column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            names = ", ".join(list(row)[:8]) if isinstance(row, dict) else type(row).__name__
            raise DataError(
                f"{path}: line {number} has no text under {column!r}; --column says where: {names}"
            )
        if text:
            yield from _cut(text)


def _passages(path: Path, file: IO[bytes], passage: int) -> Iterator[str]:
    """Documents between separators, or passages that end with a line."""
    parts, size = list[str](), 0
    for number, line in enumerate(file, 1):
        if b"\0" in line:
            raise DataError(
                f"{path}: line {number} holds NUL bytes, so it is no UTF-8 text; give text files"
            )
        text = line.decode("utf-8", "replace")
        if text.strip() == SEPARATOR:
            if size:
                yield from _cut("".join(parts))
            parts, size = [], 0
            continue
        parts.append(text)
        size += len(text)
        if size >= passage:
            yield from _cut("".join(parts))
            parts, size = [], 0
    if size:
        yield from _cut("".join(parts))


def _cut(text: str) -> Iterator[str]:
    """A document, in parts where it is very long."""
    while len(text) > MAX_DOCUMENT:
        at = text.rfind("\n", MAX_DOCUMENT // 2, MAX_DOCUMENT) + 1 or MAX_DOCUMENT
        yield text[:at]
        text = text[at:]
    if text:
        yield text
