"""What a click on a variant opens: diff, runs, curve, log, and what a model was asked.

The dossiers are many and rarely read: they travel compressed, in chunks that the page opens on demand.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import Ranked
from evo.terminal.tables import by_whom, standing_in_words
from evo.terminal.text import duration, plus_minus, value
from operators.source.compare import Steps, source_diff
from population.metrics import claim_metric, label
from population.reading import first_proposal, measurements
from population.reading.traces import Trace, exchanges, traces
from population.store import Store
from population.types import ONE_STEP, MeasurementRow, ProposalRow, Status, rung_in_words

CHUNK = 100  # dossiers in one compressed piece
CURVE_POINTS = 40
LOG_CHARACTERS = 3_000
DIFF_CHARACTERS = 30_000
DIFF_STEPS = 200_000  # of comparing; a report has many diffs
MAX_OTHERS = 40  # children of the same idea
CALL_CHARACTERS = 12_000  # of a prompt, and of a reply
CALLS_CHARACTERS = 20_000_000  # of all of them; the newest stay


@dataclass(frozen=True, slots=True)
class Pack:
    """All dossiers: `place` of each variant in the order of `ids`, chunk after chunk."""

    ids: tuple[str, ...]
    chunks: tuple[str, ...]  # base64 of gzip of a JSON list


def pack(
    store: Store, record: Record, ranked: Sequence[Ranked], source_of: Callable[[str], str]
) -> Pack:
    """The dossiers of every variant, in the order they were made."""
    births = record.births()
    runs: dict[str, list[MeasurementRow]] = {}
    for row in record.attempts:
        runs.setdefault(row.measurement.request.variant_id, []).append(row)
    left = traces(store, CURVE_POINTS, LOG_CHARACTERS)
    asked = _newest(exchanges(store, CALL_CHARACTERS))
    believed = {one.variant_id: one for one in ranked}
    alike = _by_idea(births.values())
    dossiers = [
        _dossier(record, made, believed.get(one), runs.get(one, ()), source_of, left, asked)
        | {"others": _others(made, alike)}
        for one, made in births.items()
    ]
    pieces = [dossiers[at : at + CHUNK] for at in range(0, len(dossiers), CHUNK)]
    return Pack(tuple(births), tuple(map(_packed, pieces)))


def dossier(
    store: Store,
    record: Record,
    ranked: Mapping[str, Ranked],
    source_of: Callable[[str], str],
    variant_id: str,
) -> dict[str, Any] | None:
    """One variant's, also of one younger than `record`; None where no proposal made it."""
    made = record.births().get(variant_id) or first_proposal(store, variant_id)
    if made is None:
        return None
    runs = measurements(store, variant_id=variant_id, statuses=list(Status))
    left = traces(store, CURVE_POINTS, LOG_CHARACTERS, variant_id)
    asked = _newest(exchanges(store, CALL_CHARACTERS, made.number))
    found = _dossier(record, made, ranked.get(variant_id), runs, source_of, left, asked)
    return found | {"others": _others(made, _by_idea(record.births().values()))}


def _dossier(
    record: Record,
    made: ProposalRow,
    believed: Ranked | None,
    runs: Sequence[MeasurementRow],
    source_of: Callable[[str], str],
    left: Mapping[int, Trace],
    asked: Mapping[int, list[dict[str, str]]],
) -> dict[str, Any]:
    return {
        **_birth(made, record.seed_id),
        **_beliefs(believed, record),
        "diff": diff_from_parent(made, source_of),
        "runs": [_run(row, record.objective.name) for row in runs],
        **_traces([row.id for row in runs], left),
        "calls": asked.get(made.number, []),
    }


def _by_idea(births: Iterable[ProposalRow]) -> dict[object, list[str]]:
    """The variants that try each idea, one of the campaign's or one recorded in a bank, in order."""
    found: dict[object, list[str]] = {}
    for made in births:
        if (idea := _idea_of(made)) is not None:
            found.setdefault(idea, []).append(str(made.variant_id))
    return found


