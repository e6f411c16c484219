"""A circuit breaker: a node that did not answer is not asked again for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from quicdist.otp.errors import CallTimeout

#: Seconds for which a node that did not answer is not asked again.
OPEN_TIME: Final = 60.0
#: Nodes for which a failure is kept.
_MAX_KNOWN: Final = 1000


class CircuitBreaker:
    """The nodes that did not answer in time, and when."""

    def __init__(self) -> None:
        self._failed_at: dict[str, float] = {}

    @contextlib.contextmanager
    def attempt(self, node: str, timeout: float) -> Iterator[None]:
        """Ask ``node`` in the block, for ``timeout`` seconds at most. Raises :class:`CallTimeout` at once
        if that has failed within :data:`OPEN_TIME`."""
        now = asyncio.get_running_loop().time()
        if now - self._failed_at.get(node, -OPEN_TIME) < OPEN_TIME:
            raise CallTimeout(node, timeout)
        try:
            yield
        except CallTimeout:
            if len(self._failed_at) >= _MAX_KNOWN:
                self._failed_at.clear()
            self._failed_at[node] = now
            raise
        self._failed_at.pop(node, None)
