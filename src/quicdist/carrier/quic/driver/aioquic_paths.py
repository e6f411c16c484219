"""What aioquic knows of the paths of a connection, and does not show (see ``aioquic_adapter``)."""

from __future__ import annotations

from typing import Final

from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

#: An address that is not validated is sent at most so many times the bytes that came from there (RFC 9000,
#: section 8.1).
AMPLIFICATION: Final = 3


def unvalidated_credit(quic: QuicConnection) -> int | None:
    """The bytes that may still be sent to the peer's address; None if it is validated, and there is no such
    limit. Negative where too many were built: aioquic holds a CONNECTION_CLOSE to no limit."""
    path = quic._network_paths[0]
    return None if path.is_validated else AMPLIFICATION * path.bytes_received - path.bytes_sent


def long_packets_in_flight(quic: QuicConnection, size: int, before: int | None = None) -> tuple[int, int]:
    """The number of the packet that is sent next, and how many that were sent before it, or before the packet
    ``before``, have more than ``size`` bytes and are neither acknowledged nor declared lost."""
    sent = quic._spaces[Epoch.ONE_RTT].sent_packets
    number = quic._packet_number
    last = number if before is None else before
    count = sum(1 for packet in sent.values() if packet.sent_bytes > size and packet.packet_number < last)
    return number, count
