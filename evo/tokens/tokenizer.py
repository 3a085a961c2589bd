"""Byte-level BPE: trained or taken, the bytes of each token, and text into tokens."""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.tokens.shards import MAX_VOCAB, DataError, token_type

END_OF_TEXT = "<|endoftext|>"
BEGINNINGS = (END_OF_TEXT, "<|begin_of_text|>", "<|bos|>", "<s>", "<|reserved_0|>")
MAX_KEPT = 1 << 18  # different stretches of text whose tokens are kept, in each process
STRESS = "It's  one\tand\n\n  two,\r\n 12345 it'll 6\u00a0x \u2003y\u3000z  \n\t end. \n Ünï \x1c q \x85 ß's\n"
# Where text may be cut without changing its tokens: before a blank behind something that is none. Every
# pattern of the GPT family begins a new piece there. What is cut so is checked against the whole, each time.
CUT = re.compile(r"(?<=\S)(?= )")
# The pieces of models since 2023: words with one sign before them, numbers up to three digits, signs, lines.
LETTERS, DIGITS, BLANK = r"\p{L}", r"\p{N}", r"\s"
MODERN_PIECES = "|".join(
    (
        r"'(?i:[sdmt]|ll|ve|re)",
        rf"[^\r\n{LETTERS}{DIGITS}]?+{LETTERS}+",
        rf"{DIGITS}{{1,3}}",
        rf" ?[^{BLANK}{LETTERS}{DIGITS}]++[\r\n]*",
        rf"{BLANK}*[\r\n]",
        rf"{BLANK}+(?!\S)",
        rf"{BLANK}+",
    )
)


def library() -> Any:
    """The tokenizers package. Raises DataError where it is not installed."""
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(
            "a byte-level BPE needs the package tokenizers: pip install 'evotrain[data]'"
        ) from error
    return tokenizers


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in the vocabulary of a byte-level BPE, and the byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [one for one in range(256) if one not in plain]
    letters = {chr(one): one for one in plain}
    return letters | {chr(256 + number): one for number, one in enumerate(others)}


def train_bpe(texts: Iterable[str], vocab: int) -> str:
    """A byte-level BPE of `vocab` tokens, as the text of a tokenizer.json. Raises DataError."""
    if not 257 <= vocab <= MAX_VOCAB:
        raise DataError(f"--vocab {vocab}: a byte-level BPE has 257 to {MAX_VOCAB:,} tokens")
    tokenizers = library()
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(byte_letters()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    if (made := bpe.get_vocab_size()) < vocab:
        raise DataError(
            f"--vocab {vocab}: the text gives {made} tokens; ask {made} or less, or give more text"
        )
    return str(bpe.to_str())


def read_tokenizer(file: Path, pieces: str = MODERN_PIECES) -> str:
    """The text of a tokenizer.json for a file of any kind we read. Raises DataError.

    A tokenizer.json; tiktoken's ranks, a line each of base64 and number, cut by `pieces`; a pickled tiktoken
    encoding as nanochat and autoresearch keep it, of which nothing is executed.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    if raw[:1] == b"{":
        return raw.decode("utf-8", "replace")
    if raw[:1] == b"\x80":
        about = read_pickled_encoding(file, raw)
        return from_ranks(about["mergeable_ranks"], about["pat_str"], about["special_tokens"])
    try:
        rows = [line.split() for line in raw.splitlines() if line.strip()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
    except (ValueError, binascii.Error) as error:
        raise DataError(
            f"{file}: is neither a tokenizer.json nor ranks (lines of base64 and a number): {error}"
        ) from error
    return from_ranks(ranks, pieces, {})


class _NothingExecuted(pickle.Unpickler):
    """Reads the plain values of a pickled encoding; every class becomes a bag of its values."""

    class Bag:
        """What a pickled object holds."""

        def __init__(self, *values: Any) -> None:
            self.values: Any = values

        def __setstate__(self, state: Any) -> None:
            self.values = state

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("tiktoken.core", "Encoding"), ("tiktoken", "Encoding")):
            return self.Bag
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def read_pickled_encoding(file: Path, raw: bytes) -> dict[str, Any]:
    """`pat_str`, `mergeable_ranks` and `special_tokens` of a pickled tiktoken encoding. Raises DataError."""
    try:
        bag = _NothingExecuted(io.BytesIO(raw)).load()
        about = bag.values if isinstance(bag, _NothingExecuted.Bag) else None
    except Exception as error:  # a damaged pickle raises anything at all
        raise DataError(f"{file}: is no pickled tiktoken encoding ({error})") from error
    wanted = {"pat_str": str, "mergeable_ranks": dict, "special_tokens": dict}
    if not isinstance(about, dict) or not all(
        isinstance(about.get(k), v) for k, v in wanted.items()
    ):
        raise DataError(f"{file}: is no pickled tiktoken encoding with its ranks in it")
    return about


def from_ranks(ranks: Mapping[bytes, int], pieces: str, special: Mapping[str, int]) -> str:
    """A tokenizer.json of tiktoken's ranks: the pair that makes each token is found by the lower ranks."""
    letters = {byte: letter for letter, byte in byte_letters().items()}
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise DataError(f"ranks: the byte {missing[0]} is no token, so this is no byte-level BPE")
    spelt = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda one: one[1]):
        if len(token) > 1 and (pair := _last_pair(token, rank, ranks)):
            merges.append([spelt[pair[0]], spelt[pair[1]]])
    vocab = {spelt[token]: rank for token, rank in ranks.items()}
    special = dict(special) or {END_OF_TEXT: max(ranks.values()) + 1}
    taken = {*ranks.values(), *special.values()}
    if sorted(taken) != list(range(len(taken))):
        gaps = set(range(max(taken) + 1)) - taken
        special |= {f"<|unused_{one}|>": one for one in sorted(gaps)}
    added = [
        {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for name, number in sorted(special.items(), key=lambda one: one[1])
    ]  # fmt: skip
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    split = {"type": "Split", "pattern": {"Regex": pieces}, "behavior": "Isolated", "invert": False}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": True},
        }
    )


