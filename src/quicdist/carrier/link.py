"""The common part of all links: messages, counters, backpressure, and the end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import Link, LinkStats, LostHandler, MessageHandler
from quicdist.carrier.errors import LinkLost
from quicdist.carrier.stream_assignment import BULK, StreamAssignment
from quicdist.carrier.stream_errors import SendBufferFull
from quicdist.errors import QuicDistError
from quicdist.logs import clean, get_logger
from quicdist.protocol import NO_PAYLOAD, ProtocolError

if TYPE_CHECKING:
    from quicdist.protocol import Chunk, ControlMessage, DistConnection

log = get_logger("quicdist.carrier")

#: The longest text of a protocol error, in characters, in the log and in the reason for the peer.
MAX_REASON: Final = 500

Message = tuple["ControlMessage", Any]


class LinkState(Enum):
    """The state of a link::

        PENDING ── start() ──> UP ── close(), an error, the end of the connection ──> CLOSING ──> CLOSED
           └──────────────────────── the same ───────────────────────────────────────────^

    ``pending`` and ``up`` are OTP's names (``net_kernel``).
    """

    #: Established, not started: messages that come are kept.
    PENDING = "pending"
    #: Messages are delivered as they come.
    UP = "up"
    #: Ended: nothing can be sent. Messages sent before may still leave; the connection is being closed.
    CLOSING = "closing"
    #: The connection is closed or lost.
    CLOSED = "closed"


PENDING: Final = LinkState.PENDING
UP: Final = LinkState.UP
CLOSING: Final = LinkState.CLOSING
CLOSED: Final = LinkState.CLOSED

#: The states that may follow each state.
TRANSITIONS: Final = {
    PENDING: {UP, CLOSING},
    UP: {CLOSING},
    CLOSING: {CLOSED},
    CLOSED: frozenset[LinkState](),
}


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """Limits of the buffers of one link, in bytes.

    Above ``high_water`` unsent bytes :meth:`Link.drain` waits until they are down to
    ``low_water``. ``before_start`` limits what a peer may send before the link is started.
    """

    high_water: int = 4 * 1024 * 1024
    low_water: int = 1024 * 1024
    before_start: int = 16 * 1024 * 1024
    #: The maximum of unsent bytes of messages. When it is exceeded, the link is closed with
    #: :class:`~quicdist.carrier.SendBufferFull`; a single message may be larger. For each user stream the
    #: same maximum applies, and writing raises that error.
    max_pending: int = 256 * 1024 * 1024
    #: ``high_water`` and ``low_water`` for ``drain`` of one user stream.
    stream_high_water: int = 512 * 1024
    stream_low_water: int = 256 * 1024


def _ignore(*arguments: object) -> None:
    """Replaces the handlers of a closed link."""


class LinkBase(Link):
    """A :class:`Link` around the sans-I/O protocol ``dist``; a carrier adds the transport.

    A carrier calls :meth:`_data_received`, :meth:`_sent`, :meth:`_lost` and :meth:`_finished`, and
    implements :attr:`_write`, :meth:`_close`, ``pending`` and ``send_tick``.
    """

    #: Queues ``parts``, of a size in bytes, on a stream, to be transmitted at the end of this turn of the
    #: event loop: ``_write(stream_id, parts, size)``. Returns the bytes that are queued now. The carrier
    #: calls :meth:`_sent` when they are fewer.
    _write: Callable[[int, Sequence[Chunk], int], int]

    def __init__(
        self,
        dist: DistConnection,
        *,
        local_address: Address,
        remote_address: Address,
        limits: BufferLimits = BufferLimits(),
    ) -> None:
        self.peer = dist.peer
        self.local = dist.local
        self.local_address = local_address
        self.remote_address = remote_address
        self.stats = LinkStats()
        self.error: QuicDistError | None = None
        self._dist = dist
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._on_message: MessageHandler | None = None
        self._on_lost: LostHandler | None = None
        self._state = PENDING
        #: Messages that came before the link was started.
        self._early: list[Message] = []
        #: More than ``high_water`` bytes were queued, and more than ``low_water`` still are.
        self._paused = False
        #: The link is closed when more bytes than this are queued.
        self._max_queued = limits.max_pending
        self._drain_waiters: list[asyncio.Future[None]] = []
        #: Done when the link is CLOSED.
        self._over = self._loop.create_future()
        #: Chooses the stream of a message, on a carrier with several.
        self._stream_assignment: StreamAssignment | None = None
        #: Takes the carrier's own signals out of received messages, which may be of these types.
        self._take_own_signals: Callable[[list[Message]], list[Message]] | None = None
        self._own_types: frozenset[type] = frozenset()

    def _enter(self, state: LinkState) -> None:
        assert state in TRANSITIONS[self._state], f"{self.peer.name}: {self._state.name} to {state.name}"
        self._state = state

    # -- implemented by each carrier -------------------------------------------------------

    @property
    @abstractmethod
    def queued(self) -> int:
        """Bytes of messages that are queued."""

    @abstractmethod
    def _write_out(self) -> None:
        """Transmit as much of the queue as the carrier takes without waiting."""

    @abstractmethod
    def _close(self, reason: str) -> None:
        """Close the connection with ``reason``, and call :meth:`_finished` when it is closed. The queue is
        transmitted for some seconds more."""

    @abstractmethod
    def _abandon(self, reason: str) -> None:
        """As :meth:`_close`, but at once: the queue is dropped."""

    # -- out -------------------------------------------------------------------------------

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD, *, pair: Hashable = None) -> None:
        state = self._state
        if state is not UP and state is not PENDING:
            raise LinkLost(self.peer.name, "it is closed")
        if self._paused and self.queued > self._max_queued and not self._has_room():
            return
        stream_id, parts = self._dist.send(control, payload, pair=pair)
        if not parts:  # the peer has no such signal
            return
        stats = self.stats
        stats.messages_out += 1
        stats.sent += 1
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        stats.bytes_out += size
        if (assignment := self._stream_assignment) is not None:
            stream_id = assignment.homes[stream_id]
            if size >= BULK or assignment.moved:
                stream_id = assignment.place(stream_id, control, pair, size)
        if self._write(stream_id, parts, size) > self._limits.high_water and not self._paused:
            self._paused = True
            stats.send_pauses += 1
            # A single message that is larger than the limit may be queued.
            self._max_queued = self._limits.max_pending + (size if size > self._limits.max_pending else 0)

    def _has_room(self) -> bool:
        """More is queued than allowed: whether the carrier takes enough of it now. Otherwise the link is
        closed: a peer that does not read must not fill this node's memory, and a dropped signal must not be
        followed by others."""
        self._write_out()
        if self.queued <= self._max_queued:
            return True
        error = SendBufferFull(self.peer.name, self.queued, self._limits.max_pending)
        log.warning("connection to %s (%s) closed: %s", self.peer.name, self.remote_address, error)
        self._end(error)
        # Not at once: the link may be delivering the message that is answered here.
        self._loop.call_soon(self._abandon, str(error))
        return False

    @property
    def writable(self) -> bool:
        return not self._paused

    async def drain(self) -> None:
        if not self._paused or self.closed:
            await asyncio.sleep(0)
            return
        waiter = self._loop.create_future()
        self._drain_waiters.append(waiter)
        try:
            await waiter
        finally:
            self._drain_waiters.remove(waiter)

    def _sent(self, waiting: int) -> None:
        """Only ``waiting`` bytes are queued now."""
        if self._paused and waiting <= self._limits.low_water:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        for waiter in self._drain_waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- in --------------------------------------------------------------------------------

    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        if self._on_lost is not None:
            raise RuntimeError(f"the link to {self.peer.name} was started before")
        self._on_message = on_message
        self._on_lost = on_lost
        if self._early:
            self._loop.call_soon(self._deliver_early)
        if self._state is PENDING:
            self._enter(UP)
            return
        self._loop.call_soon(on_lost, self.error)
        if self._state is CLOSED:
            self._forget_soon()

    def _deliver_early(self) -> None:
        early, self._early = self._early, []
        self._deliver(early)

    def _data_received(self, stream_id: int, data: bytes) -> None:
        """Decode bytes of one stream and deliver the messages; a protocol error closes the link."""
        state = self._state
        if state is not UP and state is not PENDING:
            return
        self.stats.bytes_in += len(data)
        try:
            messages = self._dist.receive(stream_id, data)
        except ProtocolError as error:
            self._received(error.messages)
            self._fail(error)
            return
        if messages:
            self._received(messages)

    def _received(self, messages: list[Message]) -> None:
        if self._take_own_signals is not None:
            for control, _ in messages:
                if type(control) in self._own_types:
                    messages = self._take_own_signals(messages)
                    break
        self.stats.messages_in += len(messages)
        if self._on_message is None or self._early:
            self._hand_over(messages)
        else:
            self._deliver(messages)

    def _hand_over(self, messages: list[Message]) -> None:
        """Deliver messages, or keep them until the link is started."""
        if self._on_message is None or self._early:  # earlier messages are delivered first
            self._early += messages
            if self.stats.bytes_in > self._limits.before_start:
                self._fail(
                    LinkLost(
                        self.peer.name, f"received {self.stats.bytes_in} bytes before the link was started"
                    )
                )
            return
        self._deliver(messages)

    def _deliver(self, messages: Iterable[Message]) -> None:
        handler = self._on_message
        assert handler is not None
        # Messages that came before the connection was lost are delivered; none after a handler has closed
        # the link.
        state = self._state
        for control, payload in messages:
            try:
                handler(control, payload)
            except KeyboardInterrupt:
                raise
            except ProtocolError as error:
                self._fail(error)
            except BaseException:
                log.exception("handling %s from %s failed", control.op.name, self.peer.name)
            if self._state is not state:
                return

    # -- the end ---------------------------------------------------------------------------

    def _fail(self, error: QuicDistError) -> None:
        """The peer broke the protocol: close the link, with ``error`` as the reason."""
        if self._end(error):
            reason = clean(str(error), MAX_REASON)
            log.warning("connection to %s (%s) closed: %s", self.peer.name, self.remote_address, reason)
            self._close(reason)

    def _lost(self, error: QuicDistError) -> None:
        """The connection of the carrier ended."""
        self._end(error)
        self._finished()

    def close(self, reason: str = "") -> None:
        if self._end(None):
            self._close(reason)

    def _end(self, error: QuicDistError | None) -> bool:
        if self.closed:
            return False
        self._enter(CLOSING)
        self.error = error
        self._resume()
        if self._on_lost is not None:
            # Not at once: close() returns before the handler is called.
            self._loop.call_soon(self._on_lost, error)
        return True

    def _finished(self) -> None:
        """The connection is closed or lost."""
        if self._state is not CLOSED:
            self._enter(CLOSED)
            self._over.set_result(None)
            if self._on_lost is not None:
                self._forget_soon()

    def _forget_soon(self) -> None:
        """Release the handlers after their last call: they usually hold the link."""
        if not self._loop.is_closed():
            self._loop.call_soon(self._forget)

    def _forget(self) -> None:
        self._on_message = self._on_lost = _ignore

    @property
    def closed(self) -> bool:
        return self._state is not UP and self._state is not PENDING

    async def wait_closed(self) -> None:
        await asyncio.shield(self._over)
