"""The established link to one node over QUIC."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from quicdist.carrier.busy_wait import AnswerWait
from quicdist.carrier.clock import clock_of
from quicdist.carrier.contract import LostHandler, MessageHandler, TransportStats
from quicdist.carrier.errors import CarrierError, LinkLost, PeerClosed, PeerSilent
from quicdist.carrier.link import PENDING, UP, LinkBase
from quicdist.carrier.quic.data_streams import ExtraStreams, StreamCounts
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.quic.liveness_probe import PROBE_TYPES, LivenessProbe
from quicdist.carrier.quic.receive_flow_control import PIECE, WINDOW, ReceiveFlowControl
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.silent_peer import SilentPeerDetector
from quicdist.carrier.quic.stalled_streams import StalledStreamDetector
from quicdist.carrier.quic.user_streams import QuicUserStreams
from quicdist.carrier.stream_assignment import StreamAssignment
from quicdist.carrier.stream_errors import STREAM_REFUSED
from quicdist.logs import get_logger
from quicdist.protocol import NO_PAYLOAD, TICK, DistConnection, DistFlag, StreamKind
from quicdist.protocol.flags import MONITOR_FLAGS

if TYPE_CHECKING:
    from quicdist.errors import QuicDistError
    from quicdist.protocol import Connected, ControlMessage, Role
    from quicdist.term import Codec

log = get_logger("quicdist.carrier.quic")

#: A peer that sends nothing but acknowledgements for ``net_ticktime`` is down, if it was sent at least so
#: many liveness probes.
MIN_PROBES: Final = 4
#: After a burst of ``BURST`` bytes and a pause of so many seconds, a probe makes quic_dist send the end of
#: the burst, which it may hold back (:mod:`quicdist.carrier.quic.liveness_probe`).
BURST_SILENCE: Final = 0.25
BURST: Final = 1024 * 1024
#: Seconds within which an answer is quick (:mod:`quicdist.carrier.busy_wait`): a BEAM with quic_dist needs
#: more than 0.25 ms.
QUICK: Final = 0.0005


class QuicLink(LinkBase):
    """A link over QUIC: ticks on the control stream, messages on the data streams."""

    carrier_name = "quic"

    def __init__(
        self,
        dist: DistConnection,
        connection: QuicConnection,
        settings: QuicSettings,
        stream_counts: StreamCounts,
    ) -> None:
        super().__init__(
            dist,
            local_address=connection.local_address,
            remote_address=connection.remote_address,
            limits=settings.buffers,
        )
        self._connection = connection
        self._clock = clock_of(self._loop)
        self._write = connection.write
        self._settings = settings
        self._plan = dist.streams
        #: The kinds of the streams of messages on which data has come.
        self._kinds: dict[int, StreamKind] = {}
        # A legacy quic_dist corrupts data that a window holds back, and a message that is not sent in
        # fragments needs a window of its size.
        peer, most = dist.peer, settings.max_stream_data
        pieces = peer.negotiated & DistFlag.FRAGMENTS and not peer.flags & DistFlag.DIST_HDR_ATOM_CACHE
        #: quicdist limits its bulk bytes in flight itself.
        self._is_quicdist = connection.engine.peer_is_quicdist()
        self._receive_flow_control = ReceiveFlowControl(
            connection.engine,
            self.stats,
            size=max(PIECE, min(WINDOW, most)) if pieces else max(most, settings.max_data),
            most=most,
            metered=bool(pieces) and not self._is_quicdist,
            changed=self._credit_given,
        )
        if len(dist.streams.sending) > 1:
            self._stream_assignment = StreamAssignment(
                dist.streams.sending, connection.unacknowledged, connection.hold_stream
            )
        self._streams = QuicUserStreams(
            dist.peer.name,
            connection,
            dist.streams,
            window=settings.stream_window,
            limits=settings.buffers,
        )
        self._stream_counts = stream_counts
        #: Data streams beyond those of the plan; None if the peer cannot have any.
        self._extra: ExtraStreams | None = None
        if not (self._is_quicdist or peer.flags & DistFlag.DIST_HDR_ATOM_CACHE):
            self._extra = ExtraStreams(
                peer,
                self._plan,
                self._streams,
                connection.engine,
                settings.max_frame,
                dist.add_stream,
                self._message_data,
            )
        self._ping_timer: asyncio.TimerHandle | None = None
        self._liveness_probe = LivenessProbe(dist.local, self._send_signal)
        self._take_own_signals = self._liveness_probe.take_own
        self._own_types = PROBE_TYPES
        self._stalled_streams = StalledStreamDetector(peer.name, connection.engine)
        #: Seconds for which the event loop was blocked, in all.
        self._lateness = 0.0
        self._silent_peer = SilentPeerDetector(
            peer.name, connection, acknowledgements_count=self._is_quicdist
        )
        #: The probe is a monitor.
        self._can_probe = peer.negotiated & MONITOR_FLAGS == MONITOR_FLAGS
        self._burst_timer: asyncio.TimerHandle | None = None
        self._burst_from = 0
        self._answers = AnswerWait(self._loop, QUICK)
        #: The messages that had been sent when events were last processed.
        self._answered = 0
        connection.keep(dist.streams.control, TICK, self._count_ticks)
        self._ping_later()
        self.events_processed()

    # -- out -------------------------------------------------------------------------------

    def _write_out(self) -> None:
        """Does nothing: packets are sent at the end of this turn of the event loop, as congestion control
        allows."""

    @property
    def pending(self) -> int:
        return self._connection.pending

    @property
    def resumed(self) -> bool:
        """Whether its TLS session was resumed with a ticket."""
        return self._connection.resumed

    @property
    def early_data_accepted(self) -> bool:
        """Whether the name of the dialling node was accepted as early data (0-RTT)."""
        return self._connection.early_data_accepted

    @property
    def datagram_size(self) -> int:
        return self._connection.datagram_size

    def migrate(self) -> bool:
        migrate = self._connection.migrate
        if migrate is None or self.closed:
            return False
        try:
            migrate()
        except OSError as error:
            text = f"cannot migrate the connection to {self.peer.name}: {error.strerror}"
            raise CarrierError(text) from error
        return True

    @property
    def queued(self) -> int:
        return self._connection.queued

    def transport_stats(self) -> TransportStats:
        return self._connection.engine.transport_stats()

    def send_tick(self) -> None:
        if self.closed:
            return
        stream_id = self._plan.control
        if self._connection.unacknowledged(stream_id):
            # It may be the last message of the handshake, which quic_dist would read together with the
            # tick as one message; or ticks that were lost. A PING is as good a sign of life.
            self._connection.ping()
        else:
            self._connection.write(stream_id, (TICK,), len(TICK))
        self._count_ticks(1)

    def _count_ticks(self, count: int) -> None:
        for _ in range(count):
            self._dist.tick()
        self.stats.ticks_out += count
        self.stats.sent += count

    def _ping_later(self) -> None:
        self._ping_timer = self._loop.call_later(self._settings.ping_interval, self._ping)

    def _ping(self) -> None:
        # The node's ticker takes any packet for a sign of life. Here only what the peer's node sends counts.
        now = self._loop.time()
        settings = self._settings
        limit = max(settings.net_ticktime, MIN_PROBES * settings.ping_interval)
        # Time for which the event loop was blocked does not count: no probe was sent, no answer read.
        late = max(0.0, now - self._ping_timer.when()) if self._ping_timer is not None else 0.0
        self._lateness += late
        at = now - self._lateness
        broken = self._stalled_streams.check(at, limit)
        if broken is None and self._can_probe:
            broken = self._silent_peer.check(at, limit)
        if broken is not None:
            self._fail(broken)
            return
        if self._silent_peer.probe_is_due:
            self._silent_peer.probe_sent(self._send_signal(self._liveness_probe.signal))
        self._connection.ping()
        self._ping_later()

    def _send_signal(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> int:
        """Send a signal of the link itself. Returns its stream."""
        stream_id, parts = self._dist.send(control, payload)
        if parts and not self.closed:
            self._connection.write(stream_id, parts, sum(map(len, parts)))
        return stream_id

    def _credit_given(self) -> None:
        if self._is_quicdist:
            self._connection.touch()
        else:
            self._send_signal(self._liveness_probe.signal)

    def _watch_burst(self) -> None:
        self._burst_timer = self._loop.call_later(BURST_SILENCE, self._burst_ended, self._dist.bytes_in)

    def _burst_ended(self, heard: int) -> None:
        if self._dist.bytes_in != heard:
            self._watch_burst()
            return
        self._burst_timer = None
        self._burst_from = heard
        self._send_signal(self._liveness_probe.signal)

    # -- in: the handler of the QUIC connection ------------------------------------------------

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """Not called: the QUIC handshake was complete before there was a link."""

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        # The plan is asked once per stream.
        kind = self._kinds.get(stream_id) or self._plan.kind(stream_id)
        if kind is StreamKind.DATA or kind is StreamKind.CONTROL:
            self._kinds[stream_id] = kind
            self._message_data(stream_id, data, end)
        elif kind is not StreamKind.USER:
            self._connection.refuse_stream(stream_id, STREAM_REFUSED)
        elif self._extra is None:
            self._streams.data_received(stream_id, data, end)
        elif not self.closed:
            self._extra.data_received(stream_id, data, end)

    def _message_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Bytes of a stream of messages, or of the control stream."""
        is_control = stream_id == self._plan.control
        if data:
            before = self.stats.messages_in
            self._answers.received_at = monotonic()
            self._data_received(stream_id, data)
            messages = self.stats.messages_in - before
            state = self._state
            if is_control:
                self.stats.ticks_in = self._dist.ticks_in
            elif state is UP or state is PENDING:
                self._consumed(stream_id, len(data), messages)
        if end and not self.closed:
            kind = StreamKind.CONTROL if is_control else StreamKind.DATA
            self._fail(LinkLost(self.peer.name, f"the peer finished its {kind.value} stream {stream_id}"))

    def _consumed(self, stream_id: int, size: int, messages: int) -> None:
        """``size`` bytes of a data stream were consumed, which completed so many messages."""
        self._receive_flow_control.received(stream_id, size, messages, self._clock())

    def stream_reset(self, stream_id: int, code: int) -> None:
        kind = self._plan.kind(stream_id)
        extra = self._extra
        if extra is not None and kind is StreamKind.USER:
            extra.reset_received(stream_id)
            kind = StreamKind.DATA if stream_id in extra else kind
        if kind is StreamKind.DATA or kind is StreamKind.CONTROL:
            if self.closed:
                return
            if code == STREAM_REFUSED and extra is not None and stream_id in self._plan.sending:
                self._fail(self._stream_counts.refused(self.peer, self._plan, stream_id))
            else:
                text = f"the peer reset its {kind.value} stream {stream_id} (code 0x{code:x})"
                self._fail(LinkLost(self.peer.name, text))
        elif kind is StreamKind.USER:
            self._streams.reset_received(stream_id, code)

    def path_changed(self) -> None:
        old, self.remote_address = self.remote_address, self._connection.remote_address
        self.local_address = self._connection.local_address
        if old != self.remote_address:
            log.info("%s moved from %s to %s", self.peer.name, old, self.remote_address)

    def events_processed(self) -> None:
        stats = self.stats
        stats.received = self._connection.engine.packets_received()
        if stats.messages_out != self._answered and self.busy_wait:
            self._answered = stats.messages_out
            self._answers.sent(stats.messages_in)
        if self._paused:
            self._sent(self._connection.queued)
        if self._stream_assignment is not None and self._stream_assignment.moved:
            self._stream_assignment.events_processed()
        if self._streams.has_waiters:
            self._streams.events_processed()
        if self._dist.bytes_in - self._burst_from >= BURST and self._burst_timer is None and not self.closed:
            self._watch_burst()

    def connection_closed(self, closing: Closing) -> None:
        name = self.peer.name
        if closing.by_peer:
            error: LinkLost = PeerClosed(name, f"it closed the connection: {closing}")
        elif closing.is_idle:
            error = PeerSilent(name, f"no packet for {self._settings.idle_timeout:g} s")
        else:
            error = LinkLost(name, str(closing))
        self._stop_timers()
        self._lost(error)

    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        super().start(on_message, on_lost)
        self._loop.call_soon(self._streams.start)

    @property
    def user_streams(self) -> QuicUserStreams:
        return self._streams

    # -- the end ---------------------------------------------------------------------------

    def _end(self, error: QuicDistError | None) -> bool:
        ended = super()._end(error)
        if ended:
            self._streams.lost(error)
        return ended

    def _close(self, reason: str) -> None:
        self._stop_timers()
        self._connection.close(reason=reason, linger=self._settings.linger, on_closed=self._finished)

    def _abandon(self, reason: str) -> None:
        self._stop_timers()
        self._connection.close(reason=reason, linger=0, on_closed=self._finished)

    def _stop_timers(self) -> None:
        self._receive_flow_control.stop()
        self._liveness_probe.stop()
        for timer in (self._ping_timer, self._burst_timer):
            if timer is not None:
                timer.cancel()


def decoding_link(
    connected: Connected,
    role: Role,
    codec: Codec,
    connection: QuicConnection,
    settings: QuicSettings,
    stream_counts: StreamCounts,
) -> QuicLink:
    """The link of a node that reads the messages itself, after its handshake as ``role``."""
    dist = DistConnection(
        connected.peer,
        connected.local,
        codec=codec,
        streams=stream_counts.plan(role, connected.peer),
        max_frame=settings.max_frame,
    )
    return QuicLink(dist, connection, settings, stream_counts)
