"""Where streams stand: what they wait for in either direction. aioquic tells of
neither."""

from __future__ import annotations

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.aioquic.reassembly import Receiver


def waiting_for(quic: QuicConnection) -> dict[int, int]:
    """The streams that have received bytes beyond a gap, and the offset at which the gap begins."""
    return {
        stream_id: stream.receiver._buffer_start
        for stream_id, stream in list(quic._streams.items())
        if isinstance(stream.receiver, Receiver) and stream.receiver.has_gap
    }


def unacknowledged_from(quic: QuicConnection) -> dict[int, int]:
    """The streams that have sent bytes which are not acknowledged, and the offset of the first of them."""
    return {
        stream_id: stream.sender._buffer_start
        for stream_id, stream in list(quic._streams.items())
        if stream.sender._buffer_start < stream.sender.highest_offset and not stream.sender.is_finished
    }


def stream_bytes_received(quic: QuicConnection) -> int:
    """How many bytes of the streams there are have come in order: another number where more have."""
    return sum(stream.receiver._buffer_start for stream in list(quic._streams.values()))


def stream_bytes_acknowledged(quic: QuicConnection) -> int:
    """How many bytes of the streams there are were acknowledged: another number where more were."""
    return sum(stream.sender._buffer_start for stream in list(quic._streams.values()))
