"""The order in which signals take effect on this node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from quicdist.logs import get_logger

log = get_logger("quicdist.node")


class Turns:
    """Lets one signal take effect at a time, in the order they were sent.

    A handler that sends to a handler must neither recurse without end nor overtake, so whatever a
    signal causes waits until the signal is through.
    """

    __slots__ = ("_busy", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy = False

    def take(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function``: now, or after the signals before it. What it raises is logged."""
        if self._busy:
            self._waiting.append((function, args))
            return
        self._busy = True
        waiting = self._waiting
        try:
            while True:
                try:
                    function(*args)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.exception("a signal failed in %r", function)
                if not waiting:
                    return
                function, args = waiting.popleft()
        finally:
            self._busy = False
