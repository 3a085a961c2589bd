"""Histories of other projects, taken in as campaigns of self-reported measurements."""
