"""Bundles: files of rows that travel, each named by the sha256 of what it holds.

A bundle may come from anyone. It is read within bounds, nothing in it is a path or is run, every line has to be
the one text of a row of this version, and a bundle with anything else in it is refused by its name. A source in
it is text until the merge, which reads it behind the door that every source passes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from population.parsing import MAX_BYTES as MAX_SOURCE_BYTES
from population.sharing.shared_rows import CONTRACT, MEASURED, Body, Kind, SharedRow, canonical
from population.types import Outcome, Purpose, Status, variant_id

NAME = re.compile(r"([0-9a-f]{64})\.jsonl\.gz")
HEAD = b'{"format":"evotrain rows","version":1}'
PART_BYTES = 16_000_000  # of text, before a push begins another bundle
MAX_PACKED_BYTES = 64_000_000
MAX_TEXT_BYTES = 256_000_000
MAX_LINE_BYTES = 8_000_000
MAX_ROWS = 200_000
MAX_BLOCK = 10_000
MAX_REPEAT = 2**40
MAX_COUNT = 2**53
MAX_TOKENS = 10**10  # of one request, so that all of them add up
MAX_NUMBER = 1e15
MAX_WORD_CHARS = 500
MAX_TEXT_CHARS = 100_000
MAX_ORIGIN_CHARS = 1_000_000
MAX_ITEMS = 100_000
MAX_DEPTH = 12
MAX_DIGITS = 17

Check = Callable[[Any], bool]


class BundleError(ValueError):
    """A bundle is refused; the message says why, without its name."""


def bundle_name(packed: bytes) -> str:
    """The name of a bundle that holds this."""
    return f"{hashlib.sha256(packed).hexdigest()}.jsonl.gz"


def bundles_of(rows: Iterable[SharedRow]) -> dict[str, bytes]:
    """Rows as bundles by name: the same rows are always the same files."""
    found: dict[str, bytes] = {}
    for lines in _parts(sorted(rows, key=lambda one: one.key)):
        packed = gzip.compress(b"\n".join([HEAD, *lines]) + b"\n", mtime=0)
        found[bundle_name(packed)] = packed
    return found


def _parts(rows: Iterable[SharedRow]) -> Iterator[list[bytes]]:
    lines, size = list[bytes](), 0
    for row in rows:
        line = canonical(row.body)
        if lines and (size + len(line) > PART_BYTES or len(lines) >= MAX_ROWS):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield lines


def read_bundle(name: str, packed: bytes) -> list[Body]:
    """The rows of a bundle, all of them checked. BundleError for one that holds anything else."""
    if bundle_name(packed) != name:
        raise BundleError("its content is not what its name says: it was changed or cut short")
    head, *lines = _unpacked(packed).split(b"\n")
    if head != HEAD:
        raise BundleError("it does not begin as a bundle of this version does; upgrade evotrain")
    if lines.pop() if lines else b"no end":
        raise BundleError("its last line is cut short")
    if len(lines) > MAX_ROWS:
        raise BundleError(f"more than {MAX_ROWS:,} rows")
    found = []
    for number, line in enumerate(lines, start=2):
        try:
            found.append(_row(line))
        except BundleError as error:
            raise BundleError(f"line {number}: {error}") from None
    return found


def _unpacked(packed: bytes) -> bytes:
    """One gzip stream and nothing behind it, unpacked no further than MAX_TEXT_BYTES."""
    if len(packed) > MAX_PACKED_BYTES:
        raise BundleError(f"larger than {MAX_PACKED_BYTES:,} bytes")
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(packed, MAX_TEXT_BYTES + 1)
    except zlib.error as error:
        raise BundleError(f"not gzip: {error}") from None
    if len(text) > MAX_TEXT_BYTES:
        raise BundleError(f"unpacks to more than {MAX_TEXT_BYTES:,} bytes")
    if not stream.eof or stream.unused_data:
        raise BundleError("not one whole gzip stream")
    return text


def _row(line: bytes) -> Body:
    if len(line) > MAX_LINE_BYTES:
        raise BundleError(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        body = json.loads(line, parse_constant=_refused, parse_int=_integer, parse_float=_finite)
        same = isinstance(body, dict) and canonical(body) == line
    except BundleError:
        raise
    except (ValueError, RecursionError) as error:
        raise BundleError(f"not JSON: {' '.join(str(error).split())[:80]}") from None
    if not same:
        raise BundleError("not the one text of a row")
    check_row(body)
    row: Body = body
    return row


def _refused(word: str) -> float:
    raise BundleError(f"{word} is no number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BundleError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise BundleError(f"{text[:20]} is no finite number")
    return value


# -- What a row of each kind holds.


def _is_text(most: int) -> Check:
    return lambda one: isinstance(one, str) and len(one) <= most and "\0" not in one


def _is_count(most: int) -> Check:
    return lambda one: type(one) is int and 0 <= one <= most


def _is_number(one: Any) -> bool:
    return type(one) in (int, float) and abs(one) <= MAX_NUMBER


def _is_amount(one: Any) -> bool:
    return _is_number(one) and one >= 0


def _is_hex(digits: int) -> Check:
    matches = re.compile(f"[0-9a-f]{{{digits}}}").fullmatch
    return lambda one: isinstance(one, str) and matches(one) is not None


def _is_or_none(check: Check) -> Check:
    return lambda one: one is None or check(one)


def _is_one_of(words: Iterable[str]) -> Check:
    known = set(words)
    return lambda one: isinstance(one, str) and one in known


def _is_list(check: Check, most: int = MAX_ITEMS) -> Check:
    return lambda one: isinstance(one, list) and len(one) <= most and all(map(check, one))


def _is_tuple(*checks: Check) -> Check:
    return lambda one: (
        isinstance(one, list)
        and len(one) == len(checks)
        and all(check(part) for check, part in zip(checks, one, strict=True))
    )


def _is_table(check: Check) -> Check:
    return lambda one: (
        isinstance(one, dict)
        and len(one) <= MAX_ITEMS
        and all(_WORD(name) and check(value) for name, value in one.items())
    )


def _is_plain(one: Any, depth: int = MAX_DEPTH) -> bool:
    """JSON of little depth."""
    if isinstance(one, dict):
        return depth > 0 and all(
            _TEXT(name) and _is_plain(of, depth - 1) for name, of in one.items()
        )
    if isinstance(one, list):
        return depth > 0 and all(_is_plain(of, depth - 1) for of in one)
    return one is None or isinstance(one, bool) or _is_number(one) or _TEXT(one)


def _is_object(one: Any) -> bool:
    return isinstance(one, dict) and _is_plain(one)


def _is_contract(one: Any) -> bool:
    """How a campaign measured: keys that we know, with the ladder in order."""
    return (
        _is_object(one)
        and set(one) <= set(CONTRACT)
        and _is_list(_is_tuple(_is_rung, _is_object), 50)(one.get("rungs"))
    )


def _is_rung(one: Any) -> bool:
    return isinstance(one, str) and re.fullmatch(r"[^/\0\n]{1,100}", one) is not None


def _is_derived_rung(one: Any) -> bool:
    """Of a rung itself, of what is only built there, or of a share of its budget."""
    derived = r"[^/\0\n]{1,100}(/one-step|/x\d+(\.\d+)?(e[+-]\d\d)?)?"
    return isinstance(one, str) and re.fullmatch(derived, one) is not None


def _is_bank_line(one: Any) -> bool:
    """The line of an idea bank that an idea is from, as JSON in a text."""
    if not _is_text(MAX_ORIGIN_CHARS)(one):
        return False
    try:
        told = json.loads(one, parse_constant=_refused, parse_int=_integer, parse_float=_finite)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and all(
        _is_text(MAX_WORD_CHARS)(told.get(name, "")) for name in ("id", "bank", "author")
    )


_WORD, _TEXT = _is_text(MAX_WORD_CHARS), _is_text(MAX_TEXT_CHARS)
_ID, _CAMPAIGN, _COUNT = _is_hex(64), _is_hex(16), _is_count(MAX_COUNT)
_TOKENS = _is_count(MAX_TOKENS)
_POINT = _is_tuple(_is_or_none(_is_number), _is_or_none(_is_number), _is_number)
_FIELDS: Mapping[Kind, Mapping[str, Check]] = {
    Kind.CAMPAIGN: {
        "campaign": _CAMPAIGN,
        "name": _WORD,
        "created": _is_amount,
        "seed": _ID,
        "seconds": _is_amount,
        "config": _is_contract,
        "data": _is_or_none(_WORD),
        "asks_unseen": _COUNT,
        "host_class": _WORD,
    },
    Kind.VARIANT: {"id": _ID, "source": _is_text(MAX_SOURCE_BYTES)},
    Kind.IDEA: {
        "campaign": _CAMPAIGN,
        "id": _COUNT,
        "text": _TEXT,
        "author": _WORD,
        "created": _is_amount,
        "origin": _is_or_none(_is_bank_line),
    },
    Kind.PROPOSAL: {
        "campaign": _CAMPAIGN,
        "number": _COUNT,
        **dict.fromkeys(("operator", "author", "model"), _WORD),
        **dict.fromkeys(("idea", "reason"), _TEXT),
        "outcome": _is_one_of(Outcome),
        "variant": _is_or_none(_ID),
        "parents": _is_list(_is_tuple(_ID, _WORD), 50),
        "of_idea": _is_or_none(_ID),
        **dict.fromkeys(("seconds", "created"), _is_amount),
        **dict.fromkeys(("tokens_in", "tokens_out"), _TOKENS),
        "seen": _COUNT,
        "dollars": _is_or_none(_is_amount),
    },
    Kind.MEASUREMENT: {
        "campaign": _CAMPAIGN,
        "variant": _ID,
        **dict.fromkeys(MEASURED, _is_amount),
        "id": _COUNT,
        "rung": _is_derived_rung,
        "block": _is_count(MAX_BLOCK),
        "repeat": _is_count(MAX_REPEAT),
        "purpose": _is_one_of(Purpose),
        "status": _is_one_of(Status),
        "reason": _TEXT,
        **dict.fromkeys(("slot", "host", "device"), _WORD),
        **dict.fromkeys(("self_reported_steps", "self_reported_tokens"), _COUNT),
        "facts": _is_table(_TEXT),
        "curve": _is_list(_POINT),
        "log_tail": _TEXT,
        "scores": _is_table(_is_number),
        "documents": _is_list(_is_tuple(_TEXT, _is_number, _COUNT)),
    },
    Kind.VOID: {
        "campaign": _CAMPAIGN,
        "measurement": _ID,
        "reason": _TEXT,
        "created": _is_amount,
    },
    Kind.DECISION: {
        "campaign": _CAMPAIGN,
        "id": _COUNT,
        "what": _WORD,
        "variant": _is_or_none(_ID),
        "detail": _is_object,
        "created": _is_amount,
    },
    Kind.NOTE: {
        "campaign": _CAMPAIGN,
        "id": _COUNT,
        "text": _TEXT,
        "author": _WORD,
        "evidence": _is_list(_TEXT, 1000),
        "seen": _COUNT,
        "created": _is_amount,
        "edited": _is_or_none(_is_amount),
        "deleted": _is_or_none(_is_amount),
    },
    Kind.CALL: {
        "campaign": _CAMPAIGN,
        "id": _COUNT,
        "proposal_number": _COUNT,
        **dict.fromkeys(("endpoint", "model", "again_because", "outcome"), _TEXT),
        **dict.fromkeys(("tokens_in", "tokens_out"), _TOKENS),
        "dollars": _is_or_none(_is_amount),
        **dict.fromkeys(("seconds", "created"), _is_amount),
        "parts": _is_table(_COUNT),
        "estimated": lambda one: isinstance(one, bool),
    },
}


def check_row(body: Body) -> None:
    """BundleError, with the field, for what is no row that another campaign may take in."""
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in set(Kind):
        raise BundleError(f"{str(kind)[:40]!r} is no kind of row")
    fields = _FIELDS[Kind(kind)]
    if strange := {*body} ^ {"kind", *fields}:
        name = min(strange)
        raise BundleError(f"{kind}: {name[:40]!r} is {'not known' if name in body else 'missing'}")
    for name, fits in fields.items():
        if not fits(body[name]):
            raise BundleError(f"{kind}.{name}: not what such a row holds, or beyond its bounds")
    if kind == Kind.VARIANT and variant_id(body["source"]) != body["id"]:
        raise BundleError(f"the source of {body['id'][:10]} is not that variant's")
    if kind == Kind.PROPOSAL and body["outcome"] == Outcome.VARIANT and body["variant"] is None:
        raise BundleError("proposal.variant: missing where one was made")
    if kind == Kind.MEASUREMENT and len({one[0] for one in body["documents"]}) < len(
        body["documents"]
    ):
        raise BundleError("measurement.documents: one stands twice")
