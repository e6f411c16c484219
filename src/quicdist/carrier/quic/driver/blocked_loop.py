"""Serves the peer of a QUIC connection while the event loop is blocked.

Datagrams are received and acknowledged, queued and lost data is sent, and a tick is sent every second. Events
wait in the engine for the event loop. The peer gets no new flow control credit, so the data that waits stays
within the windows granted before.

Everything here runs in another thread than the loop's, under the lock of
:class:`~quicdist.carrier.keepalive.KeepAlive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.keepalive import TICK_INTERVAL
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE
from quicdist.carrier.udp import UdpSocket

#: Events that may wait for the event loop; beyond that no datagrams are received.
MAX_EVENTS: Final = 100_000


class BlockedLoopDriver:
    """Serves one connection; sends ``tick`` on a stream, and ``on_ticks`` is called later with the number of
    ticks. ``outgoing`` are the send queues."""

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
        #: Ticks that were sent and not reported yet.
        self.ticks = 0
        #: An unexpected error; the connection is not served any more.
        self.fault: Exception | None = None
        #: A call in the event loop is scheduled for when it runs again.
        self.wake_scheduled = False

    @property
    def takes_datagrams(self) -> bool:
        return self._engine.events_waiting() < MAX_EVENTS

    def act(self, udp: UdpSocket, now: float, batch: Sequence[Datagram], *, ticks: bool, moved: bool) -> bool:
        """Receive ``batch`` and send what is due; whether there was something to do. ``ticks``: a tick may be
        sent; ``moved``: the address of the peer has changed since the event loop last ran."""
        engine, outgoing = self._engine, self._outgoing
        deadline = engine.get_timer()
        is_due = deadline is not None and deadline <= now
        ticks = ticks and now - self._ticked_at >= TICK_INTERVAL
        if self.fault is not None or not (batch or is_due or ticks or outgoing.size or outgoing.user_size):
            return False
        try:
            with engine.limits_held():
                before = engine.events_waiting()
                engine.receive_datagrams(batch, now)
                engine.join_events(before)
                if is_due and engine.get_timer() == deadline:
                    engine.handle_timer(now)
                if engine.closing() is None:
                    if moved:
                        # The new path may have a smaller MTU.
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
            # As QuicLink.send_tick: these may be the last message of the handshake, or lost ticks.
            self._engine.send_ping(0)
        else:
            self._outgoing.add(stream_id, (self._tick,), len(self._tick))
