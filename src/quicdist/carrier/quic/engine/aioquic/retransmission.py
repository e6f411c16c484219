"""Retransmission of stream data: lost data are cut into frames at the same offsets as before, or at further
ones.

RFC 9000 (section 13.3) lets a sender cut lost data at any offset. quic_dist up to 1.8.1 joins only frames
that begin where another one ended: a frame that begins elsewhere is acknowledged and never delivered. So the
offsets at which frames end are kept until they are acknowledged, and data that are sent again are cut at all
of them. A frame that is longer than a packet may be now is cut further, which adds an offset.

A packet that was declared lost may be acknowledged later. Such a receiver drops a long frame if the first of
the shorter ones that replaced it came earlier, and acknowledges it. So a frame that was cut further counts as
acknowledged only up to the first of the new ends. The frames that replace it acknowledge the rest.

aioquic's ``QuicStreamSender`` does not let its caller choose the range to retransmit, so this uses its
private state. ``tests/carrier/test_retransmission.py`` fails where a new aioquic changes it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStreamSender

from quicdist.carrier.quic.engine.aioquic.ranges import Ranges
from quicdist.carrier.quic.engine.wire import frames as wire

#: Ends that are kept before those of acknowledged data are removed.
MANY_ENDS: Final = 64
#: CRYPTO frames are cut to fit the rest of a datagram if that has at least so many bytes.
SHORTEST_CRYPTO: Final = 128

_ACKED: Final = QuicDeliveryState.ACKED


class PacketCapacity:
    """The capacity of packets, shared by all senders of a connection."""

    __slots__ = ("declined", "size")

    def __init__(self) -> None:
        #: Bytes of frames in the longest packet with a short header.
        self.size = 0
        #: A frame was kept for the next packet.
        self.declined = False


class RetransmittingSender(QuicStreamSender):
    """The sending part of a stream."""

    #: The last frame had the FIN bit when it was first sent, so it has it again.
    _fin_with_data = False

    def __init__(
        self,
        stream_id: int | None,
        *,
        writable: bool,
        capacity: PacketCapacity,
        changed: set[int] | None = None,
    ) -> None:
        super().__init__(stream_id=stream_id, writable=writable)
        self._capacity = capacity
        #: The ids of streams that may have frames to send
        #: (:class:`~quicdist.carrier.quic.engine.aioquic.streams.ChangedStreams`).
        self._changed: set[Any] = set() if changed is None else changed
        #: The ends of the frames sent so far that are not acknowledged yet, ascending.
        self._ends: list[int] = []
        self._acked: Ranges = Ranges()
        self._pending: Ranges = Ranges()

    def write(self, data: bytes, end_stream: bool = False) -> None:
        super().write(data, end_stream)
        self._changed.add(self._stream_id)

    @property
    def next_offset(self) -> int:
        pending = self._pending.ranges
        return pending[0].start if pending else self._buffer_stop

    def new_data(self) -> range:
        """The offsets of the data that were never sent; empty if others are to be sent before, or if the end
        of the stream is written."""
        pending = self._pending.ranges
        if len(pending) != 1 or pending[0].start != self.highest_offset or self._buffer_fin is not None:
            return range(0)
        return pending[0]

    def sent_run(self, stop: int, size: int, count: int) -> None:
        """:meth:`new_data` up to ``stop`` were sent in ``count`` frames of ``size`` bytes each."""
        self._drop_ends()
        self._ends += range(self.highest_offset + size, stop + 1, size)
        assert self._ends[-1] == stop
        self._new_sent(stop)

    def take_new(self, stop: int) -> bytes:
        """:meth:`new_data` up to ``stop``, which are sent in one frame."""
        start = self.highest_offset
        at = start - self._buffer_start
        data = bytes(self._buffer[at : at + stop - start])
        self._drop_ends()
        self._ends.append(stop)
        self._new_sent(stop)
        return data

    def _new_sent(self, stop: int) -> None:
        pending = self._pending.ranges
        if pending[0].stop == stop:
            pending.clear()
            self.buffer_is_empty = True
        else:
            pending[0] = range(stop, pending[0].stop)
        self.highest_offset = stop

    def _drop_ends(self) -> None:
        """Forget the ends of acknowledged data, now and then."""
        ends = self._ends
        if len(ends) > MANY_ENDS and ends[MANY_ENDS // 2] <= self._buffer_start:
            del ends[: bisect_right(ends, self._buffer_start)]

    def get_frame(self, max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
        """The next frame with up to ``max_size`` bytes of data, all below ``max_offset``; None if there is
        none, or it does not fit."""
        ends = self._ends
        before = self.highest_offset
        pending = self._pending.ranges
        if pending and (start := pending[0].start) < before:
            at = bisect_right(ends, start)
            size = ends[at] - start
            if size > max_size and max_size < self._shortest_cut(start, size):
                self._capacity.declined = True
                return None
            awaits_fin = self._pending_eof
            frame = super().get_frame(min(size, max_size), max_offset)
            if frame is not None:
                if size > (sent := len(frame.data)):
                    ends.insert(at, start + sent)
                elif frame.fin and not self._fin_with_data:
                    # It had no FIN before, and quic_dist ignores a frame whose data it has.
                    frame.fin, self._pending_eof = False, awaits_fin
            return frame
        frame = super().get_frame(max_size, max_offset)
        if self.highest_offset > before:
            self._drop_ends()
            ends.append(self.highest_offset)
            if frame is not None and frame.fin:
                self._fin_with_data = True
        return frame

    def _shortest_cut(self, start: int, size: int) -> int:
        """The least number of bytes to cut off a frame of ``size`` bytes at ``start``: all of them if it fits
        a packet, otherwise half a packet, so that the number of ends stays bounded."""
        offset = len(wire.uint(start)) if start else 0
        longest = self._capacity.size - 3 - len(wire.uint(self._stream_id or 0)) - offset
        return size if size <= longest else longest // 2

    def on_data_delivery(self, delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:
        """A frame from ``start`` to ``stop`` was acknowledged or declared lost. Each may follow the other."""
        assert not fin or stop == self._buffer_fin, "FIN elsewhere than at the end"
        if self._reset_error_code is not None:
            return
        if delivery is not _ACKED:
            self._lost(start, stop, fin)
            return
        acknowledged = self._buffer_start
        if stop > start:
            if start < acknowledged:
                return  # It, or the first of the shorter ones that replaced it, is acknowledged already.
            ends = self._ends
            end = ends[bisect_right(ends, start)]
            if end < stop:
                stop, fin = end, False
            self._acknowledged(start, stop)
        if fin:
            self._acked_fin = True
            self._pending_eof = False
        if self._acked_fin and self._buffer_start == self._buffer_fin:
            self.is_finished = True
            self._changed.add(self._stream_id)

    def on_frames_acknowledged(self, frames: list[tuple[int, int]]) -> None:
        """As :meth:`on_data_delivery` for each of ``frames``, which is sorted for it: neighbours are taken
        together."""
        if self._reset_error_code is not None:
            return
        frames.sort()
        ends = self._ends
        at, count = 0, len(frames)
        while at < count:
            first = at
            start, stop = frames[at]
            at += 1
            while at < count and frames[at][0] == stop:
                stop = frames[at][1]
                at += 1
            # With other ends between, one of them was cut further, or is acknowledged already.
            if (
                start >= self._buffer_start
                and bisect_right(ends, stop) - bisect_right(ends, start) == at - first
            ):
                self._acknowledged(start, stop)
            else:
                for frame in frames[first:at]:
                    self.on_data_delivery(_ACKED, *frame, False)

    def _acknowledged(self, start: int, stop: int) -> None:
        pending = self._pending
        if pending.ranges and pending.ranges[0].start < stop:
            pending.subtract(start, stop)
        acked = self._acked
        if start == self._buffer_start and not acked.ranges:
            self._buffer_start = stop
            del self._buffer[: stop - start]
            return
        acked.add(start, stop)
        if (first := acked.ranges[0]).start == self._buffer_start:
            acked.shift()
            del self._buffer[: first.stop - self._buffer_start]
            self._buffer_start = first.stop

    def _lost(self, start: int, stop: int, fin: bool) -> None:
        pending, acked = self._pending, self._acked
        start = max(start, self._buffer_start)
        if start < stop:
            if acked.ranges:
                for gap in acked.gaps(start, stop):
                    pending.add(gap.start, gap.stop)
                    self.buffer_is_empty = False
            else:
                pending.add(start, stop)
                self.buffer_is_empty = False
        if fin and not self._acked_fin:
            self._pending_eof = True
            self.buffer_is_empty = False

    def on_reset_delivery(self, delivery: QuicDeliveryState) -> None:
        """A RESET_STREAM frame was acknowledged or declared lost."""
        if delivery is _ACKED:
            self.reset_pending = False
        elif self.is_finished:
            return
        super().on_reset_delivery(delivery)
        self._changed.add(self._stream_id)


class CryptoSender(RetransmittingSender):
    """The sending part of CRYPTO data. Its packets share a datagram with others, so the room for a frame
    differs each time. A frame does not wait for more room: a handshake is short."""

    def _shortest_cut(self, start: int, size: int) -> int:
        return min(size, SHORTEST_CRYPTO)