def _last_pair(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two tokens that were joined last to make this one; None where ranks below do not lead there."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        pairs = [
            (ranks.get(left + right, rank), at) for at, (left, right) in enumerate(pairwise(parts))
        ]
        lowest, at = min(pairs)
        if lowest >= rank:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 else None


class Encoder:
    """Text into tokens. Raises DataError for a tokenizer that is no byte-level BPE."""

    def __init__(self, text: str, name: str = "tokenizer.json") -> None:
        try:
            self._bpe = library().Tokenizer.from_str(text)
            about = json.loads(text)
        except DataError:
            raise
        except Exception as error:  # the library raises its own bare Exception
            raise DataError(f"{name}: is no tokenizer.json that can be read ({error})") from error
        self._bpe.encode_special_tokens = True  # in a text they are text
        self._bpe.no_padding()
        self._bpe.no_truncation()
        if about.get("normalizer"):
            raise DataError(
                f"{name}: changes the text first, so no bytes can be counted; take another"
            )
        self.vocab, self.bytes_of = _bytes_of(about, self._bpe.get_vocab_size(), name)
        special = {one["content"]: int(one["id"]) for one in about.get("added_tokens", [])}
        self.end_of_text = next((special[one] for one in BEGINNINGS if one in special), None)
        self.token_type = np.dtype(token_type(max(self.vocab, 257)))
        self._known: dict[str, int] = {}
        self._forget()
        self._cuts = all(
            self._whole(STRESS[at:]) == self._in_cuts([STRESS[at:]])[0].tolist()
            for at in range(len(STRESS))
        )
        if int(self.bytes_of[self._whole(STRESS)].sum()) != len(STRESS.encode()):
            raise DataError(
                f"{name}: no byte-level BPE: its tokens do not stand for the bytes of a text"
            )

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The tokens of texts one after the other, of `token_type`, and how many each has; no special ones."""
        if self._cuts:
            return self._in_cuts(texts)
        made = [self._whole(text) for text in texts]
        flat = np.array([one for ids in made for one in ids], dtype=self.token_type)
        return flat, np.array([len(ids) for ids in made], dtype=np.int64)

    def _whole(self, text: str) -> list[int]:
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
        return ids

    def _forget(self) -> None:
        self._known.clear()
        self._starts = np.zeros(0, dtype=np.int64)
        self._lengths = np.zeros(0, dtype=np.int64)
        self._table = np.zeros(0, dtype=self.token_type)

    def _in_cuts(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Most stretches of a text stood before: their tokens are looked up, only new ones are made."""
        cut = [CUT.split(text) for text in texts]
        counts = np.fromiter(map(len, cut), np.int64, len(cut))
        parts = [part for one in cut for part in one]
        known, different = self._known, dict.fromkeys(parts)
        new = [one for one in different if one not in known]
        if len(known) + len(new) > MAX_KEPT:
            self._forget()
            new = list(different)
        if new:
            self._learn(new)
        which = np.fromiter(map(known.__getitem__, parts), np.int64, len(parts))
        lengths = self._lengths[which]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(ends[-1]) + np.repeat(self._starts[which] - ends[:-1], lengths)
        return self._table[at], np.diff(ends[np.concatenate([[0], np.cumsum(counts)])])

    def _learn(self, new: Sequence[str]) -> None:
        made = [one.ids for one in self._bpe.encode_batch_fast(new, add_special_tokens=False)]
        first, place = len(self._table), len(self._known)
        lengths = np.fromiter(map(len, made), np.int64, len(made))
        flat = np.fromiter(
            (one for ids in made for one in ids), self.token_type, int(lengths.sum())
        )
        self._known.update(zip(new, range(place, place + len(new)), strict=True))
        self._starts = np.concatenate([self._starts, first + np.cumsum(lengths) - lengths])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._table = np.concatenate([self._table, flat])


def _bytes_of(about: Mapping[str, Any], size: int, name: str) -> tuple[int, NDArray[np.int64]]:
    """How many tokens there are, and how many bytes of text each stands for: 0 for special ones."""
    model, letters = about.get("model", {}), byte_letters()
    vocab = model.get("vocab")
    if (
        model.get("type", "BPE") != "BPE"
        or not isinstance(vocab, dict)
        or model.get("byte_fallback")
    ):
        raise DataError(f"{name}: is no byte-level BPE, whose tokens stand for bytes; take another")
    special = {one["content"]: int(one["id"]) for one in about.get("added_tokens", [])}
    count = max([*vocab.values(), *special.values(), size - 1]) + 1
    if count > MAX_VOCAB:
        raise DataError(f"{name}: has {count:,} tokens; up to {MAX_VOCAB:,} can be scored")
    sizes = np.zeros(count, dtype=np.int64)
    for token, number in vocab.items():
        if token not in special:
            if not all(map(letters.__contains__, token)):
                raise DataError(
                    f"{name}: no byte-level BPE: the token {token!r} is spelt otherwise"
                )
            sizes[number] = len(token)  # a letter a byte
    return count, sizes
