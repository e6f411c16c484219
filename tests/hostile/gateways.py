"""Attacks on a gateway: strangers and peers on its QUIC side, and programs on its machine.

The node behind it is not measured: what it is sent by peers that have the cookie, it is sent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import struct
import time
from collections.abc import Callable
from typing import Any

from quicdist.discovery import epmd_messages as epmd
from quicdist.discovery.epmd_messages import NodeType
from quicdist.protocol import UNUSED, RegSend
from quicdist.term import Atom, Pid, term_to_binary
from tests.hostile import authenticated, datagrams, handshakes
from tests.hostile.field import Attack, Field
from tests.hostile.measure import MIB
from tests.hostile.raw_quic import QuicPeer, Stranger
from tests.hostile.tcp import named

#: The most memory, in bytes, that one peer may make the gateway use while it is connected.
HELD = 64 * MIB

_numbers = itertools.count(1)


def _peer(field: Field) -> QuicPeer:
    """A peer with the cookie, which the node behind the gateway has accepted."""
    return Stranger(field).login(f"bad{next(_numbers)}@127.0.0.1", field.cookie, field.name)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _to_sink(peer: QuicPeer) -> bytes:
    """The control message of a message to a process that drops all."""
    return term_to_binary((6, Pid(peer.name, 1, 0, 1), UNUSED, Atom("sink")))[1:]


def malformed(field: Field) -> None:
    """25 links, each with a malformed frame."""
    bodies = [
        b"\0",
        b"\x83",
        b"\x83D\x01h\x03",
        b"\x83E" + bytes(8),
        b"\x83E" + bytes(17),
        b"\x83F" + bytes(16),
        b"\x83F" + struct.pack(">QQ", 1, 0) + bytes(100),
        b"\x83Dh\xff" + b"X" * 60_000,
        b"p",
        os.urandom(500),
    ]
    for number in range(25):
        with contextlib.suppress(Exception):
            peer = _peer(field)
            peer.raw(_frame(bodies[number % len(bodies)]))
            peer.stranger.pump(0.05)


def too_long(field: Field) -> None:
    """Frames whose length is 2 GiB and 4 GiB less one."""
    for length in (1 << 31, (1 << 32) - 1):
        peer = _peer(field)
        peer.raw(length.to_bytes(4, "big") + bytes(2000))
        peer.stranger.pump(0.3)
        field.expect(peer.ended, f"a frame of {length} bytes did not end the connection")


def never_ending(field: Field) -> None:
    """Frames of 100 MiB, one on each stream, of which 32 KB come."""
    peer = _peer(field)
    for number in range(1, 16):
        peer.raw((100 * MIB).to_bytes(4, "big") + b"\x83D\0" + bytes(32_000), 4 * number)
        peer.stranger.pump(0.05)
    peer.stranger.pump(0.5)


def _fragments(field: Field, count: int, *, first_only: bool) -> None:
    peer = _peer(field)
    control = _to_sink(peer)
    for number in range(count):
        head = struct.pack(">QQ", number + 1 if first_only else 1, (1 << 40) - (0 if first_only else number))
        first = first_only or not number
        body = b"\x83E" + head + b"\0" + control + bytes(1000) if first else b"\x83F" + head + bytes(1000)
        peer.raw(_frame(body))
        if number % 100 == 99:
            peer.flush(1.0)
        if peer.ended:
            break
    peer.stranger.pump(0.3)


def first_fragments(field: Field) -> None:
    """Messages of which only the first fragment comes: 3000."""
    _fragments(field, 3000, first_only=True)


def endless_message(field: Field) -> None:
    """One message in a million million fragments, of which 3000 come."""
    _fragments(field, 3000, first_only=False)


def deaf(field: Field) -> None:
    """30 MB asked of the node behind it, and no credit given for them."""
    peer = _peer(field)
    quic: Any = peer.stranger.quic
    quic._write_connection_limits = quic._write_stream_limits = lambda *args, **kwargs: None
    own = Pid(peer.name, 1, 0, 1)
    before = field.victim.rss
    for _ in range(30):
        peer.send(RegSend(own, UNUSED, Atom("echo")), (own, bytes(MIB)))
        peer.flush(2.0)
    most = 0
    for _ in range(20):
        time.sleep(0.1)
        most = max(most, field.victim.rss - before)
    field.hold(peer.stranger)
    field.expect(most < HELD, f"{most / MIB:.0f} MiB are held for a peer that does not read")


def open_streams(field: Field) -> None:
    """A byte on every stream that there may be, and nothing more."""
    peer = _peer(field)
    for number in range(1, 100):
        with contextlib.suppress(Exception):
            peer.raw(b"\0", 4 * number)
    peer.stranger.pump(0.5)
    field.hold(peer.stranger)


def claims_good(field: Field) -> None:
    """The name of the peer that is served, and no digest: its link must stand."""
    for _ in range(20):
        with contextlib.suppress(Exception):
            stranger = handshakes.connected(field)
            stranger.say(named("good@127.0.0.1")[2:])
            stranger.pump(0.1)
            stranger.close()
    field.expect("good@127.0.0.1" in field.victim.do("nodes"), "the good peer's link was taken down")


# -- programs on its machine -----------------------------------------------------------------------


def _ask(field: Field, request: bytes) -> bytes:
    """The answer of its epmd for another host."""
    sock = field.dial()
    sock.sendall(request)
    answer = b""
    while data := sock.recv(4096):
        answer += data
    return answer


def _port(field: Field, name: str) -> int:
    """The port at which the gateway has the node ``name`` of another host dialled."""
    answer = _ask(field, epmd.port_please2_req(name))
    return int.from_bytes(answer[2:4], "big")


def local_half_open(field: Field) -> None:
    """300 connections to its epmd, and as many to the port of a remote node, that say nothing."""
    port = _port(field, "other")
    for _ in range(300):
        with contextlib.suppress(OSError):
            field.dial()
        with contextlib.suppress(OSError):
            field.dial_port((field.tcp[0], port))


def local_garbage(field: Field) -> None:
    """Random bytes to its epmds, to the port of a remote node, and to the metrics page."""
    ports = [field.tcp, ("127.0.0.1", field.tcp[1]), (field.tcp[0], _port(field, "other"))]
    ports.append(("127.0.0.1", field.metrics_port))
    for number in range(400):
        with contextlib.suppress(OSError):
            field.dial_port(ports[number % 4]).sendall(os.urandom(1 + number * 7))


def local_names(field: Field) -> None:
    """2000 names asked of its epmd."""
    for number in range(2000):
        with contextlib.suppress(OSError):
            _port(field, f"n{number}")


def local_registrations(field: Field) -> None:
    """1500 names registered with its epmd, each by a program that stays."""
    name = "x" * 200
    for number in range(1500):
        request = epmd.alive2_req(f"{name}{number}", 4000, NodeType.HIDDEN)
        with contextlib.suppress(OSError):
            field.dial_port(("127.0.0.1", field.tcp[1])).sendall(request)


def local_dials(field: Field) -> None:
    """300 dials of remote nodes that are not there, with names that nobody has."""
    ports = [_port(field, f"nobody{number}") for number in range(10)]
    for number in range(300):
        with contextlib.suppress(OSError):
            sock = field.dial_port((field.tcp[0], ports[number % 10]))
            sock.sendall(named(f"own{number}@127.0.0.1") + bytes(500))


def local_pages(field: Field) -> None:
    """Requests to the metrics page that do not end, and 200 that do."""
    for number in range(250):
        with contextlib.suppress(OSError):
            sock = field.dial_port(("127.0.0.1", field.metrics_port))
            sock.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"" if number < 50 else b"\r\n"))


def _again(attacks: list[Attack], *names: str) -> list[Attack]:
    """Attacks on a node that a gateway has to stand too."""
    return [attack for attack in attacks if attack.name in names]


_OWN: list[tuple[str, str, Callable[[Field], None], str]] = [
    ("claims-good", "the name of a peer that is served, over QUIC", claims_good, "stranger"),
    ("malformed", "25 links, each with a malformed frame", malformed, "peer"),
    ("too-long", "frames of 2 GiB and more", too_long, "peer"),
    ("never-ending", "15 frames of 100 MiB that do not come", never_ending, "peer"),
    ("first-fragments", "3000 messages of which only the first fragment comes", first_fragments, "peer"),
    ("endless-message", "a message in 2^40 fragments", endless_message, "peer"),
    ("deaf", "30 MB asked for and not read", deaf, "peer"),
    ("open-streams", "99 streams opened and left", open_streams, "peer"),
    ("local-half-open", "600 local connections that say nothing", local_half_open, "local"),
    ("local-garbage", "random bytes to the local ports", local_garbage, "local"),
    ("local-names", "2000 names asked of epmd", local_names, "local"),
    ("local-registrations", "1500 names registered with epmd", local_registrations, "local"),
    ("local-dials", "300 local dials of nodes that are not there", local_dials, "local"),
    ("local-pages", "250 requests to the metrics page", local_pages, "local"),
]
_QUICK = {"never-ending", "local-half-open"}

ATTACKS = [
    dataclasses.replace(attack, name=f"gateway-{attack.name}", variant="gateway", quick=False)
    for attack in (
        *_again(datagrams.ATTACKS, "garbage", "crypto-gaps", "client-hellos-300"),
        *_again(handshakes.ATTACKS, "windows", "zeros", "early-data", "streams", "half-open-quic"),
        *_again(handshakes.ATTACKS, "half-open-quic-many", "crawling", "names-quic", "cookies-quic"),
        *_again(handshakes.ATTACKS, "reply-at-once"),
        *_again(authenticated.ATTACKS, "quic-gaps", "quic-windows", "quic-ticks", "quic-user-streams"),
        *_again(authenticated.ATTACKS, "quic-placement", "brief-links"),
    )
] + [
    Attack(f"gateway-{name}", what, run, kind=kind, variant="gateway", quick=name in _QUICK)
    for name, what, run, kind in _OWN
]
