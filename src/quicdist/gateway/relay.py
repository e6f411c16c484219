"""One connection between the local node and a remote one: two links, and what comes on one is sent on the
other."""

from __future__ import annotations

from collections.abc import Callable

from quicdist.carrier.quic.relay import QuicRelayLink
from quicdist.carrier.relay import RelayLink
from quicdist.carrier.tcp.relay import TcpRelayLink
from quicdist.errors import QuicDistError
from quicdist.gateway.tasks import Tasks
from quicdist.logs import get_logger

log = get_logger("quicdist.gateway")


class Relay:
    """The link ``far`` to the remote node and the link ``near`` to the local node.

    ``on_over`` is called once, when one of them has ended; the other one is being closed then.
    """

    def __init__(self, far: QuicRelayLink, near: TcpRelayLink, on_over: Callable[[Relay], None]) -> None:
        self.far = far
        self.near = near
        #: The remote node and the local one.
        self.node = far.peer.name
        self.local = near.peer.name
        #: How often one side was held back because the other one took no more.
        self.pauses = 0
        self._on_over = on_over
        self._over = False
        self._resuming = Tasks()
        self._sent_to_near = -1

    def start(self) -> None:
        log.info("%s and %s (%s) are connected", self.local, self.node, self.far.remote_address)
        self.far.relay_to(self.near, self._relayed_to_near, self._far_lost)
        self.near.relay_to(self.far, self._relayed_to_far, self._near_lost)

    def _relayed_to_near(self) -> None:
        if not self.near.writable and not self.far.receiving_paused:
            self._hold_back(self.far, self.near)

    def _relayed_to_far(self) -> None:
        if not self.far.writable and not self.near.receiving_paused:
            self._hold_back(self.near, self.far)

    def _hold_back(self, source: RelayLink, sink: RelayLink) -> None:
        """Receive nothing on ``source`` until ``sink`` has room."""
        self.pauses += 1
        source.pause_receiving()
        self._resuming.spawn(self._resume(source, sink), f"pause of {self.local} and {self.node}")

    async def _resume(self, source: RelayLink, sink: RelayLink) -> None:
        await sink.drain()
        source.resume_receiving()

    def tick_near(self) -> None:
        """Send the local node, whose ``net_ticktime`` is not known here, a tick if nothing was sent since the
        last call."""
        if self.near.stats.sent == self._sent_to_near:
            self.near.send_tick()
        self._sent_to_near = self.near.stats.sent

    def count_held_back(self) -> None:
        """A link that is held back counts as alive: nothing is read from it."""
        for link in (self.far, self.near):
            if link.receiving_paused:
                link.stats.received += 1

    # -- the end -----------------------------------------------------------------------------

    def _far_lost(self, error: QuicDistError | None) -> None:
        self.end(f"the connection to {self.node} ended: {error or 'closed'}")

    def _near_lost(self, error: QuicDistError | None) -> None:
        self.end(f"the local node {self.local} closed its connection: {error or 'closed'}")

    def end(self, reason: str) -> None:
        """Close both links. What one side has sent before still goes to the other. Called again, it does
        nothing."""
        if self._over:
            return
        self._over = True
        log.info("%s and %s are disconnected: %s", self.local, self.node, reason)
        self.far.close(reason)
        self.near.close(reason)
        self._on_over(self)

    async def closed(self) -> None:
        """Wait until both connections are closed."""
        await self.far.wait_closed()
        await self.near.wait_closed()
