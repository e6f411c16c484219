"""Nodes that services of this one have waited for in vain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from quicdist.otp.errors import CallTimeout

#: Seconds for which a node that has not answered is not waited for again.
OPEN_TIME: Final = 60.0
#: Nodes remembered.
_MAX_KNOWN: Final = 1000


class CircuitBreaker:
    """Nodes that have not answered in time: for :data:`OPEN_TIME` seconds nobody waits for them again."""

    def __init__(self) -> None:
        self._failed_at: dict[str, float] = {}

    @contextlib.contextmanager
    def attempt(self, node: str, timeout: float) -> Iterator[None]:
        """A question to ``node`` that takes ``timeout`` seconds at most. Raises :class:`CallTimeout` at once
        where an earlier one has."""
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
