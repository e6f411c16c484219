"""What quicdist takes of aioquic that aioquic does not promise: it fails here first."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Sequence
from typing import Literal

import pytest
from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicNetworkPath
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import SessionTicket

from quicdist.carrier.quic.engine.aioquic import (
    address_validation,
    configuration,
    event_queue,
    probe_packets,
    recovery,
    statistics,
)
from quicdist.carrier.quic.engine.aioquic import state as engine_state
from quicdist.carrier.quic.engine.aioquic import tls as engine_tls
from quicdist.carrier.quic.engine.aioquic.accepted_connection import AcceptedConnection
from quicdist.carrier.quic.engine.aioquic.address_validation import unvalidated_credit
from quicdist.carrier.quic.engine.aioquic.configuration import (
    PSK_CIPHER_SUITE,
    client_configuration,
    server_configuration,
)
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.connection_ids import reset_tokens
from quicdist.carrier.quic.engine.aioquic.tickets import SessionTicket as EngineTicket
from quicdist.carrier.quic.engine.aioquic.tls import TlsContext
from quicdist.carrier.quic.engine.aioquic.transport_parameters import max_udp_payload_size, says
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import StreamData, StreamReset
from quicdist.carrier.quic.engine.own_parameters import LONG_DATAGRAMS
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.security.credentials import fingerprint
from quicdist.carrier.security.psk import ExternalPsk
from quicdist.carrier.security.tls_config import TlsConfig

ADDRESS = ("127.0.0.1", 4433)
CLIENT_ADDRESS = ("127.0.0.1", 5544)


class Wire:
    """A client, a server and a clock, with nothing between them."""

    def __init__(self, certificates: CertificateFiles) -> None:
        settings = QuicSettings(tls=certificates.tls(verify=False))
        self.now = 0.0
        self.client = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
        self.client.connect(ADDRESS, self.now)
        self.server = Connection(
            configuration=server_configuration(settings.for_listening()),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )

    def to_server(self) -> None:
        for data, _ in self.client.datagrams_to_send(self.now):
            self.server.receive_datagram(data, CLIENT_ADDRESS, self.now)

    def to_client(self) -> None:
        for data, _ in self.server.datagrams_to_send(self.now):
            self.client.receive_datagram(data, ADDRESS, self.now)

    def talk(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.now += 0.01  # past aioquic's delay of acknowledgements
            self.to_server()
            self.to_client()


@pytest.fixture
def wire(certificates: CertificateFiles) -> Wire:
    wire = Wire(certificates)
    wire.talk()
    return wire


def events(quic: QuicConnection) -> list[object]:
    found: list[object] = []
    while (event := quic.next_event()) is not None:
        found.append(event)
    return found


def test_a_connection_is_in_its_first_flight_until_a_packet_is_processed(
    certificates: CertificateFiles,
) -> None:
    wire = Wire(certificates)
    assert engine_state.state(wire.server) is EngineState.FIRST_FLIGHT
    garbage = b"\xc3\0\0\0\1\x08" + bytes(8) + b"\0\0" + (0x4000 | 1184).to_bytes(2, "big") + bytes(1184)
    wire.server.receive_datagram(garbage, CLIENT_ADDRESS, 0.0)
    assert engine_state.state(wire.server) is EngineState.FIRST_FLIGHT
    wire.to_server()
    assert engine_state.state(wire.server) is EngineState.CONNECTED


def test_a_close_is_known_before_the_event_of_aioquic(wire: Wire) -> None:
    assert engine_state.closing(wire.server) is engine_state.closing(wire.client) is None
    events(wire.server)
    wire.client.close(7, reason_phrase="enough")
    wire.to_server()
    assert not any(isinstance(event, ConnectionTerminated) for event in events(wire.server))
    assert engine_state.closing(wire.server) == Closing(7, "enough", by_peer=True, is_application=True)
    own = engine_state.closing(wire.client)
    assert own is not None
    assert not own.by_peer


def test_a_refused_certificate_closes_with_its_tls_alert(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    wire.client.configuration.verify_mode = ssl.CERT_REQUIRED
    wire.client.configuration.cadata = certificates.ca.read_bytes()
    wire.client.configuration.server_name = "elsewhere"
    again = Connection(configuration=wire.client._settings)
    again.connect(ADDRESS, 0.0)
    wire.client = again
    wire.server = Connection(
        configuration=wire.server._settings,
        original_destination_connection_id=again.original_destination_connection_id,
    )
    wire.talk()
    for quic, by_peer in ((wire.client, False), (wire.server, True)):
        closing = engine_state.closing(quic)
        assert closing is not None
        assert closing.tls_alert == 42  # bad_certificate
        assert closing.by_peer is by_peer
        assert "elsewhere" in closing.reason


def test_an_idle_timeout_is_marked_as_one(wire: Wire) -> None:
    timer = wire.client.get_timer()
    while timer is not None and not engine_state.closing(wire.client):
        wire.client.handle_timer(timer)
        wire.client.datagrams_to_send(timer)
        timer = wire.client.get_timer()
    closing = engine_state.closing(wire.client)
    assert closing is not None
    assert closing.is_idle
    assert not closing.by_peer


def test_every_authentic_packet_is_counted(wire: Wire) -> None:
    before = statistics.packets_received(wire.server)
    assert before > 0
    wire.client.send_ping(1)
    wire.talk(1)
    assert statistics.packets_received(wire.server) > before
    count = statistics.packets_received(wire.server)
    wire.server.receive_datagram(b"\x40" + wire.server.host_cid + bytes(40), CLIENT_ADDRESS, wire.now)
    assert statistics.packets_received(wire.server) == count  # not authentic, no sign of life


def test_packets_received_is_none_before_the_handshake(certificates: CertificateFiles) -> None:
    configuration = QuicConfiguration(is_client=True)
    assert statistics.packets_received(QuicConnection(configuration=configuration)) == 0
    assert statistics.packets_received(Wire(certificates).client) == 0


def test_unsent_and_unacknowledged_bytes_are_counted(wire: Wire) -> None:
    size = 200_000
    assert statistics.unsent(wire.client, 0) == statistics.unacknowledged(wire.client, 0) == 0
    wire.client.send_stream_data(0, bytes(size))
    assert statistics.unsent(wire.client, 0) == size
    assert statistics.unacknowledged(wire.client, 0) == statistics.total_unacknowledged(wire.client) == size
    wire.to_server()
    sent = size - statistics.unsent(wire.client, 0)
    assert 0 < sent < size  # the congestion window is smaller
    assert statistics.unacknowledged(wire.client, 0) == size
    wire.talk(1)
    assert statistics.unacknowledged(wire.client, 0) < size
    wire.talk(100)
    assert statistics.unsent(wire.client, 0) == 0
    assert statistics.total_unacknowledged(wire.client) == 0


@pytest.mark.parametrize("algorithm", ["reno", "cubic"])
@pytest.mark.parametrize("size", [1452, 9000])
def test_datagrams_can_be_made_shorter_and_longer(
    certificates: CertificateFiles, size: int, algorithm: str
) -> None:
    wire = Wire(certificates)
    for quic in (wire.client, wire.server):
        quic.configuration.congestion_control_algorithm = algorithm
    wire.client = Connection(configuration=wire.client._settings)
    wire.client.connect(ADDRESS, wire.now)
    wire.server = Connection(
        configuration=wire.server._settings,
        original_destination_connection_id=wire.client.original_destination_connection_id,
    )
    wire.talk()
    assert probe_packets.datagram_size(wire.client) == 1200
    wire.client.send_stream_data(0, bytes(200_000))
    probe_packets.set_datagram_size(wire.client, size)
    assert probe_packets.datagram_size(wire.client) == size
    assert max(len(data) for data, _ in wire.client.datagrams_to_send(wire.now)) == size
    assert wire.client._loss.congestion.congestion_window >= 2 * size


def test_a_probe_does_not_count_against_the_congestion_window(wire: Wire) -> None:
    told: list[bool] = []
    before = statistics.in_flight(wire.client)
    probe = probe_packets.make_probe(wire.client, 5000, wire.now, told.append)
    assert len(probe[0]) == 5000
    assert probe[1] == ADDRESS
    assert statistics.in_flight(wire.client) == before
    wire.server.receive_datagram(probe[0], CLIENT_ADDRESS, wire.now)
    wire.talk(2)
    assert told == [True]
    assert statistics.in_flight(wire.client) == before
    assert events(wire.server) is not None
    # One that is lost costs nothing either.
    window = wire.client._loss.congestion_window
    probe_packets.make_probe(wire.client, 5000, wire.now, told.append)
    for number in range(10):
        wire.client.send_ping(number)
        wire.talk(1)
    assert told == [True, False]
    assert wire.client._loss.congestion_window >= window
    # And one that is not sent is not waited for.
    probe_packets.make_probe(wire.client, 5000, wire.now, told.append)
    probe_packets.forget_probe(wire.client)
    for number in range(10):
        wire.client.send_ping(number)
        wire.talk(1)
    assert told == [True, False]
    assert wire.client._loss._pto_count == 0


def test_a_datagram_can_be_watched(wire: Wire) -> None:
    told: list[bool] = []
    wire.client.send_stream_data(0, bytes(5000))
    datagrams = wire.client.datagrams_to_send(wire.now)
    assert probe_packets.watch(wire.client, len(datagrams), told.append)
    assert told == []
    for data, _ in datagrams:
        wire.server.receive_datagram(data, CLIENT_ADDRESS, wire.now)
    wire.talk(2)
    assert told == [True]
    wire.client.send_stream_data(0, bytes(500))
    assert probe_packets.watch(wire.client, len(wire.client.datagrams_to_send(wire.now)), told.append)
    for count in range(1, 3):
        timer = wire.client.get_timer()
        assert timer is not None
        wire.client.handle_timer(timer)
        assert wire.client._loss._pto_count == count
        wire.now = timer
        wire.client.datagrams_to_send(wire.now)
    assert told == [True, False]
    wire.client.send_ping(1)
    wire.talk(2)
    assert wire.client._loss._pto_count == 0


def test_a_new_address_is_not_validated(wire: Wire) -> None:
    assert address_validation.path_is_valid(wire.client)
    assert address_validation.path_is_valid(wire.server)
    wire.client.send_ping(1)
    for data, _ in wire.client.datagrams_to_send(wire.now):
        wire.server.receive_datagram(data, ("127.0.0.1", 5545), wire.now)
    assert not address_validation.path_is_valid(wire.server)


@pytest.mark.parametrize(("longest", "says_so"), [(16384, True), (1453, True), (1452, False), (1200, False)])
def test_long_datagrams_are_announced_by_a_transport_parameter(
    certificates: CertificateFiles, longest: int, says_so: bool
) -> None:
    settings = QuicSettings(tls=certificates.tls(), max_datagram_size=longest)
    wire = SecureWire(settings, settings)
    wire.talk()
    for quic in (wire.client, wire.server):
        said = quic.tls.received_extensions
        assert said is not None
        assert says(said, LONG_DATAGRAMS) is says_so
        assert max_udp_payload_size(said) == 65527
        assert configuration.longest_datagram(quic) == longest
        assert probe_packets.datagram_size(quic) == 1200


def test_the_tls_handshake_is_sent_again_in_the_same_frames_too(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=certificates.tls(verify=False))
    client = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    client.connect(ADDRESS, 0.0)
    assert client.datagrams_to_send(0.0)
    sender = client._crypto_streams[tls.Epoch.INITIAL].sender
    sent = sender.highest_offset
    sender.write(bytes(100))
    sender.on_data_delivery(QuicDeliveryState.LOST, 0, sent, False)
    for start, stop in ((0, sent), (sent, sent + 100)):
        frame = sender.get_frame(5000)
        assert frame is not None
        assert (frame.offset, frame.offset + len(frame.data)) == (start, stop)


def resumable(certificates: CertificateFiles) -> tuple[QuicSettings, SessionTicket, SessionTicket]:
    """Settings, and the two ends of a ticket got with them."""
    settings = QuicSettings(tls=certificates.tls(verify=False))
    given: list[SessionTicket] = []
    got: list[SessionTicket] = []
    wire = Wire(certificates)
    wire.client = Connection(
        configuration=client_configuration(settings.for_dialling("127.0.0.1")),
        session_ticket_handler=got.append,
    )
    wire.client.connect(ADDRESS, 0.0)
    wire.server = Connection(
        configuration=server_configuration(settings.for_listening()),
        original_destination_connection_id=wire.client.original_destination_connection_id,
        session_ticket_handler=given.append,
    )
    wire.talk()
    assert not engine_tls.is_resumed(wire.client)
    return settings, given[0], got[0]


@pytest.mark.parametrize("known", [True, False])
def test_early_data_are_accepted_or_sent_again(certificates: CertificateFiles, known: bool) -> None:
    settings, given, got = resumable(certificates)
    assert EngineTicket(got).takes_early_data
    wire = Wire(certificates)
    assert not engine_tls.can_send_early_data(wire.client)
    configuration = client_configuration(settings.for_dialling("127.0.0.1"))
    configuration.session_ticket = got
    wire.client = Connection(configuration=configuration)
    wire.client.connect(ADDRESS, 0.0)
    assert engine_tls.can_send_early_data(wire.client)
    wire.client.send_stream_data(0, b"early")
    wire.server = Connection(
        configuration=server_configuration(settings.for_listening()),
        original_destination_connection_id=wire.client.original_destination_connection_id,
        session_ticket_fetcher=lambda name: given if known else None,
    )
    wire.to_server()
    data = [event.data for event in events(wire.server) if isinstance(event, StreamDataReceived | StreamData)]
    assert data == ([b"early"] if known else [])
    wire.to_client()
    assert engine_tls.is_resumed(wire.client) == known
    if not known:
        recovery.early_data_refused(wire.client, wire.now)
        wire.talk(1)
        data = [
            event.data for event in events(wire.server) if isinstance(event, StreamDataReceived | StreamData)
        ]
        assert data == [b"early"]


def test_the_handshake_completed_event_comes(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    wire.talk()
    for quic in (wire.client, wire.server):
        assert any(isinstance(event, HandshakeCompleted) for event in events(quic))


# -- TLS: certificates of clients, and pre-shared keys -----------------------------------------


class SecureWire(Wire):
    """The same between connections with other settings."""

    def __init__(self, client: QuicSettings, server: QuicSettings) -> None:
        self.now = 0.0
        self.client = Connection(configuration=client_configuration(client.for_dialling("127.0.0.1")))
        self.server = Connection(
            configuration=server_configuration(server.for_listening()),
            original_destination_connection_id=self.client.original_destination_connection_id,
            session_ticket_fetcher=self.fetch,
            session_ticket_handler=lambda ticket: self.tickets.update({ticket.ticket: ticket}),
        )
        self.tickets: dict[bytes, SessionTicket] = {}
        self.fetched: list[bytes] = []
        self.client.connect(ADDRESS, self.now)

    def fetch(self, identity: bytes) -> SessionTicket | None:
        self.fetched.append(identity)
        return self.tickets.get(identity)

    def completed(self) -> bool:
        return all(
            any(isinstance(event, HandshakeCompleted) for event in events(quic))
            for quic in (self.client, self.server)
        )


def test_the_context_of_a_connection_is_ours(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=certificates.tls())
    wire = SecureWire(settings, settings)
    wire.talk()
    assert isinstance(wire.client.tls, TlsContext)
    assert isinstance(wire.server.tls, TlsContext)
    assert wire.completed()


def test_the_certificates_of_the_peer_are_known(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=certificates.tls())
    wire = SecureWire(settings, settings)
    assert engine_tls.peer_certificates(wire.client) == ()
    wire.talk()
    (shown,) = engine_tls.peer_certificates(wire.client)
    assert fingerprint(shown) == certificates.fingerprint
    assert engine_tls.peer_certificates(wire.server) == ()  # it did not ask


def test_a_server_asks_for_a_certificate(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=dataclasses.replace(certificates.tls(), client_certificate="require"))
    wire = SecureWire(settings, settings)
    wire.talk()
    assert wire.completed()
    (shown,) = engine_tls.peer_certificates(wire.server)
    assert fingerprint(shown) == certificates.fingerprint


@pytest.mark.parametrize("asking", ["none", "require"])
def test_no_ticket_is_looked_up_where_client_certificates_are_required(
    certificates: CertificateFiles, asking: Literal["none", "require"]
) -> None:
    settings = QuicSettings(tls=dataclasses.replace(certificates.tls(), client_certificate=asking))
    first = SecureWire(settings, settings)
    given: list[SessionTicket] = []
    first.client = Connection(configuration=first.client._settings, session_ticket_handler=given.append)
    first.client.connect(ADDRESS, 0.0)
    first.server = Connection(
        configuration=first.server._settings,
        original_destination_connection_id=first.client.original_destination_connection_id,
        session_ticket_fetcher=first.fetch,
        session_ticket_handler=lambda ticket: first.tickets.update({ticket.ticket: ticket}),
    )
    first.talk()
    (ticket,) = given
    again = SecureWire(settings, settings)
    again.tickets = first.tickets
    again.client._settings.session_ticket = ticket
    again.client = Connection(configuration=again.client._settings)
    again.client.connect(ADDRESS, 0.0)
    again.server = Connection(
        configuration=again.server._settings,
        original_destination_connection_id=again.client.original_destination_connection_id,
        session_ticket_fetcher=again.fetch,
    )
    again.talk()
    assert again.completed()
    assert again.client.tls.session_resumed is (asking == "none")
    assert again.fetched == ([ticket.ticket] if asking == "none" else [])


def test_an_external_psk_is_one_by_its_label_and_its_age(certificates: CertificateFiles) -> None:
    """RFC 8446, sections 4.2.11 and 7.1: age 0, and the binder's key from "ext binder"."""
    psk = ExternalPsk(b"identity", bytes(range(32)))
    client = QuicSettings(tls=TlsConfig(external_psk=psk))
    server = QuicSettings(tls=TlsConfig(psks={psk.identity: psk.secret}))
    wire = SecureWire(client, server)
    hello = bytes(wire.client._crypto_streams[tls.Epoch.INITIAL].sender._buffer)
    offered = tls.pull_client_hello(Buffer(data=hello)).pre_shared_key
    assert offered is not None
    assert offered.identities == [(psk.identity, 0)]
    schedule = tls.KeySchedule(PSK_CIPHER_SUITE)
    schedule.extract(psk.secret)
    key = schedule.derive_secret(b"ext binder")
    schedule.update_hash(hello[:-35])  # without the list of binders: 2 and 1 bytes of length, 32 of SHA-256
    assert offered.binders == [schedule.finished_verify_data(key)]
    wire.talk()
    assert wire.completed()
    assert wire.client.tls.session_resumed
    assert wire.server.tls.session_resumed
    assert engine_tls.peer_certificates(wire.client) == ()


