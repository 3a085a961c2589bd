"""How `tune` chooses constants: what was tried, samplers, and a Gaussian process with its acquisition."""
