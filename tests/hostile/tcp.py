"""What a stranger can do over TCP."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import struct
import time

from quicdist.protocol import LocalIdentity
from quicdist.protocol.handshake_messages import encode_name_message, encode_reply
from tests.hostile.field import Attack, CountingSocket, Field, at_rate

FLAGS = LocalIdentity("a@b", 1).flags


def prefixed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def named(name: str) -> bytes:
    """A name message."""
    return prefixed(encode_name_message(FLAGS, 1, name))


def half_open(field: Field) -> None:
    """300 connections that say nothing."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            field.dial()


def half_open_many(field: Field) -> None:
    """The same, each from an address of its own."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            field.dial(field.source())


def half_closed(field: Field) -> None:
    for _ in range(150):
        with contextlib.suppress(OSError):
            field.dial().shutdown(socket.SHUT_WR)


def come_and_go(field: Field) -> None:
    """1000 connections that are reset at once."""
    for _ in at_rate(1000, 1.0):
        with contextlib.suppress(OSError):
            sock = field.dial()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            field._held.remove(sock)


def crawling(field: Field) -> None:
    """A name message byte by byte, on each of 50 connections."""
    socks = []
    for number in range(50):
        with contextlib.suppress(OSError):
            socks.append((field.dial(), named(f"slow{number}@127.0.0.1")))
    for at in range(40):
        for sock, message in socks:
            with contextlib.suppress(OSError):
                sock.sendall(message[at : at + 1])
        time.sleep(0.04)


def long_message(field: Field) -> None:
    """A length of 65535 and the bytes for it, on 20 connections."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            sock = field.dial()
            sock.sendall(b"\xff\xff")
            sock.sendall(bytes(65535))


def garbage(field: Field) -> None:
    for number in range(200):
        with contextlib.suppress(OSError):
            field.dial().sendall(os.urandom(1 + number * 7))


def flood(field: Field) -> None:
    """1 MB behind a name, before anything was answered."""
    with contextlib.suppress(OSError):
        sock = field.dial()
        sock.sendall(named("loud@127.0.0.1"))
        for _ in range(16):
            sock.sendall(bytes(65536))


def names(field: Field) -> None:
    """Names that are none: line ends, escapes, too long, without a host."""
    for name in (
        "a\nb@127.0.0.1",
        "\x1b[31m\r\nCRITICAL root: lost@127.0.0.1",
        "x" * 250 + "@127.0.0.1",
        "",
        "@",
    ):
        with contextlib.suppress(OSError, UnicodeError):
            raw_name = name.encode()
            head = encode_name_message(FLAGS, 1, "a@b")[:-5]
            sock = field.dial()
            sock.sendall(prefixed(head + len(raw_name).to_bytes(2, "big") + raw_name))
            sock.recv(100)


def read(sock: CountingSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError("closed")
        data += chunk
    return data


def message(sock: CountingSocket) -> bytes:
    """The next message of the handshake."""
    return read(sock, int.from_bytes(read(sock, 2), "big"))


def cookies(field: Field) -> None:
    """300 wrong cookies a second, of one address. What counts is how many verdicts come back."""
    guesses: list[CountingSocket] = []
    for number in at_rate(300, 2.0):
        with contextlib.suppress(OSError):
            sock = field.dial(timeout=0.3)
            sock.sendall(named(f"guess{number}@127.0.0.1"))
            message(sock)
            message(sock)
            sock.sendall(prefixed(encode_reply(1, os.urandom(16))))
            guesses.append(sock)
    told = sum(map(closed, guesses))
    field.note(f"{told} of {len(guesses)} wrong cookies were answered in 2 s")
    field.expect(told <= 60, f"{told} wrong cookies were answered in 2 s")


def closed(sock: CountingSocket) -> bool:
    """Whether the victim has closed a connection."""
    sock.setblocking(False)
    try:
        return sock.recv(100) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def eager(field: Field) -> None:
    """The name, a digest and frames at once."""
    for number in range(50):
        with contextlib.suppress(OSError):
            reply = prefixed(encode_reply(1, os.urandom(16)))
            field.dial().sendall(named(f"eager{number}@127.0.0.1") + reply + bytes(4000))


ATTACKS = [
    dataclasses.replace(attack, carrier="tcp")
    for attack in (
        Attack("half-open-tcp", "300 TCP connections that say nothing", half_open),
        Attack(
            "half-open-tcp-many", "300 TCP connections that say nothing, of 300 addresses", half_open_many
        ),
        Attack("half-closed", "150 TCP connections closed by half", half_closed),
        Attack("come-and-go", "1000 TCP connections that are reset", come_and_go),
        Attack("crawling-tcp", "50 name messages byte by byte", crawling),
        Attack("long-message", "a length of 65535 in the handshake", long_message),
        Attack("garbage-tcp", "200 connections with random bytes", garbage),
        Attack("flood-tcp", "1 MB behind a name", flood),
        Attack("names-tcp", "names that are none", names),
        Attack("cookies-tcp", "300 wrong cookies a second", cookies),
        Attack("eager-tcp", "name, digest and frames at once", eager),
    )
]
