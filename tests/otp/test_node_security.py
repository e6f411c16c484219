"""The security options of a node, from one node to another over QUIC."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quicdist import AuthPeer, ConnectOptions, ExternalPsk, Node, NodeError, NotConnected
from quicdist.carrier import AuthenticationRefused, CertificateRefused, PskRefused, QuicCarrier
from quicdist.protocol import InvalidNodeName, Role
from tests.carrier.security import TestCa

A = "a@127.0.0.1"
B = "b@127.0.0.1"
SECRET = secrets.token_bytes(32)

Pair = Callable[..., Any]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("ca"), "cluster-ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("stranger"), "strangers-ca")


def files(ca: TestCa, signer: TestCa | None = None) -> dict[str, Path]:
    """Options of a node: a certificate of ``signer``, by default of the CA that it believes."""
    shown = (signer or ca).sign()
    return {"cert": shown.cert, "key": shown.key, "cacert": ca.file}


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[tuple[Node, dict[str, tuple[str, int]]]]:
    """The node ``b``, and what others have to know to find it."""
    async with Node(B, cookie="secret", host="127.0.0.1", port=0, **options) as node:
        yield node, {B: ("127.0.0.1", node.addresses[0].port)}


def dialling(nodes: dict[str, tuple[str, int]], **options: Any) -> Node:
    return Node(A, cookie="secret", nodes=nodes, listen=False, **options)


async def refused(node: Node, by: type[Exception]) -> Exception:
    """The reason why ``node`` does not get through to ``b``."""
    with pytest.raises(NotConnected) as caught:
        await node.connect(B)
    (attempt,) = caught.value.attempts
    assert isinstance(attempt, by)
    return attempt


async def test_mutual_tls(ca: TestCa, stranger: TestCa) -> None:
    async with listening(**files(ca), quic={"client_certificate": "require"}) as (_, nodes):
        async with dialling(nodes, **files(ca)) as node:
            assert await node.ping(B)
        async with dialling(nodes, **files(ca, stranger)) as node:
            error = await refused(node, CertificateRefused)
            assert "the peer refused our certificate" in str(error)
        async with dialling(nodes, cacert=ca.file) as node:
            assert "required" in str(await refused(node, CertificateRefused))


async def test_verify_peer_of_a_configuration_is_for_both_sides(ca: TestCa, tmp_path: Path) -> None:
    shown = ca.sign()
    (tmp_path / "sys.config").write_text(
        f'[{{quic, [{{dist, [{{cert_file, "{shown.cert}"}}, {{key_file, "{shown.key}"}}, '
        f'{{cacert_file, "{ca.file}"}}, {{verify, verify_peer}}]}}]}}].'
    )
    async with listening(config=tmp_path / "sys.config") as (_, nodes):
        async with dialling(nodes, config=tmp_path / "sys.config") as node:
            assert await node.ping(B)
        async with dialling(nodes, cacert=ca.file) as node:
            await refused(node, CertificateRefused)


async def test_connect_options_of_one_node(ca: TestCa, stranger: TestCa) -> None:
    async with listening(**files(ca)) as (_, nodes), dialling(nodes, cacert=stranger.file) as node:
        await refused(node, CertificateRefused)
        options = ConnectOptions(cacert=ca.file)
        node.quic_dist.set_connect_options(B, options)
        assert node.quic_dist.get_connect_options(B) == options
        assert await node.ping(B)
        # They stay, unlike quic_dist's: a node that was lost is dialled in the same way again.
        node._local.connections.disconnect(B)
        assert await node.ping(B)
        node.quic_dist.clear_connect_options(B)
        assert node.quic_dist.get_connect_options(B) == ConnectOptions()
        node._local.connections.disconnect(B)
        await refused(node, CertificateRefused)
        node.quic_dist.clear_connect_options(B)


async def test_a_certificate_for_one_node(ca: TestCa, stranger: TestCa) -> None:
    own = files(ca)
    listener = listening(**own, quic={"client_certificate": "require"})
    async with listener as (_, nodes), dialling(nodes, **files(ca, stranger)) as node:
        await refused(node, CertificateRefused)
        node.quic_dist.set_connect_options(B, ConnectOptions(cert=own["cert"], key=own["key"]))
        assert await node.ping(B)


async def test_a_psk_for_one_node() -> None:
    async with listening(quic={"psks": {b"one": SECRET}}) as (_, nodes), dialling(nodes) as node:
        await refused(node, PskRefused)
        node.quic_dist.set_connect_options(B, ConnectOptions(external_psk=ExternalPsk(b"one", SECRET)))
        assert await node.ping(B)


def test_every_connect_option_has_its_setting() -> None:
    node = Node(A, cookie="secret")
    node.quic_dist.set_connect_options(
        B,
        ConnectOptions(
            verify=False,
            server_name="cluster.example",
            keep_alive_interval=7,
            idle_timeout=70,
            max_data=1 << 20,
            max_stream_data=1 << 19,
            max_datagram_size=1200,
            congestion_control="cubic",
            initial_rtt=0.2,
        ),
    )
    carrier = node.endpoints[0].carrier
    assert isinstance(carrier, QuicCarrier)
    settings = node.quic_dist.get_connect_options(B).applied_to(carrier.settings)
    assert (settings.tls.verify, settings.tls.server_name) == (False, "cluster.example")
    assert settings.ping_interval == 7
    engine = settings.for_dialling("127.0.0.1")
    assert (engine.idle_timeout, engine.max_data) == (70, 1 << 20)
    assert (engine.max_stream_data, engine.longest_datagram) == (1 << 19, 1200)
    assert (engine.congestion_control, engine.initial_rtt) == ("cubic", 0.2)
    assert carrier.settings.tls.verify  # all others are dialled as before


def test_connect_options_are_for_quic() -> None:
    node = Node(A, cookie="secret", carrier="tcp")
    with pytest.raises(NodeError, match="QUIC"):
        node.quic_dist.set_connect_options(B, ConnectOptions(verify=False))
    with pytest.raises(InvalidNodeName):
        Node(A, cookie="secret").quic_dist.set_connect_options("nonsense", ConnectOptions())


async def test_an_auth_callback(ca: TestCa) -> None:
    seen: list[tuple[Role, str | None]] = []

    async def callback(peer: AuthPeer) -> bool | str:
        seen.append((peer.role, peer.node))
        return True

    async def deny(peer: AuthPeer) -> bool | str:
        return "not today"

    async with listening(**files(ca), quic={"auth_callback": callback}) as (_, nodes):
        async with dialling(nodes, cacert=ca.file, quic={"auth_callback": callback}) as node:
            assert await node.ping(B)
            assert set(seen) == {(Role.CLIENT, B), (Role.SERVER, None)}
        async with dialling(nodes, cacert=ca.file, quic={"auth_callback": deny}) as node:
            assert "not today" in str(await refused(node, AuthenticationRefused))


async def test_a_node_with_psks_alone() -> None:
    async with listening(quic={"psks": {b"one": SECRET}}) as (_, nodes):
        async with dialling(nodes, quic={"external_psk": ExternalPsk(b"one", SECRET)}) as node:
            assert await node.ping(B)
        async with dialling(nodes, quic={"external_psk": ExternalPsk(b"one", bytes(32))}) as node:
            await refused(node, PskRefused)
