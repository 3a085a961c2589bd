"""What only the rows of other runs can say of a run: whether a variant heeds its block."""

from __future__ import annotations

from dataclasses import replace

from evo.evaluation.evaluator import WEIGHTS_DIGEST
from population.store import Store
from population.twins import block_with_fact
from population.variant import Measurement, Status


def add_judged(store: Store, measurement: Measurement) -> tuple[int, Measurement]:
    """Record a measurement, as rejected if another block left the same weights; its id and what was kept.

    Every block has its own seed and leaves out its own documents: equal weights come from neither. It
    is judged against the rows, so that it also holds for those of an earlier process.
    """
    digest = measurement.facts.get(WEIGHTS_DIGEST, "")
    if measurement.status is Status.OK and digest:
        twin = block_with_fact(store, measurement.order, WEIGHTS_DIGEST, digest)
        if twin is not None:
            reason = f"ignores the block: its final weights are those of block {twin}"
            measurement = replace(
                measurement, status=Status.REJECTED, reason=reason, metrics={}, documents=()
            )
    return store.add_measurement(measurement), measurement
