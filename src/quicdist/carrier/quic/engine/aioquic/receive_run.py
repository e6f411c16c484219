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
from quicdist.carrier.quic.engine.aioquic.header_protection import SAMPLE, masks
from quicdist.carrier.quic.engine.events import StreamData
from quicdist.carrier.quic.engine.wire import frames as wire

#: The bytes after the connection id up to the sample for header protection (RFC 9001, section 5.4.2).
_TO_SAMPLE: Final = 4


class ReceivesRuns(FastReceive):
    """A connection that receives runs."""

    def _receive_batch(self, datagrams: Sequence[Datagram], now: float) -> None:
        protecting = _masks_of(self, datagrams)
        at = 0
        while at < len(datagrams):
            before, at = at, _receive_run(self, datagrams, protecting, at, now)
            if at == before:
                data, addr = datagrams[at]
                self.receive_datagram(data, addr, now)
                at += 1


def _masks_of(quic: FastReceive, datagrams: Sequence[Datagram]) -> list[bytes]:
    """The mask of header protection of each datagram, as if each had a short header."""
    assert quic._keys is not None
    assert quic._keys.recv.hp is not None
    begin = 1 + len(quic.host_cid) + _TO_SAMPLE
    end = begin + SAMPLE
    samples = [data[begin:end] if len(data) >= end else bytes(SAMPLE) for data, _ in datagrams]
    return masks(quic._keys.recv.hp, samples)


def _receive_run(
    quic: FastReceive, datagrams: Sequence[Datagram], protecting: Sequence[bytes], at: int, now: float
) -> int:
    """Process the datagrams from index ``at`` on that belong to a run; the index of the first that was not
    processed. ``protecting`` is what :func:`_masks_of` returned for them."""
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
    assert keys.aead is not None
    decrypt, iv, phase = keys.aead._aead.decrypt, keys.aead._iv, keys.key_phase << 2
    shortest = start + _TO_SAMPLE + SAMPLE
    begin_number = number = space.largest_received_packet + 1
    streams = quic._streams
    stream_id = first = -1
    parts: list[bytes] = []
    position = most = 0
    used = limit.used
    other: bytes | None = None
    is_ack_eliciting = False
    acknowledged: list[range] = []
    delay = 0
    while at < len(datagrams):
        data, source = datagrams[at]
        # The bits of a short header, the reserved ones, and the key phase. 0 is no short header.
        first = data[0] ^ protecting[at][0] & 0x1F if len(data) >= shortest else 0
        if first & 0xDC != 0x40 | phase or data[1:start] != cid or source != addr:
            break
        size = (first & 3) + 1
        end = start + size
        hidden = int.from_bytes(data[start:end]) ^ int.from_bytes(protecting[at][1 : 1 + size])
        if hidden != number & (1 << 8 * size) - 1:
            break
        try:
            payload = decrypt(
                (iv ^ number).to_bytes(12), data[end:], b"%c%b%b" % (first, cid, hidden.to_bytes(size))
            )
        except InvalidTag:
            break
        read = wire.read_stream(payload)
        if read is None:
            ack = _only_ack(payload)
            if ack is None:
                if not _receive_only_limit(quic, payload):
                    other = payload
                    break
                is_ack_eliciting = True
                number += 1
                at += 1
                continue
            ranges, delay = ack
            if acknowledged and not _join(ranges, acknowledged):
                _acknowledged(quic, acknowledged, delay, now)
            acknowledged = ranges
            number += 1
            at += 1
            continue
        its_stream, offset, begin = read
        stop = offset + len(payload) - begin
        if its_stream != stream_id:
            stream = streams.get(its_stream)
            if stream is None:
                other = payload
                break
            if parts:
                _data_received(quic, stream_id, parts, position)
                parts = []
            receiver = stream.receiver
            stream_id, position, most = its_stream, receiver.highest_offset, stream.max_stream_data_local
            if receiver.is_finished or receiver._final_size is not None or receiver._buffer_start != position:
                most = -1
        if offset != position or stop > most or used + stop - offset > limit.value:
            other = payload
            break
        parts.append(payload[begin:])
        is_ack_eliciting = True
        used += stop - offset
        position = stop
        number += 1
        at += 1
    if parts:
        _data_received(quic, stream_id, parts, position)
    limit.used = used
    if acknowledged:
        _acknowledged(quic, acknowledged, delay, now)
    if number > begin_number:
        space.expected_packet_number = number
        quic._note_packets(begin_number, number, datagrams[at - 1][0][0], now)
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + quic._ack_delay
    if other is not None:
        quic._process(number, first, other, cid, now)
        at += 1
    return at


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
