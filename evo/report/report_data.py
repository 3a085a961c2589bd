"""A campaign as the report needs it, read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evo.analysis.campaign_view import Record
from evo.analysis.findings import Findings
from evo.analysis.overview import Overview
from evo.analysis.ranking import Ranked
from population.store import Store
from population.types import DecisionRow


@dataclass(frozen=True, slots=True)
class ReportData:
    """A campaign as the report needs it, read once."""

    store: Store
    record: Record
    overview: Overview
    ranked: Sequence[Ranked]
    by_id: Mapping[str, Ranked]
    verdicts: Sequence[DecisionRow]
    source_of: Callable[[str], str]
    config: str  # the file as run
    colour: Mapping[str, str]

    @property
    def findings(self) -> Findings:
        """What was found."""
        return self.overview.findings
