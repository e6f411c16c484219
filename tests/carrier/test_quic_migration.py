"""A connection that goes on from another address, on one machine; see also tests/netns."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist.carrier import Address, CarrierError
from quicdist.carrier.datagram_socket import open_socket
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.driver import migration as migration_module
from quicdist.carrier.quic.driver.dial_endpoint import DialEndpoint
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.protocol import RegSend
from quicdist.term import Atom
from tests.carrier.flights import proxied
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import SETUP_TIME, linked, listening, quic_link, send, until
from tests.carrier.test_quic_dist_interop import BEAM, EVALUATOR, NAME, Answering, beam
from tests.support.beam import Beam, erl_facts


def endpoint_of(link: QuicLink) -> DialEndpoint:
    receiver = link._connection.socket.receiver
    assert isinstance(receiver, DialEndpoint)
    return receiver


async def test_a_dialled_link_goes_on_from_a_new_socket(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client, server = quic_link(pair.client.link), quic_link(pair.server.link)
        pair.to_server(1)
        assert (await pair.server.get())[1] == 1
        for number in range(3):
            before = client.local_address
            assert client.migrate()
            assert client.local_address != before
            pair.to_server(number)
            assert (await pair.server.get())[1] == number
            pair.to_client(number)
            assert (await pair.client.get())[1] == number
            assert server.remote_address == client.local_address
        assert not pair.client.lost.done()
        assert not pair.server.lost.done()


async def test_messages_under_way_while_the_socket_changes(settings: QuicSettings) -> None:
    """Every one of them arrives once and in order, whichever address it came from or went to."""
    async with linked(settings) as pair:
        client = quic_link(pair.client.link)
        for number in range(200):
            pair.to_server((number, bytes(10_000)))
            pair.to_client((number, bytes(10_000)))
            if number % 50 == 25:
                await asyncio.sleep(0)  # some of it leaves
                assert client.migrate()
        assert [(await pair.server.get())[1][0] for _ in range(200)] == list(range(200))
        assert [(await pair.client.get())[1][0] for _ in range(200)] == list(range(200))


async def test_an_accepted_link_does_not_move_by_itself(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        assert not pair.server.link.migrate()
        pair.client.link.close()
        assert not pair.client.link.migrate()


async def test_no_way_to_go_on_by(settings: QuicSettings) -> None:
    no_way = False

    def sockets(*args: Any, **kwargs: Any) -> socket.socket:
        if no_way:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return open_socket(*args, **kwargs)

    async with linked(settings, dataclasses.replace(settings, sockets=sockets)) as pair:
        no_way = True
        with pytest.raises(CarrierError, match=r"server@127.0.0.1.*Network is unreachable"):
            pair.client.link.migrate()
        pair.to_server(1)
        assert (await pair.server.get())[1] == 1


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EADDRNOTAVAIL])
async def test_an_address_that_is_gone_is_replaced(settings: QuicSettings, code: int) -> None:
    async with linked(settings) as pair:
        client = quic_link(pair.client.link)
        before = client.local_address
        endpoint_of(client).socket_error(OSError(code, "it is gone"))
        pair.to_server(1)
        assert (await pair.server.get())[1] == 1
        await until(client, lambda: client.local_address != before)
        assert client.local_address.host == before.host


async def test_no_move_where_the_way_is_the_same(settings: QuicSettings) -> None:
    """An ICMP error, which anybody can send, moves nothing while the address is still the right one."""
    looked = asyncio.Event()

    def seen(*args: Any, **kwargs: Any) -> socket.socket:
        asyncio.get_running_loop().call_soon(looked.set)
        return open_socket(*args, **kwargs)

    async with linked(settings, dataclasses.replace(settings, sockets=seen)) as pair:
        client = quic_link(pair.client.link)
        before = client._connection.socket
        looked.clear()
        endpoint_of(client).socket_error(OSError(errno.EHOSTUNREACH, "No route to host"))
        async with asyncio.timeout(30):
            await looked.wait()
        assert client._connection.socket is before


async def test_a_way_that_is_back_is_taken_at_once(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when the next probe is due, which after a long while is late."""
    monkeypatch.setattr(migration_module, "CHECK_INTERVAL", 0.05)
    tries: int | None = None

    def not_yet(*args: Any, **kwargs: Any) -> socket.socket:
        nonlocal tries
        if tries is not None:
            tries += 1
            if tries < 4:
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return open_socket(*args, **kwargs)

    async with linked(settings, dataclasses.replace(settings, sockets=not_yet)) as pair:
        client = quic_link(pair.client.link)
        before = client.local_address
        tries = 0
        endpoint_of(client).socket_error(OSError(errno.ENETUNREACH, "Network is unreachable"))
        await until(client, lambda: client.local_address != before)
        assert tries == 4


