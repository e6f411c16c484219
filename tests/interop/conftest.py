"""Fixtures of the tests with a real BEAM: each runs over TCP, over QUIC where there is quic_dist, with
``--tls`` over TLS, and with ``--gateway`` over QUIC with a stock BEAM behind a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, cluster


@pytest_asyncio.fixture(params=CARRIERS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A Python node and a BEAM, not connected."""
    async with cluster(request.param, tmp_path) as both:
        yield both
