"""When the silence of a node counts whose QUIC connection is alive."""

from __future__ import annotations

import asyncio

import pytest

from quicdist.carrier import PeerSilent
from quicdist.carrier.quic.engine.contract import UNLIMITED
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.quic_support import LinkPair, quic_link, with_linked_pair

TICKTIME = 60.0
#: A stream for other data.
OTHER = 0


class Mute:
    """A node that acknowledges and sends nothing, as a quic_dist whose connection has no owner."""

    def __init__(self, pair: LinkPair) -> None:
        self.link = quic_link(pair.server.link)
        self.link._received = lambda messages: None  # type: ignore[method-assign]
        for timer in (self.link._ping_timer, self.link._burst_timer):
            if timer is not None:
                timer.cancel()


def hold_signals(pair: LinkPair) -> QuicLink:
    """Hold the stream that the probes of the client's link take."""
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


@pytest.mark.usefixtures("quic_dist_peers")
def test_silent_quic_dist_that_acknowledges_is_lost_after_the_ticktime(
    settings: QuicSettings,
) -> None:
    async def test(pair: LinkPair) -> None:
        Mute(pair)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        assert await silent_for(pair, 600)
        assert TICKTIME <= loop.time() - begun <= TICKTIME * 1.25 + 1

    with_linked_pair(settings, test)


def test_silent_quicdist_that_acknowledges_stays_connected(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        Mute(pair)
        assert not await silent_for(pair, 600)

    with_linked_pair(settings, test)


@pytest.mark.usefixtures("quic_dist_peers")
def test_silence_before_the_probe_is_acknowledged_does_not_count(
    settings: QuicSettings,
) -> None:
    async def test(pair: LinkPair) -> None:
        Mute(pair)
        # Nothing of that stream is acknowledged, as where it waits behind what was lost; others are.
        link = hold_signals(pair)
        for _ in range(30):
            link._connection.write(OTHER, (bytes(4),), 4)
            await asyncio.sleep(10)
            assert not link.closed

    with_linked_pair(settings, test)


@pytest.mark.usefixtures("quic_dist_peers")
def test_peer_that_acknowledges_nothing_is_lost_though_the_probe_is_not_sent(
    settings: QuicSettings,
) -> None:
    async def test(pair: LinkPair) -> None:
        Mute(pair)
        hold_signals(pair)
        assert await silent_for(pair, 600)

    with_linked_pair(settings, test)
