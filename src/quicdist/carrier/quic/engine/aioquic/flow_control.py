"""Flow control (RFC 9000, section 4).

aioquic doubles each limit whenever half of it has arrived, read or not. Here the limit of a stream is what
was granted (:func:`grant`).

quic_dist before 2.1.0 ignores the limits when it sends a small frame with an acknowledgement, and exceeds
them by up to some 40 bytes. A receiver has to close the connection for that (section 4.1), but it may accept
more than it advertises: here :data:`SLACK` bytes more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # as in aioquic's examples
from aioquic.quic.connection import (
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from quicdist.carrier.quic.engine.aioquic.streams import OwnStreams, Stream, stream_frame_end

#: Bytes that are accepted beyond the limit of a stream, and of the connection.
SLACK: Final = 64


class OwnFlowControl(OwnStreams):
    """A connection whose stream limits are set by :func:`grant`, which raises no other limit within
    :func:`limits_held`, and which accepts :data:`SLACK` bytes beyond its limits."""

    holds_limits = False

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if not self.holds_limits:
            super()._write_connection_limits(builder, space)

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        assert isinstance(stream, Stream)
        if not stream.is_granted:
            if not self.holds_limits:
                super()._write_stream_limits(builder, space, stream)
        elif stream.max_stream_data_local_sent != stream.max_stream_data_local:
            # aioquic doubles the limit where it writes the frame.
            buf = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buf.push_uint_var(stream.id)
            buf.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except QuicConnectionError as error:
            if error.error_code != QuicErrorCode.FLOW_CONTROL_ERROR:
                raise
            buf.seek(at)
            stream_id, end = stream_frame_end(buf, frame_type)
            stream = self._streams[stream_id]
            new = max(0, end - stream.receiver.highest_offset)
            total = self._local_max_data
            if end > stream.max_stream_data_local + SLACK or total.used + new > total.value + SLACK:
                raise
            limit, value = stream.max_stream_data_local, total.value
            stream.max_stream_data_local = max(limit, end)
            total.value = max(value, total.used + new)
            try:
                super()._handle_stream_frame(context, frame_type, buf)
            finally:
                stream.max_stream_data_local = limit
                total.value = value


def keep_window(quic: OwnStreams, stream_id: int, window: int) -> int:
    """Set the limit of a stream by :func:`grant` from now on. Returns the limit: ``window``, or what the peer
    was granted before if that is more."""
    stream = quic._streams.get(stream_id)
    if stream is None:
        return window  # The stream is over.
    # In this order: another thread may build a packet meanwhile, and must not double the limit.
    stream.is_granted = True
    stream.max_stream_data_local = max(window, stream.max_stream_data_local)
    quic._changed.ids.add(stream_id)
    return stream.max_stream_data_local


def grant(quic: OwnStreams, stream_id: int, limit: int) -> None:
    """Let the peer send up to the offset ``limit`` on a stream of :func:`keep_window`."""
    stream = quic._streams.get(stream_id)
    if stream is not None and stream.is_granted:
        stream.max_stream_data_local = max(limit, stream.max_stream_data_local)
        quic._changed.ids.add(stream_id)


def stop_receiving(quic: OwnStreams, stream_id: int) -> None:
    """End the receiving part of a stream, whether the peer answers STOP_SENDING or not: quic_dist does not,
    and the stream would never be over. The limit of the connection is raised by what the peer may still send
    on it."""
    stream = quic._streams.get(stream_id)
    if stream is not None and not stream.receiver.is_finished:
        stream.receiver.is_finished = True
        stream.receiver.forget()
        quic._changed.ids.add(stream_id)
        quic._local_max_data.value += max(0, stream.max_stream_data_local - stream.receiver.highest_offset)


def streams_allowed(quic: QuicConnection) -> int:
    """How many bidirectional streams this side may open in all. aioquic lets one open more, and holds back
    their data."""
    return quic._remote_max_streams_bidi


def stream_credit(quic: QuicConnection, stream_id: int) -> int:
    """Bytes that may be written to a stream before the peer's limit for it is reached."""
    stream = quic._streams[stream_id]
    if stream.is_blocked:
        return 0
    return stream.max_stream_data_remote - stream.sender._buffer_stop


def connection_credit(quic: QuicConnection) -> int:
    """Bytes that may be sent on all streams together before the peer's limit for the connection is
    reached."""
    return quic._remote_max_data - quic._remote_max_data_used


@contextlib.contextmanager
def limits_held(quic: OwnFlowControl) -> Iterator[None]:
    """A context in which no limit is raised, except by :func:`grant`."""
    quic.holds_limits = True
    try:
        yield
    finally:
        quic.holds_limits = False
