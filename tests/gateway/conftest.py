"""Fixtures of the tests with gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.gateway import Gateway
from tests.gateway.gateways import A, B, Pair, gateway_pair, tcp_pair
from tests.gateway.world import World
from tests.support.epmd import free_port
from tests.support.ports import any_port

HOSTS = ["127.0.0.1", "127.10.0.1", "127.10.0.2", "host1", "host2"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_development_certificates(tmp_path_factory.mktemp("certificates"), HOSTS)


@pytest.fixture(scope="module")
def over_gateways(certificates: CertificateFiles) -> Iterator[Pair]:
    with gateway_pair(certificates) as pair:
        yield pair


@pytest.fixture(scope="module")
def over_tcp() -> Iterator[Pair]:
    with tcp_pair() as pair:
        yield pair


@pytest_asyncio.fixture
async def world(certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    epmd_port, port_b = free_port(), any_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(epmd_port))
    async with Gateway(
        A,
        nodes={B: ("127.0.0.1", port_b)},
        host="127.0.0.1",
        port=any_port(),
        epmd="own",
        metrics_port=0,
        cert=certificates.cert,
        key=certificates.key,
        verify=False,
        setup_time=3,
    ) as gateway:
        yield World(gateway, certificates, port_b)
