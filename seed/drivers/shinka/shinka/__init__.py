"""Stands in for the package of that name where an evaluate.py imports how runs are made."""
