"""When a node ticks, and when it takes another for gone: ``dist_util:send_tick/2``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from quicdist.carrier import Link, LinkStats
from quicdist.carrier.liveness import TICK_INTENSITY, Ticker
from quicdist.protocol import DEFAULT_FLAGS, DistFlag


@dataclass
class FakePeer:
    flags: DistFlag = DEFAULT_FLAGS | DistFlag.PUBLISHED


@dataclass(eq=False)
class FakeLink:
    """Counts ticks as a link does: one that is sent counts as sent."""

    peer: FakePeer = field(default_factory=FakePeer)
    stats: LinkStats = field(default_factory=LinkStats)

    def send_tick(self) -> None:
        self.stats.sent += 1
        self.stats.ticks_out += 1


class Looks:
    """A ticker that looks when it is told to."""

    def __init__(self, peer: FakePeer | None = None) -> None:
        self.link = FakeLink(peer or FakePeer())
        self.silent: list[Any] = []
        self.ticker = Ticker(list, self.silent.append)
        self.look()

    def look(self, *, received: int = 0, sent: int = 0) -> int:
        """Look, after so much has come and gone since the last time; the ticks that were sent."""
        before = self.link.stats.ticks_out
        self.link.stats.received += received
        self.link.stats.sent += sent
        self.ticker.look(cast(Link, self.link))
        return self.link.stats.ticks_out - before


def test_a_tick_whenever_nothing_was_sent() -> None:
    looks = Looks()
    assert [looks.look(received=1, sent=sent) for sent in (0, 0, 1, 5, 0)] == [1, 1, 0, 0, 1]
    assert looks.silent == []


def test_a_hidden_node_is_ticked_when_nothing_came_of_it() -> None:
    """It may be one that only answers ticks, as those made with erl_interface do."""
    hidden = Looks(FakePeer(DEFAULT_FLAGS))
    assert [hidden.look(received=received, sent=1) for received in (1, 0, 0, 1)] == [0, 1, 1, 0]
    published = Looks()
    assert [published.look(received=received, sent=1) for received in (1, 0, 0, 1)] == [0, 0, 0, 0]


@pytest.mark.parametrize("last", [0, 1, 3])
def test_silence_for_a_ticktime(last: int) -> None:
    """Gone when nothing came at as many looks as there are in a ticktime: what came right after a look
    is a quarter of a ticktime old at the next."""
    looks = Looks()
    for _ in range(last):
        looks.look(received=1)
    for _ in range(TICK_INTENSITY - 1):
        looks.look()
        assert looks.silent == []
    looks.look()
    assert looks.silent == [looks.link]


def test_any_received_data_keep_a_link_alive() -> None:
    looks = Looks()
    for _ in range(5):
        for received in [0] * (TICK_INTENSITY - 1) + [1]:
            looks.look(received=received)
    assert looks.silent == []


async def test_data_that_came_while_the_loop_was_blocked_are_read_before_a_link_counts_as_silent() -> None:
    """An event loop may run its timers before it reads its sockets, as uvloop does."""
    ticktime = 0.4
    link = FakeLink()
    silent: list[Any] = []
    ticker = Ticker(lambda: [cast(Link, link)], silent.append, ticktime)
    loop = asyncio.get_running_loop()

    def read() -> None:
        link.stats.received += 1

    ticker.start()
    try:
        # One look to begin with, and all but the last of a ticktime.
        async with asyncio.timeout(5):
            while link.stats.ticks_out < TICK_INTENSITY - 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert silent == []
        time.sleep(ticktime)  # noqa: ASYNC251
        loop.call_later(0.05, read)
        await asyncio.sleep(ticktime / 2)
        assert silent == []
        assert link.stats.ticks_out >= TICK_INTENSITY
        # And nothing more comes.
        await asyncio.sleep(1.5 * ticktime)
        assert silent
    finally:
        ticker.stop()
