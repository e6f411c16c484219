"""Fixtures of the carrier tests."""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates
from tests.carrier.quic_support import settings_of


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A development CA and a certificate for this machine."""
    return make_development_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def settings(certificates: CertificateFiles) -> QuicSettings:
    """A QUIC carrier's settings with a certificate, peers not verified."""
    return settings_of(certificates)


@pytest.fixture
def quic_dist_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No peer announces that it is quicdist: each takes the other for a quic_dist."""
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: False)
