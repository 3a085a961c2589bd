from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from evo.evaluation.process import Ended
from evo.evaluation.weights import count_parameters, take_weights
from population.types import Status

GOOD = save({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float16)})


def test_parameters_are_counted_from_the_header(tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(GOOD)
    assert take_weights(tmp_path / "saved", tmp_path / "copy", 1 << 20).parameters == 17
    assert (tmp_path / "copy").read_bytes() == GOOD
    assert os.access(tmp_path / "copy", os.R_OK)


def test_anything_but_a_plain_file_of_its_own_is_refused(tmp_path: Path) -> None:
    def refused(match: str, most: int = 1 << 20) -> None:
        with pytest.raises(Ended, match=match) as end:
            take_weights(tmp_path / "saved", tmp_path / "copy", most)
        assert end.value.status is Status.REJECTED
        (tmp_path / "copy").unlink(missing_ok=True)

    refused("cannot be taken")
    (tmp_path / "real").write_bytes(GOOD)
    (tmp_path / "saved").symlink_to(tmp_path / "real")
    refused("cannot be taken")
    (tmp_path / "saved").unlink()
    (tmp_path / "saved").hardlink_to(tmp_path / "real")
    refused("not a plain file")
    (tmp_path / "saved").unlink()
    os.mkfifo(tmp_path / "saved")
    refused("not a plain file")
    (tmp_path / "saved").unlink()
    (tmp_path / "saved").mkdir()
    refused("weights")
    (tmp_path / "saved").rmdir()
    (tmp_path / "saved").touch()
    refused("not a safetensors file")
    (tmp_path / "saved").write_bytes(GOOD)
    refused("larger than", most=10)
    (tmp_path / "saved").write_bytes(GOOD + b"hidden data")
    refused("beside its tensors")


ARRAYS = st.dictionaries(
    st.text("abcdefgh._0123456789", min_size=1, max_size=40),
    st.tuples(
        st.lists(st.integers(0, 3), max_size=3),
        st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1"]),
        st.integers(0, 255),
    ).map(lambda one: np.full(one[0], one[2], one[1])),
    max_size=12,
)


@given(ARRAYS, st.randoms(use_true_random=False))
def test_the_copy_holds_the_tensors_and_nothing_else_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("w")
    shuffled = [*arrays.items()]
    chance.shuffle(shuffled)
    taken = []
    for name, raw in {
        "plain": save(arrays),
        "told": save(arrays, metadata={"x": "y" * 99}),
        "shuffled": in_this_order(shuffled),
    }.items():
        (folder / name).write_bytes(raw)
        taken.append(take_weights(folder / name, folder / f"{name} taken", 1 << 20))
    assert len({*taken}) == 1, "what was beside the tensors is seen"
    assert (folder / "plain taken").read_bytes() == (folder / "shuffled taken").read_bytes()
    assert (folder / "plain taken").read_bytes() == (folder / "told taken").read_bytes()
    assert taken[0].bytes == (folder / "plain taken").stat().st_size
    numbers = sum(one.size * (2 if one.itemsize == 8 else 1) for one in arrays.values())
    assert taken[0].parameters == numbers, "the names of an honest model are free"
    found = load_file(folder / "plain taken")
    assert found.keys() == arrays.keys()
    for name, one in arrays.items():
        assert found[name].dtype == one.dtype and np.array_equal(found[name], one)


def in_this_order(arrays: list[tuple[str, np.ndarray]]) -> bytes:
    """A file whose tensors lie as they come, with blanks and a key of its own in the header."""
    entries, data = {}, b""
    kinds = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "u1": "U8"}
    for name, one in arrays:
        span = [len(data), len(data) + one.nbytes]
        kind = kinds[f"{one.dtype.kind}{one.itemsize}"]
        entries[name] = {"note": 1, "shape": one.shape, "dtype": kind, "data_offsets": span}
        data += one.tobytes()
    header = json.dumps(entries, indent=1).encode()
    return len(header).to_bytes(8, "little") + header + data


def test_names_beyond_a_small_share_of_the_numbers_count_as_parameters(tmp_path: Path) -> None:
    def count(tensors: int, name: int, numbers: int) -> int:
        arrays = {f"{at:0{name}d}": np.zeros(numbers, np.float32) for at in range(tensors)}
        (tmp_path / "saved").write_bytes(save(arrays))
        return count_parameters(tmp_path / "saved")

    assert count(20, 40, 1) == 20
    assert count(400, 40, 1000) == 400_000
    assert count(400, 140, 1) > 400 + 400 * 130 // 4
    with pytest.raises(Ended, match="broken header"):
        count(1, 300, 1000)


def test_packing_changes_the_count_and_never_the_bytes(tmp_path: Path) -> None:
    numbers = np.arange(4096, dtype=np.uint8)
    sizes = set()
    for name, one in {"bytes": numbers, "packed": numbers.view(np.float32)}.items():
        (tmp_path / name).write_bytes(save({"a": one.reshape(-1, 8)}))
        taken = take_weights(tmp_path / name, tmp_path / f"{name} taken", 1 << 20)
        sizes.add(taken.bytes // 64)
        assert taken.parameters == one.size
    assert len(sizes) == 1


@given(st.binary(max_size=200))
def test_no_bytes_break_the_count(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("w") / "saved"
    for data in (raw, len(raw).to_bytes(8, "little") + raw):
        file.write_bytes(data)
        with pytest.raises(Ended):
            count_parameters(file)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["shape", "data_offsets", "dtype", "x"]), inner, max_size=3
        )
    ),
)


@given(JSON)
def test_no_header_breaks_the_count(
    tmp_path_factory: pytest.TempPathFactory, header: object
) -> None:
    raw = json.dumps(header).encode()
    file = tmp_path_factory.mktemp("w") / "saved"
    file.write_bytes(len(raw).to_bytes(8, "little") + raw)
    try:
        assert count_parameters(file) == 0  # nothing but a header holds nothing
    except Ended as end:
        assert end.status is Status.REJECTED


def test_a_file_of_holes_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "saved", tmp_path / "copy"
    count = 100_000_000
    told = {"a": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    header = json.dumps(told).encode()
    with source.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)
    with pytest.raises(Ended, match="holes"):
        take_weights(source, target, 1 << 30)
    assert not target.exists()
