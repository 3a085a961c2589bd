from __future__ import annotations

import lzma
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evo.evaluation import data as data_module
from evo.evaluation import documents
from evo.evaluation.data import DataError, Dataset, DataSettings, _allot, look_ahead, prepare


def test_the_splits_are_disjoint_and_spread_over_all_eras(dataset: Dataset) -> None:
    splits = {name: dataset.documents(name) for name in ("train", "val", "test")}  # type: ignore[arg-type]
    everything = [name for names in splits.values() for name in names]
    assert len(everything) == len(set(everything)) == 233
    for split in ("val", "test"):
        eras = Counter(int(name[:4]) // 25 for name in splits[split])
        assert len(eras) == 10 and len(splits[split]) == 23
    assert len(splits["train"]) == 187


def test_a_block_leaves_out_a_tenth_and_always_the_same(dataset: Dataset) -> None:
    whole = sum(path.stat().st_size for path in dataset._pieces)
    for block in range(6):
        assert len(dataset.pieces(block)) == 36
        assert 0.8 * whole < dataset.tokens(block) < 0.97 * whole
        assert dataset.pieces(block) == dataset.pieces(block)
    assert len({dataset.left_out(block) for block in range(6)}) == 6
    assert dataset.left_out(0) == {2, 15, 16, 21}  # every machine, every version


def test_the_folder_of_a_block_holds_its_pieces_and_nothing_hidden(dataset: Dataset) -> None:
    pieces = dataset.pieces(0)
    assert sorted(pieces[0].parent.iterdir()) == sorted(pieces)
    shown = b"".join(path.read_bytes() for path in dataset.pieces(0) + dataset.pieces(1))
    for split in ("val", "test"):
        for row in dataset.hidden(split, 128, 46).tokens:  # type: ignore[arg-type]
            assert row.astype(np.uint8).tobytes() not in shown


def test_hidden_rows_are_fixed_and_come_from_every_document(dataset: Dataset) -> None:
    hidden = dataset.hidden("val", 128, 64)
    again = dataset.hidden("val", 128, 64)
    np.testing.assert_array_equal(hidden.tokens, again.tokens)
    assert hidden.tokens.shape == (64, 129) and hidden.tokens.dtype == np.uint16
    assert set(hidden.documents) == set(dataset.documents("val"))
    assert list(hidden.bytes) == [128.0] * 64
    assert len({row.tobytes() for row in hidden.tokens}) == 64


@pytest.mark.parametrize(("context", "rows"), [(128, 513), (128, 0), (1, 4)])
def test_more_hidden_rows_than_allowed_are_refused(
    dataset: Dataset, context: int, rows: int
) -> None:
    with pytest.raises(DataError, match="rows of"):
        dataset.hidden("val", context, rows)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.data())
@settings(max_examples=60)
def test_rows_are_allotted_in_full_and_never_twice(chunks: list[int], data: st.DataObject) -> None:
    if not sum(chunks):
        return
    rows = data.draw(st.integers(1, sum(chunks)))
    given_out = _allot(np.array(chunks), rows)
    assert given_out.sum() == rows
    assert (given_out <= chunks).all() and (given_out >= 0).all()
    if rows >= sum(size > 0 for size in chunks):
        assert (given_out[np.array(chunks) > 0] > 0).all()


def write_texts(folder: Path, count: int, size: int = 3000) -> None:
    for number in range(count):
        line = f"document {number} says so and so\n".encode()
        (folder / f"text-{number:03}.txt").write_bytes((line * size)[:size])


def test_a_users_files_are_documents(tmp_path: Path) -> None:
    write_texts(tmp_path, 30)
    data = prepare(DataSettings(path=str(tmp_path / "*.txt")), tmp_path / "cache")
    assert data.documents("val") == ("text-004.txt", "text-014.txt", "text-024.txt")
    assert data.vocab == 256 and data.token_type == "uint8"
    assert data.hidden("test", 64, 10).tokens.shape == (10, 65)


