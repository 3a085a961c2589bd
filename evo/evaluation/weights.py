"""The weights a run left: copied under a header of our own, and counted without loading them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from evo.evaluation.process import Ended
from population.types import CurvePoint, Purpose, RunRequest, Status

MAX_HEADER_BYTES = 8 << 20
HEADER_BYTES, TENSOR_HEADER_BYTES = 4096, 256  # a longer one holds something beside its tensors
MAX_NAME_BYTES = 256
MAX_HOLES = 256 << 20  # bytes that cost a run nothing, and a copy of them time and space
# Names, types and shapes can hold numbers, too: what is beyond this counts as parameters.
FREE_BYTES, FREE_SHARE = 1024, 1 / 32  # of the bytes of all tensors
MAX_DIMENSIONS, MAX_OF_ONE = 16, 1 << 40
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
    """What a file of weights holds. `sha256`: of its numbers alone; `bytes`: of the file as we wrote it."""

    parameters: int
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of a file: its bytes lie at [start, stop) behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def numbers(self) -> int:
        """How many numbers it holds; one of more than 32 bits is two: it would hold two."""
        return math.prod(self.shape) * (2 if _BITS[self.dtype] > 32 else 1)

    @property
    def told(self) -> int:
        """Bytes that its entry in the header can hold, beside where it lies."""
        return len(self.name.encode()) + len(str(self.shape)) + 1


def take_weights(source: Path, target: Path, most_bytes: int) -> Weights:
    """Copy the tensors a run saved, never through a link, in one order under a header of our own.

    A reader of the copy finds names, types, shapes and numbers, and nothing else that was in the file.
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
        if found.st_size > MAX_HOLES + 512 * found.st_blocks and _has_hole(saved, found.st_size):
            raise _refused("consists of holes: most of it was never written")
        tensors, begin = _read_header(saved, found.st_size)
        with target.open("xb") as copy:
            copy.write(_header(tensors))
            digest = hashlib.sha256()
            for tensor in tensors:
                saved.seek(begin + tensor.start)
                left = tensor.stop - tensor.start
                while left:
                    part = saved.read(min(left, 1 << 20))
                    if not part:
                        raise _refused("became shorter while it was taken")
                    copy.write(part)
                    digest.update(part)
                    left -= len(part)
            size = copy.tell()
    target.chmod(0o444)
    return Weights(_count(tensors), digest.hexdigest(), size)


def count_parameters(path: Path) -> int:
    """All numbers stored in a safetensors file, by its header alone. Raises Ended (rejected).

    A number of more than 32 bits counts as two, and four bytes of names and shapes beyond a small share
    as one. The tensors must cover the file without a gap.
    """
    with path.open("rb") as file:
        return _count(_read_header(file, path.stat().st_size)[0])


def _has_hole(file: BinaryIO, size: int) -> bool:
    """Whether a part of it was never written; a file that a file system compressed is whole."""
    with contextlib.suppress(OSError):
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size
    return False


def _count(tensors: list[_Tensor]) -> int:
    told, held = sum(one.told for one in tensors), sum(one.stop - one.start for one in tensors)
    hidden = max(told - FREE_BYTES - int(held * FREE_SHARE), 0)
    return sum(one.numbers for one in tensors) + (hidden + 3) // 4