def _idea_of(made: ProposalRow) -> object | None:
    return (
        made.idea_id if made.idea_id is not None else (made.bank, made.idea) if made.bank else None
    )


def _others(made: ProposalRow, alike: Mapping[object, Sequence[str]]) -> list[str]:
    """The other children of its idea."""
    return [one for one in alike.get(_idea_of(made), ()) if one != made.variant_id][:MAX_OTHERS]


def _packed(piece: list[dict[str, Any]]) -> str:
    text = json.dumps(piece, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    whole = text.encode("utf-8", errors="replace")
    return base64.b64encode(gzip.compress(whole, compresslevel=6, mtime=0)).decode()


def _birth(made: ProposalRow, seed_id: str) -> dict[str, Any]:
    return {
        "id": made.variant_id,
        "number": made.number,
        "operator": made.operator,
        "author": by_whom(made.author, made.model),
        "idea": "the seed" if made.variant_id == seed_id else made.idea,
        "parents": [[one.variant_id, one.role] for one in made.parents],
    }


def _beliefs(one: Ranked | None, record: Record) -> dict[str, Any]:
    if one is None:
        return {"standing": "", "metrics": []}
    first = record.objective.name
    found = one.estimates
    texts = [[first, plus_minus(first, *one.told(first))]]
    texts += [
        [name, value(name, estimate.mean)] for name, estimate in found.items() if name != first
    ]
    return {"standing": standing_in_words(one, record.seed_id), "metrics": texts}


def diff_from_parent(made: ProposalRow, source_of: Callable[[str], str]) -> str:
    """From its first parent; the seed's own source whole."""
    assert made.variant_id is not None, "births() are variants"
    new = source_of(made.variant_id)
    if not made.parents:
        return new[:DIFF_CHARACTERS]
    parent = made.parents[0].variant_id
    names = (f"parent {parent[:8]} {{}}", f"{made.variant_id[:8]} {{}}")
    lines = source_diff(source_of(parent), new, names, steps=Steps(DIFF_STEPS))
    text = "\n".join(lines)
    if len(text) > DIFF_CHARACTERS:
        text = text[:DIFF_CHARACTERS] + "\n(the rest is left out; `evo diff` shows it)"
    return text


def _run(row: MeasurementRow, metric: str) -> list[str]:
    run, request = row.measurement, row.measurement.request
    built = request.rung.endswith(ONE_STEP)
    name = claim_metric(metric, [run])
    score = (
        ""
        if built or name not in run.metrics
        else f"{label(name)} {value(name, run.metrics[name])}"
    )
    return [
        rung_in_words(request.rung),
        str(request.block),
        request.purpose.value,
        run.status.value.replace("_", " "),
        score,
        duration(run.wall_seconds) if run.wall_seconds else "–",
        run.reason,
    ]


def _traces(ids: Sequence[int], left: Mapping[int, Trace]) -> dict[str, Any]:
    """The first curve and the last words: a variant's first run is the one everyone has."""
    found = [left[id] for id in ids if id in left]
    curve = next((one.curve for one in found if one.curve), ())
    log = next((one.log_tail for one in reversed(found) if one.log_tail.strip()), "")
    return {"curve": [list(point) for point in curve], "log": log}


def _newest(asked: Mapping[int, Sequence[Any]]) -> dict[int, list[dict[str, str]]]:
    """The calls as plain values, from the newest proposal back until they are too much to carry."""
    kept: dict[int, list[dict[str, str]]] = {}
    left = CALLS_CHARACTERS
    for number in sorted(asked, reverse=True):
        size = sum(len(one.prompt) + len(one.reply) for one in asked[number])
        if size > left:
            break
        left -= size
        kept[number] = [
            {"model": c.model, "outcome": c.outcome, "prompt": c.prompt, "reply": c.reply}
            for c in asked[number]
        ]
    return kept
