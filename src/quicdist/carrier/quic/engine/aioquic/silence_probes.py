"""PINGs to a peer that falls silent in the middle of a transfer.

By RFC 9002 a sender detects itself what was lost: its probes are not limited by the congestion window. Up to
1.8.2 quic_dist limits them by it, and does not notice the loss of a whole window until an acknowledgement
tells of later packets. So when data came and then nothing, or some data are missing, a PING makes the peer
send a packet, and the next PING takes the acknowledgement of that packet along.
``tests/simulated/test_silence_probes.py`` shows it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aioquic.quic.connection import QuicConnectionState
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.transport_parameters import is_quicdist

#: Probe timeouts of silence before the first PING, and from its answer to the second: the peer's own probe
#: should have come by then. The interval doubles after each further answer.
FIRST_AFTER: Final = 3
#: The longest interval between two PINGs while data are missing, in seconds.
MAX_INTERVAL: Final = 8.0
#: PINGs when no data are known to be missing: the second acknowledges the answer to the first.
MAX_WITHOUT_GAP: Final = 2
#: Fewer bytes in a row than this do not fill a congestion window, if there was no silence before.
MIN_WINDOW: Final = 8 * 1024


class _Progress(NamedTuple):
    """The data received on all streams: bytes in total, and the pieces and bytes that are out of order."""

    received: int
    pieces: int
    kept: int


class ProbesSilence(Bounded):
    """A connection that sends PINGs to a silent peer."""

    #: The peer may need PINGs: it is not quicdist.
    _pings_peer = False
    _pinged_at, _pings = 0.0, 0
    #: What had come at the last PING, and the bytes up to which no PING is needed.
    _received_at_ping = _Progress(0, 0, 0)
    _no_ping_until = 0

    def authenticated(self) -> None:
        super().authenticated()
        self._pings_peer = not is_quicdist(self)

    def _progress(self) -> _Progress:
        return _Progress(self._local_max_data.used, self._reassembly.pieces, self._reassembly.size)

    def _silence_probe_at(self) -> float | None:
        """When the next PING is due; None while none is needed."""
        if not self._pings_peer or self._state is not QuicConnectionState.CONNECTED:
            return None
        heard: float = self._spaces[Epoch.ONE_RTT].largest_received_time or 0.0
        # After a silence the window of the peer is small: few bytes fill it.
        window = 1 if self._pings and heard - self._pinged_at < MAX_INTERVAL else MIN_WINDOW
        if not self._reassembly.pieces and self._local_max_data.used - self._no_ping_until < window:
            return None
        asked = self._pings if self._progress() == self._received_at_ping else 0
        if asked and heard <= self._pinged_at:
            return None  # Loss detection sends the PING again until it is acknowledged.
        doubled = 1 << min(max(asked - 1, 0), 16)
        return heard + min(FIRST_AFTER * self._loss.get_probe_timeout() * doubled, MAX_INTERVAL)

    def get_timer(self) -> float | None:
        timer, probe = super().get_timer(), self._silence_probe_at()
        return timer if probe is None or (timer is not None and timer < probe) else probe

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        probe = self._silence_probe_at()
        if probe is None or now < probe:
            return
        progress = self._progress()
        self._pings = self._pings + 1 if progress == self._received_at_ping else 1
        self._received_at_ping, self._pinged_at = progress, now
        if not progress.pieces and self._pings >= MAX_WITHOUT_GAP:
            self._no_ping_until = progress.received
        self._ping_pending.append(0)
