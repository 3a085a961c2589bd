from __future__ import annotations

from tests.cli.conftest import evo

__all__ = ["evo"]