def test_a_server_takes_tickets_and_external_psks(certificates: CertificateFiles) -> None:
    """Each with its own label: a server that has both can resume a session."""
    psk = ExternalPsk(b"identity", bytes(range(32)))
    settings = QuicSettings(tls=dataclasses.replace(certificates.tls(), psks={psk.identity: psk.secret}))
    given: list[SessionTicket] = []
    tickets: dict[bytes, SessionTicket] = {}
    for _ in range(2):
        configuration = client_configuration(settings.for_dialling("127.0.0.1"))
        configuration.session_ticket = given[0] if given else None
        wire = SecureWire(settings, settings)
        wire.tickets = tickets
        wire.client = Connection(configuration=configuration, session_ticket_handler=given.append)
        wire.client.connect(ADDRESS, 0.0)
        wire.server = Connection(
            configuration=server_configuration(settings.for_listening()),
            original_destination_connection_id=wire.client.original_destination_connection_id,
            session_ticket_fetcher=wire.fetch,
            session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
        )
        wire.talk()
        assert wire.completed()
    assert wire.client.tls.session_resumed


# -- while nobody takes what happens -------------------------------------------------------------


@pytest.fixture
def linked_wire(certificates: CertificateFiles) -> Wire:
    """After the handshake, with peers that are authenticated."""
    wire = Wire(certificates)
    wire.talk()
    for quic in (wire.client, wire.server):
        quic.authenticated()
    events(wire.server)
    return wire


