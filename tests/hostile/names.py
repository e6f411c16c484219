"""Attacks on names: who only says one, who says another's, and who hands a challenge back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout

from quicdist.protocol.handshake_messages import (
    CHALLENGE_HEADER,
    REPLY,
    encode_challenge,
    encode_name_message,
    encode_reply,
)
from tests.hostile.field import Attack, Field
from tests.hostile.node import GOOD, GREAT, SMALL
from tests.hostile.raw_quic import Stranger
from tests.hostile.tcp import FLAGS, message, named, prefixed

LIAR, MIRROR = "liar@127.0.0.1", "mirror@127.0.0.1"


def _dial_while(field: Field, name: str, say: object) -> None:
    """Have the victim dial ``name`` with 3 s of time, while ``say`` claims that name all the time."""
    stop = threading.Event()

    def claim() -> None:
        while not stop.is_set():
            with contextlib.suppress(Exception):
                say()  # type: ignore[operator]
            stop.wait(0.25)

    thread = threading.Thread(target=claim, daemon=True)
    thread.start()
    time.sleep(0.6)
    start = time.monotonic()
    try:
        got = field.dialled(name, 3.0).result(12.0)
        field.note(f"ping took {got['seconds']:.2f} s {got['error'][:120]}")
        field.expect(got["seconds"] < 4.0, f"ping(timeout=3) took {got['seconds']:.1f} s")
        field.expect(not got["error"], f"the victim could not dial {name}: {got['error'][:120]}")
    except FutureTimeout:
        field.expect(False, f"ping(timeout=3) had not returned after {time.monotonic() - start:.0f} s")
    finally:
        stop.set()
        thread.join(5)
        field.victim.do("disconnect", name=name)


def claimed_tcp(field: Field) -> None:
    _dial_while(field, GREAT, lambda: field.dial(field.source()).sendall(named(GREAT)))


def claimed_small_tcp(field: Field) -> None:
    _dial_while(field, SMALL, lambda: field.dial(field.source()).sendall(named(SMALL)))


def claimed_quic(field: Field) -> None:
    def say() -> None:
        stranger = Stranger(field, field.source())
        if stranger.handshake(1.0):
            stranger.say(encode_name_message(FLAGS, 1, GREAT))
            stranger.pump(0.05)

    _dial_while(field, GREAT, say)


def claimed_good(field: Field) -> None:
    """The name of the node that is served: its link must stand."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            sock = field.dial(timeout=0.5)
            sock.sendall(named(GOOD))
            status = message(sock)
            if status == b"salive":
                sock.sendall(prefixed(b"strue"))
                message(sock)
                sock.sendall(prefixed(encode_reply(1, bytes(16))))
    field.expect(GOOD in field.victim.do("nodes"), "the good peer's link was taken down")


def claimed_own(field: Field) -> None:
    """The victim's own name."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            sock = field.dial(timeout=0.5)
            sock.sendall(named(field.name))
            message(sock)


def many_names(field: Field) -> None:
    """2000 names said and nothing more: what is kept of them."""
    for number in range(300):
        with contextlib.suppress(OSError):
            sock = field.dial(field.source(), timeout=0.5)
            sock.sendall(named(f"n{number}-{'x' * 200}@127.0.0.1"))


class TcpMirror:
    """This node dials the victim, and is challenged."""

    def __init__(self, field: Field) -> None:
        self.sock = field.dial(timeout=3.0)
        self.sock.sendall(named(MIRROR))
        message(self.sock)  # the status
        self.challenge: int = CHALLENGE_HEADER.unpack_from(message(self.sock))[2]

    def answer(self, digest: bytes) -> bool:
        """Answer with a digest; whether it is acknowledged."""
        self.sock.sendall(prefixed(encode_reply(7, digest)))
        return message(self.sock)[:1] == b"a"


class QuicMirror:
    """The same over QUIC."""

    def __init__(self, field: Field) -> None:
        self.stranger = Stranger(field)
        if not self.stranger.handshake(3.0):
            raise ConnectionError
        self.stranger.say(encode_name_message(FLAGS, 1, MIRROR))
        came = self.stranger.came.setdefault(0, bytearray())
        whole = len(b"sok") + CHALLENGE_HEADER.size
        if not self.stranger.pump(3.0, until=lambda: len(came) >= whole):
            raise ConnectionError
        self.challenge: int = CHALLENGE_HEADER.unpack_from(bytes(came), len(b"sok"))[2]
        came.clear()

    def answer(self, digest: bytes) -> bool:
        came = self.stranger.came[0]
        came.clear()
        self.stranger.say(encode_reply(7, digest))
        return self.stranger.pump(3.0, until=lambda: bytes(came[:1]) == b"a")


def _reflect(field: Field, listener: socket.socket, kind: type[TcpMirror] | type[QuicMirror]) -> bool:
    """Take the victim's dial; hand it its own challenge; give its digest back. Whether it was taken."""
    with contextlib.closing(listener.accept()[0]) as sock:
        sock.settimeout(3.0)

        def receive() -> bytes:
            head = sock.recv(2, socket.MSG_WAITALL)
            if len(head) < 2:
                raise ConnectionError
            return sock.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)

        receive()  # its name
        mirror = kind(field)
        sock.sendall(prefixed(b"sok") + prefixed(encode_challenge(FLAGS, mirror.challenge, 1, LIAR)))
        return mirror.answer(REPLY.unpack(receive())[2])


def _reflection(field: Field, kind: type[TcpMirror] | type[QuicMirror]) -> None:
    with socket.create_server(("127.0.0.1", field.liar_port)) as listener:
        listener.settimeout(5.0)
        dialled = field.dialled(LIAR, 3.0)
        taken = False
        with contextlib.suppress(OSError, ConnectionError):
            taken = _reflect(field, listener, kind)
        field.expect(not taken, "authenticated without the cookie")
        with contextlib.suppress(Exception):
            dialled.result(8.0)


def reflection(field: Field) -> None:
    """Its own challenge handed back, where it is made to dial."""
    _reflection(field, TcpMirror)


def reflection_across(field: Field) -> None:
    """The challenge is that of a QUIC connection, handed back over TCP."""
    _reflection(field, QuicMirror)


def silent_listener(field: Field) -> None:
    """The victim dials a node that answers nothing: its time-out must hold."""
    with socket.create_server(("127.0.0.1", field.liar_port)) as listener:
        listener.settimeout(5.0)
        start = time.monotonic()
        try:
            got = field.dialled(LIAR, 1.5).result(8.0)
            field.note(f"ping took {got['seconds']:.2f} s")
            field.expect(got["seconds"] < 2.5, f"ping(timeout=1.5) took {got['seconds']:.1f} s")
        except FutureTimeout:
            field.expect(False, f"ping(timeout=1.5) took more than {time.monotonic() - start:.0f} s")


ATTACKS = [
    Attack("name-only-tcp", "a TCP connection every 0.25 s that says a name which is dialled", claimed_tcp),
    Attack("name-only-tcp-small", "the same with a name that is smaller", claimed_small_tcp),
    Attack("name-only-quic", "the same over QUIC", claimed_quic),
    Attack(
        "claims-good", "the name of the peer that is served, and a wrong digest", claimed_good, quick=True
    ),
    Attack("claims-own", "the victim's own name", claimed_own),
    Attack("many-names", "300 long names of 300 addresses", many_names),
    Attack("reflection", "the victim's challenge handed back to it", reflection),
    Attack("reflection-across", "the same from QUIC to TCP", reflection_across),
    Attack("silent-listener", "a node that is dialled and answers nothing", silent_listener),
]
