"""What quicdist takes of aioquic that aioquic does not promise: it fails here first."""

from __future__ import annotations

import ast
import ssl
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

from quicdist import carrier
from quicdist.carrier import aioquic_adapter as adapter
from quicdist.carrier.certificates import CertificateFiles
from quicdist.carrier.quic_link import _IDLE
from quicdist.carrier.quic_settings import QuicSettings

ADDRESS = ("127.0.0.1", 4433)
CLIENT_ADDRESS = ("127.0.0.1", 5544)


class Wire:
    """A client and a server connection and a clock, with nothing between them."""

    def __init__(self, certificates: CertificateFiles) -> None:
        settings = QuicSettings(tls=certificates.tls(verify=False))
        self.now = 0.0
        self.client = QuicConnection(configuration=settings.client_configuration("127.0.0.1"))
        self.client.connect(ADDRESS, self.now)
        self.server = QuicConnection(
            configuration=settings.server_configuration(),
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


def test_fresh_until_the_first_packet_is_understood(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    assert adapter.is_fresh(wire.server)
    garbage = b"\xc3\0\0\0\1\x08" + bytes(8) + b"\0\0" + (0x4000 | 1184).to_bytes(2, "big") + bytes(1184)
    wire.server.receive_datagram(garbage, CLIENT_ADDRESS, 0.0)
    assert adapter.is_fresh(wire.server)
    wire.to_server()
    assert not adapter.is_fresh(wire.server)


def test_a_close_is_seen_before_aioquic_tells_of_it(wire: Wire) -> None:
    assert adapter.closing(wire.server) is adapter.closing(wire.client) is None
    events(wire.server)
    wire.client.close(7, reason_phrase="enough")
    wire.to_server()
    assert not any(isinstance(event, ConnectionTerminated) for event in events(wire.server))
    assert adapter.closing(wire.server) == adapter.Closing(7, "enough", by_peer=True, is_application=True)
    own = adapter.closing(wire.client)
    assert own is not None
    assert not own.by_peer


def test_a_refused_certificate_is_told_as_its_tls_alert(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    wire.client.configuration.verify_mode = ssl.CERT_REQUIRED
    wire.client.configuration.cadata = certificates.ca.read_bytes()
    wire.client.configuration.server_name = "elsewhere"
    again = QuicConnection(configuration=wire.client.configuration)
    again.connect(ADDRESS, 0.0)
    wire.client = again
    wire.server = QuicConnection(
        configuration=wire.server.configuration,
        original_destination_connection_id=again.original_destination_connection_id,
    )
    wire.talk()
    for quic, by_peer in ((wire.client, False), (wire.server, True)):
        closing = adapter.closing(quic)
        assert closing is not None
        assert closing.tls_alert == 42  # bad_certificate
        assert closing.by_peer is by_peer
        assert "elsewhere" in closing.reason


def test_an_idle_timeout_is_told_in_the_words_expected(wire: Wire) -> None:
    timer = wire.client.get_timer()
    while timer is not None and not adapter.closing(wire.client):
        wire.client.handle_timer(timer)
        wire.client.datagrams_to_send(timer)
        timer = wire.client.get_timer()
    closing = adapter.closing(wire.client)
    assert closing is not None
    assert closing.reason == _IDLE
    assert not closing.by_peer


def test_packets_are_counted_whatever_they_hold(wire: Wire) -> None:
    before = adapter.packets_received(wire.server)
    assert before > 0
    wire.client.send_ping(1)
    wire.talk(1)
    assert adapter.packets_received(wire.server) > before
    count = adapter.packets_received(wire.server)
    wire.server.receive_datagram(b"\x40" + wire.server.host_cid + bytes(40), CLIENT_ADDRESS, wire.now)
    assert adapter.packets_received(wire.server) == count  # not authentic, no sign of life


def test_packets_received_is_none_before_the_handshake(certificates: CertificateFiles) -> None:
    configuration = QuicConfiguration(is_client=True)
    assert adapter.packets_received(QuicConnection(configuration=configuration)) == 0
    assert adapter.packets_received(Wire(certificates).client) == 0


def test_what_is_unsent_and_what_is_unacknowledged(wire: Wire) -> None:
    size = 200_000
    assert adapter.unsent(wire.client, 0) == adapter.unacknowledged(wire.client, 0) == 0
    wire.client.send_stream_data(0, bytes(size))
    assert adapter.unsent(wire.client, 0) == size
    assert adapter.unacknowledged(wire.client, 0) == adapter.total_unacknowledged(wire.client) == size
    wire.to_server()
    sent = size - adapter.unsent(wire.client, 0)
    assert 0 < sent < size  # the congestion window is smaller
    assert adapter.unacknowledged(wire.client, 0) == size
    wire.talk(1)
    assert adapter.unacknowledged(wire.client, 0) < size
    wire.talk(100)
    assert adapter.unsent(wire.client, 0) == 0
    assert adapter.total_unacknowledged(wire.client) == 0


def test_datagrams_can_be_made_shorter(wire: Wire) -> None:
    wire.client.send_stream_data(0, bytes(20_000))
    assert adapter.limit_datagram_size(wire.client, 1200)
    assert not adapter.limit_datagram_size(wire.client, 1200)
    assert max(len(data) for data, _ in wire.client.datagrams_to_send(wire.now)) == 1200


def test_the_handshake_completed_event_comes(certificates: CertificateFiles) -> None:
    wire = Wire(certificates)
    wire.talk()
    for quic in (wire.client, wire.server):
        assert any(isinstance(event, HandshakeCompleted) for event in events(quic))


def test_no_other_file_of_the_package_touches_private_attributes_of_aioquic() -> None:
    root = Path(carrier.__file__).parent.parent
    found = []
    for path in sorted(root.rglob("*.py")):
        if path.name == "aioquic_adapter.py" or "aioquic" not in (text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.endswith("__")
                and ast.unparse(node.value) not in ("self", "cls", "super()")
            ):
                found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert found == []
