"""What an established connection keeps of its handshake: nothing that only the handshake uses."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoContext, CryptoPair
from aioquic.quic.events import ConnectionIdIssued
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Context, Epoch, KeySchedule

from quicdist.carrier.quic.engine.aioquic import handshake_memory
from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.security.credentials import load_ca, load_credentials
from tests.carrier.crafted import Crafted, crypto_frame

SIDES = ["client", "server"]
GONE = (Epoch.INITIAL, Epoch.HANDSHAKE)


def of(pair: Crafted, side: str) -> QuicConnection:
    quic = pair.client if side == "client" else pair.server
    assert isinstance(quic, QuicConnection)
    return quic


def held(quic: QuicConnection, *kinds: type) -> int:
    """The number of objects of these kinds that only this connection can reach."""
    shared = {id(each) for each in vars(handshake_memory).values()}
    seen: set[int] = {*shared, id(gc.get_objects)}
    found = 0
    todo: list[Any] = [
        quic._cryptos,
        quic._cryptos_initial,
        quic._spaces,
        quic._crypto_streams,
        vars(quic.tls),
    ]
    while todo:
        each = todo.pop()
        # A function reaches the whole program by its globals.
        if id(each) in seen or isinstance(each, type | QuicConnection | FunctionType | ModuleType):
            continue
        seen.add(id(each))
        found += isinstance(each, kinds)
        todo += [inner for inner in gc.get_referents(each) if gc.is_tracked(inner)]
    return found


@pytest.mark.parametrize("side", SIDES)
def test_an_established_connection_holds_the_objects_of_one_epoch(
    side: str, certificates: CertificateFiles
) -> None:
    quic = of(Crafted(certificates), side)
    assert held(quic, CryptoPair) == 1
    assert held(quic, CryptoContext) == 2
    assert held(quic, QuicPacketSpace) == 1
    assert held(quic, QuicStream) == 1
    # A client makes session tickets with its key schedule.
    assert held(quic, KeySchedule) == (side == "client")


@pytest.mark.parametrize("side", SIDES)
def test_the_objects_of_discarded_epochs_are_shared_by_all_connections(
    side: str, certificates: CertificateFiles
) -> None:
    one, other = (of(Crafted(certificates), side) for _ in range(2))
    for epoch in GONE:
        assert one._cryptos[epoch] is other._cryptos[epoch]
        assert one._spaces[epoch] is other._spaces[epoch]
        assert one._crypto_streams[epoch] is other._crypto_streams[epoch]
        assert not one._cryptos[epoch].recv.is_valid()


def test_what_is_freed_of_a_tls_context_is_what_aioquic_gives_it() -> None:
    assert set(handshake_memory._OF_HANDSHAKE) <= set(vars(Context(is_client=True)))


@pytest.mark.parametrize("side", SIDES)
def test_a_tls_context_has_no_attributes_of_its_own_for_what_is_freed(
    side: str, certificates: CertificateFiles
) -> None:
    context = of(Crafted(certificates), side).tls
    freed = handshake_memory._OF_HANDSHAKE
    assert set(vars(context)).isdisjoint(freed)
    assert {name: getattr(context, name) for name in freed} == freed


def test_the_certificate_of_the_peer_is_still_the_one_that_it_has_shown(
    certificates: CertificateFiles,
) -> None:
    quic = of(Crafted(certificates), "client")
    (shown,) = quic.peer_certificates()  # type: ignore[attr-defined]
    assert shown == load_credentials(certificates.cert, certificates.key).certificate


def test_events_before_and_after_the_handshake_is_confirmed_are_kept_in_order(
    certificates: CertificateFiles,
) -> None:
    quic = of(Crafted(certificates), "client")
    before = quic._events
    quic._events.append(ConnectionIdIssued(b"1"))
    quic._confirm_handshake()
    quic._events.append(ConnectionIdIssued(b"2"))
    assert quic._events is not before
    assert [quic.next_event() for _ in range(len(quic._events))][-2:] == [
        ConnectionIdIssued(b"1"),
        ConnectionIdIssued(b"2"),
    ]


@pytest.mark.parametrize("side", SIDES)
def test_packets_of_the_handshake_that_come_late_are_dropped_and_not_kept(
    side: str, certificates: CertificateFiles
) -> None:
    late = Crafted(certificates, connected=False)
    first = late.client.datagrams_to_send(late.now)[0][0]
    pair = Crafted(certificates)
    quic = of(pair, side)
    for _ in range(3):
        quic.receive_datagram(first, ("127.0.0.1", 1), pair.now)
    handshake = bytes([0xE0]) + first[1:]  # the type of a long header is in two bits
    quic.receive_datagram(handshake, ("127.0.0.1", 1), pair.now)
    assert quic._early == []  # type: ignore[attr-defined]
    assert engine_state.closing(quic) is None
    assert handshake_memory._NO_SPACE.sent_packets == {}
    assert not handshake_memory._NO_KEYS.recv.is_valid()


def test_keys_are_updated_after_the_handshake(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    pair.client.request_key_update()
    pair.client.send_ping(1)
    pair.talk()
    assert pair.client._cryptos[Epoch.ONE_RTT].send.key_phase == 1
    assert pair.server._cryptos[Epoch.ONE_RTT].send.key_phase == 1
    assert engine_state.closing(pair.client) is engine_state.closing(pair.server) is None


def test_a_crypto_message_after_the_handshake_is_still_read(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    pair.feed(pair.server, crypto_frame(0, b"\x18\0\0\1\0"))  # KeyUpdate, which QUIC forbids
    closing = engine_state.closing(pair.server)
    assert closing is not None
    assert closing.tls_alert == 10  # unexpected_message (RFC 9001, section 6)


def test_path_challenges_are_answered_after_the_handshake(certificates: CertificateFiles) -> None:
    pair = Crafted(certificates)
    for challenge in (b"12345678", b"abcdefgh"):
        pair.feed(pair.server, b"\x1a" + challenge)
    sent = pair.server.datagrams_to_send(pair.now)
    assert sent
    assert pair.server._network_paths[0].remote_challenges == []


def test_the_certificates_of_two_dials_are_the_same_objects(certificates: CertificateFiles) -> None:
    one, other = (load_credentials(certificates.cert, certificates.key) for _ in range(2))
    assert one.certificate is other.certificate
    assert one.private_key is other.private_key
    assert load_ca(certificates.ca) is load_ca(certificates.ca)
