"""The ``quicdist`` command."""

from quicdist import dependencies

dependencies.check("click")
dependencies.check("rich")

from quicdist.cli.main import main

__all__ = ["main"]
