"""What measurements let us believe. Block means are re-exported here; every other idea has its own file."""

from __future__ import annotations

from population.statistics.estimates import (
    DISQUALIFYING,
    block_means,
    noise_sd,
    pooled_sd,
)

__all__ = ["DISQUALIFYING", "block_means", "noise_sd", "pooled_sd"]
