"""The command line `evo`. Commands import what they need when they run: reading ones stay light."""

from evo.cli import (  # noqa: F401 - importing a file puts its commands into the app
    benching,
    calibrating,
    checking,
    descent,
    doctor,
    importing,
    listing,
    log,
    promoting,
    reading,
    reporting,
    running,
    salvage,
    starting,
    steering,
)
from evo.cli.app import app, main
from evo.cli.panels import arrange

arrange(app)

__all__ = ["app", "main"]
