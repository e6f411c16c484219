"""Nodes that services of this one have waited for in vain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from quicdist.otp.errors import CallTimeout

#: Seconds for which a node that has not answered is not waited for again.
SILENCE: Final = 60.0
#: Nodes remembered.
_MAX_KNOWN: Final = 1000


class SilentNodes:
    """Nodes that have not answered in time: for :data:`SILENCE` seconds nobody waits for them again."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    @contextlib.contextmanager
    def asked(self, node: str, timeout: float) -> Iterator[None]:
        """A question to ``node`` that takes ``timeout`` seconds at most. Raises :class:`CallTimeout` at once
        where an earlier one has."""
        now = asyncio.get_running_loop().time()
        if now - self._since.get(node, -SILENCE) < SILENCE:
            raise CallTimeout(node, timeout)
        try:
            yield
        except CallTimeout:
            if len(self._since) >= _MAX_KNOWN:
                self._since.clear()
            self._since[node] = now
            raise
        self._since.pop(node, None)