def pieces(found: Sequence[object]) -> list[tuple[int, bytes, bool]]:
    return [
        (event.stream_id, event.data, event.end_stream)
        for event in found
        if isinstance(event, StreamDataReceived | StreamData)
    ]


def test_path_validation_uses_datagrams_of_1200_bytes(linked_wire: Wire) -> None:
    """aioquic pads it to the size of the path before."""
    client, server, now = linked_wire.client, linked_wire.server, linked_wire.now
    for quic in (client, server):
        probe_packets.set_datagram_size(quic, 9000)
    client.send_ping(1)
    for data, _ in client.datagrams_to_send(now):
        server.receive_datagram(data, ("127.0.0.1", 5545), now)
    assert not address_validation.path_is_valid(server)
    challenges = server.datagrams_to_send(now)
    assert challenges
    for data, _ in challenges:
        client.receive_datagram(data, ADDRESS, now)
    responses = client.datagrams_to_send(now)
    for data, _ in responses:
        server.receive_datagram(data, ("127.0.0.1", 5545), now)
    assert address_validation.path_is_valid(server)
    assert max(len(data) for data, _ in (*challenges, *responses)) == 1200
    assert probe_packets.datagram_size(server) == probe_packets.datagram_size(client) == 9000


def test_a_path_that_cannot_be_validated_shortens_no_datagrams_of_another(linked_wire: Wire) -> None:
    """Without a connection id for it nothing is sent there, and aioquic keeps what it is to be answered."""
    server, now = linked_wire.server, linked_wire.now
    probe_packets.set_datagram_size(server, 9000)
    server._peer_cid_available.clear()
    other = QuicNetworkPath(("127.0.0.1", 5545))
    other.remote_challenges.append(bytes(8))
    server._network_paths.append(other)
    server.send_stream_data(server.get_next_available_stream_id(), bytes(9000))
    assert max(len(data) for data, _ in server.datagrams_to_send(now)) > 8000
    assert other.remote_challenges


