"""Packets with frames of one's choice, sealed as the other end of a connection would seal them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration, server_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.wire.frames import uint
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles

SERVER = ("127.0.0.1", 4433)
CLIENT = ("127.0.0.1", 5544)

#: Bytes of frames that a datagram has room for.
ROOM = 1400


class Crafted:
    """A client and a server, both quicdist's, and a clock. What one sends the other gets at once."""

    def __init__(
        self, certificates: CertificateFiles, *, authenticated: bool = True, connected: bool = True
    ) -> None:
        settings = QuicSettings(tls=certificates.tls(verify=False))
        self.now = 0.0
        self.client = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
        self.client.connect(SERVER, self.now)
        self.server = Connection(
            configuration=server_configuration(settings.for_listening()),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        if connected:
            self.talk()
            self.talk()
            if authenticated:
                self.client.authenticated()
                self.server.authenticated()
            self.talk()

    def talk(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.now += 0.01
            for data, _ in self.client.datagrams_to_send(self.now):
                self.server.receive_datagram(data, CLIENT, self.now)
            for data, _ in self.server.datagrams_to_send(self.now):
                self.client.receive_datagram(data, SERVER, self.now)

    def other(self, quic: QuicConnection) -> QuicConnection:
        return self.server if quic is self.client else self.client

    def feed(self, quic: QuicConnection, payload: bytes, *, epoch: Epoch = Epoch.ONE_RTT) -> None:
        """Give ``quic`` a packet with these frames from its peer."""
        sender = self.other(quic)
        number = sender._packet_number
        sender._packet_number += 1
        data = seal(sender, payload, number, epoch)
        quic.receive_datagram(data, SERVER if quic is self.client else CLIENT, self.now)

    def flood(self, quic: QuicConnection, payloads: Iterable[bytes], *, epoch: Epoch = Epoch.ONE_RTT) -> int:
        """Give ``quic`` packets from its peer, and send away what it answers; how many bytes that was."""
        answered = 0
        for payload in payloads:
            self.feed(quic, payload, epoch=epoch)
            quic._events.clear()
            self.now += 0.001
            answered += sum(len(data) for data, _ in quic.datagrams_to_send(self.now))
            if engine_state.closing(quic) is not None:
                break
        return answered


def seal(sender: QuicConnection, payload: bytes, number: int, epoch: Epoch = Epoch.ONE_RTT) -> bytes:
    """A packet of ``sender``; Initial ones are padded to the length they need."""
    pair = sender._cryptos[epoch]
    peer = sender._peer_cid.cid
    payload = payload.ljust(1200 if epoch is Epoch.INITIAL else 4, b"\0")
    if epoch is Epoch.ONE_RTT:
        header = b"%c%b%b" % (0x41 | pair.key_phase << 2, peer, (number & 0xFFFF).to_bytes(2))
    else:
        own = sender.host_cid
        size = (2 + len(payload) + 16) | 0x4000
        kind = b"\xc1" if epoch is Epoch.INITIAL else b"\xe1"
        token = b"\0" if epoch is Epoch.INITIAL else b""
        header = (
            b"".join((kind, b"\0\0\0\1", b"%c" % len(peer), peer, b"%c" % len(own), own, token))
            + size.to_bytes(2)
            + (number & 0xFFFF).to_bytes(2)
        )
    return pair.encrypt_packet(header, payload, number)


def packed(frames: Iterable[bytes], room: int = ROOM) -> Iterator[bytes]:
    """Payloads with as many frames each as there is room for."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        if size + len(frame) > room:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(frame)
        size += len(frame)
    if waiting:
        yield b"".join(waiting)


def stream_frame(stream_id: int, offset: int, data: bytes) -> bytes:
    return b"\x0e" + uint(stream_id) + uint(offset) + uint(len(data)) + data


def crypto_frame(offset: int, data: bytes) -> bytes:
    return b"\x06" + uint(offset) + uint(len(data)) + data
