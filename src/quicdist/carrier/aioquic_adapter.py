"""The only place that touches what aioquic does not show: each function with its reason.

aioquic's sans-I/O connection tells an application what arrives, but not how full its own buffers
are, nor at once that the peer is gone. ``tests/carrier/test_aioquic_adapter.py`` fails where a new
aioquic changes what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.tls import Epoch

#: QUIC's transport error codes for TLS alerts start here (RFC 9001, section 4.8).
CRYPTO_ERROR: Final = 0x100


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a connection ends: the content of its CONNECTION_CLOSE, or what stands in its place.

    ``by_peer``: the peer sent it; otherwise aioquic decided so itself. ``is_application``: the
    code is the application's, not QUIC's.
    """

    code: int
    reason: str
    by_peer: bool = False
    is_application: bool = False
    #: The network says that nobody is there: not aioquic's word but the kernel's.
    unreachable: bool = False

    @property
    def tls_alert(self) -> int | None:
        """The TLS alert in a transport error code (RFC 8446, section 6.2), or None."""
        if not self.is_application and CRYPTO_ERROR <= self.code < CRYPTO_ERROR + 256:
            return self.code - CRYPTO_ERROR
        return None

    def __str__(self) -> str:
        kind = "application" if self.is_application else "QUIC"
        reason = f" ({self.reason})" if self.reason else ""
        if self.code:
            return f"{kind} error 0x{self.code:x}{reason}"
        return self.reason or "no error"


def closing(quic: QuicConnection) -> Closing | None:
    """Why the connection is ending, or None while it is not.

    aioquic's event ConnectionTerminated comes only after the draining period of three probe
    timeouts (RFC 9000, section 10.2), too late for a node that wants to know at once.
    """
    event = quic._close_event
    if event is None:
        return None
    return Closing(
        event.error_code,
        event.reason_phrase,
        by_peer=quic._state is QuicConnectionState.DRAINING,
        is_application=event.frame_type is None,
    )


def is_fresh(quic: QuicConnection) -> bool:
    """Whether no packet has been understood yet: a listener forgets such a connection, which
    aioquic has no way to tell from one in its handshake."""
    return quic._state is QuicConnectionState.FIRSTFLIGHT


def packets_received(quic: QuicConnection) -> int:
    """A number that grows with every authenticated packet of the established connection that
    brings news. Any such packet is a sign of life, even one that holds nothing for the application,
    of which aioquic has no event."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    return space.largest_received_packet + 1 if space is not None else 0


def unsent(quic: QuicConnection, stream_id: int) -> int:
    """Bytes of a stream that were never sent. aioquic buffers without bound and does not tell."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender.highest_offset if stream is not None else 0


def unacknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Bytes of a stream that the peer has not acknowledged, sent or not."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender._buffer_start if stream is not None else 0


def total_unacknowledged(quic: QuicConnection) -> int:
    """Bytes of all streams that the peer has not acknowledged."""
    return sum(stream.sender._buffer_stop - stream.sender._buffer_start for stream in quic._streams.values())


def limit_datagram_size(quic: QuicConnection, size: int) -> bool:
    """Build no datagrams longer than ``size`` from now on; whether that is a change. The
    configuration's size is read only once, and the path may turn out narrower (EMSGSIZE)."""
    if quic._max_datagram_size <= size:
        return False
    quic._max_datagram_size = size
    return True
