"""What a store knows: every read of it, as functions of a store, in one file a subject."""

from population.reading.campaign import (
    all_decisions,
    decisions,
    events,
    front,
    last_measurement_id,
    pending,
    spent,
)
from population.reading.measurements import counts_by_status, measurement, measurements, open_runs
from population.reading.proposals import (
    children_of,
    first_proposal,
    next_proposal_number,
    proposal,
    proposals,
)
from population.reading.variants import (
    NAMES,
    UnknownVariant,
    best,
    nearest,
    resolve,
    seed,
    source_of,
    unmeasured,
    variant,
    variant_by_fingerprint,
)
from population.records import Asked, Decided, Event, Measured, OpenRun, Proposed, Spent

__all__ = [
    "NAMES",
    "Asked",
    "Decided",
    "Event",
    "Measured",
    "OpenRun",
    "Proposed",
    "Spent",
    "UnknownVariant",
    "all_decisions",
    "best",
    "children_of",
    "counts_by_status",
    "decisions",
    "events",
    "first_proposal",
    "front",
    "last_measurement_id",
    "measurement",
    "measurements",
    "nearest",
    "next_proposal_number",
    "open_runs",
    "pending",
    "proposal",
    "proposals",
    "resolve",
    "seed",
    "source_of",
    "spent",
    "unmeasured",
    "variant",
    "variant_by_fingerprint",
]
