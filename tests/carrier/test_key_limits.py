"""Key updates that this side begins, and what too many forgeries do (RFC 9001, sections 6 and 6.6)."""

from __future__ import annotations

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair, next_key_phase
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import CipherSuite, Epoch

from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.key_limits import (
    CHACHA20,
    LONG,
    SHORT,
    KeyLimited,
    KeyLimits,
    KeyPair,
)
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.crafted import CLIENT, Crafted, seal
from tests.carrier.simulated import Faults, Network
from tests.carrier.test_fast_path import all_came

FEW = KeyLimits(update=50, maximum=100, forgeries=1 << 52)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyLimited, "key_limits", FEW)


def keys(quic: QuicConnection) -> CryptoPair:
    return quic._cryptos[Epoch.ONE_RTT]


class Updates:
    """Counts the updates of both ends, and packets that were dropped for their keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.triggers: list[str] = []
        update = KeyPair._update_key

        def counted(pair: KeyPair, trigger: str) -> None:
            self.triggers.append(trigger)
            update(pair, trigger)

        monkeypatch.setattr(KeyPair, "_update_key", counted)


def test_the_limits_are_those_of_the_ciphers() -> None:
    """RFC 9001, section 6.6 and appendix B.1."""
    assert LONG.update < LONG.maximum <= 2**23
    assert SHORT.update < SHORT.maximum <= 2**28
    assert LONG.forgeries == SHORT.forgeries == 2**52
    assert CHACHA20.forgeries == 2**36


def test_the_limits_depend_on_the_cipher_and_the_peer(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    assert pair.server._limits(keys(pair.server)) is LONG
    network = Network(certificates, 6, client=QuicConnection)
    server = network.server.quic
    assert isinstance(server, KeyLimited)
    assert server._limits(keys(server)) is SHORT
    keys(server).recv.cipher_suite = CipherSuite.CHACHA20_POLY1305_SHA256
    assert server._limits(keys(server)) is CHACHA20


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("faults", [Faults(), Faults(lost=0.05, twice=0.05, delay=0.02)], ids=["good", "bad"])
@pytest.mark.parametrize("both", [True, False], ids=["both send", "one sends"])
def test_keys_are_updated_again_and_again(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, faults: Faults, both: bool
) -> None:
    network = Network(certificates, 4)
    updates = Updates(monkeypatch)
    network.faults = faults
    client, server = network.ends
    for _ in range(100):
        client.write(0, bytes(8000))
        if both:
            server.write(1, bytes(8000))
        network.run(0.02)
    network.faults = Faults()
    all_came(network)
    assert updates.triggers.count("local_update") > 5
    for end in network.ends:
        assert isinstance(end.quic, Connection)
        pair = keys(end.quic)
        assert isinstance(pair, KeyPair)
        assert pair.recv.forgeries == 0


@pytest.mark.parametrize(
    ("client", "server"),
    [(Connection, QuicConnection), (QuicConnection, Connection)],
    ids=["client", "server"],
)
def test_a_peer_that_is_not_quicdist_is_asked_to_update_once(
    certificates: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    client: type[QuicConnection],
    server: type[QuicConnection],
) -> None:
    """quic_dist cannot follow a second time. Then the connection ends before its keys are worn out."""
    monkeypatch.setattr(KeyLimited, "key_limits", KeyLimits(update=50, maximum=300, forgeries=1 << 52))
    network = Network(certificates, 5, client=client, server=server)
    updates = Updates(monkeypatch)
    ours = next(end for end in network.ends if isinstance(end.quic, KeyLimited))

    def send(times: int) -> None:
        for _ in range(times):
            for end, stream_id in zip(network.ends, (0, 1), strict=True):
                end.write(stream_id, bytes(5000))
            network.run(0.02)

    send(30)
    all_came(network)
    assert updates.triggers == ["local_update"]
    send(100)
    closing = engine_state.closing(ours.quic)
    assert closing is not None
    assert closing.code == QuicErrorCode.AEAD_LIMIT_REACHED
    assert ours.quic._packet_number < 400
    assert updates.triggers == ["local_update"]


def test_packets_sent_before_an_update_of_ours_are_read(certificates: CertificateFiles) -> None:
    """aioquic drops them: it forgets its keys when it begins."""
    pair = Crafted(certificates)
    client, server = pair.client, pair.server
    client.send_stream_data(0, b"late")
    pair.now += 0.01
    late = client.datagrams_to_send(pair.now)
    server.request_key_update()
    server.send_ping(1)
    assert server.datagrams_to_send(pair.now)
    for data, _ in late:
        server.receive_datagram(data, CLIENT, pair.now)
    assert server._streams[0].receiver.starting_offset() == 4
    client.send_stream_data(0, b" and new")
    pair.talk()
    assert server._streams[0].receiver.starting_offset() == 12
    assert keys(client).key_phase == keys(server).key_phase == 1


def test_no_update_before_the_last_one_is_acknowledged(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyLimited, "key_limits", KeyLimits(update=20, maximum=40, forgeries=1 << 52))
    pair = Crafted(certificates)
    server = pair.server
    updates = Updates(monkeypatch)
    for _ in range(100):
        # The client says nothing.
        pair.now += 0.01
        server.send_ping(1)
        server.datagrams_to_send(pair.now)
    assert updates.triggers == ["local_update"]
    # The key has come to its limit.
    closing = engine_state.closing(server)
    assert closing is not None
    assert closing.code == QuicErrorCode.AEAD_LIMIT_REACHED


def test_updates_of_a_peer_that_does_not_wait_end_the_connection(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    client, server = pair.client, pair.server
    for _ in range(2):
        client.request_key_update()
        pair.feed(server, b"\1")
    closing = engine_state.closing(server)
    assert closing is not None
    assert closing.code == QuicErrorCode.KEY_UPDATE_ERROR


def test_updates_of_a_peer_that_waits_are_followed(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    for _ in range(10):
        for quic in (pair.client, pair.server):
            quic.request_key_update()
            quic.send_ping(1)
            pair.talk()
    assert engine_state.closing(pair.server) is engine_state.closing(pair.client) is None
    assert keys(pair.client).key_phase == keys(pair.server).key_phase == 0


@pytest.fixture
def forged(certificates: CertificateFiles) -> tuple[Crafted, dict[str, bytes]]:
    """Packets of the client that are not quite its own, of either key phase."""
    pair = Crafted(certificates)
    data = bytearray(seal(pair.client, bytes(40), pair.client._packet_number))
    data[-1] ^= 1
    other = bytearray(data)
    other[0] ^= 4
    return pair, {"of this phase": bytes(data), "of the next": bytes(other)}


@pytest.mark.parametrize("which", ["of this phase", "of the next"])
@pytest.mark.parametrize("authenticated", [True, False], ids=["link", "stranger"])
def test_too_many_forgeries_end_the_connection(
    forged: tuple[Crafted, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, which: str, authenticated: bool
) -> None:
    monkeypatch.setattr(KeyLimited, "key_limits", KeyLimits(update=1 << 62, maximum=1 << 62, forgeries=50))
    pair, packets = forged
    server = pair.server
    if not authenticated:
        server._keys = None
    for _ in range(49):
        server.receive_datagram(packets[which], CLIENT, pair.now)
    assert engine_state.closing(server) is None
    pair.talk()
    server.receive_datagram(packets[which], CLIENT, pair.now)
    closing = engine_state.closing(server)
    assert closing is not None
    assert closing.code == QuicErrorCode.AEAD_LIMIT_REACHED


def test_forgeries_derive_no_keys_again_and_again(
    forged: tuple[Crafted, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, packets = forged
    derived = []

    def derive(crypto: object) -> object:
        derived.append(crypto)
        return next_key_phase(crypto)  # type: ignore[arg-type]

    monkeypatch.setattr("quicdist.carrier.quic.engine.aioquic.key_limits.next_key_phase", derive)
    for _ in range(50):
        pair.server.receive_datagram(packets["of the next"], CLIENT, pair.now)
    assert len(derived) == 1
