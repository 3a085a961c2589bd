"""The command line `evo`. Commands import what they need when they run: reading ones stay light."""

from evo.cli import calibrating, checking, promoting, reading, running, salvage, starting
from evo.cli.app import app, main

__all__ = [
    "app",
    "calibrating",
    "checking",
    "main",
    "promoting",
    "reading",
    "running",
    "salvage",
    "starting",
]
