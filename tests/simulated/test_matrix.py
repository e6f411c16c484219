"""The matrix at a small scale; ``python -m tests.simulated --matrix`` runs all of it."""

from __future__ import annotations

import pytest

from tests.simulated.matrix import ROWS, run
from tests.simulated.network import Network
from tests.simulated.running import simulated


@pytest.mark.parametrize("name", ROWS)
@simulated()
async def test_everything_arrives_once_or_is_told(network: Network, name: str) -> None:
    row = ROWS[name]
    cost = await run(network, row, messages=5, long=256 * 1024)
    assert cost.told is row.ends
