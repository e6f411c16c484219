"""IPv4 packets as a NAT and a router see them: RFC 3022, RFC 1624, RFC 792 and RFC 1191."""

from __future__ import annotations

import struct

TCP, UDP, ICMP = 6, 17, 1
#: Where the checksum is, from the start of the header of each.
_CHECKSUM = {TCP: 16, UDP: 6}
#: Ports that a NAT gives: those from the first on.
_FIRST, _PORTS = 2048, 60000
#: Who answers that a packet is too long: a router that is on no network here.
ROUTER = bytes((192, 0, 2, 1))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data of even length."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _with_port(packet: bytes, offset: int, port: int) -> bytes:
    """A packet whose port, ``offset`` bytes into the header after that of IP, is another."""
    header = (packet[0] & 15) * 4
    protocol = packet[9]
    changed = bytearray(packet)
    (before,) = struct.unpack_from(">H", packet, header + offset)
    struct.pack_into(">H", changed, header + offset, port)
    at = header + _CHECKSUM[protocol]
    (old,) = struct.unpack_from(">H", packet, at)
    if old or protocol == TCP:  # Over IPv4 a UDP checksum of 0 is none.
        total = (old ^ 0xFFFF) + (before ^ 0xFFFF) + port  # RFC 1624
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into(">H", changed, at, (total ^ 0xFFFF) or 0xFFFF)
    return bytes(changed)


def _port(packet: bytes, offset: int) -> int:
    (port,) = struct.unpack_from(">H", packet, (packet[0] & 15) * 4 + offset)
    return int(port)


class Nat:
    """A NAT that gives the client's ports others; ``mapping`` numbers them, so that a port can get another
    one later."""

    def __init__(self, mapping: int) -> None:
        self._by = 7919 * mapping
        #: The ports it has given, of TCP and UDP alike.
        self._given: dict[int, int] = {}

    def outward(self, packet: bytes) -> bytes:
        """A packet of the client as it leaves the NAT."""
        if packet[9] not in _CHECKSUM:
            return packet
        port = _port(packet, 0)
        given = _FIRST + (port - _FIRST + self._by) % _PORTS
        self._given[given] = port
        return _with_port(packet, 0, given)

    def inward(self, packet: bytes) -> bytes | None:
        """A packet towards the client, or None where it is for a port that was not given."""
        if packet[9] not in _CHECKSUM:
            return packet
        port = self._given.get(_port(packet, 2))
        return None if port is None else _with_port(packet, 2, port)


def too_long(packet: bytes, mtu: int) -> bytes:
    """What a router answers who cannot forward a packet that must not be fragmented: ICMP type 3, code 4."""
    quoted = packet[: (packet[0] & 15) * 4 + 8]
    icmp = struct.pack(">BBHHH", 3, 4, 0, 0, mtu) + quoted
    icmp = icmp[:2] + struct.pack(">H", checksum(icmp)) + icmp[4:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, ICMP, 0, ROUTER, packet[12:16])
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + icmp
