"""A dialled connection, which may receive a Retry packet (RFC 9000, section 17.2.5)."""

from __future__ import annotations

from aioquic.quic.packet import QuicHeader, QuicPacketType
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.connection import Connection


class DialledConnection(Connection):
    """A connection that sends its early data again after a Retry. aioquic replaces the packet number spaces:
    early data sent before would never be declared lost, and their bytes would stay in flight for good."""

    def _receive_retry_packet(self, header: QuicHeader, packet_without_tag: bytes, now: float) -> None:
        spaces, count = self._spaces, self._retry_count
        super()._receive_retry_packet(header, packet_without_tag, now)
        if self._retry_count == count:
            return
        early = spaces[Epoch.ONE_RTT]
        unheard = [
            sent for sent in early.sent_packets.values() if sent.packet_type is QuicPacketType.ZERO_RTT
        ]
        self._loss.retransmit(unheard, now, early)
        self._loss.forget_in_flight(spaces[Epoch.INITIAL].sent_packets.values())