def test_the_quickest_round_trip_may_be_less_than_a_millisecond(linked_wire: Wire) -> None:
    assert 0 < statistics.quickest_round_trip(linked_wire.client) < 0.001


def test_all_events_are_taken_at_once(linked_wire: Wire) -> None:
    linked_wire.client.send_stream_data(0, b"a")
    linked_wire.client.send_stream_data(4, b"b")
    linked_wire.to_server()
    assert event_queue.events_waiting(linked_wire.server) == 2
    assert pieces(event_queue.take_events(linked_wire.server)) == [(0, b"a", False), (4, b"b", False)]
    assert event_queue.events_waiting(linked_wire.server) == 0
    assert linked_wire.server.next_event() is None


def test_neighbouring_pieces_of_one_stream_are_joined(linked_wire: Wire) -> None:
    client, server = linked_wire.client, linked_wire.server
    for stream_id, data, end in [
        (0, b"a", False),
        (0, b"b", False),
        (4, b"c", False),
        (0, b"d", False),
        (0, b"e", True),
        (4, b"f", False),
    ]:
        client.send_stream_data(stream_id, data, end)
        linked_wire.talk(1)
    event_queue.join_events(server, 1)
    assert pieces(event_queue.take_events(server)) == [
        (0, b"a", False),
        (0, b"b", False),
        (4, b"c", False),
        (0, b"de", True),
        (4, b"f", False),
    ]


