"""A run of packets, received in one pass.

While a peer sends much on one stream, each datagram of a batch is the next packet, with one STREAM frame of
the data that come next. What is noted of each packet is noted once for the run, and the data are one event.
While much is sent to it, each is one ACK frame, or a new limit of quic_dist's: ACK frames in which only the
last range grows are processed as one. Any other packet ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioquic.quic.connection import QuicConnectionState
from cryptography.exceptions import InvalidTag

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine.aioquic.fast_receive import FastReceive
from quicdist.carrier.quic.engine.aioquic.header_protection import SAMPLE
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.engine.wire import frames as wire

#: The bytes after the connection id up to the sample for header protection (RFC 9001, section 5.4.2).
_TO_SAMPLE: Final = 4
#: Packets of at least so many bytes are likely to be followed by others of the same shape.
_LONG: Final = 1000


class ReceivesRuns(FastReceive):
    """A connection that receives runs."""

    #: The header of the last packet of a run before its packet number, without header protection; and the
    #: length of the packet number.
    _header = b""
    _number_size = 0

    def _receive_batch(self, datagrams: Sequence[Datagram], now: float) -> None:
        at = 0
        while at < len(datagrams):
            before, at = at, _receive_run(self, datagrams, at, now)
            if at == before:
                data, addr = datagrams[at]
                self.receive_datagram(data, addr, now)
                at += 1


def _receive_run(quic: ReceivesRuns, datagrams: Sequence[Datagram], at: int, now: float) -> int:
    """Process the datagrams from index ``at`` on that belong to a run; the index of the first that was not
    processed."""
    path = quic._network_paths[0]
    start = 1 + len(quic.host_cid)
    cid = datagrams[at][0][1:start]
    if (
        quic._keys is None
        or quic._close_pending
        or quic._state is not QuicConnectionState.CONNECTED
        or not path.is_validated
        or not quic._is_current(cid)
    ):
        return at
    keys, space, limit, addr = quic._keys.recv, quic._space, quic._local_max_data, path.addr
    assert keys.hp is not None
    assert keys.aead is not None
    mask_of, decrypt, iv, phase = keys.hp._mask, keys.aead._aead.decrypt, keys.aead._iv, keys.key_phase << 2
    sample = start + _TO_SAMPLE
    shortest = sample + SAMPLE
    header, size = quic._header, quic._number_size
    end, kept = start + size, (1 << 8 * size) - 1
    if header[1:] != cid:
        header = b""
    begin_number = number = space.largest_received_packet + 1
    streams = quic._streams
    stream_id = -1
    parts: list[bytes] = []
    began = position = most = 0
    used = limit.used
    shape: _Shape | None = None
    other: bytes | None = None
    is_ack_eliciting = False
    acknowledged: list[range] = []
    delay = 0
    count = len(datagrams)
    while at < count:
        data, source = datagrams[at]
        if source is not addr and source != addr:
            break
        if header:
            # The header of the next packet is known. If the packet is authentic with it, the sender has
            # written that header, and its protection need not be removed.
            try:
                payload = decrypt(
                    (iv ^ number).to_bytes(12), data[end:], header + (number & kept).to_bytes(size)
                )
            except InvalidTag:
                header = b""
                continue
        else:
            if len(data) < shortest or data[1:start] != cid:
                break
            mask = mask_of(data[sample:shortest])
            # The bits of a short header, the reserved ones, and the key phase.
            first = data[0] ^ mask[0] & 0x1F
            if first & 0xDC != 0x40 | phase:
                break
            size = (first & 3) + 1
            end, kept = start + size, (1 << 8 * size) - 1
            hidden = int.from_bytes(data[start:end]) ^ int.from_bytes(mask[1 : 1 + size])
            if hidden != number & kept:
                break
            header = b"%c%b" % (first, cid)
            try:
                payload = decrypt((iv ^ number).to_bytes(12), data[end:], header + hidden.to_bytes(size))
            except InvalidTag:
                header = b""
                break
        quic._header, quic._number_size = header, size
        if (
            shape is not None
            and len(payload) == shape.size
            and position < shape.end
            and payload.startswith(shape.head(position))
        ):
            begin = shape.begin
            stop = position + shape.size - begin
        else:
            read = wire.read_stream(payload)
            if read is None:
                ack = _only_ack(payload)
                if ack is None:
                    if not _receive_only_limit(quic, payload):
                        other = payload
                        break
                    is_ack_eliciting = True
                else:
                    ranges, delay = ack
                    if acknowledged and not _join(ranges, acknowledged):
                        _acknowledged(quic, acknowledged, delay, now)
                    acknowledged = ranges
                number += 1
                at += 1
                continue
            its_stream, offset, begin = read
            if its_stream != stream_id:
                stream = streams.get(its_stream)
                if stream is None:
                    other = payload
                    break
                if parts:
                    _data_received(quic, stream_id, parts, position)
                    parts = []
                used += position - began
                receiver = stream.receiver
                stream_id, began = its_stream, receiver.highest_offset
                position = began
                most = min(stream.max_stream_data_local, began + limit.value - used)
                if (
                    receiver.is_finished
                    or receiver._final_size is not None
                    or receiver._buffer_start != position
                ):
                    most = -1
            if offset != position:
                other = payload
                break
            stop = offset + len(payload) - begin
            shape = _Shape.of(payload, begin) if len(payload) >= _LONG else None
        if stop > most:
            other = payload
            break
        parts.append(payload[begin:])
        is_ack_eliciting = True
        position = stop
        number += 1
        at += 1
    if parts:
        _data_received(quic, stream_id, parts, position)
    limit.used = used + position - began
    if acknowledged:
        _acknowledged(quic, acknowledged, delay, now)
    if number > begin_number:
        space.expected_packet_number = number
        quic._note_packets(begin_number, number, quic._header[0], now)
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + quic._ack_delay
    if other is not None:
        quic._process(number, quic._header[0], other, cid, now)
        at += 1
    return at


class _Shape:
    """A packet with one STREAM frame: its size, where the data begin, and what stands before."""

    __slots__ = ("_after", "_before", "_mark", "_width", "begin", "end", "size")

    def __init__(self, size: int, begin: int, before: bytes, prefix: int, after: bytes) -> None:
        self.size = size
        self.begin = begin
        self._width = 1 << prefix
        bits = 8 * self._width - 2
        #: The offsets from here on take more bytes.
        self.end = 1 << bits
        self._before, self._mark, self._after = before, prefix << bits, after

    @staticmethod
    def of(payload: bytes, begin: int) -> _Shape | None:
        """The shape of the packets that follow ``payload``, whose data begin at ``begin``; None for a frame
        without an offset."""
        if not payload[0] & wire.OFFSET:
            return None
        at = 1 + (1 << (payload[1] >> 6))
        prefix = payload[at] >> 6
        return _Shape(len(payload), begin, payload[:at], prefix, payload[at + (1 << prefix) : begin])

    def head(self, offset: int) -> bytes:
        """What stands before the data at ``offset``."""
        return self._before + (offset | self._mark).to_bytes(self._width) + self._after


def _data_received(quic: FastReceive, stream_id: int, parts: list[bytes], position: int) -> None:
    """Data of a stream up to ``position`` have come."""
    stream = quic._streams[stream_id]
    if not stream.is_granted:
        quic._changed.ids.add(stream_id)
    receiver = stream.receiver
    receiver._buffer_start = receiver.highest_offset = position
    whole = parts[0] if len(parts) == 1 else b"".join(parts)
    quic._events.append(StreamData(stream_id, whole, False))  # type: ignore[arg-type]  # see event_queue


def _only_ack(payload: bytes) -> tuple[list[range], int] | None:
    """The ranges of an ACK frame, and its delay, if ``payload`` is nothing else."""
    if payload[:1] != b"\x02":
        return None
    try:
        ranges, delay, end = wire.read_ack(payload, 1)
    except IndexError:
        return None  # The slow path raises the error.
    return (ranges, delay) if end == len(payload) else None


def _receive_only_limit(quic: FastReceive, payload: bytes) -> bool:
    """Process a MAX_DATA or MAX_STREAM_DATA frame if ``payload`` is nothing else; whether it was."""
    try:
        return b"\x10" <= payload[:1] <= b"\x11" and quic._receive_limit(payload, 0) == len(payload)
    except IndexError:
        return False  # The slow path raises the error.


def _join(later: list[range], earlier: list[range]) -> bool:
    """Add the packets in ``earlier`` to ``later``, if that takes no more than to extend its last range;
    whether it was done. quic_dist acknowledges the last 65,537 packets at most, so its last range moves."""
    last, before = later[-1], earlier[-1]
    if (
        len(later) == len(earlier)
        and before.start <= last.start <= before.stop <= last.stop
        and (len(later) == 1 or later[:-1] == earlier[:-1])
    ):
        if last.start != before.start:
            later[-1] = range(before.start, last.stop)
        return True
    return False


def _acknowledged(quic: FastReceive, ranges: list[range], delay: int, now: float) -> None:
    """An ACK frame was received."""
    quic._loss.on_ack_received(
        ack_rangeset=ranges,
        ack_delay=(delay << quic._remote_ack_delay_exponent) / 1_000_000,
        now=now,
        space=quic._space,
    )
