"""A packet that is sent in place of a lost one acknowledges what the lost one acknowledged.

Up to 1.8.2 quic_dist sends nothing while its window is full of packets whose loss it has not noticed: it
needs the acknowledgement of a later one.
"""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.test_engine_contract import Pair
from tests.simulated.running import simulate
from tests.simulated.scenarios import SCENARIOS


def test_a_ping_that_is_sent_again_acknowledges_again(settings: QuicSettings) -> None:
    pair = Pair(AioquicFactory(), settings)
    pair.talk()
    pair.authenticated()
    pair.server.send_stream_data(1, b"x" * 100)
    pair.deliver(pair.server.datagrams_to_send(pair.now), pair.client)
    pair.now += 0.1
    pair.client.send_ping(0)
    assert pair.client.datagrams_to_send(pair.now)  # it is lost, and the acknowledgement with it
    assert pair.server.in_flight() > 0
    timer = pair.client.get_timer()
    assert timer is not None
    pair.now = timer
    pair.client.handle_timer(pair.now)
    pair.deliver(pair.client.datagrams_to_send(pair.now), pair.server)
    assert pair.server.in_flight() == 0


@pytest.mark.parametrize("seed", [0, 58, 628, 682])
def test_a_link_with_quic_dist_1_8_2_outlives_lost_acknowledgements(seed: int) -> None:
    simulate(SCENARIOS["python_and_quic_dist_1_8_2"], seed)
