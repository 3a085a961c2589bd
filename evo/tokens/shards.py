"""Files of token numbers: a folder that `evo data prepare` wrote, and shards that other tools wrote.

A prepared folder holds `tokens.json` (what lies in it, where it came from), `bytes.npy` (bytes of text a
token), `tokenizer.json`, and for each split shards of whole documents: NAME.npy, the tokens, beside
NAME.ends.npy, where its documents end. Everything is read by `np.load(file, mmap_mode="r")` as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

FORMAT = "evotrain tokens 1"
MANIFEST, UNFINISHED = "tokens.json", "unfinished.json"
TABLE, TOKENIZER, ENDS = "bytes.npy", "tokenizer.json", ".ends.npy"
HEADER_BYTES = 128  # of each shard's .npy header, however many tokens follow
MAX_VOCAB = 262_144
MIN_TOKEN_BYTES, MAX_TOKEN_BYTES = (
    1.0,
    12.0,
)  # on average; beyond it the table is of another vocabulary
SAMPLE_TOKENS = 1 << 20  # of a shard, looked at to see whether it is what it is said to be
WINDOW, ANCHOR_SHARE = 32, 64  # tokens in a row that are compared, one in ANCHOR_SHARE places
MAX_REPEATED = 0.5  # share of such windows that stand twice in a text that can hide anything
# magic number of llm.c's headers: the bytes of a token, and its version
FOREIGN_HEADERS = {20240520: 2, 20240801: 4}
FOREIGN_HEADER_BYTES = 1024


class DataError(Exception):
    """The data cannot be used. The message names the file or key, and the fix."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of whole documents. `bytes`: of the text that its tokens stand for."""

    name: str
    split: str
    tokens: int
    documents: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PreparedFolder:
    """What `tokens.json` says. `end_of_text`: the token before each document, None for none."""

    path: Path
    vocab: int
    end_of_text: int | None
    shards: tuple[Shard, ...]
    bytes_of: NDArray[np.float64]
    about: dict[str, Any]

    @property
    def digest(self) -> str:
        """16 hex digits that change with any token, any document and the table."""
        said = hashlib.sha256(f"{FORMAT} {self.vocab}".encode())
        said.update(self.bytes_of.tobytes())
        said.update(json.dumps([asdict(one) for one in self.shards]).encode())
        return said.hexdigest()[:16]

    def of(self, split: str) -> tuple[Shard, ...]:
        """The shards of a split, in order."""
        return tuple(one for one in self.shards if one.split == split)

    def tokens(self, shard: Shard) -> NDArray[Any]:
        """A shard's tokens, mapped into memory."""
        return map_tokens(self.path / shard.name)

    def ends(self, shard: Shard) -> NDArray[np.int64]:
        """Where its documents end, rising."""
        ends: NDArray[np.int64] = np.load(ends_beside(self.path / shard.name))
        return ends


def token_type(vocab: int) -> str:
    """The type of a stored token."""
    return "uint8" if vocab <= 256 else "uint16" if vocab <= 65_536 else "uint32"


def ends_beside(shard: Path) -> Path:
    """The file that says where the documents of a shard end."""
    return shard.with_name(shard.name.removesuffix(".npy") + ENDS)


def header(dtype: np.dtype[Any], count: int) -> bytes:
    """The .npy header of `count` tokens: HEADER_BYTES long for any count, so that a shard can grow."""
    import io

    said = io.BytesIO()
    npy.write_array_header_1_0(
        said, {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
    )
    assert len(said.getvalue()) == HEADER_BYTES
    return said.getvalue()


def is_prepared(folder: Path) -> bool:
    """Whether `evo data prepare` made this folder, or began to."""
    return (folder / MANIFEST).is_file() or (folder / UNFINISHED).is_file()


def open_prepared(folder: Path) -> PreparedFolder:
    """A prepared folder, its files there and of the right size. Raises DataError."""
    if not (folder / MANIFEST).is_file():
        raise DataError(
            f"{folder}: is not finished; give the same `evo data prepare` command again, it goes on"
        )
    try:
        about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise DataError(
                f"{folder / MANIFEST}: is {about['format']!r}, not {FORMAT!r}; prepare it anew"
            )
        shards = tuple(Shard(**one) for one in about["shards"])
        vocab, end = int(about["vocab"]), about["end_of_text"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / MANIFEST}: cannot be read ({error}); prepare it anew"
        ) from error
    table = read_table(folder / TABLE, vocab, str(folder / TABLE))
    wide = np.dtype(token_type(vocab)).itemsize
    for one in shards:
        path = folder / one.name
        size = path.stat().st_size if path.is_file() else -1
        if Path(one.name).name != one.name or size != HEADER_BYTES + one.tokens * wide:
            raise DataError(
                f"{path}: is not the file of {one.tokens:,} tokens that {MANIFEST} names; copy the whole "
                "folder, or prepare it anew"
            )
    found = PreparedFolder(folder, vocab, end, shards, table, about)
    for one in shards:
        refuse_wrong_tokens(path_of(folder, one), found.tokens(one), vocab, table)
    return found


def path_of(folder: Path, shard: Shard) -> Path:
    """Where a shard lies."""
    return folder / shard.name


