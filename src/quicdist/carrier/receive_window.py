"""How far ahead of what was taken in a peer may send on one stream (RFC 9000, section 4).

quic_dist sends a piece of data whole or not at all: one that is larger than what is left of the
window is an error to whoever sent it, or waits. So what is left must come back to the whole window
when all was taken in, and a window must not be smaller than the largest piece.
"""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection

from quicdist.carrier import aioquic_adapter as adapter

#: The part of a window that is worth a packet.
STEP: Final = 8


class ReceiveWindow:
    """The window of one stream: ``size`` bytes, and up to ``most`` where the round trip is so long that
    the peer would wait for more: where a whole window is taken in within two round trips."""

    __slots__ = ("_consumed", "_epoch_at", "_epoch_from", "_limit", "_most", "_quic", "_stream_id", "size")

    def __init__(
        self, quic: QuicConnection, stream_id: int, size: int, *, most: int = 0, now: float = 0.0
    ) -> None:
        self.size = size
        self._most = most
        self._quic = quic
        self._stream_id = stream_id
        self._consumed = 0
        self._limit = adapter.keep_window(quic, stream_id, size)
        self._epoch_at = now
        self._epoch_from = 0

    def consumed(self, n: int, now: float = 0.0) -> bool:
        """``n`` more bytes were taken in; whether there is something to tell the peer."""
        self._consumed += n
        if self.size < self._most and self._consumed - self._epoch_from >= self.size:
            if now - self._epoch_at < 2 * adapter.quickest_round_trip(self._quic):
                self.size = min(2 * self.size, self._most)
            self._epoch_at, self._epoch_from = now, self._consumed
        return self._consumed + self.size - self._limit >= self.size // STEP and self.grant()

    @property
    def is_whole(self) -> bool:
        """Whether the peer was told of all that was taken in."""
        return self._consumed + self.size <= self._limit

    def grant(self) -> bool:
        """Let the peer send a whole window from here; whether that is more than before."""
        if self.is_whole:
            return False
        self._limit = self._consumed + self.size
        adapter.grant(self._quic, self._stream_id, self._limit)
        return True
