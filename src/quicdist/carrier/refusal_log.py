"""Lines of log about strangers: a few a minute of each source, and a few more in all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from quicdist.carrier.addresses import source_of
from quicdist.logs import CleanLogger, RateLimit

#: Lines a minute of one level: of one source, of all, and of the library itself about all connections.
LINES_OF_SOURCE: Final = 5
LINES: Final = 10
LINES_OF_LIBRARY: Final = 5


class RefusalLog:
    """Which lines about connections that were refused are written. Made-up addresses bring no more of them
    than one address does, but for a few, and what is left out is counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = RateLimit(LINES_OF_SOURCE, clock=clock)
        self._all = RateLimit(LINES, clock=clock)

    def admit(self, host: str, level: int) -> str | None:
        """The text to put behind a line about ``host``, or None if it is left out."""
        note = self._sources.admit((source_of(host), level))
        if note is None:
            return None
        others = self._all.admit(level)
        return None if others is None else note + others


class RateLimitedLogger(CleanLogger):
    """A :class:`CleanLogger` of a library, for connections of strangers: it writes a few lines a minute of
    each level, whatever they say."""

    __slots__ = ()

    def _write(self, level: int, message: str, args: tuple[Any, ...], options: Any) -> None:
        if not self.isEnabledFor(level):
            return
        note = _of_library.admit((self.name, level))
        if note is not None:
            # Of our own frame, too.
            level_up = options.get("stacklevel", 1) + 1
            super()._write(level, f"{message}{note}", args, {**options, "stacklevel": level_up})


_of_library = RateLimit(LINES_OF_LIBRARY)
