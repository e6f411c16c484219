"""Detects streams that make no progress while their connection is alive.

QUIC retransmits lost data, and other time-outs end silent connections. A connection that is alive and does
not close a gap in a stream is broken: quic_dist before 2.0.2 can lose a part of the data that it sends, and
up to 1.8.1 fail to reassemble data that it has acknowledged. Without this check the senders of the messages
behind the gap would never learn of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quicdist.carrier.errors import LinkLost

if TYPE_CHECKING:
    from quicdist.carrier.quic.engine.contract import Engine

#: Tolerance, in seconds, for rounding errors in sums of times.
ROUNDING: Final = 1e-6


class _Stalls:
    """Streams by the offset at which they are stalled, and for how long."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def update(self, offsets: dict[int, int], elapsed: float) -> None:
        """The streams are at ``offsets``, ``elapsed`` seconds after the last update."""
        before = self._since
        self._since = {}
        for stream_id, offset in offsets.items():
            was, seconds = before.get(stream_id, (-1, 0.0))
            self._since[stream_id] = (offset, seconds + elapsed if was == offset else 0.0)

    def longest(self) -> tuple[float, int, int]:
        """The longest stall: seconds, stream and offset."""
        return max(
            ((seconds, stream_id, offset) for stream_id, (offset, seconds) in self._since.items()),
            default=(0.0, 0, 0),
        )


class StalledStreamDetector:
    """Detects stalled streams of the QUIC connection to ``node``."""

    def __init__(self, node: str, engine: Engine) -> None:
        self._node = node
        self._engine = engine
        self._in, self._out = _Stalls(), _Stalls()
        self._checked_at: float | None = None
        self._heard = -1

    def check(self, now: float, limit: float) -> LinkLost | None:
        """Check all streams at ``now``. Returns the error that ends the link if one was stalled for ``limit``
        seconds in which packets of the peer came."""
        heard = self._engine.packets_received()
        # A silent peer is detected elsewhere.
        alive, self._heard = heard != self._heard, heard
        elapsed = now - self._checked_at if self._checked_at is not None and alive else 0.0
        self._checked_at = now
        self._in.update(self._engine.waiting_for(), elapsed)
        self._out.update(self._engine.unacknowledged_from(), elapsed)
        seconds, stream_id, offset = self._in.longest()
        if seconds >= limit - ROUNDING:
            text = (
                f"stream {stream_id} has a gap at offset {offset} that stayed open for {seconds:.0f} s while "
                "its connection is alive: the missing bytes never came"
            )
            return LinkLost(self._node, text)
        seconds, stream_id, offset = self._out.longest()
        if seconds >= limit - ROUNDING:
            text = (
                f"stream {stream_id}: bytes from offset {offset} on were not acknowledged for "
                f"{seconds:.0f} s, while packets of the peer came"
            )
            return LinkLost(self._node, text)
        return None
