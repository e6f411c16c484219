"""Datagrams of whoever can send one, from whatever address: no handshake."""

from __future__ import annotations

import os
import random

from quicdist.carrier.quic.settings import ALPN
from tests.hostile import raw_quic as raw
from tests.hostile.field import Attack, Field, at_rate

assert ALPN == "erlang-dist"


def gaps(start: int, count: int) -> bytes:
    """CRYPTO frames of one byte with a gap of one before each."""
    return b"".join(raw.crypto(start + 2 * number, b"x") for number in range(count))


def crypto_gaps(field: Field) -> None:
    """58 KB to one connection: each datagram 230 frames."""
    destination, source = os.urandom(8), os.urandom(8)
    made = [
        raw.initial(gaps(1 + 460 * number, 230), destination=destination, source=source, number=number)
        for number in range(48)
    ]
    sock = field.udp()
    field.hold(sock)
    for data in made:
        sock.sendto(data, field.quic)


def crypto_gaps_spoofed(field: Field) -> None:
    """The same 58 KB, every datagram of a connection and an address of its own."""
    for data in [raw.initial(gaps(1, 230)) for _ in range(48)]:
        field.spoof(data)


def stream_gaps_early(field: Field) -> None:
    """STREAM frames where they must not be: in Initial packets."""
    payload = b"".join(raw.stream(0, 2 * number + 1, b"x") for number in range(200))
    for data in [raw.initial(payload) for _ in range(48)]:
        field.spoof(data)


def crypto_far(field: Field) -> None:
    for offset in (4096, 65535, 65536, 1 << 20, (1 << 30) - 1, (1 << 62) - 2):
        for _ in range(8):
            field.spoof(raw.initial(raw.crypto(offset, b"x")))


def crypto_far_each(field: Field) -> None:
    """As far as a CRYPTO stream may be filled, in as many connections as 100 KB make."""
    for data in [raw.initial(raw.crypto(512 * 1024 - 1, b"x")) for _ in range(83)]:
        field.spoof(data)


def ack_ranges(field: Field) -> None:
    """Acknowledgements of what was never sent, in as many ranges as there is room for."""
    frames = raw.ack(16383, [(0, 0)] * 550)
    destination, source = os.urandom(8), os.urandom(8)
    for number in range(80):
        field.spoof(raw.initial(frames, destination=destination, source=source, number=number), 1)


def initials(field: Field) -> None:
    """1 MB of Initial packets that hold a PING, each of a new connection and address."""
    made = [raw.initial(raw.PING) for _ in range(100 if field.quick else 840)]
    for number in at_rate(500, 2.0 if not field.quick else 0.3):
        if number >= len(made):
            break
        field.spoof(made[number], 256)


def client_hellos(field: Field) -> None:
    """100 KB of ClientHellos, each of a new connection and address: the victim signs for each."""
    for data in [raw.client_hello(field) for _ in range(83)]:
        field.spoof(data, 83)


def client_hellos_long(field: Field) -> None:
    """The same over two seconds, 300 a second."""
    made = [raw.client_hello(field) for _ in range(300)]
    for number in at_rate(300, 2.0):
        field.spoof(made[number % len(made)][:], 256)
    field.drain_pool()


def half_hellos(field: Field) -> None:
    """The first half of a ClientHello and no more."""
    for number in range(83):
        hello = os.urandom(700)
        field.spoof(raw.initial(raw.crypto(0, b"\x01\0\x05\0" + hello)), 83)
        del number


def same_hello(field: Field) -> None:
    """One datagram, 800 times."""
    data = raw.client_hello(field)
    for _ in at_rate(800, 1.0):
        field.spoof(data, 1)


def garbage(field: Field) -> None:
    rnd = random.Random(1)
    for number in at_rate(3000, 1.0):
        field.spoof(rnd.randbytes(1 + number * 37 % 1400))


def tiny(field: Field) -> None:
    for number in at_rate(5000, 1.0):
        field.spoof(bytes([number & 0xFF]) * (number % 8))


