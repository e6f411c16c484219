"""A dialled connection of aioquic's that is told to begin anew (Retry), and loses nothing by that."""

from __future__ import annotations

from aioquic.quic.packet import QuicHeader, QuicPacketType
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.connection import Connection


class RetriedConnection(Connection):
    """aioquic begins anew with packet spaces that know nothing of what was sent before. The early data among
    it would count as under way for good, never to be sent again, and so would the bytes in flight."""

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