def test_events_of_other_kinds_keep_their_place(linked_wire: Wire) -> None:
    client, server = linked_wire.client, linked_wire.server
    for data in (b"a", b"b"):
        client.send_stream_data(0, data)
        linked_wire.talk(1)
    client.reset_stream(0, 7)
    linked_wire.talk(1)
    client.send_stream_data(4, b"c")
    linked_wire.talk(1)
    event_queue.join_events(server, 0)
    found = event_queue.take_events(server)
    assert pieces(found) == [(0, b"ab", False), (4, b"c", False)]
    assert isinstance(found[1], StreamReset)


def test_limits_that_are_held_do_not_grow(linked_wire: Wire) -> None:
    client, server = linked_wire.client, linked_wire.server
    window = server._local_max_stream_data_bidi_remote
    client.send_stream_data(0, bytes(window))
    client.send_stream_data(4, bytes(window))
    kept = window + 1000
    linked_wire.to_server()
    server.keep_window(4, kept)
    with server.limits_held():
        for _ in range(5000):
            linked_wire.talk(1)
        assert server._streams[0].max_stream_data_local == window
        assert client._streams[0].max_stream_data_remote == window
        # What was granted is told.
        assert client._streams[4].max_stream_data_remote == kept
    linked_wire.talk()
    assert client._streams[0].max_stream_data_remote == 2 * window


