"""How long nothing has come of a node whose QUIC connection lives.

quic_dist can leave a connection that nobody owns, which goes on acknowledging
(:mod:`quicdist.carrier.quic.liveness_probe`). So a node of which nothing comes is sent a signal that it has
to answer.
Time counts against it where it has acknowledged that signal, or acknowledges nothing: one that is queued
behind what was lost, on a path that moves on slowly, cannot be answered yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quicdist.carrier.errors import PeerSilent
from quicdist.carrier.quic.stalled_streams import ROUNDING

if TYPE_CHECKING:
    from quicdist.carrier.quic.driver.connection import QuicConnection


class SilentPeerDetector:
    """That of one node. ``acknowledgements_tell``: the process that acknowledges is the node itself, as with
    quicdist."""

    def __init__(self, node: str, connection: QuicConnection, *, acknowledgements_tell: bool) -> None:
        self._node = node
        self._connection = connection
        self._acknowledgements_tell = acknowledgements_tell
        self._heard = self._acknowledged = 0
        self._silent = 0.0
        self._looked_at: float | None = None
        #: Where the signal that is to be answered ends: a stream and an offset.
        self._asked: tuple[int, int] | None = None
        #: The node is to be sent such a signal now.
        self.asks = False

    def asked(self, stream_id: int) -> None:
        """The signal was written to a stream, and nothing after it."""
        connection = self._connection
        end = connection.engine.written(stream_id) + connection.queued_on(stream_id)
        self._asked = stream_id, end
        self._acknowledged = connection.engine.stream_bytes_acknowledged()

    def look(self, now: float, limit: float) -> PeerSilent | None:
        """Look at ``now``, in seconds; the error that ends the link where nothing came for ``limit`` seconds
        that count."""
        engine = self._connection.engine
        elapsed = now - self._looked_at if self._looked_at is not None else 0.0
        self._looked_at = now
        heard, asked = engine.stream_bytes_received(), self._asked
        self.asks = False
        if heard != self._heard:
            self._heard, self._silent, self._asked = heard, 0.0, None
            return None
        if asked is not None:
            stream_id, end = asked
            before, self._acknowledged = self._acknowledged, engine.stream_bytes_acknowledged()
            # A stream on which nothing was sent yet is none to the engine.
            arrived = engine.stream_exists(stream_id) and engine.acknowledged(stream_id) >= end
            if not arrived and self._acknowledged != before:
                return None
            if arrived and self._acknowledgements_tell:
                self._silent = -elapsed
        self._silent += elapsed
        if self._silent >= limit - ROUNDING:
            text = f"its QUIC connection lives, but nothing came of the node for {limit:g} s"
            return PeerSilent(self._node, text)
        self.asks = True
        return None
