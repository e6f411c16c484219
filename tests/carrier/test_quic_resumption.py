"""Sessions resumed and early data (0-RTT): between Python nodes, and towards the real quic_dist."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist.carrier import Address, SetupTimeout
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.dial_handshake import DialHandshake
from quicdist.carrier.quic.driver.tickets import TicketKey, TicketStore
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.tickets import SessionTicket
from quicdist.carrier.quic.engine.contract import Ticket
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates
from quicdist.protocol import RegSend
from quicdist.term import Atom
from tests.carrier.flights import Proxy, proxied
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import (
    PATIENCE,
    SETUP_TIME,
    Listening,
    listening,
    quic_link,
    send,
    settings_of,
    until,
)
from tests.carrier.test_quic_dist_interop import BEAM, EVALUATOR, NAME, Answering, beam, gone
from tests.support.beam import Beam

CLIENT = "client@127.0.0.1"
SERVER = "server@127.0.0.1"


def kept(carrier: QuicCarrier, node: str = SERVER) -> tuple[TicketKey, SessionTicket | None]:
    """What a carrier holds for ``node``, left where it is."""
    engine = carrier.settings.for_dialling(node.partition("@")[2])
    key = TicketKey.of(node, engine)
    ticket = carrier.resumption.kept.take(key)
    if ticket is None:
        return key, None
    carrier.resumption.kept.put(key, ticket)
    assert isinstance(ticket, SessionTicket)
    return key, ticket


@contextlib.asynccontextmanager
async def dialled(
    carrier: QuicCarrier, server: Listening, address: Address | None = None, *, ticket: bool = True
) -> AsyncIterator[tuple[QuicLink, QuicLink]]:
    """A link and its other end, closed afterwards; ``ticket``: wait for one to have come."""
    node = FakeNode(CLIENT)
    link = quic_link(await carrier.setup(SERVER, address or server.address, node, setup_time=SETUP_TIME))
    peer = await server.link()
    ours, theirs = Inbox.of(link), Inbox.of(peer)
    try:
        if ticket:
            await until(link, lambda: kept(carrier)[1] is not None)
        for number in range(3):
            send(link, node, number)
            send(peer, server.node, number)
        assert [(await theirs.get())[1] for _ in range(3)] == [0, 1, 2]
        assert [(await ours.get())[1] for _ in range(3)] == [0, 1, 2]
        assert theirs.messages.empty()
        assert ours.messages.empty()
        yield link, peer
    finally:
        link.close()
        async with asyncio.timeout(PATIENCE):
            await link.wait_closed()
            await peer.wait_closed()


async def test_a_node_dialled_before_is_dialled_with_early_data(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        carrier = QuicCarrier(settings)
        async with dialled(carrier, server) as (link, peer):
            assert not link.resumed
            assert not link.early_data_accepted
        for _ in range(3):
            async with dialled(carrier, server) as (link, peer):
                assert link.resumed
                assert link.early_data_accepted
                assert peer.resumed
                assert peer.early_data_accepted
        # One name was said in each, and heard once.
        assert [named.name for named in server.node.requested] == [CLIENT] * 4


async def flights_to_the_first_message(carrier: QuicCarrier, server: Listening, proxy: Proxy) -> int:
    """Dial, send a message at once; the flight it came in."""
    proxy.reached_client = proxy.reached_server = 0
    node = FakeNode(CLIENT)
    link = quic_link(await carrier.setup(SERVER, proxy.address, node, setup_time=SETUP_TIME))
    send(link, node, b"first")
    peer = await server.link()
    flights: list[int] = []
    arrived = asyncio.Event()

    def on_message(control: Any, payload: Any) -> None:
        flights.append(proxy.reached_server)
        arrived.set()

    peer.start(on_message, lambda error: None)
    link.start(lambda control, payload: None, lambda error: None)
    async with asyncio.timeout(PATIENCE):
        await arrived.wait()
    await until(link, lambda: kept(carrier)[1] is not None)
    link.close()
    await link.wait_closed()
    await peer.wait_closed()
    return flights[0]


async def test_early_data_save_a_round_trip(settings: QuicSettings) -> None:
    async with listening(settings) as server, proxied(server.address) as proxy:
        carrier = QuicCarrier(settings)
        full = await flights_to_the_first_message(carrier, server, proxy)
        early = await flights_to_the_first_message(carrier, server, proxy)
        assert early == full - 2
        # It is the early data that do: a session that is resumed without them takes as long.
        patient = QuicCarrier(dataclasses.replace(settings, early_data=False))
        assert await flights_to_the_first_message(patient, server, proxy) == full
        assert await flights_to_the_first_message(patient, server, proxy) == full


async def test_to_quicdist_two_messages_of_the_handshake_go_at_once(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status and challenge: to a quic_dist, which is not to get them together, they take a round trip."""
    async with listening(settings) as server, proxied(server.address) as proxy:
        carrier = QuicCarrier(settings)
        joined = await flights_to_the_first_message(carrier, server, proxy)
        monkeypatch.setattr(Connection, "peer_says", lambda quic, parameter: False)
        apart = await flights_to_the_first_message(QuicCarrier(settings), server, proxy)
        assert joined == apart - 2