def huge(field: Field) -> None:
    """Datagrams of 60 KB, each many packets in one."""
    destination = os.urandom(8)
    part = raw.initial(raw.PING, destination=destination, size=100)
    for _ in range(8):
        field.spoof(part * (60_000 // len(part)), 4)


def unknown_versions(field: Field) -> None:
    before = field.received
    start = field.sent
    for number in at_rate(1000, 1.0):
        field.spoof(raw.initial(raw.PING, version=0x0A0A0A0A + number % 1000))
    field.drain_pool()
    answered = field.received - before
    field.note(f"answered with {answered} bytes")
    field.expect(answered <= 3 * (field.sent - start), f"{answered} bytes for {field.sent - start}")


def version_negotiations(field: Field) -> None:
    for _ in at_rate(1000, 1.0):
        field.spoof(b"\xc0" + bytes(4) + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + os.urandom(1200))


def short_headers(field: Field) -> None:
    """Packets of connections that are not there: what is answered must be less."""
    before, start = field.received, field.sent
    for number in at_rate(3000, 1.0):
        field.spoof(b"\x40" + os.urandom(8) + os.urandom(20 + number % 60))
    field.drain_pool()
    answered = field.received - before
    field.note(f"answered with {answered} bytes")
    field.expect(answered < field.sent - start, f"answered with {answered} bytes")


def tokens(field: Field) -> None:
    """Initial packets with tokens nobody gave out."""
    for number in at_rate(300, 1.0):
        field.spoof(raw.initial(raw.PING, token=os.urandom(16 + number % 512)))


def zero_rtt(field: Field) -> None:
    """0-RTT packets behind a ClientHello, of a session that nobody had."""
    for _ in range(40):
        hello = raw.client_hello(field)
        destination, source = hello[6:14], hello[15:23]
        body = os.urandom(1100)
        early = (
            b"\xd1\0\0\0\x01\x08" + destination + b"\x08" + source
            + (0x4000 | len(body)).to_bytes(2, "big") + body
        )  # fmt: skip
        field.spoof(hello, 40)
        for _ in range(2):
            field.spoof(early, 40)


def closes(field: Field) -> None:
    """CONNECTION_CLOSE in Initial packets, with reasons that would be lines of their own."""
    reason = b"ok\n2026-01-01 00:00:00 CRITICAL root: all is lost\x1b[31m\x07\r\n"
    for data in [raw.initial(raw.connection_close(10, reason * 4)) for _ in range(60)]:
        field.spoof(data)


def unknown_frames(field: Field) -> None:
    rnd = random.Random(2)
    for _ in range(200):
        field.spoof(raw.initial(bytes([rnd.randrange(2, 256)]) + rnd.randbytes(60)))


def same_sources(field: Field) -> None:
    """Initial packets from one address and port, each of a new connection."""
    for data in [raw.client_hello(field) for _ in range(160)]:
        field.spoof(data, 1)


ATTACKS = [
    Attack("crypto-gaps", "58 KB of one-byte CRYPTO frames with gaps, no handshake", crypto_gaps, quick=True),
    Attack(
        "crypto-gaps-spoofed", "the same, each datagram from another address", crypto_gaps_spoofed, quick=True
    ),
    Attack("stream-gaps-initial", "STREAM frames in Initial packets", stream_gaps_early),
    Attack("crypto-far", "CRYPTO frames far from the beginning", crypto_far),
    Attack("crypto-far-each", "one CRYPTO byte at 512 KiB in each of 83 connections", crypto_far_each),
    Attack("ack-ranges-initial", "ACK of 550 ranges in Initial packets", ack_ranges),
    Attack("initials", "1 MB of Initial packets, each of a new connection and address", initials),
    Attack("client-hellos", "83 ClientHellos of 83 addresses at once", client_hellos),
    Attack("client-hellos-300", "300 ClientHellos a second", client_hellos_long),
    Attack("client-hellos-one", "160 ClientHellos from one address and port", same_sources),
    Attack("half-hellos", "the first half of 83 ClientHellos", half_hellos),
    Attack("same-hello", "one ClientHello 800 times", same_hello),
    Attack("garbage", "3000 datagrams of random bytes", garbage, quick=True),
    Attack("tiny", "5000 datagrams of 0 to 7 bytes", tiny),
    Attack("huge", "datagrams of 60 KB, 600 packets in each", huge),
    Attack("unknown-versions", "1000 Initial packets of versions that nobody has", unknown_versions),
    Attack("version-negotiation", "1000 Version Negotiation packets", version_negotiations),
    Attack("short-headers", "3000 packets of connections that are not there", short_headers),
    Attack("tokens", "Initial packets with tokens that nobody gave out", tokens),
    Attack("zero-rtt", "0-RTT packets of a session that nobody had", zero_rtt),
    Attack("close-initial", "CONNECTION_CLOSE with line ends in Initial packets", closes),
    Attack("unknown-frames", "frames that do not exist in Initial packets", unknown_frames),
]
