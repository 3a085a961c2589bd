"""The keeps of an imported history: which of them stand out from its noise."""

from __future__ import annotations

from evo.analysis.imported import Imported
from evo.report.page import ReportTable, Section
from evo.terminal.imported import REMARK, keep_cells

COLUMNS = ("line", "commit", "val_bpb before", "after", "gain", "verdict", "description")


def keeps_section(one: Imported | None) -> Section | None:
    """Every keep beside the kept run before it, and lines that were not read; None without an import."""
    if one is None:
        return None
    rows = [keep_cells(keep) for keep in one.keeps]
    table = ReportTable(COLUMNS, rows, [keep.variant_id for keep in one.keeps])
    lines = [f"Every number here is {REMARK}.", *one.problems]
    return Section("keeps", "Keeps, as reported", lines, tables=(table,) if rows else ())


def origin_section(take_home: str) -> Section:
    """In the place of budget, sandbox and how to run again, which a history that was read has none of."""
    lines = [
        "Self-reported, imported from git history; nothing was run here. So there are no slots, no budget, no "
        "calibration and no sandbox to tell of, and no config to run again: `evo run CONFIG` starts a search "
        f"that measures for itself. {take_home}Every figure is "
        "made from rows of campaign.db: `sqlite-utils rows campaign.db v_measurements -t`."
    ]
    return Section("origin", "Where it comes from", lines)
