"""Statistics of a connection, which aioquic has as private attributes."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from quicdist.carrier.contract import TransportStats
from quicdist.carrier.quic.engine.aioquic.recovery import OwnRecovery
from quicdist.carrier.quic.engine.aioquic.streams import OwnStreams
from quicdist.carrier.quic.engine.contract import UNLIMITED


def packets_sent(quic: QuicConnection) -> int:
    """The number of packets ever sent, which is the number of the next packet."""
    return quic._packet_number


def transport_stats(quic: OwnRecovery) -> TransportStats:
    """Packet loss, round-trip times and the congestion window, now."""
    loss = quic._loss
    measured = loss.rtt.first_at is not None
    return TransportStats(
        round_trip=loss.rtt.smoothed if measured else None,
        round_trip_variation=loss.rtt.variance if measured else None,
        packets_sent=quic._packet_number,
        retransmissions=loss.lost,
        spurious_losses=loss.spurious,
        congestion_window=loss.congestion.congestion_window,
        in_flight=loss.bytes_in_flight,
    )


def probe_timeout(quic: QuicConnection) -> float:
    """The probe timeout in seconds, without backoff (RFC 9002, section 6.2.1)."""
    return quic._loss.get_probe_timeout()


def packets_received(quic: QuicConnection) -> int:
    """A number that grows with each new authenticated packet of the established connection. Each is a sign of
    life, also one without data, for which aioquic has no event."""
    space = quic._spaces.get(Epoch.ONE_RTT)
    return space.largest_received_packet + 1 if space is not None else 0


def unsent(quic: QuicConnection, stream_id: int) -> int:
    """Bytes written to a stream and never sent."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender.highest_offset if stream is not None else 0


def unacknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Bytes written to a stream and not acknowledged, sent or not."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop - stream.sender._buffer_start if stream is not None else 0


def total_unacknowledged(quic: QuicConnection) -> int:
    """Bytes written to all streams and not acknowledged."""
    return sum(stream.sender._buffer_stop - stream.sender._buffer_start for stream in quic._streams.values())


def stream_exists(quic: QuicConnection, stream_id: int) -> bool:
    """Whether the stream exists: aioquic drops one that is over in both directions, and raises for any use of
    it afterwards."""
    return stream_id in quic._streams


def written(quic: QuicConnection, stream_id: int) -> int:
    """Bytes ever written to a stream."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_stop if stream is not None else 0


def acknowledged(quic: QuicConnection, stream_id: int) -> int:
    """The offset up to which a stream is acknowledged; UNLIMITED if it is over."""
    stream = quic._streams.get(stream_id)
    return stream.sender._buffer_start if stream is not None else UNLIMITED


def is_writable(quic: QuicConnection, stream_id: int) -> bool:
    """Whether data can be written to a stream: aioquic raises for one that was reset, by STOP_SENDING too."""
    stream = quic._streams.get(stream_id)
    return stream is not None and stream.sender._reset_error_code is None


def quickest_round_trip(quic: OwnRecovery) -> float:
    """The shortest recent round-trip time in seconds."""
    return quic._loss.rtt.minimum


def in_flight(quic: QuicConnection) -> int:
    """Bytes of packets sent and neither acknowledged nor lost."""
    return quic._loss.bytes_in_flight


def waiting_for(quic: OwnStreams) -> dict[int, int]:
    """The streams with data out of order, each with the offset at which its first gap begins."""
    return {
        stream_id: stream.receiver._buffer_start
        for stream_id, stream in list(quic._streams.items())
        if stream.receiver.has_gap
    }


def unacknowledged_from(quic: QuicConnection) -> dict[int, int]:
    """The streams with unacknowledged data in flight, each with the offset of the first such byte."""
    return {
        stream_id: stream.sender._buffer_start
        for stream_id, stream in list(quic._streams.items())
        if stream.sender._buffer_start < stream.sender.highest_offset and not stream.sender.is_finished
    }


def stream_bytes_received(quic: QuicConnection) -> int:
    """Bytes received in order on the streams that exist."""
    return sum(stream.receiver._buffer_start for stream in list(quic._streams.values()))


def stream_bytes_acknowledged(quic: QuicConnection) -> int:
    """Bytes acknowledged on the streams that exist."""
    return sum(stream.sender._buffer_start for stream in list(quic._streams.values()))
