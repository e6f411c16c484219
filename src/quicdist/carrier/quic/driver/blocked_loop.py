"""What a QUIC connection does for its peer while the event loop stands still.

Datagrams are taken in and acknowledged, what is queued and what was lost is sent, and a tick goes out
every second. What happened meanwhile waits in the engine for the loop. The peer is granted no more than it
was before: what nobody takes is held to the windows there were.

Everything here runs in another thread than the loop's, under the lock of
:class:`~quicdist.carrier.keepalive.KeepAlive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from quicdist.carrier.keepalive import TICK_INTERVAL
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE
from quicdist.carrier.udp import Datagram, UdpSocket

#: Events that may wait for the loop: then no more datagrams are taken in.
MAX_EVENTS: Final = 100_000


class BlockedLoopDriver:
    """One connection, with ``tick`` to send on a stream, how often ``on_ticks`` is to be told. ``outgoing``
    is what waits to be sent."""

    def __init__(
        self,
        engine: Engine,
        outgoing: SendScheduler,
        stream_id: int,
        tick: bytes,
        on_ticks: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._outgoing = outgoing
        self._stream_id = stream_id
        self._tick = tick
        self._ticked_at = 0.0
        self.on_ticks = on_ticks
        #: Ticks that were sent and not told yet.
        self.ticks = 0
        #: What failed: nothing is done any more.
        self.fault: Exception | None = None
        #: The loop has been asked to go on with this connection.
        self.told = False

    @property
    def takes_datagrams(self) -> bool:
        return self._engine.events_waiting() < MAX_EVENTS

    def act(self, udp: UdpSocket, now: float, batch: Sequence[Datagram], *, ticks: bool, moved: bool) -> bool:
        """Take in ``batch`` and send what is due; whether there was something to do. ``ticks``: a tick may
        be sent; ``moved``: the peer's address is another than the loop knows."""
        engine, outgoing = self._engine, self._outgoing
        deadline = engine.get_timer()
        is_due = deadline is not None and deadline <= now
        ticks = ticks and now - self._ticked_at >= TICK_INTERVAL
        if self.fault is not None or not (batch or is_due or ticks or outgoing.size or outgoing.user_size):
            return False
        try:
            with engine.limits_held():
                before = engine.events_waiting()
                for data, address in batch:
                    engine.receive_datagram(data, address, now)
                engine.join_events(before)
                if is_due and engine.get_timer() == deadline:
                    engine.handle_timer(now)
                if engine.closing() is None:
                    if moved:
                        # What goes to another address first has to fit any path.
                        engine.set_datagram_size(min(engine.datagram_size(), MIN_SIZE))
                    if ticks:
                        self._send_tick(now)
                    engine.acknowledge_now(now)
                    outgoing.feed(now)
                    udp.send_now(engine.datagrams_to_send(now))
        except Exception as error:
            self.fault = error
        return True

    def _send_tick(self, now: float) -> None:
        self._ticked_at = now
        self.ticks += 1
        stream_id = self._stream_id
        if self._outgoing.size_of(stream_id) or self._engine.unacknowledged(stream_id):
            # As a link does: it may be the last of the handshake, or ticks that have not got through.
            self._engine.send_ping(0)
        else:
            self._outgoing.add(stream_id, (self._tick,), len(self._tick))
