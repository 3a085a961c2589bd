"""Bundles come from anyone: they are read within bounds, and one with anything else in it is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.sharing import bundles
from evo.sharing.bundles import (
    HEAD,
    BundleError,
    bundle_name,
    bundles_of,
    check_row,
    read_bundle,
)
from evo.sharing.merging import read_campaign
from population.sharing.shared_rows import Kind, SharedRow, SharedRows, Vouched, canonical
from tests.sharing.groups import Child, Group, write_group


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> SharedRows:
    """One row of each kind and more, of a real store."""
    group = Group("a", (Child(20, (0, 1), 0.05, 2),), ("n",), ("idea",), (20,), calls=2)
    return read_campaign(write_group(tmp_path_factory.mktemp("group") / "a", group)).rows


def bundle(*lines: bytes, head: bytes = HEAD) -> tuple[str, bytes]:
    packed = gzip.compress(b"\n".join([head, *lines]) + b"\n", mtime=0)
    return bundle_name(packed), packed


def test_every_kind_of_row_goes_there_and_back_and_makes_the_same_files(rows: SharedRows) -> None:
    assert {row.kind for row in rows} == set(Kind)
    made = bundles_of(rows)
    assert bundles_of(reversed(list(rows))) == made
    back = SharedRows(
        SharedRow.of(body, Vouched.OURS)
        for name, held in made.items()
        for body in read_bundle(name, held)
    )
    assert back == rows


def test_many_rows_are_several_bundles(rows: SharedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "PART_BYTES", 2000)
    made = bundles_of(rows)
    assert len(made) > 3
    assert sum(len(read_bundle(*one)) for one in made.items()) == len(rows)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_one_changed_byte_is_seen(rows: SharedRows, data: st.DataObject) -> None:
    ((name, packed),) = bundles_of(rows).items()
    text = bytearray(gzip.decompress(packed))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BundleError, match="not what its name says"):
        read_bundle(name, gzip.compress(bytes(text), mtime=0))
    shown = bytearray(packed)
    shown[place % len(packed)] ^= 1
    with pytest.raises(BundleError, match="not what its name says"):
        read_bundle(name, bytes(shown))


HOSTILE = {
    "not JSON": b"{",
    "NaN": b'{"kind":"void","x":NaN}',
    "no finite number": b'{"kind":"void","x":1e999}',
    "5000 digits": b'{"kind":"void","x":' + b"9" * 5000 + b"}",
    "not JSON|not the one|no kind": b"[" * 100_000 + b"]" * 100_000,
    "not the one text": b'{"kind": "void"}',
    "not the one text of a row": b'{"kind":"void","kind":"void"}',
    "no kind of row": b'{"kind":"exec"}',
    "is no kind": b'{"kind":["void"]}',
    "missing": b'{"kind":"void"}',
    "longer than": b'"' + b"x" * 9_000_000 + b'"',
    "not JSON.*utf-8": b'{"kind":"\xff"}',
    "not JSON.*surrogates": b'{"kind":"\\ud800"}',
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_what_is_no_row_is_refused_with_its_line(reason: str) -> None:
    with pytest.raises(BundleError, match=f"line 2: .*({reason})"):
        read_bundle(*bundle(HOSTILE[reason]))


def of_kind(rows: SharedRows, kind: Kind) -> dict[str, Any]:
    row = max(rows.of(kind), key=lambda one: len(canonical(one.body)))
    body: dict[str, Any] = json.loads(canonical(row.body))
    return body


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        (Kind.VARIANT, {"source": "import os\n"}, "is not that variant's"),
        (Kind.VARIANT, {"source": "x" * 500_000}, "variant.source"),
        (Kind.VARIANT, {"id": "../../etc/passwd"}, "variant.id"),
        (Kind.MEASUREMENT, {"block": 20_000}, "measurement.block"),
        (Kind.MEASUREMENT, {"block": -1}, "measurement.block"),
        (Kind.MEASUREMENT, {"block": True}, "measurement.block"),
        (Kind.MEASUREMENT, {"repeat": 2**50}, "measurement.repeat"),
        (Kind.MEASUREMENT, {"rung": "proxy/../x"}, "measurement.rung"),
        (Kind.MEASUREMENT, {"rung": "proxy/xmany"}, "measurement.rung"),
        (Kind.MEASUREMENT, {"status": "glorious"}, "measurement.status"),
        (Kind.MEASUREMENT, {"log_tail": "a\0b"}, "measurement.log_tail"),
        (Kind.MEASUREMENT, {"scores": {"val_bpb": 1e300}}, "measurement.scores"),
        (Kind.MEASUREMENT, {"facts": {"a": 3}}, "measurement.facts"),
        (Kind.MEASUREMENT, {"documents": [["d", 1.0, 1], ["d", 2.0, 1]]}, "stands twice"),
        (Kind.PROPOSAL, {"tokens_in": 10**12}, "proposal.tokens_in"),
        (Kind.PROPOSAL, {"variant": None}, "proposal.variant"),
        (Kind.PROPOSAL, {"parents": [["x", "parent"]]}, "proposal.parents"),
        (Kind.DECISION, {"detail": {"a": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]}}, "decision.detail"),
        (Kind.NOTE, {"evidence": ["x"] * 2000}, "note.evidence"),
        (Kind.IDEA, {"origin": "[1]"}, "idea.origin"),
        (Kind.CAMPAIGN, {"config": {"rungs": {}, "notify": {}}}, "campaign.config"),
        (Kind.CAMPAIGN, {"config": {"rungs": [["a/b", {}]]}}, "campaign.config"),
        (Kind.CAMPAIGN, {"more": 1}, "'more' is not known"),
    ],
)
def test_a_row_beyond_its_bounds_is_refused_with_its_field(
    rows: SharedRows, kind: Kind, change: dict[str, Any], named: str
) -> None:
    body = of_kind(rows, kind)
    check_row(body)
    with pytest.raises(BundleError, match=named):
        check_row({**body, **change})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(Kind), st.data())
@settings(max_examples=50, deadline=None)
def test_whatever_stands_in_a_field_is_a_row_or_a_reason(
    rows: SharedRows, kind: Kind, data: st.DataObject
) -> None:
    body = of_kind(rows, kind)
    name = data.draw(st.sampled_from(sorted(body)))
    body[name] = data.draw(JSON)
    try:
        line = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        assert [canonical(one) for one in read_bundle(*bundle(line))] == [line]
    except BundleError as error:
        assert "\n" not in str(error) and len(str(error)) < 300


def test_a_gzip_bomb_is_unpacked_no_further_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_TEXT_BYTES", 1_000_000)
    bomb = gzip.compress(bytes(50_000_000), mtime=0)
    assert len(bomb) < 100_000
    with pytest.raises(BundleError, match="unpacks to more than"):
        read_bundle(bundle_name(bomb), bomb)


def test_what_is_not_one_whole_stream_is_refused() -> None:
    _, packed = bundle()
    for held, named in (
        (packed[:-4], "one whole gzip"),
        (packed + b"more", "one whole gzip"),
        (packed + packed, "one whole gzip"),
        (b"plain", "not gzip"),
        (gzip.compress(HEAD, mtime=0), "cut short"),
        (gzip.compress(b"", mtime=0), "does not begin"),
        (bundle(head=b'{"format":"evotrain rows","version":2}')[1], "upgrade evotrain"),
    ):
        with pytest.raises(BundleError, match=named):
            read_bundle(bundle_name(held), held)


def test_what_a_store_may_hold_and_a_bundle_not_is_left_out_of_a_push(tmp_path: Path) -> None:
    from evo.sharing.exchange import push
    from population.store import Store

    folder = write_group(tmp_path / "a", Group("a", (Child(20),)))
    with Store.open(folder / "campaign.db") as store:
        store.add_note("x" * 200_000, "ann")
    found = push(str(tmp_path / "remote"), folder, None, False)
    assert len(found.left_out) == 1 and "note.text" in found.left_out[0]