async def test_resumed_without_early_data(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        carrier = QuicCarrier(dataclasses.replace(settings, early_data=False))
        async with dialled(carrier, server):
            pass
        async with dialled(carrier, server) as (link, peer):
            assert (link.resumed, link.early_data_accepted) == (True, False)
            assert (peer.resumed, peer.early_data_accepted) == (True, False)


async def test_no_resumption_where_it_is_off(settings: QuicSettings) -> None:
    off = dataclasses.replace(settings, resumption=False)
    async with listening(off) as server, listening(settings) as other:
        carrier = QuicCarrier(settings)
        async with dialled(carrier, server, ticket=False):
            assert kept(carrier)[1] is None
        carrier = QuicCarrier(off)
        for _ in range(2):
            async with dialled(carrier, other, ticket=False) as (link, _):
                assert not link.resumed
        assert len(carrier.resumption.kept) == 0


async def test_early_data_that_a_restarted_node_cannot_read_are_sent_again(settings: QuicSettings) -> None:
    carrier = QuicCarrier(settings)
    async with listening(settings) as server:
        async with dialled(carrier, server):
            pass
        server.carrier.resumption.issued = TicketStore()  # what a new process knows
        server.listener.endpoint._acceptor._issued = server.carrier.resumption.issued  # type: ignore[attr-defined]
        async with dialled(carrier, server) as (link, _):
            assert not link.resumed
            assert not link.early_data_accepted
        assert [named.name for named in server.node.requested] == [CLIENT] * 2
        async with dialled(carrier, server) as (link, _):
            assert link.early_data_accepted


def spoil(ticket: SessionTicket, what: str) -> SessionTicket:
    session = ticket.session
    if what == "secret":
        session = dataclasses.replace(session, resumption_secret=bytes(len(session.resumption_secret)))
    elif what == "ticket":
        session = dataclasses.replace(session, ticket=b"not " + session.ticket)
    else:
        session = dataclasses.replace(session, not_valid_after=session.not_valid_before)
    return SessionTicket(session)


@pytest.mark.parametrize("what", ["secret", "ticket", "time"])
async def test_a_spoilt_ticket_costs_nothing_but_time(settings: QuicSettings, what: str) -> None:
    async with listening(settings) as server:
        carrier = QuicCarrier(settings)
        async with dialled(carrier, server):
            key, ticket = kept(carrier)
        assert ticket is not None
        carrier.resumption.kept.put(key, spoil(ticket, what))
        async with dialled(carrier, server) as (link, _):
            assert not link.resumed
        assert [named.name for named in server.node.requested] == [CLIENT] * 2
        async with dialled(carrier, server) as (link, _):
            assert link.early_data_accepted


async def test_a_ticket_of_an_unverified_node_is_no_proof(
    certificates: CertificateFiles, tmp_path: Path
) -> None:
    """A node that nobody verified gives a ticket; who verifies must not resume with it."""
    strangers = make_development_certificates(tmp_path)
    async with listening(settings_of(strangers)) as server:
        carrier = QuicCarrier(settings_of(certificates, verify=False))
        async with dialled(carrier, server):
            pass
        assert len(carrier.resumption.kept) == 1
        careful = QuicCarrier(settings_of(certificates, verify=True))
        careful.resumption.kept = carrier.resumption.kept
        with pytest.raises(Exception, match="certificate"):
            await careful.setup(SERVER, server.address, FakeNode(CLIENT), setup_time=SETUP_TIME)


async def test_a_verified_node_is_resumed_no_longer_than_its_ticket(certificates: CertificateFiles) -> None:
    settings = settings_of(certificates, verify=True)
    async with listening(settings) as server:
        carrier = QuicCarrier(settings)
        async with dialled(carrier, server):
            _, ticket = kept(carrier)
        assert ticket is not None
        end = ticket.not_valid_after
        async with dialled(carrier, server) as (link, _):
            assert link.early_data_accepted
            _, next_ticket = kept(carrier)
        assert next_ticket is not None
        assert next_ticket.identity != ticket.identity
        assert next_ticket.not_valid_after == end


async def test_a_first_flight_that_is_played_again_does_nothing(settings: QuicSettings) -> None:
    """What was captured opens a connection, but its early data cannot be read: the ticket is used."""
    async with listening(settings) as server, proxied(server.address) as proxy:
        carrier = QuicCarrier(settings)
        async with dialled(carrier, server, proxy.address):
            pass
        proxy.from_client.clear()
        async with dialled(carrier, server, proxy.address) as (link, _):
            assert link.early_data_accepted
            flight = proxy.from_client[0]
        # Another listener with the same tickets, for the first one takes it for the same connection.
        listener = await server.carrier.listen(SERVER, host="127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setblocking(False)
            thief.sendto(flight, (listener.address.host, listener.address.port))
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_recv(thief, 2048)  # it is answered
        assert len(listener.endpoint.half_open) == 1
        assert listener.arrived.empty()
        listener.close()
        assert [named.name for named in server.node.requested] == [CLIENT] * 2


# -- quic_dist -----------------------------------------------------------------------------------


@pytest.mark.quic_dist
@pytest.mark.parametrize("early_data", [False, True])
async def test_quic_dist_dialled_again_with_its_ticket(
    certificates: CertificateFiles,
    settings: QuicSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    early_data: bool,
) -> None:
    """It gives a ticket, and goes on with a full handshake when it is shown (up to 1.8.1). Early data
    it takes and mishandles, so none are sent: see docs/reference/resumption-and-migration.md. If they are
    sent all the same, nothing is lost and nothing arrives twice."""
    if early_data:
        monkeypatch.setattr(SessionTicket, "takes_early_data", True)
    sent: list[bool] = []
    begin = DialHandshake.begin

    def noted(handshake: DialHandshake, ticket: Ticket | None) -> None:
        begin(handshake, ticket)
        sent.append(handshake._early_data)

    monkeypatch.setattr(DialHandshake, "begin", noted)
    port = free_port()
    node = FakeNode(NAME)
    carrier = QuicCarrier(settings)
    async with beam(tmp_path, certificates, port) as a:
        for number in range(3):
            assert (kept(carrier, BEAM)[1] is not None) == (number > 0)
            link = quic_link(
                await carrier.setup(BEAM, Address("127.0.0.1", port), node, setup_time=SETUP_TIME)
            )
            inbox = Answering.at(node, link)
            assert not link.resumed
            assert not link.early_data_accepted
            await until(link, lambda: kept(carrier, BEAM)[1] is not None)
            await once_each(a, inbox)
            link.close()
            await link.wait_closed()
            assert await a.eval(gone(NAME), timeout=20) == "gone"
    assert any(sent) == early_data


async def once_each(a: Beam, inbox: Answering) -> None:
    """A hundred messages each way, each of them once."""
    await a.eval(f"[{{echo, '{NAME}'}} ! N || N <- lists:seq(1, 100)], ok")
    assert [(await inbox.wanted(RegSend))[1] for _ in range(100)] == list(range(1, 101))
    for number in range(100):
        inbox.link.send(RegSend(inbox.node.pid(), Atom(""), EVALUATOR), number)
    inbox.link.send(RegSend(inbox.node.pid(), Atom(""), EVALUATOR), Atom("end"))
    collect = "(fun F(L) -> receive 'end' -> lists:reverse(L); X -> F([X | L]) end end)([])"
    assert await a.eval(f"{collect} =:= lists:seq(0, 99)") == "true"


class Forgetful(Proxy):
    """Loses all that comes by the first address of the client, as a quic_dist loses a handshake of which
    its own part was lost."""

    first: tuple[str, int] | None = None

    def forward(self, side: Any, data: bytes, source: tuple[str, int]) -> None:
        if side.inside:
            self.first = self.first or source
            self.down = source == self.first
        super().forward(side, data, source)


@pytest.mark.parametrize("early", [False, True])
async def test_a_handshake_that_stands_still_is_begun_again(settings: QuicSettings, early: bool) -> None:
    """Unless the name went ahead of it: the peer may have heard it."""
    async with listening(settings) as server:
        carrier = QuicCarrier(settings)
        if early:
            async with dialled(carrier, server):
                pass
        proxy = Forgetful(server.address, 0.001)
        await proxy.open()
        try:
            dial = carrier.setup(SERVER, proxy.address, FakeNode(CLIENT), setup_time=1.5)
            if early:
                with pytest.raises(SetupTimeout):
                    await dial
            else:
                link = await dial
                (await server.link()).close()
                link.close()
                await link.wait_closed()
        finally:
            await proxy.close()
        assert [named.name for named in server.node.requested] == [CLIENT]
