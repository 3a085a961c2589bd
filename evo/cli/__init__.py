"""The command line `evo`. Commands import what they need when they run: reading ones stay light."""

from evo.cli import calibrating, checking, reading, running, salvage, starting
from evo.cli.app import app, main

__all__ = ["app", "calibrating", "checking", "main", "reading", "running", "salvage", "starting"]
