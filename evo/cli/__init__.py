"""The command line `evo`. Commands import what they need when they run: reading ones stay light."""

from evo.cli import (  # noqa: F401 - importing a file puts its commands into the app
    bench,
    doctor,
    export,
    ladder,
    lineage,
    listing,
    llm,
    measure,
    read,
    run,
    setup,
    steer,
)
from evo.cli.app import app, arrange, main

arrange(app)

__all__ = ["app", "main"]
