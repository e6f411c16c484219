"""Fixtures of the tests in network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist import make_development_certificates
from quicdist.carrier.certificates import CertificateFiles
from tests.netns.spaces import Spaces, Unavailable


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    try:
        made = Spaces()
    except Unavailable as reason:
        pytest.skip(f"netns: {reason}")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def certificates(tmp_path: Path) -> CertificateFiles:
    return make_development_certificates(tmp_path / "certificates")
