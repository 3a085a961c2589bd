from __future__ import annotations

from pathlib import Path

from population.archive import DEFAULT_OBJECTIVES
from population.metrics import METRICS, SEARCHABLE, Metric

CONTRACT = Path(__file__).parents[2] / "docs" / "contract.md"


def documented(metric: Metric) -> list[str]:
    source = "reported" if metric.self_reported else "timed" if metric.timed else "measured"
    way = "lower" if metric.lower_is_better else "higher"
    return [metric.unit or "–", way, source, "yes" if metric.searchable else "no"]


def test_the_contract_lists_every_metric_as_it_is() -> None:
    section = CONTRACT.read_text(encoding="utf-8").split("## Metrics")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| `" in line]
    known = {row[0].strip("`"): row[1:5] for row in rows}
    assert known == {one.name: documented(one) for one in METRICS.values()}


def test_nothing_that_a_variant_says_of_itself_can_be_searched_by() -> None:
    assert not [name for name in SEARCHABLE if METRICS[name].self_reported]
    assert {one.name for one in DEFAULT_OBJECTIVES} <= set(SEARCHABLE)
