"""Flow control: what peers may send, and what they let us send. aioquic's own way is to double each limit
whenever half of it has arrived, read or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from quicdist.carrier.quic.engine.aioquic.reassembly import Receiver


class GrantedStream(QuicStream):
    """A stream whose peer may send as much as it was granted: aioquic's own way is to double the
    limit whenever half of it has arrived, read or not."""

    granted: int

    @property
    def max_stream_data_local(self) -> int:
        return self.granted

    @max_stream_data_local.setter
    def max_stream_data_local(self, value: int) -> None:
        pass


def keep_window(quic: QuicConnection, stream_id: int, window: int) -> int:
    """From now on the peer may send on a stream what :func:`grant` says, to begin with ``window``
    bytes, or what was promised already; the limit."""
    stream = quic._streams.get(stream_id)
    if stream is None:
        return window  # It is over already.
    granted = max(window, stream.max_stream_data_local)
    # aioquic makes its streams itself, of a class that cannot be chosen, and this is one of the few that need
    # another. In this order: another thread may look at the stream meanwhile.
    stream.granted = granted  # type: ignore[attr-defined]
    stream.__class__ = GrantedStream
    return granted


def grant(quic: QuicConnection, stream_id: int, limit: int) -> None:
    """Let the peer send a stream of :func:`keep_window` up to the offset ``limit``."""
    stream = quic._streams.get(stream_id)
    if isinstance(stream, GrantedStream):
        stream.granted = max(limit, stream.granted)


def stop_receiving(quic: QuicConnection, stream_id: int) -> None:
    """Take nothing more of a stream: its receiving part is over, whether the peer says so or not.
    quic_dist answers STOP_SENDING with nothing, and the stream would be kept for good. What the
    peer may still send of it is made good to the connection's window."""
    stream = quic._streams.get(stream_id)
    if stream is not None and not stream.receiver.is_finished:
        stream.receiver.is_finished = True
        if isinstance(stream.receiver, Receiver):
            stream.receiver.forget()
        quic._local_max_data.value += max(0, stream.max_stream_data_local - stream.receiver.highest_offset)


def streams_allowed(quic: QuicConnection) -> int:
    """How many bidirectional streams the peer lets us open in all. aioquic lets one open more, and
    then holds back their data without saying so."""
    return quic._remote_max_streams_bidi


def stream_credit(quic: QuicConnection, stream_id: int) -> int:
    """How many bytes the peer takes on a stream beyond those aioquic has been given."""
    stream = quic._streams[stream_id]
    if stream.is_blocked:
        return 0
    return stream.max_stream_data_remote - stream.sender._buffer_stop


def connection_credit(quic: QuicConnection) -> int:
    """How many bytes the peer takes on all streams beyond those that were sent."""
    return quic._remote_max_data - quic._remote_max_data_used


class HoldsLimits(QuicConnection):
    """A connection that can be kept from granting anything (:func:`limits_held`)."""

    holds_limits = False

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if not self.holds_limits:
            super()._write_connection_limits(builder, space)

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if not self.holds_limits or isinstance(stream, GrantedStream):
            super()._write_stream_limits(builder, space, stream)


@contextlib.contextmanager
def limits_held(quic: QuicConnection) -> Iterator[None]:
    """Grant the peer nothing more meanwhile, except by :func:`grant`: aioquic doubles its limits whenever
    half of what they allow has arrived, taken or not."""
    assert isinstance(quic, HoldsLimits)
    quic.holds_limits = True
    try:
        yield
    finally:
        quic.holds_limits = False
