"""Fixtures of the tests with gateways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.gateways import Pair, gateway_pair, tcp_pair

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
