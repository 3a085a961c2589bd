"""The weights a run left: taken as a private copy, and counted without loading them."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

from evo.evaluation.process import Ended
from population.variant import Status

MOST_HEADER_BYTES = 8 << 20


def take_weights(source: Path, target: Path, most_bytes: int) -> int:
    """Copy the file a run saved, never through a link, and return its parameter count.

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
    return count_parameters(target)


def count_parameters(path: Path) -> int:
    """All numbers stored in a safetensors file, by its header alone. Raises Ended (rejected)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_HEADER_BYTES):
            raise _refused("is not a safetensors file")
        header = file.read(length)
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        shapes = [tensor["shape"] for tensor in tensors.values()]
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        if not all(type(n) is int and n >= 0 for shape in shapes for n in shape):
            raise ValueError("a shape")
        parameters: int = sum(math.prod(shape) for shape in shapes)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _refused("has a broken header") from error
    if 8 + length + end != size or parameters > 8 * end:
        raise _refused("holds something beside its tensors")
    return parameters


def _refused(what: str) -> Ended:
    return Ended(Status.REJECTED, f"weights.safetensors {what}")
