"""Log lines about refused connections, limited per minute, of each source and in all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from quicdist.carrier.addresses import source_of
from quicdist.logs import CleanLogger, RateLimit

#: Lines per minute and level: of one source, of all sources, and of aioquic about all connections.
LINES_OF_SOURCE: Final = 5
LINES: Final = 10
LINES_OF_LIBRARY: Final = 5


class RefusalLog:
    """Chooses the lines about refused connections that are written. Spoofed addresses cause few more lines
    than a single address; lines that are left out are counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = RateLimit(LINES_OF_SOURCE, clock=clock)
        self._all = RateLimit(LINES, clock=clock)

    def admit(self, host: str, level: int) -> str | None:
        """The text to append to a line about ``host``; None if the line is left out."""
        note = self._sources.admit((source_of(host), level))
        if note is None:
            return None
        others = self._all.admit(level)
        return None if others is None else note + others


class RateLimitedLogger(CleanLogger):
    """A :class:`CleanLogger` of a library, for connections of unauthenticated peers: a few lines per minute
    of each level."""

    __slots__ = ()

    def _write(self, level: int, message: str, args: tuple[Any, ...], options: Any) -> None:
        if not self.isEnabledFor(level):
            return
        note = _of_library.admit((self.name, level))
        if note is not None:
            # One more for the frame of this method.
            level_up = options.get("stacklevel", 1) + 1
            super()._write(level, f"{message}{note}", args, {**options, "stacklevel": level_up})


_of_library = RateLimit(LINES_OF_LIBRARY)
