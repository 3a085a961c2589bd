"""A campaign's data from tokens: a prepared folder, shards by their magic, and what looks wrong."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.evaluation import data as data_module
from evo.evaluation.data import DataError, DataSettings, count_chunks, look_ahead, prepare
from evo.evaluation.documents import BUNDLED, EMBEDDED
from evo.evaluation.evaluator import Evaluator
from evo.evaluation.sandbox.probe import open_sandbox
from evo.evaluation.sandbox.sandbox import SandboxSettings
from evo.evaluation.slots import Unwatched, find_slots
from evo.tokens.shards import MANIFEST, open_prepared, repeated_share
from population.types import Clock, Purpose, Rung, RunRequest, Status, variant_id
from tests.cli.driving import ROOT, Evo

from .folders import folder_of, some_documents, some_sizes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vocab = 1000
    return folder_of(tmp_path / "tokens", some_documents(vocab), some_sizes(vocab)).folder.path


def test_a_prepared_folder_is_read_as_it_was_split_and_its_shards_are_not_copied(
    folder: Path, tmp_path: Path
) -> None:
    settings = DataSettings(path=str(folder))
    look_ahead(settings, [(32, 20)])
    read = prepare(settings, tmp_path / "cache")
    assert (read.vocab, read.token_type) == (1000, "uint16")
    assert len(read.documents("val")) == len(read.documents("test")) == 6
    assert len(read.documents("train")) == 40  # shards
    for path in read.pieces(3):
        assert os.path.samefile(path, folder / path.name)
    assert {one.name for one in read.pieces(3)[0].parent.iterdir()} == {
        one.name for one in read.pieces(3)
    }
    assert len(read.pieces(0)) == 36 and read.left_out(0) == {2, 15, 16, 21}
    shown = [np.load(path) for path in read.pieces(3)]
    assert read.tokens(3) == sum(map(len, shown))
    np.testing.assert_array_equal(
        read.training_text(), np.load(folder / read.documents("train")[0])
    )
    assert count_chunks(settings, 32) == 6 * (300 // 32)


def test_a_token_that_stands_for_no_bytes_costs_nothing(tmp_path: Path) -> None:
    vocab = 1000
    documents = [
        np.concatenate([one[:20], [0], one[20:]]) for one in some_documents(vocab)
    ]  # as where short documents are joined
    made = folder_of(tmp_path / "tokens", documents, some_sizes(vocab))
    hidden = prepare(DataSettings(path=str(made.folder.path)), tmp_path / "cache").hidden(
        "val", 32, 40
    )
    from evo.evaluation.data import bits_by_document, bits_per_byte

    cost = np.where(hidden.tokens[:, 1:] == 0, 1e6, math.log(2))
    assert (hidden.tokens[:, 1:] == 0).any()
    text = (hidden.tokens[:, 1:] > 0).sum()
    assert bits_per_byte(bits_by_document(cost, hidden)) == pytest.approx(text / hidden.bytes.sum())


def test_many_short_documents_are_asked_in_groups(tmp_path: Path) -> None:
    vocab = 1000
    short = some_documents(vocab, many=4000, length=20)
    made = folder_of(tmp_path / "tokens", short, some_sizes(vocab))
    read = prepare(DataSettings(path=str(made.folder.path)), tmp_path / "cache")
    assert 150 <= len(read.documents("val")) <= 200
    whole = sum(len(one.tokens) for one in read._splits["val"])
    assert whole == made.folder.of("val")[0].tokens
    assert all(one.tokens[0] == 0 for one in read._splits["val"])
    assert len(set(read.hidden("val", 16, 200).documents)) > 100


def test_shards_of_another_file_system_are_pointed_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(data_module.os, "link", another)
    monkeypatch.setattr(data_module, "MAX_COPIED_BYTES", 0)
    read = prepare(DataSettings(path=str(folder)), tmp_path / "cache")
    assert all(one.is_symlink() for one in read.pieces(0))
    assert read.tokens(0) > 0


def test_a_prepared_folder_travels_by_its_name(folder: Path) -> None:
    from evo.evaluation.documents import read_text

    text = read_text(DataSettings(path=str(folder)))
    sent = pickle.dumps(text)
    assert len(sent) < 1000
    assert pickle.loads(sent).digest() == text.digest()


def edited(folder: Path, **changes: Any) -> None:
    about = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(about | changes))


def replaced(file: Path, numbers: Any) -> None:
    file.unlink()
    np.save(file, numbers)


def wrong_folders() -> Iterator[tuple[str, str, Any]]:
    yield (
        "cut short",
        "train-03.npy: is not the file of",
        lambda f: (
            (f / "train-03.npy").chmod(0o644),
            os.truncate(f / "train-03.npy", 300),
        ),
    )
    yield "a shard gone", "train-00.npy: is not the file", lambda f: (f / "train-00.npy").unlink()
    yield "no words", "cannot be read", lambda f: (f / MANIFEST).write_text("{")
    yield "another format", "is 'new', not", lambda f: edited(f, format="new")
    yield (
        "ones",
        "every token counts as one byte",
        lambda f: replaced(f / "bytes.npy", np.ones(1000)),
    )
    yield (
        "another table",
        "stand for 20.00 bytes on average",
        lambda f: replaced(f / "bytes.npy", np.full(1000, 20)),
    )
    yield (
        "ids",
        "holds token",
        lambda f: replaced(
            f / "val.npy", np.full(len(np.load(f / "val.npy")), 1000, dtype=np.uint16)
        ),
    )


@pytest.mark.parametrize(("match", "spoil"), [(b, c) for _, b, c in wrong_folders()])
def test_a_folder_in_which_something_is_wrong_is_refused_with_the_reason(
    folder: Path, match: str, spoil: Any
) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=match):
        look_ahead(DataSettings(path=str(folder)), [(32, 4)])


def shards(folder: Path, vocab: int = 1000, **changes: Any) -> DataSettings:
    np.save(folder / "table.npy", changes.pop("table", some_sizes(vocab)))
    given = {"shards": str(folder / "s*"), "bytes_per_token": str(folder / "table.npy")}
    return DataSettings(**(given | {"vocab": vocab} | changes))


def test_shards_are_told_by_their_magic(tmp_path: Path) -> None:
    rng, vocab = np.random.default_rng(0), 70_000
    tokens = rng.integers(0, vocab, 30_000)
    np.save(tmp_path / "s0.npy", tokens.astype(np.uint32))
    header = np.zeros(256, dtype="<u4")
    header[:3] = 20240801, 7, len(tokens)
    (tmp_path / "s1.bin").write_bytes(header.tobytes() + tokens[::-1].astype("<u4").tobytes())
    rng.permutation(tokens).astype("<u4").tofile(tmp_path / "s2.bin")
    read = prepare(shards(tmp_path, vocab), tmp_path / "cache")
    assert read.token_type == "uint32"
    whole = np.concatenate([one.tokens for those in read._splits.values() for one in those])
    assert sorted(whole) == sorted(np.tile(tokens, 3))
    assert read.hidden("val", 32, 8).tokens.dtype == np.uint32


def test_shards_that_look_wrong_are_refused_before_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def refused(match: str, numbers: Any, **changes: Any) -> None:
        np.asarray(numbers).tofile(tmp_path / "s0.bin")
        with pytest.raises(DataError, match=match):
            look_ahead(shards(tmp_path, **changes), [(16, 4)])

    tokens = rng.integers(0, 1000, 20_000).astype("<u2")
    refused("these are uint32 tokens", tokens.astype("<u4"))
    refused("one byte, so scores would be bits a token", tokens, table=np.ones(1000))
    refused("50.00 bytes on average", tokens, table=np.full(1000, 50))
    refused("0.20 bytes on average", tokens, table=np.full(1000, 0.2))
    refused("holds token 1000", np.append(tokens, 1000).astype("<u2"))
    refused("of the passages looked at stand there twice", np.tile(tokens[:5000], 4))
    np.save(tmp_path / "s1.npy", np.zeros((2, 3), dtype=np.uint16))
    refused("a shard is one row of uint16 or uint32", tokens)


def test_text_is_not_taken_for_repeated_and_copies_are_seen_wherever_they_begin() -> None:
    rng = np.random.default_rng(1)
    text = rng.zipf(1.3, 200_000).clip(max=5000)
    assert repeated_share([text]) < 0.05
    assert repeated_share([np.concatenate([[7, 7, 7], text]), text]) > 0.4


WIDE = '''
import harness
import numpy as np
from safetensors.numpy import load_file, save_file

run = harness.start()


class Model:
    """How often each token occurs, whatever stands before it."""

    def save(self, path):
        counts = sum(np.bincount(piece, minlength=run.vocab) for piece in run.data())
        save_file({"odds": np.log(counts + 1.0).astype(np.float32)}, path)

    def load(self, path):
        self.odds = load_file(path)["odds"]

    def answer(self, tokens):
        return np.broadcast_to(self.odds, (*tokens.shape, run.vocab)) + tokens[..., None] % 3


if run.progress() < 1:  # a server sees no text
    assert max(int(piece.max()) for piece in run.data()) == run.vocab - 1
while run.progress() < 1:
    run.report(5.0, 1000)
    sum(range(10000))
run.finish(Model())
'''


def test_a_vocabulary_beyond_16_bits_is_trained_on_and_scored_by_its_bytes(tmp_path: Path) -> None:
    vocab = 65_600
    made = folder_of(tmp_path / "tokens", some_documents(vocab), some_sizes(vocab))
    read = prepare(DataSettings(path=str(made.folder.path)), tmp_path / "cache")
    rung = Rung("proxy", 1, 0.15, Clock.CPU_SECONDS, 8, 16, 0.2, 30.0, 2000, 120.0)
    box = open_sandbox(SandboxSettings(mode="none"))
    evaluator = Evaluator(read, {"proxy": rung}, box, tmp_path / "runs", WIDE)
    block = next(one for one in range(9) if 0 not in read.left_out(one))  # it holds the last token
    request = RunRequest(variant_id(WIDE), "proxy", block, 0, Purpose.SCREEN)
    seen = evaluator.evaluate(request, WIDE, find_slots()[0], Unwatched())
    assert (seen.status, seen.reason) == (Status.OK, "")
    counts = np.bincount(
        np.concatenate([np.load(path) for path in read.pieces(block)]), minlength=vocab
    )
    odds = np.log(counts + 1.0)
    odds -= np.log(np.exp(odds).sum())
    targets = read.hidden("val", 8, 16).tokens[:, 1:]
    bits = -odds[targets].sum() / math.log(2)
    sizes = some_sizes(vocab)[targets].sum()
    assert seen.metrics["val_bpb"] == pytest.approx(bits / sizes, rel=1e-5)


def test_the_bundled_tokens_are_those_of_their_record_and_stand_for_the_embedded_text(
    tmp_path: Path,
) -> None:
    folder = open_prepared(BUNDLED)
    for one in folder.shards:
        assert hashlib.sha256((BUNDLED / one.name).read_bytes()).hexdigest() == one.sha256
        assert folder.bytes_of[folder.tokens(one)].sum() == one.bytes
    whole = prepare(DataSettings(), tmp_path / "cache").text.documents
    assert folder.about["text_bytes"] == sum(len(one.tokens) for one in whole[::3])
    assert (BUNDLED / "README.md").read_text().count(folder.about["provenance"]) == 1


def test_neither_form_of_the_embedded_text_is_shown_to_runs_on_the_other(tmp_path: Path) -> None:
    for settings in (DataSettings(), DataSettings(path=str(BUNDLED))):
        assert {BUNDLED, EMBEDDED} <= set(prepare(settings, tmp_path / "cache").sources)


def test_a_campaign_on_the_bundled_tokens_runs_to_its_end(evo: Evo) -> None:
    changes = {
        "train": ROOT / "tests/standins/quick.py",
        "sandbox": "none",
        "rungs.proxy": "{depth: 1, context: 64, budget: 0.3, rows: 64, startup_seconds: 0.5}",
        "certification.attempts": 0,
        "budget.variants": 1,
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    said = evo("run", ROOT / "configs/tokens.yaml", *words)
    assert said.code == 0, said.err
    seed = evo("status", "--json").json()["seed"]
    assert 1.8 < seed["estimates"]["val_bpb"]["mean"] < 2.6  # bits a byte, not a token
