"""Fixtures of the tests with a real BEAM: each runs over TCP, over QUIC where there is quic_dist, with
``--tls`` over TLS, and with ``--gateway`` over QUIC with a stock BEAM behind a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, LastingBeam, beam_for_a_node, cluster, cluster_with


@pytest_asyncio.fixture(params=CARRIERS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A Python node and a BEAM, not connected."""
    async with cluster(request.param, tmp_path) as both:
        yield both


@pytest.fixture(scope="module", params=CARRIERS)
def lasting_beam(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LastingBeam]:
    """A BEAM for all tests of a module that leave nothing behind on it: starting one takes longer than many
    of them."""
    with beam_for_a_node(request.param, tmp_path_factory.mktemp("lasting")) as (beam, name, options):
        yield LastingBeam(beam, name, request.param, options)


@pytest_asyncio.fixture
async def lasting_pair(lasting_beam: LastingBeam) -> AsyncIterator[Cluster]:
    """A new Python node and the BEAM of the module, not connected."""
    async with cluster_with(lasting_beam) as both:
        yield both
