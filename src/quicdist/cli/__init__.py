"""The ``quicdist`` command."""

from quicdist.cli.main import main

__all__ = ["main"]
