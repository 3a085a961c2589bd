"""Slots on other machines: Dask carries tasks and answers, each run is supervised where it happens."""
