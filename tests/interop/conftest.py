"""Fixtures of the tests with a real BEAM: each runs over TCP, over QUIC where there is quic_dist, and with
``--gateway`` over QUIC with a stock BEAM behind a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.cluster import Cluster, cluster

CARRIERS = [
    pytest.param("tcp", marks=pytest.mark.beam),
    pytest.param("quic", marks=pytest.mark.quic_dist),
    pytest.param("gateway", marks=[pytest.mark.beam, pytest.mark.gateway]),
]


@pytest_asyncio.fixture(params=CARRIERS)
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[Cluster]:
    """A Python node and a BEAM, not connected."""
    async with cluster(request.param, tmp_path, free_port) as both:
        yield both
