"""The progress display of a command on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from quicdist import dependencies

dependencies.check("rich")

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner


@contextlib.contextmanager
def spinner(doing: str) -> Iterator[None]:
    """Show ``doing`` until the block ends."""
    watching = Console(stderr=True)
    if not watching.is_terminal:
        yield
        return
    # What a function on the other node prints arrives meanwhile: on a terminal it is printed above the
    # spinner, to a file it is written unchanged.
    with Live(
        Spinner("dots", doing),
        console=watching,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ):
        yield
