"""When time counts against a node whose QUIC connection lives and of which nothing comes."""

from __future__ import annotations

import asyncio

import pytest

from quicdist.carrier import PeerSilent
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.contract import UNLIMITED
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.quic_support import LinkPair, linked, quic_link
from tests.support.virtual_time import in_virtual_time

TICKTIME = 60.0
#: A stream that something else is sent on.
OTHER = 0


class Mute:
    """A node that acknowledges and says nothing, as a quic_dist whose connection nobody owns."""

    def __init__(self, pair: LinkPair) -> None:
        self.link = quic_link(pair.server.link)
        self.link._received = lambda messages: None  # type: ignore[method-assign]
        for timer in (self.link._ping_timer, self.link._burst_timer):
            if timer is not None:
                timer.cancel()


def hold_signals(pair: LinkPair) -> QuicLink:
    """Nothing leaves any more on the stream that the signals of the client's link take."""
    link = quic_link(pair.client.link)
    stream_id, _ = link._dist.send(link._liveness_probe.signal)
    link._connection.hold_stream(stream_id, OTHER)
    link._connection._outgoing._queues[stream_id].held[OTHER] = UNLIMITED
    link._connection.write(stream_id, (bytes(4),), 4)
    return link


async def silent_for(pair: LinkPair, seconds: float) -> bool:
    """Whether the client's link ends as silent, within so much time."""
    done, _ = await asyncio.wait([pair.client.lost], timeout=seconds)
    if done:
        assert isinstance(pair.client.lost.result(), PeerSilent)
    return bool(done)


@pytest.fixture
def _quic_dist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: False)


@pytest.mark.usefixtures("_quic_dist")
def test_a_quic_dist_that_acknowledges_and_says_nothing_is_lost_after_the_ticktime(
    settings: QuicSettings,
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with linked(settings) as pair:
            Mute(pair)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            assert await silent_for(pair, 600)
            assert TICKTIME <= loop.time() - begun <= TICKTIME * 1.25 + 1

    run()


def test_of_a_quicdist_acknowledgements_tell_enough(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with linked(settings) as pair:
            Mute(pair)
            assert not await silent_for(pair, 600)

    run()


@pytest.mark.usefixtures("_quic_dist")
def test_a_signal_that_has_not_arrived_on_a_path_that_moves_on_counts_for_nothing(
    settings: QuicSettings,
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with linked(settings) as pair:
            Mute(pair)
            # Nothing of that stream is acknowledged, as where it waits behind what was lost; others are.
            link = hold_signals(pair)
            for _ in range(30):
                link._connection.write(OTHER, (bytes(4),), 4)
                await asyncio.sleep(10)
                assert not link.closed

    run()


@pytest.mark.usefixtures("_quic_dist")
def test_a_signal_that_cannot_be_sent_does_not_save_a_node_that_acknowledges_nothing_more(
    settings: QuicSettings,
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with linked(settings) as pair:
            Mute(pair)
            hold_signals(pair)
            assert await silent_for(pair, 600)

    run()
