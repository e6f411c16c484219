"""Streams that stand still while their connection lives.

QUIC sends again what is lost, and a connection on which nothing comes has time limits of its own. One that
lives, and yet leaves a gap in a stream open, is broken: quic_dist before 2.0.2 can forget a part of what it
sends, and up to 1.8.1 fail to join what it has acknowledged. Nothing else would ever tell the senders of
the messages behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quicdist.carrier.errors import LinkLost

if TYPE_CHECKING:
    from quicdist.carrier.quic.engine.contract import Engine

#: Seconds that sums of times may be less than they should.
ROUNDING: Final = 1e-6


class _Standing:
    """Streams by the offset at which they stand, and for how long."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, offsets: dict[int, int], elapsed: float) -> None:
        """They stand at ``offsets``, ``elapsed`` seconds after the look before."""
        before = self._since
        self._since = {}
        for stream_id, offset in offsets.items():
            was, seconds = before.get(stream_id, (-1, 0.0))
            self._since[stream_id] = (offset, seconds + elapsed if was == offset else 0.0)

    def longest(self) -> tuple[float, int, int]:
        """For how long, which stream, and where."""
        return max(
            ((seconds, stream_id, offset) for stream_id, (offset, seconds) in self._since.items()),
            default=(0.0, 0, 0),
        )


class StalledStreamDetector:
    """Looks at the streams of one connection to ``node`` now and then."""

    def __init__(self, node: str, engine: Engine) -> None:
        self._node = node
        self._engine = engine
        self._in, self._out = _Standing(), _Standing()
        self._looked_at: float | None = None
        self._heard = -1

    def look(self, now: float, limit: float) -> LinkLost | None:
        """Look at all streams at ``now``; the error that ends the link where one has stood still for
        ``limit`` seconds, during which the peer was heard."""
        heard = self._engine.packets_received()
        # Where the peer is silent, that is what is wrong, and others see to it.
        alive, self._heard = heard != self._heard, heard
        elapsed = now - self._looked_at if self._looked_at is not None and alive else 0.0
        self._looked_at = now
        self._in.look(self._engine.waiting_for(), elapsed)
        self._out.look(self._engine.unacknowledged_from(), elapsed)
        seconds, stream_id, offset = self._in.longest()
        if seconds >= limit - ROUNDING:
            text = (
                f"stream {stream_id} has a gap at offset {offset} that stayed open for {seconds:.0f} s, "
                "while its connection lives: the bytes that are missing there never came"
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
