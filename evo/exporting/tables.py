"""A campaign's rows as one flat table: CSV by itself, Parquet where pyarrow is there."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo.analysis.campaign_view import Record
from evo.analysis.ranking import ranking
from population.types import ProposalRow

FORMULA = "=+-@\t\r"  # what a spreadsheet takes a cell for that begins with one of these


class TableFailure(Exception):
    """The table cannot be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class FlatTable:
    """Rows of plain values by column; None where nothing is known. Times in seconds since the epoch."""

    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]


def runs_table(record: Record) -> FlatTable:
    """A row a run that counts, lost ones among them, with what made its variant. Metrics are columns."""
    births = record.births()
    metrics = sorted({name for row in record.attempts for name in row.measurement.metrics})
    rows = []
    for row in record.attempts:
        run = row.measurement
        request = run.request
        rows.append(
            {
                "run": row.id,
                "variant": request.variant_id,
                "rung": request.rung,
                "block": request.block,
                "repeat": request.repeat,
                "purpose": request.purpose.value,
                "status": run.status.value,
                "reason": run.reason,
                **{name: run.metrics.get(name) for name in metrics},
                **_made(births.get(request.variant_id)),
                "started_at": run.started_at or None,
                "wall_seconds": run.wall_seconds,
                "cpu_seconds": run.cpu_seconds,
                "train_wall_seconds": run.train_wall_seconds,
                "slot": run.slot,
                "host": run.host,
                "device": run.device,
            }
        )
    return _table(rows)


def variants_table(record: Record) -> FlatTable:
    """A row a variant in the order of birth: what made it, and what is believed of it at the first rung."""
    ranked = {one.variant_id: one for one in ranking(record)}
    metrics = sorted({name for one in ranked.values() for name in one.estimates})
    rows = []
    for variant_id, made in record.births().items():
        one = ranked.get(variant_id)
        beliefs: dict[str, Any] = {}
        for name in metrics:
            found = one.estimates.get(name) if one is not None else None
            beliefs[name] = found and found.mean
            beliefs[f"{name}_sd"] = found and found.sd
            beliefs[f"{name}_blocks"] = found and found.n
        rows.append(
            {
                "variant": variant_id,
                **_made(made),
                "standing": one.standing if one is not None else None,
                **beliefs,
            }
        )
    return _table(rows)


def _made(made: ProposalRow | None) -> dict[str, Any]:
    if made is None:
        return dict.fromkeys(("operator", "parents", "idea", "author", "model", "created_at"))
    return {
        "operator": made.operator,
        "parents": " ".join(one.variant_id for one in made.parents),
        "idea": made.idea,
        "author": made.author,
        "model": made.model,
        "created_at": made.created_at,
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> FlatTable:
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return FlatTable(tuple(dict.fromkeys(name for row in rows for name in row)), plain)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(table: FlatTable) -> str:
    """UTF-8 text with a head line. What a spreadsheet would take for a formula gets a ' before it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_cell(row[name]) for name in table.columns])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(tuple(FORMULA)):
        return f"'{value}"
    return "" if value is None else value


def as_parquet(table: FlatTable) -> bytes:
    """The same as a Parquet file. TableFailure without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise TableFailure(
            "Parquet needs pyarrow: pip install 'evotrain[data]', or write a .csv"
        ) from error
    columns = {name: [row[name] for row in table.rows] for name in table.columns}
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out)
    return out.getvalue()