def test_a_stream_that_is_over_has_no_window_to_keep(linked_wire: Wire) -> None:
    assert linked_wire.server.keep_window(400, 1000) == 1000


def test_an_acknowledgement_can_be_sent_at_once(linked_wire: Wire) -> None:
    linked_wire.talk()
    linked_wire.client.send_stream_data(0, b"a")
    linked_wire.to_server()
    assert linked_wire.server.datagrams_to_send(linked_wire.now) == []
    recovery.acknowledge_now(linked_wire.server, linked_wire.now)
    linked_wire.to_client()
    assert statistics.unacknowledged(linked_wire.client, 0) == 0


# -- connection ids, paths and Retry ------------------------------------------------------------


def test_each_connection_id_is_announced_with_its_reset_token(
    certificates: CertificateFiles,
) -> None:
    settings = QuicSettings(tls=certificates.tls(verify=False))
    client = QuicConnection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    client.connect(ADDRESS, 0.0)
    server = AcceptedConnection(
        reset_token=lambda connection_id: bytes(8) + connection_id,
        configuration=server_configuration(settings.for_listening()),
        original_destination_connection_id=client.original_destination_connection_id,
    )
    now = 0.0
    for _ in range(6):
        now += 0.05
        for data, _ in client.datagrams_to_send(now):
            server.receive_datagram(data, CLIENT_ADDRESS, now)
        for data, _ in server.datagrams_to_send(now):
            client.receive_datagram(data, ADDRESS, now)
    assert reset_tokens(client) == [bytes(8) + server.host_cid]
    assert len(client._peer_cid_available) == 7
    for known in client._peer_cid_available:
        assert known.stateless_reset_token == bytes(8) + known.cid
    client.change_connection_id()
    assert reset_tokens(client) != [bytes(8) + server.host_cid]


def test_aioquic_ignores_a_stateless_reset(certificates: CertificateFiles) -> None:
    """Once it does, ours can go."""
    wire = Wire(certificates)
    wire.talk()
    (token,) = reset_tokens(wire.client)
    wire.client.receive_datagram(b"\x40" + bytes(40) + token, ADDRESS, wire.now)
    assert engine_state.closing(wire.client) is None


def test_the_credit_of_an_unvalidated_path_counts_all_datagrams(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    (datagram,) = [data for data, _ in wire.client.datagrams_to_send(0.0)]
    wire.server.receive_datagram(datagram, CLIENT_ADDRESS, 0.0)
    assert unvalidated_credit(wire.server) == 3 * len(datagram)
    sent = [data for data, _ in wire.server.datagrams_to_send(0.0)]
    assert unvalidated_credit(wire.server) == 3 * len(datagram) - sum(map(len, sent))
    for data in sent:
        wire.client.receive_datagram(data, ADDRESS, 0.0)
    wire.talk()
    assert unvalidated_credit(wire.server) is None
