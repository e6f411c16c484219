"""Detects a peer that has lost its connection, by hints that are not proof.

A hint is an ICMP port unreachable, or a packet that belongs to no connection: perhaps a stateless reset made
with another secret (quic_dist makes a new one with every start). Either can be forged, and a peer may be back
in a moment (RFC 8085, section 5.2; RFC 9000, sections 10.3 and 14.2.1). So a hint only causes a PING. The
connection ends when several packets in a row were answered by hints, and nothing of the peer came in the time
in which an answer would have come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quicdist.carrier.quic.driver.connection import QuicConnection

#: The connection ends after so many hints, each after another packet was sent,
MIN_HINTS: Final = 4
#: in at least so many seconds and so many probe timeouts.
MIN_SILENCE: Final = 0.75
PROBE_TIMEOUTS: Final = 3
#: Seconds from a hint to the PING, and from the last hint until all are forgotten.
PING_DELAY: Final = 0.1
HINT_LIFETIME: Final = 10.0

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
        #: The times of the first hint and the last.
        self._since = self._last = 0.0
        #: Packets received and sent at the last one.
        self._heard = self._sent = -1

    def hint(self, reason: str) -> None:
        """The peer may have lost the connection, which ends with ``reason`` if it has."""
        connection = self._connection
        engine = connection.engine
        if connection.closed:
            return
        now, sent = self._loop.time(), engine.packets_sent()
        if self._is_alive() or now - self._last > HINT_LIFETIME:
            self._hints, self._since = 0, now
        self._heard = engine.packets_received()
        self._last = now
        if sent != self._sent or not self._hints:
            self._hints += 1
        self._sent = sent
        silent, least = now - self._since, max(MIN_SILENCE, PROBE_TIMEOUTS * engine.probe_timeout())
        if self._hints >= MIN_HINTS and silent >= least:
            self.stop()
            connection.abandon(reason, unreachable=True)
        elif self._timer is None:
            self._timer = self._loop.call_later(PING_DELAY, self._ping)

    def stop(self) -> None:
        """The connection is over, or has another path: forget all hints."""
        self._hints = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_alive(self) -> bool:
        """Whether a packet of the peer came since the last hint."""
        return self._connection.engine.packets_received() != self._heard

    def _ping(self) -> None:
        self._timer = None
        if not self._is_alive():
            self._connection.ping()
