"""Split a datagram into packets."""

from __future__ import annotations

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from aioquic.quic.packet import pull_quic_header

#: The bit of a long header, and the bit that every packet has set.
_LONG, _FIXED = 0x80, 0x40


def apart(data: bytes, host_cid_length: int) -> list[bytes]:
    """The packets of a datagram, without padding. A packet with a short header is the last one."""
    packets = []
    buffer = Buffer(data=data)
    while not buffer.eof() and data[start := buffer.tell()] & (_LONG | _FIXED):
        header = pull_quic_header(buffer, host_cid_length=host_cid_length)
        buffer.seek(start + header.packet_length)
        packets.append(data[start : buffer.tell()])
    return packets
