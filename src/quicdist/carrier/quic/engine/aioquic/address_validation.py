"""Address validation (RFC 9000, section 8): the state of the path in use."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.contract import AMPLIFICATION


def unvalidated_credit(quic: QuicConnection) -> int | None:
    """Bytes that may still be sent to the peer's address; None if it is validated. Negative if too many were
    sent: aioquic does not apply the limit to CONNECTION_CLOSE."""
    path = quic._network_paths[0]
    return None if path.is_validated else AMPLIFICATION * path.bytes_received - path.bytes_sent


def path_is_valid(quic: QuicConnection) -> bool:
    """Whether the peer's address is validated. Until then only three times the bytes that came from it are
    sent to it."""
    return quic._network_paths[0].is_validated