async def test_a_listener_follows_a_peer_behind_a_nat_that_forgets(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "quicdist.carrier.quic")
    async with listening(settings) as server, proxied(server.address) as nat:
        node = FakeNode("client@127.0.0.1")
        client = await QuicCarrier(settings).setup(server.node.name, nat.address, node, setup_time=SETUP_TIME)
        ours, theirs = Inbox.of(client), Inbox.of(await server.link())
        for number in range(3):
            send(client, node, number)
            assert (await theirs.get())[1] == number
            assert theirs.link.remote_address.port == nat.outer_port
            await nat.forget()
            # What the listener sends in between goes nowhere, and is sent again.
            send(theirs.link, server.node, number)
            send(client, node, number)
            assert (await theirs.get())[1] == number
            assert (await ours.get())[1] == number
            assert theirs.link.remote_address.port == nat.outer_port
            assert f"to 127.0.0.1:{nat.outer_port}" in caplog.text
        client.close()
        await client.wait_closed()
        await theirs.link.wait_closed()


# -- quic_dist -----------------------------------------------------------------------------------


@pytest.mark.quic_dist
async def test_quic_dist_follows_a_node_that_moves(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    node = FakeNode(NAME)
    async with beam(tmp_path, certificates, port) as a:
        link = quic_link(
            await QuicCarrier(settings).setup(BEAM, Address("127.0.0.1", port), node, setup_time=SETUP_TIME)
        )
        inbox = Answering.at(node, link)
        for number in range(3):
            await both_ways(a, inbox, number)
            assert link.migrate()
        await both_ways(a, inbox, 3)
        assert await a.eval(f"nodes(hidden) =:= ['{NAME}']") == "true"
        link.close()
        await link.wait_closed()


@pytest.mark.quic_dist
async def test_quic_dist_follows_a_node_behind_a_nat_that_forgets(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    node = FakeNode(NAME)
    async with beam(tmp_path, certificates, port) as a, proxied(Address("127.0.0.1", port)) as nat:
        link = await QuicCarrier(settings).setup(BEAM, nat.address, node, setup_time=SETUP_TIME)
        inbox = Answering.at(node, link)
        for number in range(3):
            await both_ways(a, inbox, number)
            await nat.forget()
        await both_ways(a, inbox, 3)
        link.close()
        await link.wait_closed()


@pytest.mark.quic_dist
async def test_a_listener_follows_a_beam_behind_a_nat_that_forgets(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    node = FakeNode(NAME)
    async with listening(settings, node) as server, proxied(server.address) as nat:
        table = {NAME: (nat.address.host, nat.address.port)}
        async with beam(tmp_path, certificates, free_port(), table) as a:
            assert await a.eval(f"net_kernel:connect_node('{NAME}')") == "true"
            inbox = Answering.at(node, await server.link())
            for number in range(3):
                await both_ways(a, inbox, number)
                assert inbox.link.remote_address.port == nat.outer_port
                await nat.forget()
            await both_ways(a, inbox, 3)
            inbox.link.close()
            await inbox.link.wait_closed()


def size() -> int:
    """What a message has: up to quic_dist 1.3.1 what is lost of a large one may never be sent again."""
    version = erl_facts()[1]
    assert version is not None
    return 64 * 1024 if tuple(map(int, version.split("."))) >= (1, 4) else 1000


async def both_ways(a: Beam, inbox: Answering, number: int) -> None:
    """A message each way."""
    link, node = inbox.link, inbox.node
    link.send(RegSend(node.pid(), Atom(""), EVALUATOR), (number, bytes(size())))
    assert await a.eval(f"receive {{{number}, B{number}}} -> byte_size(B{number}) end") == str(size())
    await a.eval(f"{{echo, '{NAME}'}} ! {{{number}, Data}}, ok", bytes(size()))
    _, (came, blob) = await inbox.wanted(RegSend)
    assert (came, len(blob)) == (number, size())
