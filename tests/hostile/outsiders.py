"""What an outside tester with a QUIC library of his own would try: odd ClientHellos, odd transport
parameters, odd use of streams, handshakes of the distribution in the wrong order."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # it is where the examples import it
from cryptography.hazmat.primitives.asymmetric import x25519

from quicdist.protocol import LocalIdentity
from quicdist.protocol.handshake_messages import encode_name_message, encode_reply
from tests.hostile import raw_quic as raw
from tests.hostile.field import Attack, Field
from tests.hostile.handshakes import Refused, connected
from tests.hostile.raw_quic import Stranger
from tests.hostile.tcp import prefixed

FLAGS = LocalIdentity("a@b", 1).flags
_ALPN = "erlang-dist"
_FAR = (1 << 62) - 1

# -- ClientHellos --------------------------------------------------------------------------------


def parameter(number: int, value: bytes) -> bytes:
    return raw.var(number) + raw.var(len(value)) + value


def parameters_of(source: bytes, more: bytes = b"") -> bytes:
    """Transport parameters with the one that a server insists on."""
    return parameter(0x0F, source) + more


def hello(source: bytes, said: bytes | None = None, **changes: Any) -> bytes:
    """A ClientHello; ``said`` are its transport parameters."""
    share = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    parameters = parameters_of(source) if said is None else said
    absent = {_EXTENSIONS[name] for name, value in changes.items() if value is None}
    changes = {name: value for name, value in changes.items() if value is not None}
    message = tls.ClientHello(
        **{
            "random": os.urandom(32),
            "legacy_session_id": b"",
            "cipher_suites": [0x1301, 0x1302, 0x1303],
            "legacy_compression_methods": [0],
            "alpn_protocols": [_ALPN],
            "key_share": [(0x1D, share)],
            "psk_key_exchange_modes": [1],
            "signature_algorithms": [0x0403, 0x0804, 0x0807, 0x0401],
            "supported_groups": [0x1D, 0x17],
            "supported_versions": [0x0304],
            "other_extensions": [(0x39, parameters)],
            **changes,
        }
    )
    buffer = Buffer(capacity=1 << 17)
    tls.push_client_hello(buffer, message)
    return without(bytes(buffer.data), absent)


#: Extensions that can be left out, by what they are called in aioquic.
_EXTENSIONS = {
    "alpn_protocols": 16,
    "key_share": 51,
    "signature_algorithms": 13,
    "supported_groups": 10,
    "supported_versions": 43,
}


def without(message: bytes, absent: set[int]) -> bytes:
    """A ClientHello without some of its extensions."""
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    head, rest = message[4:at], message[at + 2 :]
    kept = b""
    while rest:
        end = 4 + int.from_bytes(rest[2:4], "big")
        if int.from_bytes(rest[:2], "big") not in absent:
            kept += rest[:end]
        rest = rest[end:]
    body = head + len(kept).to_bytes(2, "big") + kept
    return b"\x01" + len(body).to_bytes(3, "big") + body


def say_hello(field: Field, message: bytes, source_id: bytes, source: str = "127.0.0.1") -> None:
    """A TLS message in Initial packets of one connection."""
    sock = field.udp(source)
    field.hold(sock)
    destination = os.urandom(8)
    for number, at in enumerate(range(0, len(message) or 1, 1100)):
        payload = raw.crypto(at, message[at : at + 1100])
        with contextlib.suppress(OSError):
            sock.sendto(
                raw.initial(payload, destination=destination, source=source_id, number=number), field.quic
            )


def _hellos() -> Iterator[Callable[[bytes], bytes]]:
    share = os.urandom(32)
    shapes: list[dict[str, Any]] = [
        {"alpn_protocols": None},
        {"alpn_protocols": ["h3"]},
        {"alpn_protocols": ["x" * 200] * 250},
        {"alpn_protocols": ["a"] * 25_000},
        {"key_share": None},
        {"key_share": []},
        {"key_share": [(0x6399, share)] * 1500},
        {"key_share": [(0x1D, bytes(32))] * 1500},
        {"key_share": [(0x17, b"\4" + bytes(64))]},
        {"key_share": [(0x17, b"")]},
        {"key_share": [(0x18, os.urandom(97))]},
        {"key_share": [(0x1D, os.urandom(60_000))]},
        {"supported_groups": [0x17], "key_share": []},
        {"cipher_suites": [0x1399] * 30_000},
        {"cipher_suites": []},
        {"supported_versions": None},
        {"supported_versions": [0x0303]},
        {"signature_algorithms": None},
        {"signature_algorithms": [0x0101] * 30_000},
        {"legacy_session_id": os.urandom(255)},
        {"server_name": "x" * 60_000},
        {"server_name": "a\nb\x1b[31m.\0"},
        {"early_data": True},
        {"other_extensions": []},
        {"other_extensions": [(0x39, b"")]},
        {"other_extensions": [(0x39, b"\xff" * 40)]},
        {"other_extensions": [(number, b"") for number in range(100, 15_000)]},
        {
            "early_data": True,
            "pre_shared_key": tls.OfferedPsks(identities=[(os.urandom(50_000), 1)], binders=[os.urandom(48)]),
        },
        {
            "pre_shared_key": tls.OfferedPsks(
                identities=[(os.urandom(8), 1)] * 1000, binders=[os.urandom(32)] * 1000
            )
        },
        {"pre_shared_key": tls.OfferedPsks(identities=[(b"\n\x1b[31m", 1)], binders=[b""])},
        {"pre_shared_key": tls.OfferedPsks(identities=[], binders=[])},
    ]
    for changes in shapes:
        yield lambda source, changes=changes: hello(source, **changes)  # type: ignore[misc]
    double = [(0x39, b"\x0f\x08" + bytes(8))] * 2
    yield lambda source: hello(source, other_extensions=double)
    for message in (
        b"",
        b"\x01\xff\xff\xff" + os.urandom(3000),
        b"\x01\0\0\0",
        b"\x02\0\0\x04" + bytes(4),
        b"\x18\0\0\x01\x01",
        b"\xff" * 100,
        b"\x0b\0\x10\0" + bytes(4096),
        b"\x14\0\0\x20" + bytes(32),
        b"\x01\0\0\x22\x03\x03" + bytes(32),
        b"\0\0\0\0" * 5000,
        b"\x04\0\0\0" * 5000,
    ):
        yield lambda source, message=message: message  # type: ignore[misc]


def hellos(field: Field) -> None:
    """ClientHellos, and what is none, each of a connection of its own."""
    for make in _hellos():
        source = os.urandom(8)
        say_hello(field, make(source), source)
        time.sleep(0.02)


# -- transport parameters ------------------------------------------------------------------------

_ODD_PARAMETERS = [
    *(parameter(0x01, raw.var(value)) for value in (0, 1, _FAR)),
    *(parameter(0x03, value) for value in (b"", b"\0", raw.var(1), raw.var(1199), raw.var(_FAR), b"\xc0")),
    parameter(0x03, raw.var(1200)) * 2,
    *(parameter(number, raw.var(_FAR)) for number in range(0x04, 0x0A)),
    *(parameter(number, b"") for number in range(0x04, 0x0C)),
    *(parameter(0x0A, raw.var(value)) for value in (20, 21, _FAR)),
    *(parameter(0x0B, raw.var(value)) for value in (0, 16383, 16384, _FAR)),
    *(parameter(0x0E, raw.var(value)) for value in (0, 1, 2, 1 << 60)),
    parameter(0x0C, b""), parameter(0x0C, b"x"), parameter(0x00, os.urandom(8)),
    parameter(0x02, os.urandom(16)), parameter(0x0D, os.urandom(41)), parameter(0x10, os.urandom(8)),
    parameter(0x0F, os.urandom(8)), parameter(0x0F, b""),
    parameter(0x11, b""), parameter(0x11, b"\0\0\0\1" * 300), parameter(0x11, b"\0\0\0\0"),
    parameter(0x11, b"\xff\0\0\x1d" * 2),
    parameter(0x20, raw.var(65535)), parameter(0x20, b""),
    b"".join(parameter(0x4000 + number, b"") for number in range(250)),
    b"\x05\xff", b"\xff" * 9,
    *(parameter(number, b"") for number in (0x1E6C_71D1_57EA_7101, 0x1E6C_71D1_57EA_7110)),
    parameter(0x1E6C_71D1_57EA_7103, b"x" * 300),
]  # fmt: skip


class Odd(Stranger):
    """A stranger that completes its handshake with ``more`` among its transport parameters."""

    def __init__(self, field: Field, more: bytes, source: str = "127.0.0.1", **others: Any) -> None:
        super().__init__(field, source, connect=False, **others)
        quic: Any = self.quic
        usual = quic._serialize_transport_parameters
        quic._serialize_transport_parameters = lambda: usual() + more
        self.quic.connect(field.quic, time.monotonic())
        self.transmit()


class OnlyOdd(Odd):
    """The same, with nothing but what has to be there."""

    def __init__(self, field: Field, more: bytes, **others: Any) -> None:
        Stranger.__init__(self, field, connect=False, **others)
        quic: Any = self.quic
        quic._serialize_transport_parameters = lambda: parameters_of(quic.host_cid, more)
        self.quic.connect(field.quic, time.monotonic())
        self.transmit()


def odd_parameters(field: Field) -> None:
    """Transport parameters that nobody sends; where there is a connection all the same, a name."""
    up = 0
    for kind in (Odd, OnlyOdd):
        for number, more in enumerate(_ODD_PARAMETERS):
            stranger = kind(field, more)
            stranger.pump(0.1, until=lambda one=stranger: one.up or one.ended)
            if stranger.up:
                up += 1
                with contextlib.suppress(Exception):
                    stranger.say(encode_name_message(FLAGS, 1, f"odd{number}@127.0.0.1"))
                    stranger.pump(0.02)
            stranger.close()
    field.note(f"{up} of {2 * len(_ODD_PARAMETERS)} had a handshake")


# -- streams before the cookie -------------------------------------------------------------------

NAME = encode_name_message(FLAGS, 1, "streams@127.0.0.1")

_ODD_STREAMS: list[list[bytes]] = [
    [raw.stream(2, 0, NAME, fin=True)],
    [raw.stream(3, 0, NAME)],
    [raw.stream(1, 0, NAME)],
    [raw.stream(0, 0, b"", fin=True)],
    [raw.stream(0, 0, NAME, fin=True)],
    [raw.stop_sending(0)],
    [raw.stop_sending(0), raw.stream(0, 0, NAME)],
    [raw.stream(0, 0, NAME), raw.stop_sending(0)],
    [raw.stream(0, 0, NAME), raw.stop_sending(0, _FAR)],
    [raw.stream(0, 0, NAME), raw.reset_stream(0, 7, len(NAME))],
    [raw.reset_stream(0, 7, 0), raw.stream(0, 0, NAME)],
    [raw.reset_stream(0, _FAR, 10), raw.reset_stream(0, 1, 11)],
    [raw.stream(0, 0, NAME, fin=True), raw.stream(0, len(NAME), b"more")],
    [raw.stream(0, 0, NAME, fin=True), raw.stream(0, 0, b"", fin=True)],
    [raw.stream(0, _FAR, b"", fin=True)],
    [raw.stream(0, _FAR, b"x")],
    [raw.stream(_FAR & ~3, 0, b"x")],
    [raw.stream(4, 0, NAME), raw.stream(0, 0, NAME)],
    [raw.stream(4 * number, 0, NAME) for number in range(16)],
    [raw.stream(4 * number, 0, NAME, fin=True) for number in range(16)],
    [raw.stop_sending(4 * number) for number in range(16)] + [raw.stream(0, 0, NAME)],
    [raw.stop_sending(1), raw.stop_sending(3), raw.stop_sending(2)],
    [b"\x11" + raw.var(3) + raw.var(5)],
    [b"\x11" + raw.var(0) + raw.var(0), raw.stream(0, 0, NAME)],
    [b"\x12" + raw.var(1 << 60)], [b"\x12" + raw.var(1 << 61)], [b"\x15\0\0"],
    [b"\x1e"],
    [b"\x07" + raw.var(20) + bytes(20)], [b"\x07\0"],
    [b"\x1b" + bytes(8)] * 100,
    [b"\x30" + bytes(100)], [b"\x31\x05hello"],
    [raw.ack(1 << 40)], [raw.ack(5, delay=_FAR)], [b"\x03" + raw.ack(2)[1:] + raw.var(_FAR) * 3],
    [raw.crypto(0, b"\x01" + bytes(3)), raw.crypto(4, b"\x18\0\0\x01\0")],
    [raw.crypto(0, b"\x04\0\0\x10" + bytes(16))], [raw.crypto(0, b"\x18\0\0\x01\x01")],
    [raw.crypto(0, b"\x0d\0\0\x03\0\0\0")],
    [raw.new_connection_id(1, 0, b"")], [raw.new_connection_id(1, 2, b"12345678")],
    [raw.new_connection_id(number, 0, os.urandom(8)) for number in range(1, 30)],
    [raw.retire_connection_id(0)] * 3,
    [raw.connection_close(_FAR, b"\n" * 1000)], [raw.connection_close(0, b"")],
    [raw.connection_close(0x12F, b"\xff\xfe\0" * 300)],
    [bytes([0x1C]) + raw.var(1) + raw.var(_FAR) + raw.var(5000) + b"x"],
]  # fmt: skip


def odd_streams(field: Field) -> None:
    """One connection for each odd order of frames."""
    for frames in _ODD_STREAMS:
        with contextlib.suppress(Refused):
            stranger = connected(field)
            stranger.frames(frames)
            stranger.pump(0.03)
            with contextlib.suppress(Exception):
                stranger.say(encode_name_message(FLAGS, 1, "after@127.0.0.1"))
            stranger.pump(0.01)
            stranger.close()


# -- the distribution's handshake, in the wrong order ---------------------------------------------


def _named(name: bytes, flags: int = int(FLAGS), creation: int = 1) -> bytes:
    return struct.pack(">cQIH", b"N", flags, creation, len(name) & 0xFFFF) + name


REPLY = encode_reply(1, bytes(16))
_ORDERS: list[list[bytes]] = [
    [_named(b"zero@127.0.0.1", 0)],
    [_named(b"all@127.0.0.1", (1 << 64) - 1)],
    *([_named(b"bit%d@127.0.0.1" % bit, int(FLAGS) ^ 1 << bit)] for bit in range(0, 64, 3)),
    [_named(b"c@127.0.0.1", creation=0)], [_named(b"c@127.0.0.1", creation=(1 << 32) - 1)],
    [_named(b"x" * 65535)], [_named(b"x" * 240 + b"@127.0.0.1")], [_named(b"x" * 4000)],
    [_named(b"nul\0@127.0.0.1")], [_named(b"a@\0")], [_named(b"a@b\r\n\x1b[2J")], [_named(b"~@127.0.0.1")],
    [_named(b"a@b@c")], [_named(b"'q'@127.0.0.1")], [_named(b"\xff\xfe@127.0.0.1")],
    [_named(b"a@" + b"b" * 250)],
    [_named(b"127.0.0.1", int(FLAGS) | 1 << 33)], [_named(b"a@b", int(FLAGS) | 1 << 33)],
    [_named(b"", int(FLAGS) | 1 << 33)], [_named(b"\n", int(FLAGS) | 1 << 33)],
    [b"n\0\x05" + struct.pack(">I", int(FLAGS) & 0xFFFFFFFF) + b"old@127.0.0.1"],
    [b"n\0\x05"], [b"n"], [b"n\0\x06" + bytes(4) + b"x@y"],
    [_named(b"c1@127.0.0.1"), b"c" + struct.pack(">II", 0, 1), REPLY],
    [b"c" + struct.pack(">II", 0, 1)],
    [b"salive"], [b"snok"], [b"sok"], [b"sok_simultaneous"], [b"strue"], [b"snamed:\0\x05a@b.c\0\0\0\1"],
    [_named(b"s1@127.0.0.1"), b"salive"], [_named(b"s2@127.0.0.1"), b"strue", REPLY],
    [_named(b"s3@127.0.0.1"), b"snok"],
    [_named(b"twice@127.0.0.1"), _named(b"twice@127.0.0.1"), REPLY],
    [REPLY], [REPLY * 100], [b"a" + bytes(16)], [_named(b"a1@127.0.0.1"), b"a" + bytes(16)],
    [_named(b"good@127.0.0.1"), b"strue", REPLY], [_named(b"good@127.0.0.1"), b"sfalse"],
    [_named(b"good@127.0.0.1", creation=77), b"strue", REPLY],
    [_named(b"victim@127.0.0.1"), REPLY],
    [_named(b"r1@127.0.0.1"), b"r" + bytes(19)], [_named(b"r2@127.0.0.1"), b"r" + bytes(40)],
    [_named(b"r3@127.0.0.1"), b"r"], [_named(b"t@127.0.0.1"), bytes(4) * 5000, REPLY],
    [bytes(3)], [bytes(65535)], [b"\xff" * 65535],
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + os.urandom(500)],
    [b"\0\x01z"],
]  # fmt: skip


def orders_quic(field: Field) -> None:
    """Handshake messages in every wrong order, glued and one by one, over QUIC."""
    for messages in _ORDERS:
        for glued in (True, False):
            with contextlib.suppress(Refused):
                stranger = connected(field)
                with contextlib.suppress(Exception):
                    if glued:
                        stranger.say(b"".join(messages))
                    else:
                        for message in messages:
                            stranger.say(message)
                            stranger.pump(0.02)
                    stranger.pump(0.02)
                stranger.close()


def orders_tcp(field: Field) -> None:
    """The same over TCP, and with the end of the connection, a half-close, a reset and urgent data in each
    stage."""
    for messages in _ORDERS:
        for last in ("", "close", "half", "reset", "urgent"):
            with contextlib.suppress(OSError):
                sock = field.dial(timeout=0.03)
                for message in messages:
                    sock.sendall(prefixed(message[:65535]))
                    if last == "":
                        with contextlib.suppress(OSError):
                            sock.recv(500)
                if last == "half":
                    sock.shutdown(socket.SHUT_WR)
                elif last == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                elif last == "urgent":
                    sock.send(b"!", socket.MSG_OOB)
                elif last == "close":
                    sock.close()


def ports(field: Field) -> None:
    """ClientHellos of 6000 ports of one address, that of the newcomers too: 3000 a second."""
    socks = []
    for _ in range(600):
        with contextlib.suppress(OSError):
            socks.append(field.udp())
            field.hold(socks[-1])
    start = time.monotonic()
    number = 0
    while time.monotonic() - start < 3.0:
        data = raw.initial(raw.PING)
        with contextlib.suppress(OSError):
            socks[number % len(socks)].sendto(data, field.quic)
        number += 1
        if (ahead := start + number / 3000 - time.monotonic()) > 0.002:
            time.sleep(ahead)
    field.note(f"{number} datagrams")


ATTACKS = [
    Attack("hellos", "ClientHellos of all shapes", hellos),
    Attack("parameters-odd", "handshakes with transport parameters that nobody sends", odd_parameters),
    Attack("streams-odd", "streams and frames in odd orders before the cookie", odd_streams),
    Attack("orders-quic", "messages of the handshake in wrong orders, over QUIC", orders_quic),
    dataclasses.replace(
        Attack("orders-tcp", "the same over TCP, with resets and half-closes", orders_tcp), carrier="tcp"
    ),
    Attack("ports", "9000 Initial packets of 600 ports of one address", ports),
]
