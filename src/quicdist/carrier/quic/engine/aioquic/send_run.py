"""A run of packets of one stream, built in one pass.

While one stream has much to send, each packet has one STREAM frame of the same size. The decisions are made
once for all of them: how many the congestion window, the pacer and flow control allow. The packets are
recorded as sent together, and their header protection is one call of the cipher.
"""

from __future__ import annotations

from typing import Any, Final

from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic.header_protection import masks
from quicdist.carrier.quic.engine.aioquic.receive_run import ReceivesRuns
from quicdist.carrier.quic.engine.aioquic.streams import Stream
from quicdist.carrier.quic.engine.recovery.packet_space import FramePacket
from quicdist.carrier.quic.engine.wire import frames as wire

#: The fewest packets that are worth a run, and the most of one run: an acknowledgement that is due waits for
#: its end.
SHORTEST: Final = 4
LONGEST: Final = 64
#: The offsets from which a varint has as many bytes up to the end of the run (RFC 9000, section 16).
_WIDTHS: Final = ((1 << 14, 1 << 30), (1 << 30, 1 << 62))
#: The bytes of a sealed payload that header protection samples: the packet number has two bytes (RFC 9001,
#: section 5.4.2).
_SAMPLE: Final = slice(2, 18)


class RunPacket(FramePacket):
    """A packet of a run, with the attributes of aioquic's ``QuicSentPacket``."""

    __slots__ = ()

    epoch: Final = Epoch.ONE_RTT
    packet_type: Final = QuicPacketType.ONE_RTT


def run_length(quic: ReceivesRuns, stream: Stream, overhead: int) -> tuple[int, int]:
    """How many full packets of new data of ``stream`` may be sent now, and the bytes of data in each; 0
    packets if they are not worth a run."""
    sender = stream.sender
    new = sender.new_data()
    size = quic._max_datagram_size
    if new.stop - new.start < SHORTEST * size:
        return 0, 0
    for first, end in _WIDTHS:
        if first <= new.start < end:
            break
    else:
        return 0, 0
    chunk = size - overhead - 3 - len(wire.uint(stream.id)) - len(wire.uint(new.start))
    data = min(
        new.stop,
        end,
        stream.max_stream_data_remote,
        new.start + quic._remote_max_data - quic._remote_max_data_used,
    )
    loss = quic._loss
    count = min(
        LONGEST, (data - new.start) // chunk, loss.congestion.available // size, loss.pacer.packets(size)
    )
    return (count, chunk) if count >= SHORTEST else (0, 0)


def send_run(
    quic: ReceivesRuns, keys: CryptoPair, stream: Stream, count: int, chunk: int, now: float
) -> list[tuple[bytes, Any]]:
    """Build and record the packets of :func:`run_length`."""
    crypto, path, cid = keys.send, quic._network_paths[0], quic._peer_cid.cid
    assert crypto.hp is not None
    assert crypto.aead is not None
    encrypt, iv = crypto.aead._aead.encrypt, crypto.aead._iv
    sender = stream.sender
    first = 0x41 | quic._spin_bit << 5 | keys.key_phase << 2
    begin = b"%c%b" % (first, cid)
    begin_frame = b"%c%b" % (wire.STREAM | wire.LENGTH | wire.OFFSET, wire.uint(stream.id))
    length = (chunk | wire.TWO_BYTES).to_bytes(2)
    number = quic._packet_number
    offset = sender.new_data().start
    width, mark = (4, 0x8000_0000) if offset < 1 << 30 else (8, 0xC000_0000_0000_0000)
    sealed = []
    packets: dict[int, RunPacket] = {}
    sent_bytes = 0
    with memoryview(sender._buffer) as buffer:
        at = offset - sender._buffer_start
        for _ in range(count):
            stop = offset + chunk
            with buffer[at : at + chunk] as data:
                payload = b"".join((begin_frame, (offset | mark).to_bytes(width), length, data))
            header = begin + (number & 0xFFFF).to_bytes(2)
            packet = encrypt((iv ^ number).to_bytes(12), payload, header)
            sealed.append(packet)
            sent_bytes = len(header) + len(packet)
            packets[number] = RunPacket(number, now, sent_bytes, sender, (offset, stop))
            number += 1
            offset = stop
            at += chunk
    sender.sent_run(offset, chunk, count)
    quic._remote_max_data_used += count * chunk
    protecting = masks(crypto.hp, [packet[_SAMPLE] for packet in sealed])
    addr = path.addr
    datagrams: list[tuple[bytes, Any]] = []
    number = quic._packet_number
    for packet, mask in zip(sealed, protecting, strict=True):
        hidden = (number & 0xFFFF) ^ mask[1] << 8 ^ mask[2]
        head = b"%c%b%b" % (first ^ mask[0] & 0x1F, cid, hidden.to_bytes(2))
        datagrams.append((head + packet, addr))
        number += 1
    quic._packet_number = number
    quic._loss.on_run_sent(packets, sent_bytes, now, quic._space)
    if not quic._ack_eliciting_sent_since_receipt:
        quic._close_at = now + quic._idle_timeout()
        quic._ack_eliciting_sent_since_receipt = True
    path.bytes_sent += count * sent_bytes
    return datagrams
