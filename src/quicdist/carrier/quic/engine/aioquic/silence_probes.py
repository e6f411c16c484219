"""Asking a peer that fell silent in the middle of something.

By RFC 9002 a sender finds out for itself what was lost: its probes are not held to the congestion window.
Up to 1.8.2 quic_dist holds them to it, and never notices that a whole window was lost, unless an
acknowledgement tells of packets after those. So where data came, and then nothing, or some are missing, a
PING asks for such a packet, and the next one takes its acknowledgement along.
``tests/simulated/test_silence_probes.py`` shows it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aioquic.quic.connection import QuicConnectionState
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.transport_parameters import is_quicdist

#: Probe timeouts of silence before the first PING: a probe of the peer's own should have come by then. After
#: each answer it is twice as long.
PATIENCE: Final = 3
#: Seconds between two PINGs at most, where something is missing.
MOST: Final = 8.0
#: PINGs where nothing is known to be missing: the first has something come that the second acknowledges.
UNSURE: Final = 2
#: Less than these bytes in a row fill no window.
WINDOW: Final = 8 * 1024


class _Came(NamedTuple):
    """What has come of all streams: bytes in all, and what is kept because others before them are missing."""

    received: int
    pieces: int
    kept: int


class ProbesSilence(Bounded):
    """A connection that asks."""

    #: The peer may need it: quicdist's own find out for themselves.
    _asks = False
    _asked_at, _asked = 0.0, 0
    #: What had come when it was asked, and up to where nothing is left to ask for.
    _asked_with = _Came(0, 0, 0)
    _settled = 0

    def authenticated(self) -> None:
        super().authenticated()
        self._asks = not is_quicdist(self)

    def _came(self) -> _Came:
        return _Came(self._local_max_data.used, self._stock.pieces, self._stock.size)

    def _silence_probe_at(self) -> float | None:
        """When the next PING is due; None while there is nothing to ask for."""
        missing = self._stock.pieces
        if not missing and self._local_max_data.used - self._settled < WINDOW:
            return None
        if not self._asks or self._state is not QuicConnectionState.CONNECTED:
            return None
        asked = self._asked if self._came() == self._asked_with else 0
        heard: float = self._spaces[Epoch.ONE_RTT].largest_received_time or 0.0
        if asked and heard <= self._asked_at:
            return None  # Loss recovery sees to it that the PING is answered.
        return heard + min(PATIENCE * self._loss.get_probe_timeout() * (1 << min(asked, 16)), MOST)

    def get_timer(self) -> float | None:
        timer, probe = super().get_timer(), self._silence_probe_at()
        return timer if probe is None or (timer is not None and timer < probe) else probe

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        probe = self._silence_probe_at()
        if probe is None or now < probe:
            return
        came = self._came()
        self._asked = self._asked + 1 if came == self._asked_with else 1
        self._asked_with, self._asked_at = came, now
        if not came.pieces and self._asked >= UNSURE:
            self._settled = came.received
        self._ping_pending.append(0)
