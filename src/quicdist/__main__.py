"""The program ``quicdist``, also as ``python -m quicdist``."""

from __future__ import annotations

import atexit
import gc

#: Objects after which Python looks for garbage; its own 700 has it look through all modules again and again
#: while they are loaded, which took an eighth of the time of ``quicdist ping``.
_COLLECT_AFTER = 100_000


def run() -> None:
    """Run the command ``quicdist`` as a process of its own: with settings that a program which calls
    :func:`quicdist.cli.main` chooses itself."""
    gc.set_threshold(_COLLECT_AFTER)
    # At its end Python would look through all objects once more; the process gives them back as it is.
    atexit.register(gc.freeze)

    from quicdist.cli import main

    main(prog_name="quicdist")


if __name__ == "__main__":
    run()
