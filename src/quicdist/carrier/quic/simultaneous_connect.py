"""Who gives way when two nodes dial each other at once, over QUIC.

Where OTP answers ``nok`` (the peer's attempt is dropped, for this node's own stands), the peer's attempt
waits to be killed by its ``net_kernel``, once this node's name has arrived there. That of quic_dist traps
exits (seen from 0.11.0 to 1.8.1), so it cannot be killed; ``net_kernel`` waits for it, and the BEAM never
connects to anybody again. What ends it is the end of its QUIC connection, before it has read any status.

So nothing is answered, and the connection is closed: once the own name has reached the peer, lest its
attempt fails for good, with the signals that wait for it, before there is another to take its place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

#: Seconds from one look at the own attempt to the next. A name that was acknowledged by QUIC at the last
#: one has reached ``net_kernel`` by this one.
PAUSE = 0.05
#: Looks at an attempt that does not get as far as that, before the peer's is dropped all the same.
MAX_LOOKS = 40


class Attempt(Protocol):
    """This node's own attempt at a connection."""

    @property
    def said_name(self) -> bool:
        """Whether the peer has the name this node has said."""


class Attempts:
    """The attempts of one carrier that are under way, by the node dialled."""

    def __init__(self) -> None:
        self._attempts: dict[str, list[Attempt]] = {}

    @contextlib.contextmanager
    def under_way(self, node: str, attempt: Attempt) -> Iterator[None]:
        """``attempt`` at ``node`` is under way until the end of the block."""
        attempts = self._attempts.setdefault(node, [])
        attempts.append(attempt)
        try:
            yield
        finally:
            attempts.remove(attempt)
            if not attempts:
                self._attempts.pop(node, None)

    def said_name(self, node: str) -> bool | None:
        """Whether ``node`` has this node's name from an attempt under way; None if there is none."""
        attempts = self._attempts.get(node)
        return None if attempts is None else any(attempt.said_name for attempt in attempts)


class DelayedDrop:
    """A peer's attempt that is to give way; ``drop`` is called when its time has come."""

    def __init__(self, node: str, attempts: Attempts, drop: Callable[[], None]) -> None:
        self._node = node
        self._attempts = attempts
        self._drop = drop
        self._looks = 0
        self._said: bool | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PAUSE, self._look)

    def _look(self) -> None:
        self._looks += 1
        before, self._said = self._said, self._attempts.said_name(self._node)
        # It is there, or there was an attempt and that is over, or it takes too long.
        if before or (before is False and self._said is None) or self._looks >= MAX_LOOKS:
            self._drop()
            return
        self._timer = self._loop.call_later(PAUSE, self._look)

    def cancel(self) -> None:
        """It is over already."""
        self._timer.cancel()
