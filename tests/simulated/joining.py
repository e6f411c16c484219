"""How quic_dist keeps what comes on a stream, up to 1.8.1 at least, and what is wrong with what it sends."""

from __future__ import annotations

from aioquic.quic import events
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStream, QuicStreamReceiver, QuicStreamSender


class ExactReceiver(QuicStreamReceiver):
    """Takes a frame at the offset that it expects if it keeps no others, and keeps any other by its offset.
    What is kept is joined only where a frame begins exactly at the end of another: one that begins
    before that and ends after it stays where it is, acknowledged and never delivered."""

    kept: dict[int, bytes]

    def handle_frame(self, frame: QuicStreamFrame) -> events.StreamDataReceived | None:
        self.highest_offset = max(self.highest_offset, frame.offset + len(frame.data))
        if frame.offset == self._buffer_start and not self.kept:
            self._buffer_start += len(frame.data)
            data = frame.data
        else:
            self.kept[frame.offset] = frame.data
            parts = []
            while (part := self.kept.pop(self._buffer_start, None)) is not None:
                parts.append(part)
                self._buffer_start += len(part)
            data = b"".join(parts)
        if not data:
            return None
        assert self._stream_id is not None
        return events.StreamDataReceived(data=data, end_stream=False, stream_id=self._stream_id)


class FaultySender(QuicStreamSender):
    """Leaves out what a full send queue did not take (before 2.0.2), and exceeds the peer's limit (before
    2.1.0), when told to."""

    #: Frames to leave out from now on.
    holes = 0
    overrun = 0
    #: How often a limit was exceeded.
    overran = 0

    def get_frame(self, max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
        limit = None if max_offset is None else max_offset + self.overrun
        frame = super().get_frame(max_size, limit)
        if frame is not None and max_offset is not None and frame.offset + len(frame.data) > max_offset:
            self.overran += 1
        while frame is not None and self.holes:
            self.holes -= 1
            frame = super().get_frame(max_size, limit)
        return frame


class FlightSentOnce(QuicStreamSender):
    """Sends nothing of a QUIC handshake again (before 1.8.2)."""

    def on_data_delivery(self, delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:
        if delivery is QuicDeliveryState.ACKED:
            super().on_data_delivery(delivery, start, stop, fin)


def make_exact(stream: QuicStream) -> None:
    """Have a stream joined as quic_dist does."""
    if not isinstance(stream.receiver, ExactReceiver):
        stream.receiver.__class__ = ExactReceiver
        stream.receiver.kept = {}  # type: ignore[attr-defined]


def make_faulty(stream: QuicStream, overrun: int) -> None:
    if not isinstance(stream.sender, FaultySender):
        stream.sender.__class__ = FaultySender
        stream.sender.overrun = overrun  # type: ignore[attr-defined]
