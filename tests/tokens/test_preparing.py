"""`evo data prepare`: every kind of source, the bytes of tokens, splits by whole documents, and going on."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.tokens import preparing
from evo.tokens import tokenizer as tokenizer_module
from evo.tokens.growing import GrowingShards
from evo.tokens.preparing import Order, Prepared, prepare_folder
from evo.tokens.shards import DataError, open_prepared
from evo.tokens.sources import Source, find_sources, read_documents
from evo.tokens.tokenizer import (
    END_OF_TEXT,
    MODERN_PIECES,
    Encoder,
    byte_letters,
    from_ranks,
    read_tokenizer,
    train_bpe,
)
from tests.cli.driving import Evo

tokenizers = pytest.importorskip("tokenizers", reason="the extra `data` is not installed")
pyarrow = pytest.importorskip("pyarrow", reason="the extra `data` is not installed")

WORDS = "the rain in Spain stays mainly on the plain, größtenteils; 雨は平野に降る 12345 times\n"


def document(number: int) -> str:
    rng = np.random.default_rng(number)
    words = WORDS.split(" ")
    return " ".join(words[at] for at in rng.integers(0, len(words), 150)) + f" ({number})\n"


DOCUMENTS = [document(number) for number in range(60)]


@pytest.fixture(scope="module")
def bpe() -> str:
    return train_bpe(DOCUMENTS, 300)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS))
    return path


@pytest.fixture
def tokenizer(tmp_path: Path, bpe: str) -> Path:
    path = tmp_path / "given.json"
    path.write_text(bpe)
    return path


def made_of(found: Prepared) -> dict[str, list[str]]:
    """The documents of each split, as text again."""
    folder = found.folder
    decoder = tokenizers.Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    texts: dict[str, list[str]] = {}
    for shard in folder.shards:
        parts = np.split(folder.tokens(shard), folder.ends(shard)[:-1])
        for part in parts:
            assert part[0] == folder.end_of_text
            texts.setdefault(shard.split, []).append(decoder.decode(part[1:].tolist()))
    return texts


@given(st.text())
def test_the_bytes_of_a_texts_tokens_are_its_utf_8_bytes(bpe: str, text: str) -> None:
    encoder = Encoder(bpe)
    tokens, lengths = encoder.encode([text, f"{text} {text}"])
    sizes = np.add.reduceat(np.append(encoder.bytes_of[tokens], 0), [0, lengths[0]])
    if not lengths[0]:
        sizes[0] = 0
    assert list(sizes) == [len(text.encode()), 2 * len(text.encode()) + 1]


@given(st.text(st.sampled_from("ab  \n\t\r1'.,é雨\u00a0\x1c<|endoftext|>"), max_size=60))
def test_a_text_cut_at_blanks_has_the_tokens_of_the_whole(bpe: str, text: str) -> None:
    for one in (Encoder(bpe), Encoder(from_ranks(ranks_of(bpe), MODERN_PIECES, {}))):
        assert one._cuts
        assert one.encode([text])[0].tolist() == one._whole(text)


def ranks_of(bpe: str) -> dict[bytes, int]:
    letters, vocab = byte_letters(), json.loads(bpe)["model"]["vocab"]
    return {
        bytes(letters[letter] for letter in token): number - 1
        for token, number in vocab.items()
        if token != END_OF_TEXT
    }


def test_ranks_give_the_tokens_that_the_merges_gave(bpe: str, tmp_path: Path) -> None:
    ranks = ranks_of(bpe)
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(
        b"".join(base64.b64encode(one) + b" %d\n" % rank for one, rank in ranks.items())
    )
    pieces = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    taken, trained = Encoder(read_tokenizer(path, pieces)), Encoder(bpe)
    assert (taken.vocab, taken.end_of_text) == (300, 299)
    np.testing.assert_array_equal(taken.encode(DOCUMENTS)[0] + 1, trained.encode(DOCUMENTS)[0])


class Encoding:
    """Stands for tiktoken's class in a pickle."""

    def __init__(self, **state: object) -> None:
        self.state = state

    def __getstate__(self) -> object:
        return self.state


def pickled(value: object) -> bytes:
    return pickle.dumps(value).replace(
        b"\x8c" + bytes([len(__name__)]) + __name__.encode(), b"\x8c\x0dtiktoken.core"
    )


