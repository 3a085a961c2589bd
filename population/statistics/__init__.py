"""What measurements let us believe. Estimates are re-exported here; every other idea has its own file."""

from __future__ import annotations

from population.statistics.estimates import (
    DISQUALIFYING,
    BlockMeans,
    block_means,
    estimates,
    noise_sd,
    pooled_sd,
)

__all__ = ["DISQUALIFYING", "BlockMeans", "block_means", "estimates", "noise_sd", "pooled_sd"]
