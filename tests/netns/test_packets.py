"""What the wire does to packets as a NAT and as a router leaves their checksums right."""

from __future__ import annotations

import struct

import pytest

from tests.netns.packets import ICMP, TCP, UDP, Nat, checksum, too_long

CLIENT, SERVER = bytes((10, 212, 0, 2)), bytes((10, 211, 0, 1))


def packet(protocol: int, source: int, target: int, *, up: bool = True, data: bytes = b"some data") -> bytes:
    """An IPv4 packet with its checksums, from the client or to it."""
    ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
    data += b"\0" * (len(data) % 2)
    if protocol == UDP:
        body = struct.pack(">HHHH", source, target, 8 + len(data), 0) + data
    else:
        body = struct.pack(">HHIIBBHHH", source, target, 1, 2, 5 << 4, 16, 100, 0, 0) + data
    at = 6 if protocol == UDP else 16
    value = checksum(b"".join(ends) + struct.pack(">BBH", 0, protocol, len(body)) + body)
    body = body[:at] + struct.pack(">H", value) + body[at + 2 :]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + b"".join(ends)
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + body


def is_whole(packet: bytes) -> bool:
    """Whether the checksum of UDP or TCP is right, by RFC 1071's own test."""
    body = packet[20:]
    return checksum(packet[12:20] + struct.pack(">BBH", 0, packet[9], len(body)) + body) == 0


def ports(packet: bytes) -> tuple[int, int]:
    source, target = struct.unpack_from(">HH", packet, 20)
    return source, target


@pytest.mark.parametrize("protocol", [UDP, TCP])
@pytest.mark.parametrize("port", [1024, 4501, 40000, 65535])
def test_a_nat_gives_another_port_and_takes_it_back(protocol: int, port: int) -> None:
    nat = Nat(1)
    sent = packet(protocol, port, 4501)
    assert is_whole(sent)
    left = nat.outward(sent)
    given, target = ports(left)
    assert given != port
    assert target == 4501
    assert is_whole(left)
    answer = nat.inward(packet(protocol, 4501, given, up=False))
    assert answer is not None
    assert ports(answer) == (4501, port)
    assert is_whole(answer)


def test_a_nat_drops_what_is_for_a_port_of_another_mapping() -> None:
    before, after = Nat(1), Nat(2)
    given, _ = ports(before.outward(packet(UDP, 40000, 4501)))
    assert ports(after.outward(packet(UDP, 40000, 4501)))[0] != given
    assert after.inward(packet(UDP, 4501, given, up=False)) is None


def test_a_router_says_which_mtu_it_has() -> None:
    sent = packet(UDP, 40000, 4501, data=bytes(1400))
    told = too_long(sent, 1280)
    assert told[9] == ICMP
    assert told[16:20] == CLIENT
    assert checksum(told[:20]) == 0
    assert checksum(told[20:]) == 0
    kind, code, _, _, mtu = struct.unpack_from(">BBHHH", told, 20)
    assert (kind, code, mtu) == (3, 4, 1280)
    assert told[28:] == sent[:28]
