"""Detects a peer whose QUIC connection is alive but whose node sends nothing.

quic_dist can leave a connection without an owner, which still acknowledges
(:mod:`quicdist.carrier.quic.liveness_probe`). So a silent node is sent a probe, a signal that it has to
answer. Silence counts only if the probe was acknowledged, or while nothing is acknowledged: a probe that is
queued behind lost packets on a slow path cannot be answered yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quicdist.carrier.errors import PeerSilent
from quicdist.carrier.quic.stalled_streams import ROUNDING

if TYPE_CHECKING:
    from quicdist.carrier.quic.driver.connection import QuicConnection


class SilentPeerDetector:
    """Measures the silence of one node. ``acknowledgements_count``: an acknowledged probe ends the silence.
    In quicdist the node itself acknowledges."""

    def __init__(self, node: str, connection: QuicConnection, *, acknowledgements_count: bool) -> None:
        self._node = node
        self._connection = connection
        self._acknowledgements_count = acknowledgements_count
        self._heard = self._acknowledged = 0
        self._silent = 0.0
        self._checked_at: float | None = None
        #: The last probe that was not answered: its stream, and the offset of its end.
        self._probe: tuple[int, int] | None = None
        #: A probe is to be sent now.
        self.probe_is_due = False

    def probe_sent(self, stream_id: int) -> None:
        """A probe was just written to a stream."""
        connection = self._connection
        end = connection.engine.written(stream_id) + connection.queued_on(stream_id)
        self._probe = stream_id, end
        self._acknowledged = connection.engine.stream_bytes_acknowledged()

    def check(self, now: float, limit: float) -> PeerSilent | None:
        """Check at ``now``, in seconds. Returns the error that ends the link after ``limit`` seconds of
        silence, None before."""
        engine = self._connection.engine
        elapsed = now - self._checked_at if self._checked_at is not None else 0.0
        self._checked_at = now
        heard, probe = engine.stream_bytes_received(), self._probe
        self.probe_is_due = False
        if heard != self._heard:
            self._heard, self._silent, self._probe = heard, 0.0, None
            return None
        if probe is not None:
            stream_id, end = probe
            before, self._acknowledged = self._acknowledged, engine.stream_bytes_acknowledged()
            # For the engine a stream exists once data was sent on it.
            arrived = engine.stream_exists(stream_id) and engine.acknowledged(stream_id) >= end
            if not arrived and self._acknowledged != before:
                return None
            if arrived and self._acknowledgements_count:
                self._silent = -elapsed
        self._silent += elapsed
        if self._silent >= limit - ROUNDING:
            text = f"its QUIC connection is alive, but the node has sent nothing for {limit:g} s"
            return PeerSilent(self._node, text)
        self.probe_is_due = True
        return None
