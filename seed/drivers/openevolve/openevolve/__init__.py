"""Stands in for the package of that name where an evaluator imports its result class."""