def test_a_pickled_encoding_is_read_and_nothing_in_it_is_executed(bpe: str, tmp_path: Path) -> None:
    state = {"name": "x", "pat_str": MODERN_PIECES, "mergeable_ranks": ranks_of(bpe)}
    value = Encoding(**state, special_tokens={"<|bos|>": 299})
    whole = pickled(value)
    frame = whole.index(b"\x95") + 1  # its length changed with the name
    path = tmp_path / "tokenizer.pkl"
    path.write_bytes(
        whole[:frame] + (len(whole) - frame - 8).to_bytes(8, "little") + whole[frame + 8 :]
    )
    encoder = Encoder(read_tokenizer(path))
    assert (encoder.vocab, encoder.end_of_text) == (300, 299)

    class Hostile:
        def __reduce__(self) -> object:
            return (tmp_path.joinpath("executed").touch, ())

    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DataError, match="no pickled tiktoken encoding"):
        read_tokenizer(path)
    assert not (tmp_path / "executed").exists()


def test_every_document_is_in_one_split_whole_and_the_record_counts_it(
    lines: Path, tmp_path: Path
) -> None:
    order = Order((str(lines),), tmp_path / "out", vocab=300, split="strata", licence="CC0")
    found = prepare_folder(order)
    texts = made_of(found)
    assert texts["val"] == DOCUMENTS[4::10] and texts["test"] == DOCUMENTS[9::10]
    assert sorted(one for those in texts.values() for one in those) == sorted(DOCUMENTS)
    assert found.text_bytes == sum(len(one.encode()) for one in DOCUMENTS)
    about = json.loads((tmp_path / "out/tokens.json").read_text())
    assert (about["licence"], about["documents"], about["vocab"]) == ("CC0", 60, 300)
    (source,) = about["sources"]
    assert source["sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()
    for one in about["shards"]:
        raw = (tmp_path / "out" / one["name"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(raw).hexdigest()
        tokens = np.load(io.BytesIO(raw))
        assert (tokens.dtype, len(tokens)) == (np.uint16, one["tokens"])
        assert found.folder.bytes_of[tokens].sum() == one["bytes"]


def test_copies_of_a_document_are_hidden_together_and_told(tmp_path: Path, tokenizer: Path) -> None:
    path = tmp_path / "twice.jsonl"
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in DOCUMENTS * 2))
    found = prepare_folder(Order((str(path),), tmp_path / "out", tokenizer=tokenizer))
    texts = {split: set(those) for split, those in made_of(found).items()}
    assert sum(map(len, texts.values())) == 60
    assert "stand there twice" in found.warnings[0] and "50%" in found.warnings[0]


def kinds(folder: Path) -> Iterator[Path]:
    rows = "".join(json.dumps({"body": one}) + "\n" for one in DOCUMENTS).encode()
    (folder / "a.jsonl").write_bytes(rows)
    yield folder / "a.jsonl"
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(rows))
    yield folder / "a.jsonl.gz"
    with pyarrow.output_stream(str(folder / "a.jsonl.zst"), compression="zstd") as out:
        out.write(rows)
    yield folder / "a.jsonl.zst"
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"body": DOCUMENTS}), folder / "a.parquet", row_group_size=7)
    yield folder / "a.parquet"
    (folder / "a.txt").write_text(f"{END_OF_TEXT}\n".join(DOCUMENTS))
    yield folder / "a.txt"


def test_every_kind_of_file_gives_the_same_documents(tmp_path: Path) -> None:
    for path in kinds(tmp_path):
        (source,) = find_sources([str(path)])
        assert list(read_documents(source, "body")) == DOCUMENTS, path
    assert len(find_sources([str(tmp_path), str(tmp_path / "*.txt")])) == 5


