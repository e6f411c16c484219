"""What of aioquic's recovery tells whether a peer is still there (see ``aioquic_adapter``)."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection


def packets_sent(quic: QuicConnection) -> int:
    """How many packets were ever sent, which is the number of the next one. aioquic counts them in their
    numbers alone."""
    return quic._packet_number


def probe_timeout(quic: QuicConnection) -> float:
    """Seconds after which a packet that is not acknowledged is asked after (RFC 9002, section 6.2.1); aioquic
    shows only the next time at which anything is due."""
    return quic._loss.get_probe_timeout()
