"""Fixtures of the carrier tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from quicdist.carrier import keepalive
from quicdist.carrier.quic.driver import endpoint
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


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of what keeps links alive ahead by so many seconds, in place of a sleep: a machine that
    is busy makes sleeps longer, and then more ticks are due."""
    ahead, monotonic = 0.0, time.monotonic

    def advance(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    clock = SimpleNamespace(monotonic=lambda: monotonic() + ahead)
    for module in (keepalive, endpoint):
        monkeypatch.setattr(module, "time", clock)
    return advance
