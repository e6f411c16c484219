"""A peer that has lost its connection, and cannot prove it, is detected by hints."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence

import pytest
from aioquic.quic.connection import QuicConnection

from quicdist.carrier import Address, LinkLost
from quicdist.carrier.datagram_socket import Datagram, SocketAddress, open_socket
from quicdist.carrier.icmp import ask_for_reports, take_reports
from quicdist.carrier.quic.driver import peer_loss
from quicdist.carrier.quic.driver.peer_loss import CONNECTION_UNKNOWN, PORT_UNREACHABLE, PeerLossDetector
from quicdist.carrier.quic.engine.aioquic import statistics
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration
from quicdist.carrier.quic.engine.aioquic.statistics import packets_sent, probe_timeout
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.udp import UdpSocket
from tests.carrier.nodes import Inbox
from tests.carrier.quic_support import LinkPair, linked_to, listening, quic_link, with_linked_pair
from tests.support.virtual_time import in_virtual_time

reports_only = pytest.mark.skipif(sys.platform != "linux", reason="reports are Linux's IP_RECVERR")

#: From the first packet that is answered by a hint until the connection is given up.
AT_MOST = peer_loss.MIN_SILENCE + 2.0


class Junk:
    """In place of a node that was started again: answers what it does not know as a quic_dist does that has
    a new secret for its resets."""

    def __init__(self, udp: UdpSocket) -> None:
        self._udp = udp

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        for _, address in batch:
            self._udp.send([(b"\x41" + os.urandom(30), address)])

    def socket_error(self, error: OSError) -> None:
        """Not of interest."""

    def too_long(self, size: int, address: SocketAddress) -> None:
        """Not of interest."""

    def socket_writable(self) -> None:
        """Not of interest."""


def quic_connection(inbox: Inbox):  # type: ignore[no-untyped-def]
    return quic_link(inbox.link)._connection


def restarted(inbox: Inbox) -> None:
    """This end has lost its connections: it answers with junk."""
    udp = quic_connection(inbox).socket
    udp.receiver = Junk(udp)
    udp.sift = None


async def given_up(inbox: Inbox) -> str:
    """Ask the peer; how the link ends, and that it does so in time."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    quic_connection(inbox).ping()
    error = await inbox.end()
    assert isinstance(error, LinkLost)
    assert peer_loss.MIN_SILENCE <= loop.time() - begun <= AT_MOST
    return str(error)