def test_one_large_file_is_cut_into_passages_at_line_ends(tmp_path: Path) -> None:
    write_texts(tmp_path, 1, 200_000)
    data = prepare(DataSettings(path=str(tmp_path / "text-000.txt")), tmp_path / "cache")
    assert len(data.documents("train")) == 80
    assert all(piece.read_bytes().endswith(b"\n") for piece in data._pieces[:5])


def write_shards(folder: Path, vocab: int = 1000, highest: int = 999) -> dict[str, object]:
    rng = np.random.default_rng(1)
    for number in range(3):
        tokens = rng.integers(0, highest + 1, 20_000).astype("<u2")
        tokens[0] = highest
        tokens.tofile(folder / f"shard{number}.bin")
    np.save(folder / "bytes.npy", np.full(vocab, 3))
    return {
        "shards": str(folder / "shard*.bin"),
        "vocab": vocab,
        "bytes_per_token": str(folder / "bytes.npy"),
    }


def test_token_shards_count_the_bytes_of_their_tokens(tmp_path: Path) -> None:
    data = prepare(DataSettings(**write_shards(tmp_path)), tmp_path / "cache")  # type: ignore[arg-type]
    assert data.vocab == 1000 and data.token_type == "uint16"
    assert list(data.hidden("val", 32, 8).bytes) == [96.0] * 8
    assert data.pieces(0)[0].stat().st_size % 2 == 0


@pytest.mark.parametrize("tested", [False, True])
def test_files_named_for_a_split_are_that_split(tmp_path: Path, tested: bool) -> None:
    """A user's val.bin never becomes training text."""
    given, sign = write_shards(tmp_path), {"train": 11, "val": 22, "test": 33}
    names = ["train_0.bin", "train_1.bin", "val.bin", *["test.bin"][:tested]]
    for name in names:
        tokens = np.random.default_rng(len(name)).integers(100, 999, 9_000).astype("<u2")
        tokens[::2] = sign[name.partition("_")[0].partition(".")[0]]
        tokens.tofile(tmp_path / name)
    shards = [str(tmp_path / name) for name in names]
    data = prepare(DataSettings(**given | {"shards": shards}), tmp_path / "cache")  # type: ignore[arg-type]
    trained = np.concatenate([np.fromfile(one, "<u2") for one in data._pieces])
    assert len(trained) == 18_000 and not {22, 33} & set(map(int, trained))
    asked = {
        name: set(map(int, data.hidden(name, 32, 8).tokens.ravel())) for name in ("val", "test")
    }  # type: ignore[arg-type]
    assert asked["val"] & set(sign.values()) == {22}
    assert asked["test"] & set(sign.values()) == {33 if tested else 22}
    assert not set(data.documents("val")) & set(data.documents("test"))
    copied = pickle.loads(pickle.dumps(data.text))  # as a cluster's workers get it
    again = Dataset.of(copied, tmp_path / "again")
    assert again.id == data.id and again.documents("val") == data.documents("val")


def test_folders_named_for_a_split_are_that_split_and_one_name_alone_says_nothing(
    tmp_path: Path,
) -> None:
    for name in ("train", "val", "notes"):
        (tmp_path / name).mkdir()
        write_texts(tmp_path / name, 30)
    paths = [str(tmp_path / name / "*.txt") for name in ("train", "val", "notes")]
    data = prepare(DataSettings(path=paths[:2]), tmp_path / "cache")  # type: ignore[arg-type]
    assert len(data.documents("train")) == 30
    assert len(data.documents("val")) == len(data.documents("test")) == 15
    assert all("/val/" in name for name in data.documents("val"))
    plain = prepare(DataSettings(path=paths[1:]), tmp_path / "cache")  # type: ignore[arg-type]
    assert len(plain.documents("train")) == 48


