"""Ticks: detect that another node is gone without having closed the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from quicdist.carrier.contract import Link
from quicdist.protocol import DistFlag

#: Seconds of silence after which a node counts as down (OTP's ``net_ticktime``).
NET_TICKTIME = 60.0
#: Checks of each link within the ticktime (OTP's ``net_tickintensity``).
TICK_INTENSITY = 4
#: A check that is late by so many seconds comes after the event loop was blocked. Data may wait in the
#: socket, so the check is postponed by this time.
LATE = 0.1


@dataclass(slots=True)
class _Seen:
    received: int
    sent: int
    silent_for: int = 0


class Ticker:
    """Checks every link ``TICK_INTENSITY`` times within ``ticktime`` seconds, as ``dist_util:con_loop`` does.

    It sends a tick if nothing was sent since the last check, or if nothing came from a hidden node, which
    may tick only to answer. It reports a link on which nothing came for ``ticktime`` seconds, at most a
    quarter of that later.
    """

    def __init__(
        self,
        links: Callable[[], list[Link]],
        on_silent: Callable[[Link], None],
        ticktime: float = NET_TICKTIME,
    ) -> None:
        self.ticktime = ticktime
        self._links = links
        self._on_silent = on_silent
        self._seen: WeakKeyDictionary[Link, _Seen] = WeakKeyDictionary()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Start the checks in the running event loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self.ticktime / TICK_INTENSITY
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._due > LATE:
            self._timer = loop.call_later(LATE, self._look_at_all)
        else:
            self._look_at_all()

    def _look_at_all(self) -> None:
        self.start()
        for link in self._links():
            self.look(link)

    def look(self, link: Link) -> None:
        """Check one link now."""
        stats = link.stats
        seen = self._seen.get(link)
        if seen is None:
            self._seen[link] = _Seen(stats.received, stats.sent)
            return
        seen.silent_for = seen.silent_for + 1 if seen.received == stats.received else 0
        seen.received = stats.received
        if seen.silent_for >= TICK_INTENSITY:
            self._on_silent(link)
            return
        hidden = not link.peer.flags & DistFlag.PUBLISHED
        if seen.sent == stats.sent or (hidden and seen.silent_for):
            link.send_tick()
        seen.sent = stats.sent
