"""QUIC as nobody should speak it: packets with whatever frames, made by hand.

The only module of this package that touches aioquic's private parts.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import Epoch

from quicdist.protocol import (
    NO_PAYLOAD,
    Connected,
    ControlMessage,
    DistConnection,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    StatusReceived,
    StreamPlan,
)
from quicdist.protocol.streams import Role
from quicdist.term import Codec

if TYPE_CHECKING:
    from tests.hostile.field import Field

var = encode_uint_var
V1 = QuicProtocolVersion.VERSION_1
#: The shortest datagram an Initial packet may come in (RFC 9000, section 14.1).
SHORTEST = 1200

# -- frames (RFC 9000, section 19) ---------------------------------------------------------------

PING = b"\x01"
PADDING = b"\0"


def ack(largest: int, ranges: Sequence[tuple[int, int]] = (), first: int = 0, delay: int = 0) -> bytes:
    """``ranges`` are of gap and length each."""
    body = b"".join(var(gap) + var(length) for gap, length in ranges)
    return b"\x02" + var(largest) + var(delay) + var(len(ranges)) + var(first) + body


def crypto(offset: int, data: bytes) -> bytes:
    return b"\x06" + var(offset) + var(len(data)) + data


def stream(stream_id: int, offset: int, data: bytes = b"", *, fin: bool = False) -> bytes:
    return bytes([0x0E | fin]) + var(stream_id) + var(offset) + var(len(data)) + data


def reset_stream(stream_id: int, code: int = 0, final_size: int = 0) -> bytes:
    return b"\x04" + var(stream_id) + var(code) + var(final_size)


def stop_sending(stream_id: int, code: int = 0) -> bytes:
    return b"\x05" + var(stream_id) + var(code)


def new_connection_id(number: int, retire: int, connection_id: bytes) -> bytes:
    token = os.urandom(16)
    return b"\x18" + var(number) + var(retire) + bytes([len(connection_id)]) + connection_id + token


def retire_connection_id(number: int) -> bytes:
    return b"\x19" + var(number)


def path_challenge(data: bytes = b"12345678") -> bytes:
    return b"\x1a" + data


def connection_close(code: int, reason: bytes, *, application: bool = False) -> bytes:
    kind = b"" if application else var(0)
    return bytes([0x1D if application else 0x1C]) + var(code) + kind + var(len(reason)) + reason


# -- packets that need no connection -------------------------------------------------------------


def initial(
    payload: bytes,
    *,
    destination: bytes | None = None,
    source: bytes | None = None,
    number: int = 0,
    token: bytes = b"",
    keys: bytes | None = None,
    version: int = V1,
    size: int = SHORTEST,
) -> bytes:
    """An Initial packet in a datagram of ``size`` bytes. ``keys`` is the connection id that the keys are
    made of, in place of the destination's."""
    destination = os.urandom(8) if destination is None else destination
    source = os.urandom(8) if source is None else source
    pair = CryptoPair()
    pair.setup_initial(keys or destination, is_client=True, version=V1)
    head = b"\xc1" + version.to_bytes(4, "big")
    head += bytes([len(destination)]) + destination + bytes([len(source)]) + source
    head += var(len(token)) + token
    room = size - len(head) - 4 - 16
    payload = payload + bytes(max(0, room - len(payload), 4 - len(payload)))
    head += (0x4000 | (len(payload) + 2 + 16)).to_bytes(2, "big") + (number & 0xFFFF).to_bytes(2, "big")
    return bytes(pair.encrypt_packet(head, payload, number))


def client_hello(field: Field, **more: Any) -> bytes:
    """The first datagram of a dialler that means it, each time of another connection."""
    quic = QuicConnection(configuration=configuration(field, **more))
    quic.connect(field.quic, 0.0)
    return bytes(quic.datagrams_to_send(0.0)[0][0])


def configuration(field: Field, **more: Any) -> QuicConfiguration:
    return QuicConfiguration(
        **{
            "is_client": True,
            "alpn_protocols": ["erlang-dist"],
            "verify_mode": ssl.CERT_NONE,
            "supported_versions": [V1],
            "max_data": 1 << 28,
            "max_stream_data": 1 << 24,
            "idle_timeout": 300.0,
            **more,
        }
    )


