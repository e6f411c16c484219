"""The streams of a connection: classes of this package replace aioquic's.

A stream opens all lower-numbered streams too (RFC 9000, section 2.1). aioquic makes all these at once, each
with its buffers. Here a lower stream is a number in a set until a frame comes for it.
"""

from __future__ import annotations

from typing import Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # as in aioquic's examples
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.quic.events import StopSendingReceived
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.stream import QuicStream, StreamFinishedError
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.reassembly import (
    AUTHENTICATED_LIMITS,
    CRYPTO_LIMITS,
    UNAUTHENTICATED_LIMITS,
    CryptoReceiver,
    ReassemblyBudget,
    Receiver,
)
from quicdist.carrier.quic.engine.aioquic.retransmission import (
    CryptoSender,
    PacketCapacity,
    RetransmittingSender,
)
from quicdist.carrier.quic.engine.wire import frames as wire


def stream_frame_end(buf: Buffer, frame_type: int) -> tuple[int, int]:
    """The stream id of the STREAM frame at the position of ``buf``, and the offset at which its data end (RFC
    9000, section 19.8). The position is kept."""
    at = buf.tell()
    stream_id = buf.pull_uint_var()
    offset = buf.pull_uint_var() if frame_type & wire.OFFSET else 0
    length = buf.pull_uint_var() if frame_type & wire.LENGTH else buf.capacity - buf.tell()
    buf.seek(at)
    return stream_id, offset + length


class ChangedStreams:
    """The streams that may have frames to send that they had not when they were last checked.

    Only the methods of this package note a single stream. When aioquic has processed or built a packet, a
    packet is lost or a timer has fired, all are noted.
    """

    __slots__ = ("every", "ids")

    def __init__(self) -> None:
        self.every = True
        self.ids: set[int] = set()

    def take_ids(self) -> list[int]:
        """Remove and return the ids. Another thread may add one meanwhile."""
        ids, taken = self.ids, []
        while ids:
            taken.append(ids.pop())
        return taken


class Stream(QuicStream):
    """A stream with :class:`RetransmittingSender` and :class:`Receiver`."""

    #: The limit is raised by grants alone (:mod:`quicdist.carrier.quic.engine.aioquic.flow_control`).
    is_granted = False
    #: The peer has sent STOP_SENDING.
    was_stopped = False

    def __init__(
        self,
        stream_id: int,
        *,
        budget: ReassemblyBudget,
        capacity: PacketCapacity,
        changed: ChangedStreams,
        max_stream_data_local: int = 0,
        max_stream_data_remote: int = 0,
        readable: bool = True,
        writable: bool = True,
    ) -> None:
        super().__init__(
            stream_id=stream_id,
            max_stream_data_local=max_stream_data_local,
            max_stream_data_remote=max_stream_data_remote,
        )
        self.receiver: Receiver = Receiver(stream_id, readable=readable, budget=budget)
        self.sender: RetransmittingSender = RetransmittingSender(
            stream_id, writable=writable, capacity=capacity, changed=changed.ids
        )
        self.id = stream_id

    # aioquic serves streams in the order of a set. With this hash the order is the same in each run.
    def __hash__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return self is other


class CryptoStream(QuicStream):
    """The CRYPTO data of one encryption level, with TLS messages of at most ``longest`` bytes."""

    def __init__(self, *, capacity: PacketCapacity, longest: int) -> None:
        super().__init__()
        budget = ReassemblyBudget(CRYPTO_LIMITS, QuicErrorCode.CRYPTO_BUFFER_EXCEEDED)
        self.receiver = CryptoReceiver(budget, longest)
        self.sender = CryptoSender(None, writable=True, capacity=capacity)