def _read_header(file: BinaryIO, size: int) -> tuple[list[_Tensor], int]:
    """The tensors in our order, and where the first byte behind the header is. Raises Ended."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
        raise _refused("is not a safetensors file")
    try:
        entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        tensors = [_tensor(name, entry) for name, entry in entries.items()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _refused("has a broken header") from error
    end = 0
    for tensor in sorted(tensors, key=lambda one: (one.start, one.stop)):
        if tensor.start != end:
            raise _refused("holds something between its tensors")
        end = tensor.stop
    filled = sum(tensor.stop > tensor.start for tensor in tensors)
    if 8 + length + end != size or length > HEADER_BYTES + TENSOR_HEADER_BYTES * filled:
        raise _refused("holds something beside its tensors")
    # the library's own order, in which every tensor is aligned
    tensors.sort(key=lambda one: (-_BITS[one.dtype], one.name))
    return tensors, 8 + length


def _tensor(name: str, entry: Any) -> _Tensor:
    """A tensor from its entry in the header. ValueError and its like when that cannot be."""
    start, stop = entry["data_offsets"]
    shape, bits = entry["shape"], _BITS[entry["dtype"]]
    if len(shape) > MAX_DIMENSIONS or not all(
        type(n) is int and 0 <= n <= MAX_OF_ONE for n in (*shape, start, stop)
    ):
        raise ValueError("a shape")
    if (math.prod(shape) * bits + 7) // 8 != stop - start:
        raise ValueError("a length")
    if len(name.encode()) > MAX_NAME_BYTES:  # a lone surrogate is a ValueError
        raise ValueError("a name")
    return _Tensor(name, entry["dtype"], tuple(shape), start, stop)


def _header(tensors: list[_Tensor]) -> bytes:
    """The header of a file that holds these tensors one behind the other, with its length before it."""
    entries, at = {}, 0
    for one in tensors:
        end = at + one.stop - one.start
        entries[one.name] = {"dtype": one.dtype, "shape": one.shape, "data_offsets": (at, end)}
        at = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin aligned
    return len(text).to_bytes(8, "little") + text


def _refused(what: str) -> Ended:
    return Ended(Status.REJECTED, f"weights.safetensors {what}")


# -- Runs that hidden text was shown to and that have no row yet: their weights, and what training showed.
# From the first hidden request on nothing is trained again for the same request: a run that could have another
# try would choose which one counts. What the machine cuts off is scored from the same weights, also by a later
# process.


@dataclass(slots=True)
class Training:
    """What training showed. `weights_sha256` and `parameters` are of what it saved, "" and 0 before that."""

    curve: tuple[CurvePoint, ...] = ()
    tokens: int = 0  # as it reports them, and the steps
    steps: int = 0
    wall_seconds: float = 0.0  # progress 0 to finish
    cpu_seconds: float = 0.0
    waited_seconds: float = 0.0  # for cores that others held
    peak_bytes: int = 0
    log_tail: str = ""
    parameters: int = 0
    weights_bytes: int = 0
    weights_sha256: str = ""


class Exams:
    """The folder that they are kept in: two files a run, the description last. Thread-safe by request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, request: RunRequest, training: Training, weights: Path) -> None:
        """Keep a run, before it is shown hidden text. OSError when it cannot be kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        described = self._path(request)
        kept = described.with_suffix(".safetensors")
        kept.unlink(missing_ok=True)
        try:
            os.link(weights, kept)
        except OSError:  # a file system without hard links, or another one
            shutil.copyfile(weights, kept)
        draft = described.with_suffix(".part")
        told = json.dumps({"order": asdict(request), "training": asdict(training)})
        draft.write_text(told, encoding="utf-8")
        for file in (kept, draft):
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        os.replace(draft, described)

    def find(self, request: RunRequest) -> tuple[Training, Path] | None:
        """What was kept of a run, and its weights; None when it was not begun."""
        described = self._path(request)
        try:
            told = json.loads(described.read_text(encoding="utf-8"))["training"]
        except FileNotFoundError:
            return None
        told["curve"] = tuple(CurvePoint(**point) for point in told["curve"])
        return Training(**told), described.with_suffix(".safetensors")

    def end(self, request: RunRequest) -> None:
        """Forget a run: it has its row."""
        described = self._path(request)
        described.unlink(missing_ok=True)  # first: weights without a description are nobody's
        described.with_suffix(".safetensors").unlink(missing_ok=True)

    def prune(self, is_over: Callable[[RunRequest], bool]) -> None:
        """Forget the runs that are over, and what a kill left half written."""
        described = {path.stem: path for path in self._folder.glob("*.json")}
        for path in self._folder.glob("*"):
            if path.stem not in described:
                path.unlink(missing_ok=True)
        for path in described.values():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                request = _request(json.loads(path.read_text(encoding="utf-8"))["order"])
                if is_over(request):
                    self.end(request)

    def _path(self, request: RunRequest) -> Path:
        key = f"{request.variant_id} {request.rung} {request.block} {request.repeat}"
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _request(told: dict[str, Any]) -> RunRequest:
    values = {one.name: told[one.name] for one in fields(RunRequest)}
    return RunRequest(**{**values, "purpose": Purpose(told["purpose"])})
