"""The receive window of one stream (RFC 9000, section 4).

quic_dist sends a piece of data whole or not at all: a piece that is larger than the rest of the window is an
error for its sender, or waits. So the whole window must be granted again when all data was consumed, and a
window must not be smaller than the largest piece.
"""

from __future__ import annotations

from typing import Final

from quicdist.carrier.quic.engine.contract import Engine

#: A new limit is sent when this fraction of the window, 1/4, was consumed.
STEP: Final = 4


class ReceiveWindow:
    """The window of one stream, ``size`` bytes."""

    __slots__ = ("_consumed", "_engine", "limit", "size", "stream_id")

    def __init__(self, engine: Engine, stream_id: int, size: int) -> None:
        self.size = size
        self.stream_id = stream_id
        self._engine = engine
        self._consumed = 0
        #: The offset up to which the peer may send.
        self.limit = engine.keep_window(stream_id, size)

    def consumed(self, n: int) -> None:
        """``n`` more bytes were consumed."""
        self._consumed += n

    @property
    def left(self) -> int:
        """The bytes that the peer may send beyond those that were consumed."""
        return self.limit - self._consumed

    @property
    def is_due(self) -> bool:
        """Whether enough was consumed to send the peer a new limit."""
        return self.size - self.left >= self.size // STEP

    def grant(self, size: int | None = None) -> bool:
        """Let the peer send a whole window from here, or ``size`` bytes; whether the limit has grown."""
        size = self.size if size is None else size
        if self.left >= size:
            return False
        self.limit = self._consumed + size
        self._engine.grant(self.stream_id, self.limit)
        return True
