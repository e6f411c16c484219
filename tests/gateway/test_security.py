"""Certificates, pre-shared keys and tickets on the QUIC side of a gateway: those of a node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from quicdist import ExternalPsk, NotConnected, make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.gateway import Gateway
from tests.gateway.gateways import A, B
from tests.gateway.world import World, disconnected
from tests.support.epmd import free_port
from tests.support.ports import any_port

PSK = ExternalPsk(b"cluster", b"a secret of thirty-two bytes, ok")


@asynccontextmanager
async def secured(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[World]:
    port_b = any_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(free_port()))
    options = {"cert": files.cert, "key": files.key, "cacert": files.ca} | options
    async with Gateway(
        A, nodes={B: ("127.0.0.1", port_b)}, host="127.0.0.1", port=any_port(), epmd="own", **options
    ) as gateway:
        yield World(gateway, files, port_b)


async def test_a_certificate_of_another_ca_is_refused_when_the_local_node_dials(
    certificates: CertificateFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = make_development_certificates(tmp_path / "other", [B.partition("@")[2]])
    async with secured(certificates, monkeypatch) as world, world.local() as local:
        async with world.remote():
            assert await local.ping(B)
        await disconnected(local)
        world.move_b()
        async with world.remote(cert=other.cert, key=other.key):
            assert not await local.ping(B)
    assert f"no connection to {B}: cannot connect to {B}" in caplog.text
    assert "certificate" in caplog.text


async def test_a_node_that_dials_has_to_show_a_certificate_where_that_is_required(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    required = {"client_certificate": "require"}
    async with secured(certificates, monkeypatch, quic=required) as world, world.local():
        async with world.remote(cert=None, key=None, listen=False) as remote:
            with pytest.raises(NotConnected, match="certificate"):
                await remote.connect(A)
        async with world.remote(verify=True, cacert=certificates.ca) as remote:
            assert await remote.ping(A)


async def test_a_gateway_shows_its_certificate_where_it_has_to(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    required = {"client_certificate": "require"}
    async with (
        secured(certificates, monkeypatch) as world,
        world.local() as local,
        world.remote(cacert=certificates.ca, quic=required),
    ):
        assert await local.ping(B)


async def test_a_pre_shared_key_stands_in_for_certificates(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"cert": None, "key": None}
    options["quic"] = {"external_psk": PSK, "psks": {PSK.identity: PSK.secret}}
    async with secured(certificates, monkeypatch, **options) as world, world.local() as local:
        async with world.remote(**options):
            assert await local.ping(B)
        await disconnected(local)
        world.move_b()
        async with world.remote(**options | {"quic": {"psks": {PSK.identity: bytes(32)}}}):
            assert not await local.ping(B)


def echo(value: int) -> int:
    return value


async def test_a_connection_goes_on_from_another_port_of_the_gateway(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secured(certificates, monkeypatch) as world, world.local() as local, world.remote() as remote:
        assert await local.ping(B)
        (relay,) = world.gateway._relays
        before = relay.far.local_address
        assert relay.far.migrate()
        for node in (local, remote):
            node.export("m")(echo)
        for number in range(20):
            assert await local.call(B, "m", "echo", [number]) == number
            assert await remote.call(A, "m", "echo", [number]) == number
        assert relay.far.local_address != before
        assert [each.node for each in world.gateway._relays] == [B]
        assert list(world.gateway._relays) == [relay]


async def test_the_second_dial_is_resumed(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secured(certificates, monkeypatch) as world, world.local() as local, world.remote():
        resumed = []
        for _ in range(2):
            assert await local.ping(B)
            (relay,) = world.gateway._relays
            resumed.append(relay.far.resumed)
            local.disconnect(B)
            await disconnected(local)
        assert resumed == [False, True]
