"""What carriers still do when the program ends without having stopped its nodes.

What runs here does not wait: it is called when the interpreter exits, and by who ends the process at
once (``os._exit``), which calls nothing else.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable

_callbacks: list[Callable[[], object]] = []


def at_exit(callback: Callable[[], object]) -> None:
    """Call ``callback`` when the program ends; what it raises is ignored."""
    _callbacks.append(callback)


def run_exit_callbacks() -> None:
    """The program ends now."""
    for callback in _callbacks:
        try:
            callback()
        except BaseException:
            continue  # Nobody is left to be told.


atexit.register(run_exit_callbacks)
