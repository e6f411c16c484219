"""Peers that exceed a flow control limit by a few bytes.

quic_dist before 2.1.0 does not look at the limits where a small frame rides on an acknowledgement, and can
exceed them by some 40 bytes. A receiver closes for that (RFC 9000, section 4.1), but nothing obliges it to
say all that it has room for: here there is room for :data:`SLACK` bytes more than is advertised.
"""

from __future__ import annotations

from typing import Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode

#: Bytes that are taken beyond the limit of a stream, and of the connection.
SLACK: Final = 64


class Tolerant(QuicConnection):
    """A connection that takes so many bytes more than it has granted. aioquic compares with what it has
    advertised, and has no other figure."""

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        try:
            super()._handle_stream_frame(context, frame_type, buf)
        except QuicConnectionError as error:
            if error.error_code != QuicErrorCode.FLOW_CONTROL_ERROR:
                raise
            buf.seek(at)
            stream = self._streams[buf.pull_uint_var()]
            offset = buf.pull_uint_var() if frame_type & 4 else 0
            end = offset + (buf.pull_uint_var() if frame_type & 2 else buf.capacity - buf.tell())
            new = max(0, end - stream.receiver.highest_offset)
            total = self._local_max_data
            if end > stream.max_stream_data_local + SLACK or total.used + new > total.value + SLACK:
                raise
            buf.seek(at)
            limit, value = stream.max_stream_data_local, total.value
            stream.max_stream_data_local = max(limit, end)
            total.value = max(value, total.used + new)
            try:
                super()._handle_stream_frame(context, frame_type, buf)
            finally:
                stream.max_stream_data_local = limit
                total.value = value
