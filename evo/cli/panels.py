"""The panels of `evo --help`: the commands in the order in which a person meets them."""

from __future__ import annotations

import typer

PANELS = {
    "Set up": ("init", "doctor", "import-autoresearch"),
    "Run": ("run", "stop", "resume", "graduate", "salvage"),
    "Look": (
        "list",
        "status",
        "log",
        "top",
        "show",
        "diff",
        "tree",
        "history",
        "graduates",
        "report",
        "export",
    ),
    "Steer": ("idea", "note", "inject", "approve", "veto"),
    "Measure and compare": ("evaluate", "calibrate", "bench"),
}


def arrange(app: typer.Typer) -> None:
    """Put every command of the app into its panel and place. KeyError for one that has none."""
    places = [(panel, name) for panel, names in PANELS.items() for name in names]
    place_of = {name: place for place, (_, name) in enumerate(places)}
    named = {
        one.name or getattr(one.callback, "__name__", ""): one for one in app.registered_commands
    }
    for name, one in named.items():
        one.rich_help_panel = places[place_of[name]][0]
    app.registered_commands = [named[name] for name in sorted(named, key=place_of.__getitem__)]
