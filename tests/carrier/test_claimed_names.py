"""Who may claim which name: each row of the table *Whose name* in ``docs/reference/security.md``."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from pathlib import Path
from typing import Any

import pytest

from quicdist.carrier import AuthPeer, CertificateRefused, ExternalPsk
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.protocol import WrongNodeName
from tests.carrier import tcp_peers
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import SETUP_TIME, listening, nothing_half_made, quic_link, until
from tests.carrier.security import TestCa, tls
from tests.carrier.test_quic_security import SERVER, connects, dial

HOSTS = ["127.0.0.1", "node1.example.com", "*.wild.example.com"]
#: Names on hosts of that certificate, and on others.
NAMED = ["a@127.0.0.1", "b@127.0.0.1", "a@node1.example.com", "a@NODE1.example.com", "a@x.wild.example.com"]
OTHERS = [
    "a@127.0.0.2",
    "a@node2.example.com",
    "a@example.com",
    "a@node1",
    "a@x.y.wild.example.com",
    "a@::1",
    "a@node1.example.com.",
]
PSK = ExternalPsk(b"cluster", secrets.token_bytes(32))


@pytest.fixture
def ca(tmp_path: Path) -> TestCa:
    return TestCa(tmp_path, "ca")


async def refused(server: Any, config: TlsConfig, name: str) -> None:
    with pytest.raises(CertificateRefused) as caught:
        await dial(server, config, name=name)
    assert caught.value.by_peer


@pytest.mark.parametrize("asking", ["request", "require"])
async def test_a_certificate_names_its_hosts_and_no_others(ca: TestCa, asking: str) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate=asking))) as server:
        shown = tls(ca.sign(hosts=HOSTS))
        for name in NAMED:
            await connects(server, shown, name=name)
        for name in OTHERS:
            await refused(server, shown, name)
        await nothing_half_made(server)
        assert {peer.name for peer in server.node.requested} == set(NAMED)


async def test_a_common_name_names_no_host(ca: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        await refused(server, tls(ca.sign("node1.example.com", hosts=[])), "a@node1.example.com")
        await refused(server, tls(ca.sign("127.0.0.1", hosts=["else.example"])), "a@127.0.0.1")


async def test_without_a_certificate_any_name_where_none_is_required(ca: TestCa) -> None:
    for asking in ("none", "request"):
        async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate=asking))) as server:
            for name in (NAMED[0], *OTHERS[:2]):
                await connects(server, tls(None), name=name)
    async with listening(QuicSettings(tls=tls(ca.sign(), ca, client_certificate="require"))) as server:
        await refused(server, tls(None), NAMED[0])


async def test_a_certificate_that_is_not_asked_for_names_nobody(ca: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca))) as server:
        for name in (NAMED[0], *OTHERS[:2]):
            await connects(server, tls(ca.sign(hosts=HOSTS)), name=name)


async def test_a_psk_allows_any_node_name(ca: TestCa) -> None:
    for asking in ("none", "require"):
        config = dataclasses.replace(
            tls(ca.sign(), ca, client_certificate=asking), psks={PSK.identity: PSK.secret}
        )
        async with listening(QuicSettings(tls=config)) as server:
            for name in (NAMED[0], *OTHERS[:2]):
                await connects(server, TlsConfig(external_psk=PSK), name=name)


async def test_a_session_is_resumed_under_any_name_where_no_certificate_is_asked_for(ca: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(), ca))) as server:
        carrier = QuicCarrier(QuicSettings(tls=tls(None)))
        resumed = []
        for name in (NAMED[0], OTHERS[0], OTHERS[1]):
            link = quic_link(
                await carrier.setup(SERVER, server.address, FakeNode(name), setup_time=SETUP_TIME)
            )
            there = await server.link()
            resumed.append(link.resumed)
            assert there.peer.name == name
            await until(link, lambda: len(carrier.resumption.kept) > 0)
            link.close()
            await link.wait_closed()
            there.close()
            await there.wait_closed()
        assert resumed == [False, True, True]


async def test_no_session_is_resumed_where_certificates_are_asked_for(ca: TestCa) -> None:
    config = tls(ca.sign(), ca, client_certificate="require")
    async with listening(QuicSettings(tls=config)) as server:
        carrier = QuicCarrier(QuicSettings(tls=tls(ca.sign(hosts=HOSTS))))
        link = await carrier.setup(SERVER, server.address, FakeNode(NAMED[0]), setup_time=SETUP_TIME)
        assert (await server.link()).peer.name == NAMED[0]
        link.close()
        await link.wait_closed()
        assert len(server.carrier.resumption.issued) == 0
        with pytest.raises(CertificateRefused):
            await carrier.setup(SERVER, server.address, FakeNode(OTHERS[1]), setup_time=SETUP_TIME)


async def test_a_callback_is_asked_before_the_name_is_said_and_adds_no_name(ca: TestCa) -> None:
    asked: list[AuthPeer] = []

    async def callback(peer: AuthPeer) -> bool:
        asked.append(peer)
        return True

    config = tls(ca.sign(), ca, client_certificate="require")
    async with listening(QuicSettings(tls=config, auth_callback=callback)) as server:
        shown = tls(ca.sign(hosts=HOSTS))
        await connects(server, shown, name=NAMED[0])
        await refused(server, shown, OTHERS[1])
        assert [peer.node for peer in asked] == [None, None]


async def test_tcp_allows_any_node_name() -> None:
    node = FakeNode("b@127.0.0.1")
    for name in (NAMED[0], *OTHERS[:2]):
        async with tcp_peers.joined(FakeNode(name), node) as (_, there):
            assert there.peer.name == name


async def test_a_dialled_node_must_be_named_and_answer_by_its_name(ca: TestCa) -> None:
    async with listening(QuicSettings(tls=tls(ca.sign(hosts=HOSTS)))) as server:
        config = tls(None, ca, verify=True)
        (await dial(server, config)).close()
        (await server.link()).close()
        with pytest.raises(CertificateRefused) as caught:
            await dial(server, config, to="server@127.0.0.2")
        assert not caught.value.by_peer
        # Of another name on a host that it names, the certificate says nothing, the node does.
        with pytest.raises(WrongNodeName):
            await dial(server, config, to="other@127.0.0.1")


async def test_over_tcp_a_dialled_node_must_answer_by_its_name() -> None:
    carrier = TcpCarrier()
    async with tcp_peers.raw_listener() as (address, peers):
        dialling = asyncio.ensure_future(
            carrier.setup("other@127.0.0.1", address, FakeNode("a@127.0.0.1"), setup_time=SETUP_TIME)
        )
        peer = await peers.get()
        with pytest.raises(Exception, match="closed the connection"):
            await peer.accept(FakeNode("b@127.0.0.1"))
        with pytest.raises(WrongNodeName):
            await dialling
