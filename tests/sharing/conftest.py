"""The command line of the other tests."""

from tests.cli.conftest import evo  # noqa: F401 - a fixture
