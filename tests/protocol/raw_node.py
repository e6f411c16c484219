"""A node of nothing but the sans-I/O classes and a blocking socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quicdist.protocol import (
    NO_PAYLOAD,
    Acceptor,
    Connected,
    ControlMessage,
    DistConnection,
    Event,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    StreamPlan,
)
from quicdist.protocol.handshake import Handshake
from quicdist.term import Codec

TIMEOUT = 30.0

#: Answers an event of the handshake, or lets it pass; gives the events that its answer leads to.
Answer = Callable[[Any, Event], list[Event] | None]


@dataclass
class RawLink:
    """An established connection; ``raw`` is all that has come, ``local`` this node in it."""

    sock: socket.socket
    connection: DistConnection
    local: LocalIdentity
    raw: bytearray = field(default_factory=bytearray)
    _messages: list[tuple[ControlMessage, Any]] = field(default_factory=list)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        _, chunks = self.connection.send(control, payload)
        self.sock.sendall(b"".join(chunks))

    def receive(self, kind: type[ControlMessage] | None = None) -> tuple[Any, Any]:
        """The next message (of a kind); others are dropped."""
        while True:
            while self._messages:
                message = self._messages.pop(0)
                if kind is None or isinstance(message[0], kind):
                    return message
            data = self.sock.recv(1 << 16)
            assert data, "the peer closed the connection"
            self.take(data)

    def take(self, data: bytes) -> None:
        self.raw += data
        self._messages += self.connection.receive(0, data)

    def close(self) -> None:
        self.sock.close()


def run(sock: socket.socket, handshake: Handshake, answer: Answer | None = None) -> RawLink:
    """Carry a handshake over a socket. Raises what it raises; the socket is then closed."""
    sock.settimeout(TIMEOUT)
    try:
        while True:
            for message in handshake.data_to_send():
                sock.sendall(message)
            data = sock.recv(1 << 16)
            if not data:
                raise handshake.connection_closed()
            link = _handle(sock, handshake, handshake.receive_data(data), answer)
            if link is not None:
                return link
    except Exception:
        for message in handshake.data_to_send():
            sock.sendall(message)
        sock.close()
        raise


def _handle(
    sock: socket.socket, handshake: Handshake, events: list[Event], answer: Answer | None
) -> RawLink | None:
    for event in events:
        if not isinstance(event, Connected):
            if answer and (more := answer(handshake, event)):
                return _handle(sock, handshake, more, answer)
            continue
        for message in handshake.data_to_send():
            sock.sendall(message)
        plan = StreamPlan.single()
        connection = DistConnection(event.peer, event.local, codec=Codec(), streams=plan)
        link = RawLink(sock, connection, event.local)
        link.take(event.leftover)
        return link
    return None


def dial(
    port: int, peer: str, local: LocalIdentity, cookie: str = "secret", answer: Answer | None = None
) -> RawLink:
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    return run(sock, Initiator(local, peer, cookie, HandshakeFraming.PACKET_2), answer)


def accept(listener: socket.socket, local: LocalIdentity, answer: Answer, cookie: str = "secret") -> RawLink:
    sock, _ = listener.accept()
    acceptor = Acceptor(local, HandshakeFraming.PACKET_2, lambda node: cookie)
    return run(sock, acceptor, answer)


@dataclass
class Registered:
    """A listening socket whose port epmd gives for a name as long as ``epmd`` is open."""

    listener: socket.socket
    epmd: socket.socket

    def close(self) -> None:
        self.listener.close()
        self.epmd.close()


def register(alive: str, epmd_port: int) -> Registered:
    """Listen, and have epmd know of it (ALIVE2_REQ of the ERTS User's Guide, Distribution Protocol)."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT)
    port, name = listener.getsockname()[1], alive.encode()
    request = struct.pack(">BHBBHHH", 120, port, 72, 0, 6, 6, len(name)) + name + b"\0\0"
    epmd = socket.create_connection(("127.0.0.1", epmd_port), TIMEOUT)
    epmd.sendall(struct.pack(">H", len(request)) + request)
    answer = epmd.recv(16)
    assert answer[:2] in (b"\x76\0", b"\x79\0"), answer
    return Registered(listener, epmd)