def map_tokens(file: Path, vocab: int | None = None) -> NDArray[Any]:
    """The tokens of a shard, mapped: .npy and headers by their magic, else plain numbers. Raises DataError.

    `vocab` decides how wide a plain number is: 16 bits, or 32 above 65,536 tokens.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            begin = opened.read(8)
        if begin.startswith(npy.MAGIC_PREFIX):
            tokens = np.load(file, mmap_mode="r", allow_pickle=False)
            if tokens.ndim != 1 or tokens.dtype.kind != "u" or tokens.dtype.itemsize > 4:
                raise DataError(
                    f"{file}: holds {tokens.dtype} {tokens.shape}; a shard is one row of uint16 or uint32"
                )
            return tokens  # type: ignore[no-any-return]
        wide = FOREIGN_HEADERS.get(int.from_bytes(begin[:4], "little"))
        if wide and size >= FOREIGN_HEADER_BYTES:
            return _behind_header(file, size, wide)
        wide = 2 if vocab is None or vocab <= 65_536 else 4
        if size % wide or not size:
            raise DataError(
                f"{file}: {size} bytes are no uint{8 * wide} tokens; write shards as plain uint{8 * wide}"
            )
        return np.memmap(file, dtype=f"<u{wide}", mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _behind_header(file: Path, size: int, wide: int) -> NDArray[Any]:
    """llm.c: 256 numbers of 32 bits, the third of them how many tokens follow."""
    told = np.fromfile(file, dtype="<u4", count=3)
    count = (size - FOREIGN_HEADER_BYTES) // wide
    if int(told[2]) != count or (size - FOREIGN_HEADER_BYTES) % wide:
        raise DataError(
            f"{file}: its header tells of {int(told[2]):,} of {8 * wide} bits, it holds {count:,}; "
            "it was cut short: copy it again"
        )
    return np.memmap(file, dtype=f"<u{wide}", mode="r", offset=FOREIGN_HEADER_BYTES)


def read_table(file: Path, vocab: int, name: str) -> NDArray[np.float64]:
    """How many bytes of text each token stands for. Raises DataError; `name` begins what it says."""
    try:
        table = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{name}: not a .npy table ({error})") from error
    if table.shape != (vocab,) or table.dtype.kind not in "iuf":
        raise DataError(
            f"{name}: holds {table.dtype} {table.shape}, not {vocab} numbers "
            "(bytes per token, one for each token of the vocabulary)"
        )
    if not np.isfinite(table).all() or (table < 0).any() or not table.any():
        raise DataError(f"{name}: every entry must be a number, 0 or more")
    if vocab > 256 and (table[table > 0] == 1).all():
        raise DataError(
            f"{name}: every token counts as one byte, so scores would be bits a token; write the bytes that "
            "each token stands for"
        )
    sizes: NDArray[np.float64] = table.astype(np.float64)
    return sizes


def sample_of(tokens: NDArray[Any]) -> NDArray[Any]:
    """A shard's beginning and its end."""
    half = SAMPLE_TOKENS // 2
    if len(tokens) <= SAMPLE_TOKENS:
        return np.asarray(tokens)
    return np.concatenate([tokens[:half], tokens[-half:]])


def refuse_wrong_tokens(
    file: Path, tokens: NDArray[Any], vocab: int, bytes_of: NDArray[np.float64]
) -> None:
    """DataError for tokens beyond the vocabulary, of another width, or that the table does not fit.

    Looks at the first and last SAMPLE_TOKENS / 2 of a shard.
    """
    sample = sample_of(tokens)
    if not len(sample):
        return
    if sample.dtype.itemsize == 2 and len(sample) > 64:
        high, low = sample[1::2], sample[0::2]
        if (high <= MAX_VOCAB >> 16).mean() > 0.95 and (low <= MAX_VOCAB >> 16).mean() < 0.5:
            raise DataError(
                f"{file}: every second number is nearly 0: these are uint32 tokens, not uint16; save them by "
                "np.save, whose header tells their type, or as uint16"
            )
    highest = int(sample.max())
    if highest >= vocab:
        raise DataError(
            f"{file}: holds token {highest}, but the vocabulary (data.vocab) is {vocab}; set it right"
        )
    mean = float(bytes_of[sample].mean())
    if vocab > 256 and not MIN_TOKEN_BYTES <= mean <= MAX_TOKEN_BYTES:
        raise DataError(
            f"{file}: its tokens stand for {mean:.2f} bytes on average, where {MIN_TOKEN_BYTES:g} to "
            f"{MAX_TOKEN_BYTES:g} are usual: the table of bytes belongs to another vocabulary, or the tokens do"
        )


def repeated_share(parts: Iterable[NDArray[Any]]) -> float:
    """The share of windows of WINDOW tokens that stood before: 0 to 1, near 0 for text.

    Windows begin where four tokens hash to one number in ANCHOR_SHARE, so that a text that stands twice is seen
    wherever its copies begin.
    """
    found: list[NDArray[np.uint64]] = []
    factor = np.uint64(0x9E3779B97F4A7C15)
    for part in parts:
        wide = np.asarray(part).astype(np.uint64) + np.uint64(1)
        if len(wide) < 2 * WINDOW:
            continue
        few = np.zeros(len(wide) - WINDOW, dtype=np.uint64)
        for at in range(4):
            few = (few + wide[at : at + len(few)]) * factor
        places = np.flatnonzero((few >> np.uint64(32)) % np.uint64(ANCHOR_SHARE) == 0)
        windows = np.zeros(len(places), dtype=np.uint64)
        for at in range(WINDOW):
            windows = (windows ^ wide[places + at]) * factor
            windows ^= windows >> np.uint64(29)
        found.append(windows)
    every = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
    return 1 - len(np.unique(every)) / len(every) if len(every) >= ANCHOR_SHARE else 0.0


def refuse_repeated(name: str, parts: Sequence[NDArray[Any]]) -> None:
    """DataError when most of what was looked at stands there twice: then what is hidden is trained on, too."""
    share = repeated_share(parts)
    if share > MAX_REPEATED:
        raise DataError(
            f"{name}: {share:.0%} of the passages looked at stand there twice or more, so hidden text would be "
            "trained on; give every shard once, and each document once"
        )
