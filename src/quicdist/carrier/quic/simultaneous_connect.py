"""Drops the peer's attempt when two nodes dial each other at once, over QUIC.

OTP answers ``nok``: this node's attempt is kept, the peer's is dropped. The process of the peer's attempt
then waits until its ``net_kernel`` has this node's name and kills it. That of quic_dist traps exits (seen
from 0.11.0 to 1.8.1) and cannot be killed; ``net_kernel`` waits for it, and the BEAM never connects to any
node again. It ends only when its QUIC connection ends before it has read a status.

So no status is sent, and the connection is closed once this node's name has reached the peer. If it were
closed earlier, the attempt and the signals that wait for it would fail before another attempt could replace
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

#: Seconds between two checks of this node's attempt. A name that was acknowledged at the last check has
#: reached ``net_kernel`` by the next one.
PAUSE: Final = 0.05
#: After so many checks the peer's attempt is dropped in any case.
MAX_CHECKS: Final = 40


class Attempt(Protocol):
    """This node's own attempt at a connection."""

    @property
    def said_name(self) -> bool:
        """Whether the peer has received this node's name."""


class Attempts:
    """The dials of one carrier that are under way, by node."""

    def __init__(self) -> None:
        self._attempts: dict[str, list[Attempt]] = {}

    @contextlib.contextmanager
    def under_way(self, node: str, attempt: Attempt) -> Iterator[None]:
        """Register ``attempt`` to dial ``node`` until the end of the block."""
        attempts = self._attempts.setdefault(node, [])
        attempts.append(attempt)
        try:
            yield
        finally:
            attempts.remove(attempt)
            if not attempts:
                self._attempts.pop(node, None)

    def said_name(self, node: str) -> bool | None:
        """Whether ``node`` has received this node's name from an attempt under way; None if there is none."""
        attempts = self._attempts.get(node)
        return None if attempts is None else any(attempt.said_name for attempt in attempts)


class DelayedDrop:
    """Calls ``drop`` for a peer's attempt once this node's name has reached the peer."""

    def __init__(self, node: str, attempts: Attempts, drop: Callable[[], None]) -> None:
        self._node = node
        self._attempts = attempts
        self._drop = drop
        self._checks = 0
        self._said: bool | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PAUSE, self._check)

    def _check(self) -> None:
        self._checks += 1
        before, self._said = self._said, self._attempts.said_name(self._node)
        # The name has arrived, or this node's attempt is over, or it takes too long.
        if before or (before is False and self._said is None) or self._checks >= MAX_CHECKS:
            self._drop()
            return
        self._timer = self._loop.call_later(PAUSE, self._check)

    def cancel(self) -> None:
        """The peer's attempt is over already."""
        self._timer.cancel()
