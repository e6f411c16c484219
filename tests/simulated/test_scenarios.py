"""A few seeds of each scenario; ``make simulate`` runs as many as there is time for."""

from __future__ import annotations

import pytest

from tests.simulated.network import Network
from tests.simulated.running import simulated
from tests.simulated.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
@simulated(4)
async def test_dials_and_exchanges(network: Network, name: str) -> None:
    await SCENARIOS[name](network)
