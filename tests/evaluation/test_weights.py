from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from evo.evaluation.process import Ended
from evo.evaluation.weights import count_parameters, take_weights
from population.variant import Status

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
