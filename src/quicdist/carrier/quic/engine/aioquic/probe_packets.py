"""The size of datagrams, and probe packets for longer ones (RFC 9000, section 14.3; RFC 8899). In aioquic
the size is fixed."""

from __future__ import annotations

from collections.abc import Callable

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.tls import Epoch

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine.aioquic.recovery import OwnRecovery


def datagram_size(quic: QuicConnection) -> int:
    """The maximum length of datagrams."""
    return quic._max_datagram_size


def set_datagram_size(quic: OwnRecovery, size: int) -> None:
    """Build datagrams of up to ``size`` bytes from now on."""
    quic._max_datagram_size = size
    quic._loss.set_datagram_size(size)


def _call(delivery: QuicDeliveryState, on_done: Callable[[bool], None]) -> None:
    on_done(delivery is QuicDeliveryState.ACKED)


def _call_once(delivery: QuicDeliveryState, waiting: list[Callable[[bool], None]]) -> None:
    """A probe packet that was declared lost may be acknowledged later, when the next one is in flight."""
    if waiting:
        waiting.pop()(delivery is QuicDeliveryState.ACKED)


def make_probe(quic: OwnRecovery, size: int, now: float, on_done: Callable[[bool], None]) -> Datagram:
    """A probe packet: a datagram of ``size`` bytes with PING and PADDING, which counts as sent and not
    against the congestion window (RFC 9000, section 14.4). ``on_done`` is called with True when it is
    acknowledged, with False when it is lost."""
    path = quic._network_paths[0]
    peer_cid = quic._peer_cid.cid
    builder = QuicPacketBuilder(
        host_cid=quic.host_cid,
        is_client=quic._is_client,
        max_datagram_size=size,
        packet_number=quic._packet_number,
        peer_cid=peer_cid,
        quic_logger=quic._quic_logger,
        spin_bit=quic._spin_bit,
        version=quic._version,  # type: ignore[arg-type]  # it is known once the handshake is over
    )
    builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
    builder.start_frame(QuicFrameType.PING, handler=_call_once, handler_args=([on_done],))
    builder._datagram_needs_padding = True
    (datagram,) = quic._flush_builder(builder=builder, network_path=path, peer_cid=peer_cid, now=now)
    packet = quic._spaces[Epoch.ONE_RTT].sent_packets[quic._packet_number - 1]
    quic._loss.forget_in_flight([packet])
    return datagram


def forget_probe(quic: QuicConnection) -> None:
    """The probe packet just made was not sent."""
    space = quic._spaces[Epoch.ONE_RTT]
    del space.sent_packets[quic._packet_number - 1]
    space.ack_eliciting_in_flight -= 1


def watch(quic: QuicConnection, count: int, on_done: Callable[[bool], None]) -> bool:
    """Call ``on_done`` with True when the first of the last ``count`` datagrams is acknowledged, with False
    when it is lost. Returns False if it is not ack-eliciting."""
    packet = quic._spaces[Epoch.ONE_RTT].sent_packets.get(quic._packet_number - count)
    if packet is None or not packet.is_ack_eliciting:
        return False
    packet.delivery_handlers.append((_call, (on_done,)))
    return True


def watch_long_packets(
    quic: QuicConnection, size: int, after: int, on_acknowledged: Callable[[int], None]
) -> tuple[int, int]:
    """Call ``on_acknowledged`` with its size for each packet that is acknowledged, of those in flight from
    number ``after`` on with more than ``size`` bytes. Returns how many there are, and the size of the
    longest."""
    count = longest = 0
    for number, packet in quic._spaces[Epoch.ONE_RTT].sent_packets.items():
        if packet.sent_bytes > size and number >= after:
            count += 1
            longest = max(longest, packet.sent_bytes)
            packet.delivery_handlers.append((_call_if_acknowledged, (on_acknowledged, packet.sent_bytes)))
    return count, longest


def _call_if_acknowledged(
    delivery: QuicDeliveryState, on_acknowledged: Callable[[int], None], size: int
) -> None:
    if delivery is QuicDeliveryState.ACKED:
        on_acknowledged(size)
