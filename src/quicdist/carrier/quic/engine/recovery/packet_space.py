"""Packets and packet number spaces as loss detection uses them (RFC 9002, appendix A.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol


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
    """A packet number space. ``sent_packets`` are those neither acknowledged nor lost, in order."""

    ack_at: float | None
    ack_eliciting_in_flight: int
    is_application_data: bool
    largest_acked_packet: int
    loss_time: float | None
    # Any: of packets that are more than a Packet.
    sent_packets: dict[int, Any]


class FrameSender(Protocol):
    """The sending part of a stream."""

    @property
    def on_data_delivery(self) -> Callable[..., None]:
        """Called with whether a frame was acknowledged or lost, its offsets, and its FIN bit."""

    def on_frames_acknowledged(self, frames: list[tuple[int, int]]) -> None:
        """Frames without FIN, from their first up to their second offset, are acknowledged."""


class FramePacket:
    """A packet with one STREAM frame without FIN, in flight. The acknowledgement of many is one call, unless
    somebody has asked for their handlers."""

    __slots__ = ("frame", "handlers", "in_flight", "packet_number", "sender", "sent_bytes", "sent_time")

    is_ack_eliciting: Final = True
    is_crypto_packet: Final = False

    def __init__(
        self, number: int, now: float, size: int, sender: FrameSender, frame: tuple[int, int]
    ) -> None:
        self.packet_number = number
        self.sent_time: float | None = now
        self.sent_bytes = size
        self.in_flight = True
        self.sender = sender
        #: The offsets where its data begin and end.
        self.frame = frame
        #: ``delivery_handlers``, once they were asked for.
        self.handlers: list[tuple[Callable[..., None], Any]] | None = None

    @property
    def delivery_handlers(self) -> list[tuple[Callable[..., None], Any]]:
        """What is called when the packet is acknowledged or lost; handlers can be added."""
        if self.handlers is None:
            self.handlers = [(self.sender.on_data_delivery, (*self.frame, False))]
        return self.handlers


class Record:
    """The record of a packet number space that is kept for loss detection alone."""

    __slots__ = ("acked", "lost", "next_number")

    def __init__(self) -> None:
        #: The ranges in the ACK frame with the largest packet number so far.
        self.acked: Sequence[range] = ()
        #: Packets that were declared lost, when, and whether by a probe timeout only.
        self.lost: dict[int, tuple[Packet, float, bool]] = {}
        #: The number of the next packet.
        self.next_number = 0
