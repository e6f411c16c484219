"""Starting a gateway beside other epmds, options that do not fit, and stopping it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.gateway import Gateway, GatewayError
from tests.gateway.gateways import A, B
from tests.gateway.world import HOST_B, World, disconnected
from tests.support.epmd import free_port
from tests.support.ports import any_port


async def test_a_port_of_epmd_that_is_taken_by_something_else_is_an_error_where_it_has_to_be_ours(
    certificates: CertificateFiles,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options: dict[str, Any] = {"host": "127.0.0.1", "port": any_port(), "cert": certificates.cert}
        gateway = Gateway(A, epmd_port=port, epmd="own", key=certificates.key, **options)
        with pytest.raises(GatewayError, match=f"cannot answer as epmd at 127.0.0.1:{port}"):
            await gateway.start()
    assert gateway.state.value == "stopped"


async def test_an_epmd_that_listens_everywhere_is_an_error_that_says_what_to_do(
    certificates: CertificateFiles,
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        gateway = Gateway(
            A,
            hosts=["host2"],
            host="127.0.0.1",
            port=any_port(),
            epmd_port=taken.getsockname()[1],
            cert=certificates.cert,
            key=certificates.key,
        )
        with pytest.raises(GatewayError, match=r"Start it with ERL_EPMD_ADDRESS=127\.0\.0\.1"):
            await gateway.start()


async def test_the_epmd_of_the_machine_is_asked_for_the_local_node(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    """Here the epmd is that of another gateway."""
    options: dict[str, Any] = {"host": "127.0.0.1", "cert": certificates.cert, "key": certificates.key}
    port_b, port = free_port(), free_port()
    async with Gateway("other@127.10.0.9", port=free_port(), epmd_port=0, **options) as epmd:
        monkeypatch.setenv("ERL_EPMD_PORT", str(epmd.epmd_port))
        async with (
            Gateway(A, nodes={B: ("127.0.0.1", port_b)}, port=port, verify=False, **options) as gateway,
            World(gateway, certificates, port_b).local() as local,
            World(gateway, certificates, port_b).remote() as remote,
        ):
            assert await remote.ping(A)
            assert local.nodes("connected") == [B]


async def test_a_remote_host_that_resolves_to_the_gateway_itself_is_not_dialled(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = any_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(free_port()))
    async with (
        Gateway(
            A,
            hosts=[HOST_B],
            nodes={B: (HOST_B, port)},
            port=port,
            cert=certificates.cert,
            key=certificates.key,
        ) as gateway,
        World(gateway, certificates, 0).local() as local,
    ):
        assert not await local.ping(B)
    assert f"{HOST_B} resolves to {HOST_B} here, which is the gateway itself" in caplog.text


async def test_a_stopped_gateway_closes_its_connections_and_leaves_nothing_listening(world: World) -> None:
    async with world.local() as local, world.remote() as remote:
        assert await local.ping(B)
        await world.gateway.stop()
        await disconnected(local, remote)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", world.gateway.epmd_port)


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GatewayError, match="needs the name of the local node"):
        Gateway()
    with pytest.raises(GatewayError, match="epmd='mine' is not one of"):
        Gateway(A, epmd="mine")
