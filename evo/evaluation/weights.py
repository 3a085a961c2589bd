"""The weights a run left: taken as a private copy, and counted without loading them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.evaluation.process import Ended
from population.variant import Status

MOST_HEADER_BYTES = 8 << 20
HEADER_BYTES, TENSOR_HEADER_BYTES = 4096, 256  # more would hold numbers that nobody counts
MOST_DIMENSIONS, MOST_OF_ONE = 16, 1 << 40
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file of weights holds. `sha256`: of its numbers alone, whatever they are called."""

    parameters: int
    sha256: str


def take_weights(source: Path, target: Path, most_bytes: int) -> Weights:
    """Copy the file a run saved, never through a link, and say what it holds.

    Raises Ended (rejected) for anything but one whole safetensors file of a sensible size.
    """
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"cannot be taken ({error.strerror})") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(fd)
        raise _refused("is not a plain file")
    with open(fd, "rb") as saved:
        if found.st_size > most_bytes:
            raise _refused(f"is larger than {most_bytes >> 20} MB")
        with target.open("xb") as copy:
            left = found.st_size
            while left and (part := saved.read(min(left, 1 << 20))):
                copy.write(part)
                left -= len(part)
    target.chmod(0o444)
    return Weights(count_parameters(target), _digest(target))


def count_parameters(path: Path) -> int:
    """All numbers stored in a safetensors file, by its header alone. Raises Ended (rejected).

    A number of more than 32 bits counts as two: it would hold two. The tensors must cover the file
    without a gap, and the header may hold little but their names.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_HEADER_BYTES):
            raise _refused("is not a safetensors file")
        header = file.read(length)
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        spans = sorted(_span(tensor) for tensor in tensors.values())
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _refused("has a broken header") from error
    end, filled = 0, 0
    for start, stop, numbers in spans:
        if start != end:
            raise _refused("holds something between its tensors")
        end, filled = stop, filled + (numbers > 0)
    if 8 + length + end != size or length > HEADER_BYTES + TENSOR_HEADER_BYTES * filled:
        raise _refused("holds something beside its tensors")
    return sum(numbers for _, _, numbers in spans)


def _span(tensor: Any) -> tuple[int, int, int]:
    """Where a tensor lies, and the numbers it counts for. ValueError and its like when that cannot be."""
    start, stop = tensor["data_offsets"]
    shape, bits = tensor["shape"], _BITS[tensor["dtype"]]
    if len(shape) > MOST_DIMENSIONS or not all(
        type(n) is int and 0 <= n <= MOST_OF_ONE for n in (*shape, start, stop)
    ):
        raise ValueError("a shape")
    numbers = math.prod(shape)
    if (numbers * bits + 7) // 8 != stop - start:
        raise ValueError("a length")
    return start, stop, numbers * (2 if bits > 32 else 1)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(what: str) -> Ended:
    return Ended(Status.REJECTED, f"weights.safetensors {what}")
