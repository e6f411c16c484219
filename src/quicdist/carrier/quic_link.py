"""One connection to one peer over QUIC, past its handshake."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aioquic.quic.events import HandshakeCompleted

from quicdist.carrier import aioquic_adapter as adapter
from quicdist.carrier.aioquic_adapter import Closing
from quicdist.carrier.channel import Channel
from quicdist.carrier.errors import LinkLost, PeerClosed, PeerSilent
from quicdist.carrier.link import LinkBase
from quicdist.carrier.quic_settings import QuicSettings
from quicdist.protocol import StreamKind

if TYPE_CHECKING:
    from quicdist.protocol import Chunk, DistConnection

log = logging.getLogger("quicdist.carrier.quic")

#: What quic_dist resets a user stream with that nobody accepts (``STREAM_REFUSED``).
STREAM_REFUSED = 0x100

#: A peer from which no stream has brought anything for so many times ``net_ticktime`` is gone, even
#: if its QUIC connection answers. quic_dist ticks four times within one, and net_ticktime is to be
#: the same all over a cluster; twice allows for one that is not, and for ticks that wait their turn.
MUTE_TICKTIMES = 2

#: aioquic's words for a peer that was not heard of for the idle timeout.
_IDLE = "Idle timeout"


class QuicLink(LinkBase):
    """A link over QUIC: ticks on the control stream, messages on the data streams."""

    carrier_name = "quic"

    def __init__(self, connection: DistConnection, channel: Channel, settings: QuicSettings) -> None:
        super().__init__(
            connection,
            local_address=channel.local_address,
            remote_address=channel.remote_address,
            limits=settings.buffers,
        )
        self._channel = channel
        self._settings = settings
        self._plan = connection.streams
        self._refused: set[int] = set()
        self._ping_timer: asyncio.TimerHandle | None = None
        self._heard = 0
        self._heard_at = self._loop.time()
        self._ping_later()
        self.turn_ended()

    # -- out -------------------------------------------------------------------------------

    def _write(self, stream_id: int, parts: Sequence[Chunk], size: int) -> int:
        return self._channel.write(stream_id, parts, size)

    @property
    def pending(self) -> int:
        return self._channel.pending

    def send_tick(self) -> None:
        if self._ended:
            return
        stream_id, tick = self._connection.tick()
        if self._channel.unacknowledged(stream_id):
            # It may still be the last message of the handshake, which quic_dist would take with
            # the tick for one; or ticks that have not got through. Either way a PING says as much.
            self._channel.ping()
        else:
            self._channel.write(stream_id, (tick,), len(tick))
        self.stats.ticks_out += 1
        self.stats.sent += 1

    def _ping_later(self) -> None:
        self._ping_timer = self._loop.call_later(self._settings.ping_interval, self._ping)

    def _ping(self) -> None:
        # `disconnect` on a BEAM ends quic_dist's controller and leaves its QUIC connection to answer
        # for ever. Packets are a sign of life to the ticker above; here streams are.
        now = self._loop.time()
        heard = self._connection.bytes_in
        limit = MUTE_TICKTIMES * self._settings.net_ticktime
        if heard != self._heard:
            self._heard, self._heard_at = heard, now
        elif now - self._heard_at >= limit:
            self._fail(PeerSilent(self.peer.name, f"no message and no tick came for {limit:g} s"))
            return
        self._channel.ping()
        self._ping_later()

    # -- in: the channel's handler ---------------------------------------------------------

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """Over long ago."""

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        kind = self._plan.kind(stream_id)
        if kind is StreamKind.DATA or kind is StreamKind.CONTROL:
            if data:
                self._data_received(stream_id, data)
            if end and not self._ended:
                self._fail(LinkLost(self.peer.name, f"it finished its {kind.value} stream {stream_id}"))
        else:
            self._refuse(stream_id, end)

    def _refuse(self, stream_id: int, end: bool) -> None:
        if end:
            self._refused.discard(stream_id)
        elif stream_id in self._refused:
            return
        else:
            # As many as the peer may have open at once, and it may have no more.
            self._refused.add(stream_id)
        self._channel.refuse_stream(stream_id, STREAM_REFUSED)

    def stream_reset(self, stream_id: int, code: int) -> None:
        kind = self._plan.kind(stream_id)
        if kind is StreamKind.DATA or kind is StreamKind.CONTROL:
            if not self._ended:
                text = f"it reset its {kind.value} stream {stream_id} (code 0x{code:x})"
                self._fail(LinkLost(self.peer.name, text))
        else:
            self._refused.discard(stream_id)

    def turn_ended(self) -> None:
        self.stats.received = adapter.packets_received(self._channel.quic)
        self.stats.ticks_in = self._connection.ticks_in
        if self._paused:
            self._sent(self._channel.queued)

    def channel_closed(self, closing: Closing) -> None:
        name = self.peer.name
        if closing.by_peer:
            error: LinkLost = PeerClosed(name, f"it closed the connection: {closing}")
        elif closing.reason == _IDLE:
            error = PeerSilent(name, f"nothing came for {self._settings.idle_timeout:g} s")
        else:
            error = LinkLost(name, str(closing))
        self._stop_pinging()
        self._lost(error)

    # -- the end ---------------------------------------------------------------------------

    def _close(self, reason: str) -> None:
        self._stop_pinging()
        self._channel.close(reason=reason, linger=self._settings.linger, on_told=self._finished)

    def _stop_pinging(self) -> None:
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None