def test_bad_data_is_refused_with_the_file_and_the_fix(tmp_path: Path) -> None:
    def refused(match: str, **changes: object) -> None:
        with pytest.raises(DataError, match=match):
            prepare(DataSettings(**changes), tmp_path / "cache")  # type: ignore[arg-type]

    write_texts(tmp_path, 12)
    refused("no-such.*give files", path=str(tmp_path / "no-such*"))
    refused("is a folder", path=str(tmp_path))
    (tmp_path / "empty").touch()
    refused("too few", path=str(tmp_path / "empty"))
    shards = write_shards(tmp_path, vocab=1000, highest=1000)
    refused(r"shard0.bin: holds token 1000.*data.vocab", **shards)
    refused("not 1001 numbers", **(shards | {"vocab": 1001}))
    refused("not a .npy table", **(shards | {"bytes_per_token": str(tmp_path / "text-000.txt")}))
    (tmp_path / "shard1.bin").write_bytes(b"abc")
    refused(r"shard1.bin: 3 bytes", **(shards | {"shards": str(tmp_path / "shard1.bin")}))
    header = np.zeros(2000, dtype="<u4")
    header[0] = 20240520
    header.tofile(tmp_path / "shard2.bin")
    refused(
        r"shard2.bin: its header tells of 0 of 16 bits, it holds",
        **(shards | {"shards": str(tmp_path / "shard2.bin")}),
    )


def test_too_little_text_for_the_rows_says_what_to_lower(tmp_path: Path) -> None:
    write_texts(tmp_path, 30, 300)
    data = prepare(DataSettings(path=str(tmp_path / "text*")), tmp_path / "cache")
    with pytest.raises(DataError, match=r"fewer than the 100 rows.*lower"):
        data.hidden("val", 64, 100)


def test_what_is_no_text_is_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"text at first\0and then none")
    (tmp_path / "noise").write_bytes(bytes(range(128, 256)) * 100)
    (tmp_path / "old").write_bytes(
        "Ein Gedicht von Bäumen, früher und später\n".encode("latin-1") * 400
    )
    for name, match in (("picture", "NUL bytes"), ("noise", "100% of it is no UTF-8")):
        settings = DataSettings(path=str(tmp_path / name))
        with pytest.raises(DataError, match=match):
            look_ahead(settings, [])
        with pytest.raises(DataError, match=match):
            prepare(settings, tmp_path / "cache")
    look_ahead(DataSettings(path=str(tmp_path / "old")), [(16, 4)])


def test_looking_ahead_refuses_what_preparing_would_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path, 30, 300)
    texts = DataSettings(path=str(tmp_path / "text*"))
    look_ahead(texts, [(64, 4)])
    with pytest.raises(DataError, match=r"fewer than the 100 rows.*lower"):
        look_ahead(texts, [(64, 4), (64, 100)])
    with pytest.raises(DataError, match="score between 1 row"):
        look_ahead(texts, [(64, 100_000)])
    monkeypatch.setattr(data_module, "MAX_ROW_BYTES", 64 << 10)
    look_ahead(texts, [(64, 4)])
    with pytest.raises(DataError, match=r"logits of one row, 65 tokens of 256 values.*lower"):
        look_ahead(texts, [(65, 4)])
    shards = write_shards(tmp_path, vocab=1000, highest=1000)
    (tmp_path / "odd.bin").write_bytes(b"abc")
    with pytest.raises(DataError, match="3 bytes"):
        look_ahead(DataSettings(**(shards | {"shards": str(tmp_path / "odd.bin")})), [])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such file"):
        look_ahead(DataSettings(**(shards | {"shards": str(tmp_path / "none*")})), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"path": "a", "shards": "b"}, "one of path and shards"),
        ({"shards": "a"}, "shards need vocab"),
        ({"path": "a", "vocab": 300}, "go with shards"),
        ({"paths": "a"}, "extra"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, str], match: str
) -> None:
    with pytest.raises(ValidationError, match=match):
        DataSettings(**changes)  # type: ignore[arg-type]


def test_a_corpus_that_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sotu.json").write_text('{"sha256": "0", "documents": []}')
    (tmp_path / "sotu.txt.xz").write_bytes(lzma.compress(b"other"))
    monkeypatch.setattr(documents, "EMBEDDED", tmp_path)
    with pytest.raises(DataError, match="sha256"):
        prepare(DataSettings(), tmp_path / "cache")
