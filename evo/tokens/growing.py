"""Shards that grow document by document, and go on after a kill from the last point that was made sure of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from evo.tokens.shards import HEADER_BYTES, UNFINISHED, DataError, Shard, ends_beside, header

ENDS_TYPE = np.dtype("<i8")


class GrowingShards:
    """All shards of a folder that is being written. Use as a context; `sure` makes what is there last.

    `order` says what is made; a folder that was begun by another order is refused with DataError.
    """

    def __init__(self, folder: Path, token_type: np.dtype[Any], order: str) -> None:
        self.folder, self.token_type, self.order = folder, token_type, order
        self.place = (0, 0)  # the file to read next, and how many of its documents are done
        self.documents = 0  # in all
        self.seen: dict[str, int] = {}  # figures that outlive a stop, by name
        self._shards: dict[str, Shard] = {}
        self._open: dict[Path, IO[bytes]] = {}
        self._resume()

    def __enter__(self) -> GrowingShards:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def _resume(self) -> None:
        state = self.folder / UNFINISHED
        if not state.is_file():
            return
        try:
            known = json.loads(state.read_text(encoding="utf-8"))
            begun = known["order"]
            shards = [Shard(**one) for one in known["shards"]]
            self.place, self.documents = tuple(known["place"]), known["documents"]
            self.seen = known["seen"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{state}: cannot be read ({error}); delete its folder and begin anew"
            ) from error
        if begun != self.order:
            raise DataError(
                f"{self.folder}: was begun with other sources or options; give those again, or delete it"
            )
        self._shards = {one.name: one for one in shards}
        for file in self.folder.glob("*.npy"):  # what was written after the last sure point
            name = file.name.replace(".ends.npy", ".npy")
            if name not in self._shards:
                file.unlink()
                continue
            file.chmod(
                0o644
            )  # a folder may have been stopped when all but the last word was written
            one, ends = self._shards[name], file.name.endswith(".ends.npy")
            wide = ENDS_TYPE.itemsize if ends else self.token_type.itemsize
            os.truncate(file, HEADER_BYTES + (one.documents if ends else one.tokens) * wide)

    def restart(self) -> None:
        """Forget what was written before."""
        for file in self.folder.glob("*.npy"):
            file.unlink()
        self._shards, self.place, self.documents, self.seen = {}, (0, 0), 0, {}

    def add(self, name: str, split: str, tokens: NDArray[Any], size: int) -> None:
        """One document at the end of a shard; `size`: its bytes of text."""
        one = self._shards.get(name) or Shard(name, split, 0, 0, 0, "")
        path = self.folder / name
        self._append(path, self.token_type, tokens)
        end = one.tokens + len(tokens)
        self._append(ends_beside(path), ENDS_TYPE, np.array([end]))
        self._shards[name] = Shard(name, split, end, one.documents + 1, one.bytes + size, "")
        self.documents += 1

    def _append(self, path: Path, dtype: np.dtype[Any], numbers: NDArray[Any]) -> None:
        file = self._open.get(path)
        if file is None:
            file = self._open[path] = path.open("ab")
            if not file.tell():
                file.write(header(dtype, 0))
        file.write(np.ascontiguousarray(numbers, dtype=dtype).data)

    def sure(self, place: tuple[int, int]) -> None:
        """From here on, a kill loses nothing that stands before this place."""
        self.place = place
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
        known = {
            "order": self.order,
            "place": place,
            "documents": self.documents,
            "seen": self.seen,
            "shards": [asdict(one) for one in self._shards.values()],
        }
        write_whole(self.folder / UNFINISHED, json.dumps(known))

    def finish(self, threads: int) -> tuple[Shard, ...]:
        """The shards with their headers and checksums, in order of their names; read-only from now on."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        done = []
        shards = sorted(self._shards.values(), key=lambda one: one.name)
        for one in shards:
            path = self.folder / one.name
            _set_header(path, self.token_type, one.tokens)
            _set_header(ends_beside(path), ENDS_TYPE, one.documents)
        sums = checksums([self.folder / one.name for one in shards], threads)
        for one, sum_ in zip(shards, sums, strict=True):
            done.append(Shard(one.name, one.split, one.tokens, one.documents, one.bytes, sum_))
            for path in (self.folder / one.name, ends_beside(self.folder / one.name)):
                path.chmod(0o444)
        return tuple(done)


def _set_header(path: Path, dtype: np.dtype[Any], count: int) -> None:
    with path.open("r+b") as file:
        file.write(header(dtype, count))


def write_whole(path: Path, text: str) -> None:
    """A file that is there whole or as it was."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def checksums(files: Sequence[Path], threads: int) -> Iterable[str]:
    """The sha256 of each file, several at once."""
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return list(pool.map(_checksum, files))


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