class OwnStreams(QuicConnection):
    """A connection with streams of this package."""

    _streams: dict[int, Stream]  # type: ignore[assignment]  # ours take the place of aioquic's
    _streams_queue: list[Stream]  # type: ignore[assignment]

    def __init__(self, **arguments: Any) -> None:
        self._capacity = PacketCapacity()
        self._changed = ChangedStreams()
        self._reassembly = ReassemblyBudget(UNAUTHENTICATED_LIMITS, QuicErrorCode.INTERNAL_ERROR)
        #: Streams that the peer opened by opening a higher one, without a frame yet.
        self._implied: set[int] = set()
        super().__init__(**arguments)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for epoch in self._crypto_streams:
            longest = CryptoReceiver.MAX_HELLO if epoch is Epoch.INITIAL else CryptoReceiver.MAX_MESSAGE
            self._crypto_streams[epoch] = CryptoStream(capacity=self._capacity, longest=longest)

    def authenticated(self) -> None:
        """The peer is authenticated: more data out of order is kept."""
        self._reassembly.limits, self._reassembly.error = AUTHENTICATED_LIMITS, None

    def _stream_is_discarded(self, stream_id: int) -> bool:
        return stream_id not in self._implied and super()._stream_is_discarded(stream_id)

    def _admit_stream(self, stream_id: int) -> None:
        """Called before a stream of the peer is made. Raises an error if it must not be."""

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream
        limit = self._stream_limit(stream_id)
        number = stream_id >> 2
        if stream_id & 1 != self._is_client or number >= limit.value:
            return super()._get_or_create_stream(frame_type, stream_id)  # Raises the error for it.
        if stream_id not in self._implied:
            if number < limit.used:
                raise StreamFinishedError
            self._admit_stream(stream_id)
            self._implied.update(range(4 * limit.used | stream_id & 3, stream_id + 1, 4))
            limit.used = number + 1
        else:
            self._admit_stream(stream_id)
        return self._open_stream(stream_id)

    def _open_stream(self, stream_id: int) -> Stream:
        """Make a stream of the peer."""
        is_unidirectional = bool(stream_id & 2)
        stream = self._streams[stream_id] = Stream(
            stream_id,
            budget=self._reassembly,
            capacity=self._capacity,
            changed=self._changed,
            max_stream_data_local=(
                self._local_max_stream_data_uni
                if is_unidirectional
                else self._local_max_stream_data_bidi_remote
            ),
            max_stream_data_remote=0 if is_unidirectional else self._remote_max_stream_data_bidi_local,
            writable=not is_unidirectional,
        )
        self._implied.discard(stream_id)
        self._streams_queue.append(stream)
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        known = self._streams.get(stream_id)
        if known is not None and not stream_id & 2:
            return known
        if stream_id in self._implied:
            return self._open_stream(stream_id)
        stream = super()._get_or_create_stream_for_send(stream_id)
        return stream if type(stream) is Stream else self._replace(stream)

    def _replace(self, made: QuicStream) -> Stream:
        """Replace a stream that aioquic has just made by ours."""
        stream_id = made.stream_id
        assert stream_id is not None
        stream = self._streams[stream_id] = self._streams_queue[-1] = Stream(
            stream_id,
            budget=self._reassembly,
            capacity=self._capacity,
            changed=self._changed,
            max_stream_data_local=made.max_stream_data_local,
            max_stream_data_remote=made.max_stream_data_remote,
            readable=not made.receiver.is_finished,
        )
        if made.is_blocked:
            stream.is_blocked = True
            blocked = self._streams_blocked_uni if stream_id & 2 else self._streams_blocked_bidi
            blocked[-1] = stream
        return stream

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        super().reset_stream(stream_id, error_code)
        self._changed.ids.add(stream_id)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        super().stop_stream(stream_id, error_code)
        self._changed.ids.add(stream_id)

    def _handle_reset_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        stream = self._streams.get(buf.pull_uint_var())
        buf.pull_uint_var()
        if buf.pull_uint_var() == (None if stream is None else stream.receiver._final_size):
            assert stream is not None
            if stream.receiver.is_finished:
                return  # Nothing is new.
        buf.seek(at)
        super()._handle_reset_stream_frame(context, frame_type, buf)

    def _handle_stop_sending_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        at = buf.tell()
        stream = self._streams.get(buf.pull_uint_var())
        if stream is not None and stream.was_stopped:
            buf.pull_uint_var()
            return  # Each further one would be one more event.
        buf.seek(at)
        waiting = len(self._events)
        super()._handle_stop_sending_frame(context, frame_type, buf)
        if len(self._events) > waiting and isinstance(event := self._events[-1], StopSendingReceived):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.was_stopped = True
