"""How far ahead of what was taken in a peer may send on one stream (RFC 9000, section 4).

quic_dist sends a piece of data whole or not at all: one that is larger than what is left of the
window is an error to whoever sent it, or waits. So what is left must come back to the whole window
when all was taken in, and a window must not be smaller than the largest piece.
"""

from __future__ import annotations

from typing import Final

from quicdist.carrier.quic.engine.contract import Engine

#: The part of a window that is worth a packet.
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
        """``n`` more bytes were taken in."""
        self._consumed += n

    @property
    def left(self) -> int:
        """What the peer may send beyond what was taken in."""
        return self.limit - self._consumed

    @property
    def is_due(self) -> bool:
        """Whether so much was taken in that the peer is to be told."""
        return self.size - self.left >= self.size // STEP

    def grant(self, size: int | None = None) -> bool:
        """Let the peer send a whole window from here, or ``size``; whether that is more than before."""
        size = self.size if size is None else size
        if self.left >= size:
            return False
        self.limit = self._consumed + size
        self._engine.grant(self.stream_id, self.limit)
        return True