def test_restarted_dialled_node_is_detected_by_its_answers(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        restarted(pair.server)
        assert CONNECTION_UNKNOWN in await given_up(pair.client)

    with_linked_pair(settings, test)


def test_restarted_dialling_node_is_detected_by_its_answers(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        restarted(pair.client)
        assert CONNECTION_UNKNOWN in await given_up(pair.server)

    with_linked_pair(settings, test)


@reports_only
@pytest.mark.parametrize("host", ["127.0.0.1", None])
def test_dialling_node_that_is_gone_is_detected_by_icmp(settings: QuicSettings, host: str | None) -> None:
    """Also where it listens at every address of both families."""

    @in_virtual_time
    async def run() -> None:
        async with listening(settings, host=host) as server:  # type: ignore[arg-type]
            address = Address("127.0.0.1", server.address.port)
            async with (
                linked_to(server, settings, address) as gone,
                linked_to(server, settings, address) as pair,
            ):
                quic_connection(gone.client).socket.close()
                assert PORT_UNREACHABLE in await given_up(gone.server)
                # The others on that socket have lost nothing.
                for number in range(200):
                    pair.to_client(number)
                    pair.to_server(number)
                assert [(await pair.client.get())[1] for _ in range(200)] == list(range(200))
                assert [(await pair.server.get())[1] for _ in range(200)] == list(range(200))
                assert not pair.server.link.closed

    run()


@pytest.mark.parametrize("side", ["client", "server"])
def test_hints_about_a_peer_that_answers_have_no_effect(settings: QuicSettings, side: str) -> None:
    """Anybody can forge them, as many as they like."""

    async def test(pair: LinkPair) -> None:
        inbox: Inbox = getattr(pair, side)
        detector = PeerLossDetector(quic_connection(inbox))
        for _ in range(500):
            detector.hint(PORT_UNREACHABLE)
            await asyncio.sleep(0.02)
        assert not inbox.link.closed
        await asyncio.sleep(1)
        sent = packets_sent(quic_connection(inbox).engine)
        await asyncio.sleep(1)
        assert packets_sent(quic_connection(inbox).engine) == sent

    with_linked_pair(settings, test)


def test_hints_without_packets_sent_have_no_effect(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        connection = quic_connection(pair.client)
        pair_of_it = quic_connection(pair.server).socket
        pair_of_it.receiver = Junk(pair_of_it)
        connection.ping = lambda: None
        detector = PeerLossDetector(connection)
        for _ in range(1000):
            detector.hint(PORT_UNREACHABLE)
            await asyncio.sleep(0.005)
        assert not pair.client.link.closed
        connection.abandon("enough")

    with_linked_pair(settings, test)


def test_nothing_is_kept_of_a_hint_about_a_connection_that_is_gone(settings: QuicSettings) -> None:
    """The end of one connection with an address may end others, while a hint is about all of them."""

    @in_virtual_time
    async def run() -> None:
        async with listening(settings) as server, linked_to(server, settings) as pair:
            connection = quic_connection(pair.server)
            connection.abandon("another one was")
            endpoint = server.listener.endpoint
            endpoint._hint(connection, CONNECTION_UNKNOWN)
            assert not endpoint._peer_losses

    run()


def test_what_is_asked_of_aioquic(settings: QuicSettings) -> None:
    quic = QuicConnection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    quic.connect(("127.0.0.1", 4433), now=0.0)
    assert packets_sent(quic) == 0
    quic.datagrams_to_send(0.0)
    assert packets_sent(quic) == 1
    assert probe_timeout(quic) == 2 * settings.initial_rtt
    assert statistics.packets_received(quic) == 0


@reports_only
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_reports_name_the_address_and_clear_the_error(family: socket.AddressFamily) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with open_socket(family, local=(loopback, 0)) as sock, open_socket(family, local=(loopback, 0)) as other:
        gone = other.getsockname()
        other.close()
        assert ask_for_reports(sock)
        assert take_reports(sock) == []
        sock.sendto(b"x", gone)
        ((number, address),) = take_reports(sock)
        assert ConnectionRefusedError(number, "").errno == number
        assert address == gone
        sock.sendto(b"x", sock.getsockname())
        assert sock.recv(10) == b"x"


@reports_only
def test_a_report_about_one_address_costs_no_datagram_to_another(settings: QuicSettings) -> None:
    class Sink(Junk):
        def __init__(self) -> None:
            self.came: list[bytes] = []
            self.errors: list[OSError] = []

        def datagrams_received(self, batch: Sequence[Datagram]) -> None:
            self.came += [data for data, _ in batch]

        def socket_error(self, error: OSError) -> None:
            self.errors.append(error)

    @in_virtual_time
    async def run() -> None:
        ours, theirs = (UdpSocket(open_socket(socket.AF_INET, local=("127.0.0.1", 0))) for _ in range(2))
        ours.receiver, theirs.receiver = here, there = Sink(), Sink()
        reports: list[tuple[int, SocketAddress]] = []
        ours.report_to(lambda number, address: reports.append((number, address)))
        with open_socket(socket.AF_INET, local=("127.0.0.1", 0)) as gone:
            nobody = gone.getsockname()
        to = theirs.local.host, theirs.local.port
        for number in range(100):
            ours.send([(b"nobody", nobody), (b"%d" % number, to)])
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert there.came == [b"%d" % number for number in range(100)]
        assert here.errors == []
        assert reports
        assert {address for _, address in reports} == {nobody}
        ours.close()
        theirs.close()

    run()
