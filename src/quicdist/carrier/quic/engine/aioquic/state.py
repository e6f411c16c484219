"""The state of a connection, and why it ends: known at once, not only after the draining period.

aioquic's event ConnectionTerminated comes three probe timeouts after the end (RFC 9000, section 10.2). That
is too late for a node, whose processes wait for it.
"""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection, QuicConnectionState

from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.state import EngineState

#: The reason that aioquic gives for the end by idle timeout.
_IDLE: Final = "Idle timeout"

_STATES: Final = {
    QuicConnectionState.FIRSTFLIGHT: EngineState.FIRST_FLIGHT,
    QuicConnectionState.CONNECTED: EngineState.CONNECTED,
    QuicConnectionState.CLOSING: EngineState.CLOSING,
    QuicConnectionState.DRAINING: EngineState.DRAINING,
    QuicConnectionState.TERMINATED: EngineState.TERMINATED,
}


def state(quic: QuicConnection) -> EngineState:
    """The state of the connection. aioquic changes its own when CONNECTION_CLOSE is sent."""
    if quic._close_event is not None and quic._state is QuicConnectionState.CONNECTED:
        return EngineState.CLOSING
    return _STATES[quic._state]


def closing(quic: QuicConnection) -> Closing | None:
    """Why the connection ends; None while it does not."""
    event = quic._close_event
    if event is None:
        return None
    by_peer = quic._state is QuicConnectionState.DRAINING
    return Closing(
        event.error_code,
        event.reason_phrase,
        by_peer=by_peer,
        is_application=event.frame_type is None,
        is_idle=not by_peer and event.reason_phrase == _IDLE,
    )
