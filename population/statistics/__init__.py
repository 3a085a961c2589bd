"""What measurements let us believe. Block means are re-exported here; every other idea has its own file."""

from __future__ import annotations

from population.statistics.estimates import (
    DISQUALIFYING,
    NoiseKind,
    block_means,
    noise_kind,
    noise_sd,
    pooled_sd,
)

__all__ = ["DISQUALIFYING", "NoiseKind", "block_means", "noise_kind", "noise_sd", "pooled_sd"]
