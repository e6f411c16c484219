"""The ``quicdist`` command."""

from quicdist import dependencies

dependencies.check("click")

from quicdist.cli.main import main

__all__ = ["main"]
