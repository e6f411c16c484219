"""What aioquic knows of the paths of a connection, and does not show (see ``aioquic_adapter``)."""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection

#: An address that is not validated is sent at most so many times the bytes that came from there (RFC 9000,
#: section 8.1).
AMPLIFICATION: Final = 3


def unvalidated_credit(quic: QuicConnection) -> int | None:
    """The bytes that may still be sent to the peer's address; None if it is validated, and there is no such
    limit. Negative where too many were built: aioquic holds a CONNECTION_CLOSE to no limit."""
    path = quic._network_paths[0]
    return None if path.is_validated else AMPLIFICATION * path.bytes_received - path.bytes_sent
