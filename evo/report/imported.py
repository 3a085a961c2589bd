"""The keeps of an imported history: which of them stand out from its noise."""

from __future__ import annotations

from evo.analysis.imported import Imported
from evo.report.page import Section, Table
from evo.terminal.imported import REMARK, keep_cells

COLUMNS = ("line", "commit", "val_bpb before", "after", "gain", "verdict", "description")


def keeps_section(one: Imported | None) -> Section | None:
    """Every keep beside the kept run before it, and lines that were not read; None without an import."""
    if one is None:
        return None
    rows = [keep_cells(keep) for keep in one.keeps]
    table = Table(COLUMNS, rows, [keep.variant_id for keep in one.keeps])
    lines = [f"Every number here is {REMARK}.", *one.problems]
    return Section("keeps", "Keeps, as reported", lines, tables=(table,) if rows else ())
