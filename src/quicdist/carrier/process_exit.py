"""Callbacks for a program that ends without stopping its nodes.

They must not wait. They are called when the interpreter exits, and before ``os._exit``, which calls nothing
else.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable

_callbacks: list[Callable[[], object]] = []


def at_exit(callback: Callable[[], object]) -> None:
    """Call ``callback`` when the program ends; what it raises is ignored."""
    _callbacks.append(callback)


def run_exit_callbacks() -> None:
    """Call all callbacks now."""
    for callback in _callbacks:
        try:
            callback()
        except BaseException:
            continue  # The process ends.


atexit.register(run_exit_callbacks)
