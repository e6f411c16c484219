"""The connections of a gateway: ticks on both sides, and the end of those that are silent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from quicdist.carrier import BufferLimits, Link
from quicdist.carrier.liveness import Ticker
from quicdist.carrier.quic.relay import QuicRelayLink
from quicdist.carrier.tcp.relay import TcpNearEnd
from quicdist.gateway.relay import Relay
from quicdist.gateway.traffic import Traffic

#: Seconds between ticks to the local node.
LOCAL_TICK: Final = 1.0
#: Limits of the queue of each side of a connection, in bytes: a side that takes less is waited for.
LIMITS: Final = BufferLimits(high_water=1024 * 1024, low_water=256 * 1024, before_start=64 * 1024 * 1024)


class Relays:
    """The relays that run. ``ticktime`` is the ``net_ticktime`` of the remote nodes, in seconds."""

    def __init__(self, traffic: Traffic, ticktime: float) -> None:
        self._traffic = traffic
        self._all: set[Relay] = set()
        self._ticker = Ticker(self._links, self._silent, ticktime)
        self._local_timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[Relay]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def start(self) -> None:
        """Tick from now on."""
        self._ticker.start()
        self._tick_local()

    def stop(self) -> None:
        """Tick no more. The relays are ended by the caller."""
        self._ticker.stop()
        if self._local_timer is not None:
            self._local_timer.cancel()

    def connect(self, far: QuicRelayLink, end: TcpNearEnd) -> None:
        """Pass on what one side sends to the other."""
        near = end.link(far.near.peer, far.near.local, far.near.leftover, LIMITS)
        relay = Relay(far, near, self._ended)
        self._all.add(relay)
        self._traffic.connections += 1
        relay.start()

    def _ended(self, relay: Relay) -> None:
        self._all.discard(relay)
        self._traffic.add(relay)

    def _links(self) -> list[Link]:
        links: list[Link] = []
        for relay in self._all:
            relay.count_held_back()
            links += [relay.far, relay.near]
        return links

    def _tick_local(self) -> None:
        for relay in self._all:
            relay.tick_near()
        self._local_timer = asyncio.get_running_loop().call_later(LOCAL_TICK, self._tick_local)

    def _silent(self, link: Link) -> None:
        for relay in list(self._all):
            if link is relay.far or link is relay.near:
                relay.end(f"{link.peer.name} has sent nothing for {self._ticker.ticktime:g} s")
