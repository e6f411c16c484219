"""How streams are sent again: lost data is cut where it was cut before, or at more places, never at others.

RFC 9000 (section 13.3) lets a sender cut lost data anew as it likes. quic_dist up to 1.8.1 joins only
frames that begin where another one ended: what begins elsewhere is acknowledged and never delivered. So the
offsets at which frames end are kept until they are acknowledged, and whatever is sent again is cut at all of
them. A frame that is longer than any packet now may be is cut further, and that adds an offset.

A packet that counted as lost may be acknowledged after all. Such a receiver drops a long frame if the first
of the shorter ones that replaced it came earlier, and acknowledges it. So a frame that was cut further counts
as acknowledged only up to the first of the new ends; the rest is told by the frames that replace it.

This works on the private state of aioquic's ``QuicStreamSender``, which offers no choice of what is sent
again; ``tests/carrier/test_retransmission.py`` fails where a new aioquic changes it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStreamSender

from quicdist.carrier.quic.engine.aioquic.ranges import Ranges

#: Ends that are kept before those of acknowledged data are looked for.
MANY_ENDS: Final = 64
#: CRYPTO frames are cut to fit what is left of a datagram if it is at least so many bytes.
SHORTEST_CRYPTO: Final = 128

_ACKED: Final = QuicDeliveryState.ACKED


class PacketRoom:
    """What all senders of a connection share."""

    __slots__ = ("declined", "size")

    def __init__(self) -> None:
        #: Bytes that the frames of a packet with a short header may have, if it is as long as packets may be.
        self.size = 0
        #: A frame was kept for the next packet.
        self.declined = False


class RetransmittingSender(QuicStreamSender):
    """The sending part of a stream."""

    #: The frame that ended the data had the FIN bit when it was first sent, so it has it again.
    _fin_with_data = False

    def __init__(self, stream_id: int | None, *, writable: bool, room: PacketRoom) -> None:
        super().__init__(stream_id=stream_id, writable=writable)
        self._room = room
        #: Where the frames sent so far ended, in order, from those not yet acknowledged on.
        self._ends: list[int] = []
        self._acked, self._pending = Ranges(), Ranges()

    def get_frame(self, max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
        """The next frame with up to ``max_size`` bytes of data, none of them at ``max_offset`` or beyond;
        None if there is none, or none for which there is room."""
        ends = self._ends
        before = self.highest_offset
        pending = self._pending
        if len(pending) and (start := pending[0].start) < before:
            at = bisect_right(ends, start)
            size = ends[at] - start
            if size > max_size and max_size < self._shortest_cut(start, size):
                self._room.declined = True
                return None
            awaits_fin = self._pending_eof
            frame = super().get_frame(min(size, max_size), max_offset)
            if frame is not None:
                if size > (sent := len(frame.data)):
                    ends.insert(at, start + sent)
                elif frame.fin and not self._fin_with_data:
                    # It went without FIN before. quic_dist does not look at a frame whose data it has.
                    frame.fin, self._pending_eof = False, awaits_fin
            return frame
        frame = super().get_frame(max_size, max_offset)
        if self.highest_offset > before:
            if len(ends) > MANY_ENDS and ends[MANY_ENDS // 2] <= self._buffer_start:
                del ends[: bisect_right(ends, self._buffer_start)]
            ends.append(self.highest_offset)
            if frame is not None and frame.fin:
                self._fin_with_data = True
        return frame

    def _shortest_cut(self, start: int, size: int) -> int:
        """How many bytes at least to take off a frame of ``size`` bytes at ``start``. All of them if there
        will be packets with room for it, else half a packet, so that the number of ends stays bounded."""
        longest = self._room.size - 3 - _size(self._stream_id or 0) - (_size(start) if start else 0)
        return size if size <= longest else longest // 2

    def on_data_delivery(self, delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:
        """A frame from ``start`` to ``stop`` was acknowledged or counts as lost; either may be told of it
        after the other."""
        assert not fin or stop == self._buffer_fin, "FIN elsewhere than at the end"
        if self._reset_error_code is not None:
            return
        if delivery is not _ACKED:
            self._lost(start, stop, fin)
            return
        acknowledged = self._buffer_start
        if stop > start:
            if start < acknowledged:
                return  # It is known, or was replaced by shorter ones, of which the first is known.
            ends = self._ends
            end = ends[bisect_right(ends, start)]
            if end < stop:
                stop, fin = end, False
            pending = self._pending
            if len(pending) and pending[0].start < stop:
                pending.subtract(start, stop)
            acked = self._acked
            if start == acknowledged and not len(acked):
                self._buffer_start = stop
                del self._buffer[: stop - start]
            else:
                acked.add(start, stop)
                if (first := acked[0]).start == acknowledged:
                    acked.shift()
                    self._buffer_start = first.stop
                    del self._buffer[: first.stop - acknowledged]
        if fin:
            self._acked_fin = True
            self._pending_eof = False
        if self._acked_fin and self._buffer_start == self._buffer_fin:
            self.is_finished = True

    def _lost(self, start: int, stop: int, fin: bool) -> None:
        pending, acked = self._pending, self._acked
        start = max(start, self._buffer_start)
        if start < stop:
            if len(acked):
                assert isinstance(acked, Ranges)
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
        """A RESET_STREAM was acknowledged or counts as lost."""
        if delivery is _ACKED:
            self.reset_pending = False
        elif self.is_finished:
            return
        super().on_reset_delivery(delivery)


class CryptoSender(RetransmittingSender):
    """The sending part of CRYPTO data. Its packets share a datagram with others, so the room for a frame that
    is sent again depends on what is sent along; a handshake is too short to wait."""

    def _shortest_cut(self, start: int, size: int) -> int:
        return min(size, SHORTEST_CRYPTO)


def _size(value: int) -> int:
    """Bytes of a variable-length integer (RFC 9000, section 16)."""
    return 1 if value < 0x40 else 2 if value < 0x4000 else 4 if value < 0x4000_0000 else 8