def test_one_long_text_is_cut_into_passages_at_line_ends(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("".join(DOCUMENTS) * 10)
    passages = list(read_documents(find_sources([str(tmp_path / "long.txt")])[0], ""))
    assert 60 < len(passages) <= 120 and all(one.endswith("\n") for one in passages)
    assert "".join(passages) == "".join(DOCUMENTS) * 10


def test_what_cannot_be_read_is_told_with_the_file_and_the_fix(
    tmp_path: Path, lines: Path, tokenizer: Path
) -> None:
    def refused(match: str, *sources: object, **changes: object) -> None:
        order = Order(tuple(map(str, sources)), tmp_path / "out", tokenizer=tokenizer)
        with pytest.raises(DataError, match=match):
            prepare_folder(preparing.replace(order, **changes))
        if (tmp_path / "out").is_dir():
            for file in (tmp_path / "out").iterdir():
                file.unlink()

    refused("no-such.*give files", tmp_path / "no-such")
    refused("line 1 has no text under 'body'; --column says where: text", lines, column="body")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\nnonsense\n')
    refused("bad.jsonl: line 2 is no JSON", tmp_path / "bad.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes())[:-20])
    refused("cut.jsonl.gz: cannot be read", tmp_path / "cut.jsonl.gz")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 nonsense")
    refused("p.parquet: no parquet file", tmp_path / "p.parquet")
    (tmp_path / "few.txt").write_text("one line\n")
    refused("1 documents are too few", tmp_path / "few.txt")
    (tmp_path / "t.json").write_text(
        '{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
    )
    refused("no byte-level BPE", lines, tokenizer=tmp_path / "t.json")
    refused("257 to 262,144", lines, tokenizer=None, vocab=10)
    refused("gives 25. tokens|gives .* tokens; ask", lines, tokenizer=None, vocab=200_000)


def test_a_folder_of_something_else_is_left_as_it_is(
    tmp_path: Path, lines: Path, tokenizer: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        prepare_folder(Order((str(lines),), tmp_path / "out", tokenizer=tokenizer))
    prepare_folder(Order((str(lines),), tmp_path / "new", tokenizer=tokenizer))
    with pytest.raises(DataError, match="prepared already"):
        prepare_folder(Order((str(lines),), tmp_path / "new", tokenizer=tokenizer))


def test_stopped_anywhere_the_same_command_gives_the_same_folder(
    tmp_path: Path, lines: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "BATCH_CHARACTERS", 4000)
    monkeypatch.setattr(preparing, "SURE_CHARACTERS", 9000)
    order = Order((str(lines),), tmp_path / "whole", tokenizer=tokenizer)
    whole = prepare_folder(order)

    class Stopped(Exception):
        pass

    add, left = GrowingShards.add, [0]

    def stops(self: GrowingShards, *given: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            for file in self._open.values():  # some of it reached the disk, some did not
                file.flush()
            raise Stopped
        add(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(GrowingShards, "add", stops)
    again = preparing.replace(order, folder=tmp_path / "again")
    stops_seen = 0
    for after in (1, 17, 23, 10**6):
        left[0] = after
        try:
            found = prepare_folder(again)
        except Stopped:
            stops_seen += 1
            with pytest.raises(DataError, match="not finished"):
                open_prepared(tmp_path / "again")
    assert stops_seen >= 3
    assert found.folder.digest == whole.folder.digest
    assert found.text_bytes == whole.text_bytes


def test_a_folder_begun_with_other_sources_is_not_gone_on_with(
    tmp_path: Path, lines: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "finish_folder", lambda *_: 1 / 0)
    order = Order((str(lines),), tmp_path / "out", tokenizer=tokenizer)
    with pytest.raises(ZeroDivisionError):
        prepare_folder(order)
    with pytest.raises(DataError, match="begun with other sources or options"):
        prepare_folder(preparing.replace(order, split="strata"))


def test_several_processes_give_what_one_gives(
    tmp_path: Path, lines: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prepare_folder(Order((str(lines),), tmp_path / "one", tokenizer=tokenizer))
    monkeypatch.setattr(preparing, "BATCH_CHARACTERS", 2000)
    two = prepare_folder(Order((str(lines),), tmp_path / "two", tokenizer=tokenizer, processes=2))
    assert one.folder.digest == two.folder.digest


def test_no_more_batches_are_read_ahead_than_processes_take(
    tmp_path: Path, bpe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = [0]

    def endless(source: Source, column: str) -> Iterator[str]:
        for text in DOCUMENTS * 100:
            read[0] += 1
            yield text

    monkeypatch.setattr(preparing, "read_documents", endless)
    monkeypatch.setattr(preparing, "BATCH_CHARACTERS", 1)  # a document each
    source = Source(tmp_path / "x.txt", ".txt")
    for taken, _ in zip(preparing._encoded([source], "", (0, 0), bpe, 1), range(50), strict=False):
        assert taken[0].texts == []
    assert read[0] <= 50 + 4


def test_llm_c_shards_come_in_with_their_vocabulary(evo: Evo, tmp_path: Path, bpe: str) -> None:
    encoder = Encoder(bpe)
    count, end = encoder.vocab, 0

    def write(name: str, documents: list[str]) -> None:
        ids = [encoder.encode([one])[0] for one in documents]
        tokens = np.concatenate([np.concatenate([[end], one]) for one in ids]).astype("<u2")
        header = np.zeros(256, dtype="<u4")
        header[:3] = 20240520, 1, len(tokens)
        (tmp_path / name).write_bytes(header.tobytes() + tokens.tobytes())

    write("fine_train_01.bin", DOCUMENTS[:50])
    write("fine_val_00.bin", DOCUMENTS[50:])
    head = np.zeros(256, dtype="<u4")
    head[:4] = 20240328, 2, count, end
    spelt = [bytes([int(size)]) + b"x" * int(size) for size in encoder.bytes_of]
    (tmp_path / "gpt2_tokenizer.bin").write_bytes(head.tobytes() + b"".join(spelt))
    files = [tmp_path / "fine_train_01.bin", tmp_path / "fine_val_00.bin"]
    words = ["data", "prepare", *files, "-o", "out", "--from", "llm.c", "--json"]
    assert "needs --tokenizer" in evo(*words).err
    said = evo(*words, "--tokenizer", "gpt2_tokenizer.bin").json()
    assert said["splits"]["train"]["documents"] == 50
    assert said["splits"]["val"]["documents"] + said["splits"]["test"]["documents"] == 10
    assert said["splits"]["train"]["bytes"] == sum(len(one.encode()) for one in DOCUMENTS[:50])


def test_what_autoresearch_prepared_comes_in_with_its_last_file_hidden(
    evo: Evo, tmp_path: Path, bpe: str
) -> None:
    from pyarrow import parquet

    cache = tmp_path / "cache"
    (cache / "data").mkdir(parents=True)
    for number, part in enumerate((DOCUMENTS[:25], DOCUMENTS[25:50], DOCUMENTS[50:])):
        parquet.write_table(
            pyarrow.table({"text": part}), cache / f"data/shard_{number:05}.parquet"
        )
    words = ["data", "prepare", cache, "-o", "out", "--from", "autoresearch"]
    assert "tokenizer.pkl: no file there" in evo(*words).err
    (tmp_path / "given.json").write_text(bpe)
    said = evo(*words, "--tokenizer", "given.json", columns=80)
    assert (said.code, said.err) == (0, "")
    assert "data: {path: out}" in said.out and max(map(len, said.out.splitlines())) <= 80
    texts = made_of(Prepared(open_prepared(tmp_path / "out"), 0, ()))
    assert sorted(texts["train"]) == sorted(DOCUMENTS[:50])
    assert sorted(texts["val"] + texts["test"]) == sorted(DOCUMENTS[50:])


def test_without_the_extra_the_command_says_what_to_install(
    evo: Evo, tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    said = evo("data", "prepare", lines, "-o", tmp_path / "out")
    assert (said.code, said.err.count("\n")) == (2, 1) or "training" in said.err
    assert "pip install 'evotrain[data]'" in said.err


def test_what_is_kept_between_texts_is_bounded_and_changes_no_token(
    bpe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_module, "MAX_KEPT", 40)
    encoder, asked = Encoder(bpe), list[int]()
    learn = encoder._learn

    def counted(new: list[str]) -> None:
        asked.append(len(new))
        learn(new)

    monkeypatch.setattr(encoder, "_learn", counted)
    for _ in range(3):
        encoder.encode([WORDS])  # known from the first time on
    assert len(asked) <= 1
    for text in DOCUMENTS[:10]:
        assert encoder.encode([text])[0].tolist() == encoder._whole(text)
        assert len(encoder._known) <= 40 + len(set(text.split(" ")))


def test_a_stop_says_how_to_go_on(
    evo: Evo, tmp_path: Path, lines: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["data", "prepare", lines, "-o", "out", "--tokenizer", tokenizer]
    with monkeypatch.context() as patch:
        patch.setattr(GrowingShards, "add", stopped)
        said = evo(*words)
    assert said.code == 130 and "the same command goes on with out" in said.err
    assert evo(*words).code == 0
