"""Fixtures of the tests in namespaces: without those they are left out, with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.spaces import Spaces, Unavailable
from tests.netns.wire import Weather


def made(weather: Weather | None = None) -> Spaces:
    try:
        return Spaces(weather)
    except Unavailable as reason:
        pytest.skip(f"netns: {reason}")


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    spaces = made()
    try:
        yield spaces
    finally:
        spaces.close()


@pytest_asyncio.fixture
async def stormy() -> AsyncIterator[Spaces]:
    """Namespaces between which packets are lost, late and doubled."""
    spaces = made(Weather())
    try:
        yield spaces
    finally:
        spaces.close()


@pytest.fixture
def certificates(tmp_path: Path) -> CertificateFiles:
    return make_development_certificates(tmp_path / "certificates")
