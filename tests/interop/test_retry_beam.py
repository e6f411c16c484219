"""quic_dist as a client whose address is validated first (Retry)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.cluster import cluster

pytestmark = pytest.mark.quic_dist


async def test_the_beam_dials_a_node_that_always_sends_retry(tmp_path: Path) -> None:
    validated = {"address_validation": "always"}
    async with cluster("quic", tmp_path, quic=validated) as pair:
        assert await pair.eval("net_adm:ping(PY)") == "pong"
        assert await pair.node.ping(pair.beam_name)
