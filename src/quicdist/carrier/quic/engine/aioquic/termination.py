"""Why a connection of aioquic's ends, at once and not after the draining period."""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection, QuicConnectionState

from quicdist.carrier.quic.engine.closing import Closing

#: aioquic's words for a peer that was not heard of for the idle timeout.
_IDLE: Final = "Idle timeout"


def closing(quic: QuicConnection) -> Closing | None:
    """Why the connection is ending, or None while it is not.

    aioquic's event ConnectionTerminated comes only after the draining period of three probe
    timeouts (RFC 9000, section 10.2), too late for a node that wants to know at once.
    """
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
