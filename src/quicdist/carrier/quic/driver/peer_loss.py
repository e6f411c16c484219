"""Hints that a peer has lost its part of a connection, and what they come to.

A hint is what the network or the peer's address says without proof: ICMP port unreachable, or a packet that
belongs to no connection, which may be a stateless reset with another secret (quic_dist makes a new one with
every start). Either may be forged, and a peer may be back in a moment (RFC 8085, section 5.2; RFC 9000,
sections 10.3 and 14.2.1). So a hint only makes this side ask. A connection is given up where several packets
in a row were answered by hints, and nothing of the peer came for so long that an answer would have.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quicdist.carrier.quic.driver.connection import QuicConnection

#: So many hints, each of them after another packet was sent,
HINTS: Final = 4
#: within this many seconds at least, and this many probe timeouts.
SECONDS: Final = 0.75
PROBE_TIMEOUTS: Final = 3
#: Seconds between a hint and the packet that asks, and from the last hint until it is forgotten.
PROBE: Final = 0.1
FORGOTTEN: Final = 10.0

#: Why a connection ends.
PORT_UNREACHABLE: Final = "its port is closed (ICMP port unreachable)"
CONNECTION_UNKNOWN: Final = "the peer has lost the connection (it answers with packets of no connection)"


class PeerLossDetector:
    """The hints about the peer of one established connection."""

    def __init__(self, connection: QuicConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._hints = 0
        #: Of the first hint and the last.
        self._since = self._last = 0.0
        #: What had come and what had been sent at the last one.
        self._heard = self._sent = -1

    def hint(self, reason: str) -> None:
        """The peer may have lost the connection; ``reason`` is why it ends if so."""
        connection = self._connection
        engine = connection.engine
        if connection.closed:
            return
        now, sent = self._loop.time(), engine.packets_sent()
        if self._over() or now - self._last > FORGOTTEN:
            self._hints, self._since = 0, now
        self._heard = engine.packets_received()
        self._last = now
        if sent != self._sent or not self._hints:
            self._hints += 1
        self._sent = sent
        silent = now - self._since
        if self._hints >= HINTS and silent >= SECONDS and silent >= PROBE_TIMEOUTS * engine.probe_timeout():
            self.stop()
            connection.abandon(reason, unreachable=True)
        elif self._timer is None:
            self._timer = self._loop.call_later(PROBE, self._ask)

    def stop(self) -> None:
        """The connection is over, or goes on by another way: nothing is in doubt."""
        self._hints = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> bool:
        """Whether something of the peer came since the last hint."""
        return self._connection.engine.packets_received() != self._heard

    def _ask(self) -> None:
        self._timer = None
        if not self._over():
            self._connection.ping()
