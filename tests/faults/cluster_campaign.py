"""A campaign on a cluster in a process of its own; arguments: STORE ADDRESS VARIANTS SECONDS."""

from __future__ import annotations

import sys
from pathlib import Path

from evo.evaluation.cluster.cluster_slots import ClusterSlots
from evo.evaluation.cluster.connection import Connection
from evo.evaluation.cluster.settings import ClusterSettings
from evo.runtime.budget import BudgetSettings
from population.store import Store
from tests.campaign.fakes import make_campaign
from tests.evaluation.clusters import FakeKit


def main(path: Path, address: str, variants: int, seconds: float) -> None:
    connection = Connection(ClusterSettings(dask=address))
    connection.open()
    slots = ClusterSlots(connection, lambda: FakeKit(seconds))
    campaign = make_campaign(
        lambda: Store.open(path), elsewhere=slots, budget=BudgetSettings(variants=variants), slots=4
    )
    print(campaign.run(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
