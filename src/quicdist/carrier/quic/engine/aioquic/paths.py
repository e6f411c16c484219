"""What aioquic knows of the paths of a connection, and does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

#: An address that is not validated is sent at most so many times the bytes that came from there (RFC 9000,
#: section 8.1).
AMPLIFICATION: Final = 3


def unvalidated_credit(quic: QuicConnection) -> int | None:
    """The bytes that may still be sent to the peer's address; None if it is validated, and there is no such
    limit. Negative where too many were built: aioquic holds a CONNECTION_CLOSE to no limit."""
    path = quic._network_paths[0]
    return None if path.is_validated else AMPLIFICATION * path.bytes_received - path.bytes_sent


def watch_long_packets(
    quic: QuicConnection, size: int, after: int, tell: Callable[[int], None]
) -> tuple[int, int]:
    """Have ``tell`` called with its size when one of the packets from number ``after`` on is acknowledged
    that have more than ``size`` bytes and are in flight. How many there are, and the size of the longest."""
    count = longest = 0
    for number, packet in quic._spaces[Epoch.ONE_RTT].sent_packets.items():
        if packet.sent_bytes > size and number >= after:
            count += 1
            longest = max(longest, packet.sent_bytes)
            packet.delivery_handlers.append((_tell_acknowledged, (tell, packet.sent_bytes)))
    return count, longest


def _tell_acknowledged(delivery: QuicDeliveryState, tell: Callable[[int], None], size: int) -> None:
    if delivery is QuicDeliveryState.ACKED:
        tell(size)


def path_is_valid(quic: QuicConnection) -> bool:
    """Whether the peer is known to be where datagrams are sent to: until it is, one that has changed its
    address is sent no more than a few times what came from there."""
    return quic._network_paths[0].is_validated
