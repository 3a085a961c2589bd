"""The metrics: one table, a row each. A new one is a row here and its value in the evaluator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from population.types import PAIRED, Measurement


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that a run shows.

    `decimals` None: as many as the size of the number asks for. `unseen`: the name of the same metric on
    rows that no earlier run was asked, "" for none.
    """

    name: str
    unit: str
    decimals: int | None = None
    lower_is_better: bool = True
    searchable: bool = True  # measured by us, in every run of the search
    self_reported: bool = False  # from a count that the variant itself reports
    timed: bool = False  # moves with the machine: the same source gives another value
    unseen: str = ""
    counted: bool = False  # the same source gives the same value on every block


UNSEEN_BPB = "unseen_bpb"

_ROWS = (
    Metric("val_bpb", "bits per byte", 4, unseen=UNSEEN_BPB),
    Metric("parameters", "", counted=True),
    Metric("weights_mb", "MB", counted=True),
    Metric("added_nodes", "nodes of the syntax tree", counted=True),
    Metric("peak_memory_mb", "MB", timed=True),
    Metric("serve_tokens_per_second", "tokens/s", lower_is_better=False, timed=True),
    # from here on not to be searched by; the first two by a task of a command alone
    Metric("wall_seconds", "s", timed=True, searchable=False),
    Metric("cpu_seconds", "s", timed=True, searchable=False),
    Metric(UNSEEN_BPB, "bits per byte", 4, searchable=False),
    Metric("test_bpb", "bits per byte", 4, searchable=False),  # final and graduating runs alone
    Metric(
        "train_tokens_per_second",
        "tokens/s",
        lower_is_better=False,
        searchable=False,
        self_reported=True,
        timed=True,
    ),
    Metric("epochs", "", searchable=False, self_reported=True),
    Metric("tokens_per_parameter", "", searchable=False, self_reported=True),
)
METRICS = {one.name: one for one in _ROWS}
SEARCHABLE = tuple(one.name for one in _ROWS if one.searchable)


JUDGED_PREFIX = (
    "judged_"  # begins the name of what a judge says: who says a figure is told by its name
)


HELD_OUT_PREFIX = "holdout_"  # begins the name of what nothing is searched by, after the judge's


def is_held_out(name: str) -> bool:
    """Whether a metric of a command is kept from the search: told of final and graduating runs alone."""
    return name.removeprefix(JUDGED_PREFIX).startswith(HELD_OUT_PREFIX)


class Trust(StrEnum):
    """Who says a figure."""

    MEASURED = "measured"  # by us, where nothing of a variant could say it
    JUDGED = "judged"  # by the user's own program, in a box where no line of a variant runs
    SELF_REPORTED = "self-reported"  # by a process in which the variant's own code runs


def trust_of(name: str) -> Trust:
    """Who says a metric: ours are in the table, a judge's begin with its prefix, others a script tells."""
    known = METRICS.get(name)
    if known is None and name.startswith(JUDGED_PREFIX):
        return Trust.JUDGED
    return Trust.SELF_REPORTED if known is None or known.self_reported else Trust.MEASURED


def label(name: str) -> str:
    """A metric as it is shown beside a figure: with a star where the figure is self-reported."""
    return f"{name}*" if trust_of(name) is Trust.SELF_REPORTED else name


SELF_REPORTED = (
    "* self-reported: the script's own word. Fresh blocks and intervals keep chance out of it, not a script "
    "that prints what it likes: look at the edit"
)


JUDGED = "judged: by a program of yours on files that the run left, where no line of a variant runs"


def decimals_of(name: str) -> int | None:
    """How many decimals a metric is shown with where nothing is known of its noise; None: by its size."""
    return METRICS[name].decimals if name in METRICS else None


def claim_metric(name: str, runs: Iterable[Measurement]) -> str:
    """The metric that a claim from these runs rests on: on rows that no earlier run was asked.

    Only where all are runs that are compared in pairs and were asked such rows; else `name`, as in the search
    and in stores that were begun without such rows.
    """
    unseen = METRICS[name].unseen if name in METRICS else ""
    paired = [run.request.purpose in PAIRED and unseen in run.metrics for run in runs]
    return unseen if paired and all(paired) else name
