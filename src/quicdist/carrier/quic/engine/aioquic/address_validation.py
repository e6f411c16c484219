"""What aioquic knows of the paths of a connection, and does not show."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.contract import AMPLIFICATION


def unvalidated_credit(quic: QuicConnection) -> int | None:
    """The bytes that may still be sent to the peer's address; None if it is validated, and there is no such
    limit. Negative where too many were built: aioquic holds a CONNECTION_CLOSE to no limit."""
    path = quic._network_paths[0]
    return None if path.is_validated else AMPLIFICATION * path.bytes_received - path.bytes_sent


def path_is_valid(quic: QuicConnection) -> bool:
    """Whether the peer is known to be where datagrams are sent to: until it is, one that has changed its
    address is sent no more than a few times what came from there."""
    return quic._network_paths[0].is_validated
