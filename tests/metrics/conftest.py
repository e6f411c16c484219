"""Certificates of two CAs."""

from __future__ import annotations

import pytest

from quicdist import make_development_certificates
from quicdist.carrier import CertificateFiles


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_development_certificates(tmp_path_factory.mktemp("ca"), ["localhost", "127.0.0.1"])


@pytest.fixture(scope="session")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_development_certificates(tmp_path_factory.mktemp("other-ca"), ["localhost", "127.0.0.1"])
