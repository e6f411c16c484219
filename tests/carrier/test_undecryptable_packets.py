"""Packets that overtake those with the keys to open them."""

from __future__ import annotations

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from quicdist.carrier.quic.engine.aioquic import event_queue
from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.quic.engine.aioquic.bounds import Bounded
from quicdist.carrier.quic.engine.aioquic.undecryptable_packets import MAX_BYTES, MAX_PACKETS
from quicdist.carrier.quic.engine.events import HandshakeCompleted, StreamData
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.crafted import CLIENT, SERVER, Crafted
from tests.support.quic_packets import apart


def sent(quic: QuicConnection, now: float) -> list[bytes]:
    return [data for data, _ in quic.datagrams_to_send(now)]


def events(quic: QuicConnection, kind: type) -> list[object]:
    return [event for event in event_queue.take_events(quic) if isinstance(event, kind)]


def alone(certificates: CertificateFiles) -> Crafted:
    return Crafted(certificates, connected=False)


def hello(both: Crafted) -> list[bytes]:
    """The first flight reaches the server; the packets that the server answers with."""
    for data in sent(both.client, both.now):
        both.server.receive_datagram(data, CLIENT, both.now)
    return [
        packet for data in sent(both.server, both.now) for packet in apart(data, len(both.client.host_cid))
    ]


def test_a_reordered_flight_of_a_server_is_processed_whole(certificates: CertificateFiles) -> None:
    both = alone(certificates)
    flight = hello(both)
    assert len(flight) > 1
    for data in reversed(flight):
        both.client.receive_datagram(data, SERVER, both.now)
    assert len(events(both.client, HandshakeCompleted)) == 1
    # And the server needs no more than the answer to it.
    for data in sent(both.client, both.now):
        both.server.receive_datagram(data, CLIENT, both.now)
    assert len(events(both.server, HandshakeCompleted)) == 1


def test_client_data_that_come_before_its_handshake_are_processed_after_it(
    certificates: CertificateFiles,
) -> None:
    both = alone(certificates)
    for data in hello(both):
        both.client.receive_datagram(data, SERVER, both.now)
    finished = sent(both.client, both.now)
    both.client.send_stream_data(0, b"name")
    for data in sent(both.client, both.now):
        both.server.receive_datagram(data, CLIENT, both.now)
    assert events(both.server, StreamData) == []
    for data in finished:
        both.server.receive_datagram(data, CLIENT, both.now)
    assert events(both.server, StreamData) == [StreamData(0, b"name", False)]


def test_a_packet_that_comes_twice_counts_once(certificates: CertificateFiles) -> None:
    both = alone(certificates)
    flight = hello(both)
    for data in (*flight[1:], *flight[1:], flight[0]):
        both.client.receive_datagram(data, SERVER, both.now)
    assert len(events(both.client, HandshakeCompleted)) == 1
    assert engine_state.closing(both.client) is None


def test_the_buffer_is_bounded_and_freed(certificates: CertificateFiles) -> None:
    both = alone(certificates)
    first, *rest = hello(both)
    for size in (1, 1200):
        for _ in range(1000):
            both.client.receive_datagram(rest[0][:-1] + bytes(size), SERVER, both.now)
            assert len(both.client._early) <= MAX_PACKETS
            assert sum(len(data) for data, _ in both.client._early) == both.client._early_bytes <= MAX_BYTES
    for data in (first, *rest):
        both.client.receive_datagram(data, SERVER, both.now)
    assert not both.client._early
    assert both.client._early_bytes == 0
    assert len(events(both.client, HandshakeCompleted)) == 1


def test_only_packets_for_the_connection_are_buffered(certificates: CertificateFiles) -> None:
    both, other = alone(certificates), alone(certificates)
    hello(both)
    for data in hello(other)[1:]:
        both.client.receive_datagram(data, SERVER, both.now)
    assert not both.client._early


def test_a_buffered_packet_counts_once_for_the_amplification_limit(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = alone(certificates)
    for data in hello(both):
        both.client.receive_datagram(data, SERVER, both.now)
    sent(both.client, both.now)
    both.client.send_stream_data(0, b"x" * 500)
    (early,) = sent(both.client, both.now)
    (path,) = both.server._network_paths
    before = path.bytes_received
    both.server.receive_datagram(early, CLIENT, both.now)
    assert path.bytes_received == before + len(early)
    # The packet that brings the keys validates the address as well: so they come without it.
    keys, theirs = both.server._cryptos[Epoch.ONE_RTT].recv, both.client._cryptos[Epoch.ONE_RTT].send
    receive = Bounded.receive_datagram

    def with_keys(quic: Bounded, data: bytes, addr: object, now: float) -> None:
        keys.aead, keys.hp = theirs.aead, theirs.hp
        receive(quic, data, addr, now)

    monkeypatch.setattr(Bounded, "receive_datagram", with_keys)
    both.server.receive_datagram(b"\x40", CLIENT, both.now)
    assert events(both.server, StreamData)
    assert path.bytes_received == before + len(early) + 1


def test_a_connection_that_ends_frees_the_buffer(certificates: CertificateFiles) -> None:
    both = alone(certificates)
    first, *rest = hello(both)
    for data in rest:
        both.client.receive_datagram(data, SERVER, both.now)
    assert both.client._early
    both.client.close()
    both.client.receive_datagram(first, SERVER, both.now)
    assert not both.client._early
