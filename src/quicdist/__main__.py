"""The program ``quicdist``, also as ``python -m quicdist``."""

from __future__ import annotations

import atexit
import gc

#: Objects after which Python looks for garbage among the new ones, and how often until it looks among older
#: ones. A short command has its answer before: with Python's own 700 it would look through all modules again
#: and again while they are loaded. A long one looks through everything about as often as with 10,000, 10, 10.
_COLLECT_AFTER = 100_000, 2, 2


def run() -> None:
    """Run the command ``quicdist`` as a process of its own: with settings that a program which calls
    :func:`quicdist.cli.main` chooses itself."""
    gc.set_threshold(*_COLLECT_AFTER)
    # At its end Python would look through all objects once more; the process gives them back as it is.
    atexit.register(gc.freeze)

    from quicdist.cli import main

    main(prog_name="quicdist")


if __name__ == "__main__":
    run()
