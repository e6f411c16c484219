"""What loss detection needs of packets and packet number spaces (RFC 9002, appendix A.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Packet(Protocol):
    """A packet that was sent."""

    packet_number: int
    sent_time: float | None
    sent_bytes: int
    in_flight: bool
    is_ack_eliciting: bool
    is_crypto_packet: bool
    delivery_handlers: list[tuple[Callable[..., None], Any]]


class Space(Protocol):
    """A packet number space; ``sent_packets`` are those neither acknowledged nor lost, in order."""

    ack_at: float | None
    ack_eliciting_in_flight: int
    is_application_data: bool
    largest_acked_packet: int
    loss_time: float | None
    # Any: of packets that are more than a Packet.
    sent_packets: dict[int, Any]


class Record:
    """What is known of a packet space beside that."""

    __slots__ = ("acked", "lost", "next_number")

    def __init__(self) -> None:
        #: The ranges that the largest ACK frame so far told of.
        self.acked: Sequence[range] = ()
        #: Packets that counted as lost: when, and whether that was for a probe timeout only.
        self.lost: dict[int, tuple[Packet, float, bool]] = {}
        #: No packet with this number or a larger one was sent.
        self.next_number = 0