class Stranger:
    """One QUIC connection to the victim that can be made to send any frames."""

    def __init__(
        self,
        field: Field,
        source: str = "127.0.0.1",
        *,
        shown: tuple[str, str] | None = None,
        connect: bool = True,
        **more: Any,
    ) -> None:
        self.field = field
        self.sock = field.udp(source)
        made = configuration(field, **more)
        if shown is not None:
            made.load_cert_chain(*shown)
        self.quic = QuicConnection(configuration=made)
        self.up = False
        self.ended: ConnectionTerminated | None = None
        self.came: dict[int, bytearray] = {}
        field.hold(self)
        if connect:
            self.quic.connect(field.quic, time.monotonic())
            self.transmit()

    # -- the socket --------------------------------------------------------------------------

    def transmit(self) -> None:
        for data, _ in self.quic.datagrams_to_send(time.monotonic()):
            self.send(data)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendto(data, self.field.quic)

    def receive(self) -> bool:
        """Take what has come; whether anything had."""
        came = False
        while True:
            try:
                data, _ = self.sock.recvfrom(65536)
            except (BlockingIOError, OSError):
                break
            came = True
            self.quic.receive_datagram(data, self.field.quic, time.monotonic())
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self.up = True
            elif isinstance(event, ConnectionTerminated):
                self.ended = event
            elif isinstance(event, StreamDataReceived):
                self.came.setdefault(event.stream_id, bytearray()).extend(event.data)
        return came

    def pump(self, seconds: float, *, until: Any = None) -> bool:
        """Take part in the connection for so long, or until ``until`` holds; whether it does."""
        deadline = time.monotonic() + seconds
        while True:
            self.receive()
            if until is not None and until():
                self.transmit()
                return True
            if self.ended is not None:
                return False
            now = time.monotonic()
            timer = self.quic.get_timer()
            if timer is not None and timer <= now:
                self.quic.handle_timer(now)
            self.transmit()
            left = min(deadline, timer if timer is not None else deadline) - time.monotonic()
            if deadline <= time.monotonic():
                return until is None
            select.select([self.sock], [], [], max(0.001, min(left, 0.05)))

    def handshake(self, seconds: float = 8.0) -> bool:
        return self.pump(seconds, until=lambda: self.up)

    # -- frames by hand ----------------------------------------------------------------------

    def packet(self, payload: bytes, *, skip: int = 0) -> bytes:
        """A 1-RTT packet; ``skip`` so many packet numbers before it."""
        quic = self.quic
        quic._packet_number += skip
        number = quic._packet_number
        quic._packet_number += 1
        pair = quic._cryptos[Epoch.ONE_RTT]
        head = (
            bytes([0x43 | pair.key_phase << 2])
            + quic._peer_cid.cid
            + (number & 0xFFFFFFFF).to_bytes(4, "big")
        )
        if len(payload) < 4:
            payload += bytes(4 - len(payload))
        return bytes(pair.encrypt_packet(head, payload, number))

    def packets(self, frames: Iterable[bytes], size: int = 1180) -> list[bytes]:
        """1-RTT packets of many frames, as full as they get."""
        made: list[bytes] = []
        room: list[bytes] = []
        length = 0
        for frame in frames:
            if length + len(frame) > size and room:
                made.append(self.packet(b"".join(room)))
                room, length = [], 0
            room.append(frame)
            length += len(frame)
        if room:
            made.append(self.packet(b"".join(room)))
        return made

    def blast(self, datagrams: Iterable[bytes], *, rate: float = 0.0) -> None:
        """Send them all; so many a second if ``rate`` is given."""
        start = time.monotonic()
        for number, data in enumerate(datagrams):
            self.send(data)
            if rate and (ahead := start + number / rate - time.monotonic()) > 0.002:
                time.sleep(ahead)

    def frames(self, frames: Iterable[bytes], *, rate: float = 0.0) -> None:
        self.blast(self.packets(frames), rate=rate)

    def update_key(self) -> None:
        """Go on with the next keys at once, whatever the peer has acknowledged."""
        self.quic._cryptos[Epoch.ONE_RTT]._update_key("local_update")

    def move(self, source: str) -> None:
        """Go on from another address."""
        self.sock.close()
        self.sock = self.field.udp(source)

    # -- the distribution's handshake --------------------------------------------------------

    def say(self, data: bytes, stream_id: int = 0) -> None:
        self.quic.send_stream_data(stream_id, data)
        self.transmit()

    def login(self, name: str, cookie: str, victim: str, seconds: float = 8.0) -> QuicPeer:
        """Become a link. Raises what the handshake raises, and :class:`TimeoutError`."""
        if not self.up and not self.handshake(seconds):
            raise TimeoutError("no QUIC handshake")
        machine = Initiator(LocalIdentity(name, 1), victim, cookie, HandshakeFraming.BARE)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in machine.data_to_send():
                self.quic.send_stream_data(0, message)
            came = self.came.pop(0, bytearray())
            if not came:
                self.pump(0.2, until=lambda: 0 in self.came)
                came = self.came.pop(0, bytearray())
            data = bytes(came)
            for event in machine.receive_data(data) if data else ():
                if isinstance(event, StatusReceived) and event.status == "alive":
                    machine.send_alive_answer(True)
                if isinstance(event, Connected):
                    return QuicPeer(self, event)
            if self.ended is not None:
                raise machine.connection_closed()
        raise TimeoutError("the handshake of the distribution was not answered")

    def close(self) -> None:
        """End the connection with a CONNECTION_CLOSE, if there is one."""
        with contextlib.suppress(Exception):
            self.receive()
            self.quic.close()
            self.transmit()
        self.sock.close()


class QuicPeer:
    """An authenticated peer over QUIC, which may misbehave."""

    def __init__(self, stranger: Stranger, connected: Connected) -> None:
        self.stranger = stranger
        self.name = connected.local.name
        self.victim = connected.peer.name
        self.plan = StreamPlan.quic(Role.CLIENT, connected.peer)
        self.connection = DistConnection(connected.peer, connected.local, codec=Codec(), streams=self.plan)

    def frame_of(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> tuple[int, bytes]:
        stream_id, chunks = self.connection.send(control, payload)
        return stream_id, b"".join(bytes(chunk) for chunk in chunks)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        stream_id, data = self.frame_of(control, payload)
        self.raw(data, stream_id)

    def raw(self, data: bytes, stream_id: int = 4) -> None:
        """Bytes on a stream, whatever they are."""
        self.stranger.quic.send_stream_data(stream_id, data)

    def flush(self, seconds: float = 5.0) -> bool:
        """Until all is acknowledged; whether it was."""
        quic = self.stranger.quic
        return self.stranger.pump(
            seconds,
            until=lambda: all(
                one.sender._buffer_start == one.sender._buffer_stop for one in quic._streams.values()
            ),
        )

    @property
    def ended(self) -> bool:
        return self.stranger.ended is not None


def udp_socket(source: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    return sock
