"""What the links of all carriers share: messages in and out, counting, backpressure, the end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import Link, LinkStats, LostHandler, MessageHandler
from quicdist.carrier.errors import LinkClosed, LinkLost
from quicdist.carrier.stream_errors import SendBufferFull
from quicdist.errors import QuicDistError
from quicdist.logs import clean, get_logger
from quicdist.protocol import NO_PAYLOAD, ProtocolError

if TYPE_CHECKING:
    from quicdist.carrier.stream_assignment import StreamAssignment
    from quicdist.protocol import Chunk, ControlMessage, DistConnection

log = get_logger("quicdist.carrier")

#: Characters of what a peer did wrong, for the log and for the peer.
MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """Bounds of what one link may hold, in bytes.

    Above ``high_water`` unsent bytes :meth:`Link.drain` waits until they are down to
    ``low_water``. ``before_start`` bounds what a peer may have sent by the time the link is started.
    """

    high_water: int = 4 * 1024 * 1024
    low_water: int = 1024 * 1024
    before_start: int = 16 * 1024 * 1024
    #: Of messages and all other signals. A link on which more waits is ended with
    #: :class:`~quicdist.carrier.SendBufferFull`; one message that is larger than this may wait alone.
    #: On a user stream more than this raises the same error.
    max_pending: int = 256 * 1024 * 1024
    #: The bounds of one user stream's ``drain``.
    stream_high_water: int = 512 * 1024
    stream_low_water: int = 256 * 1024


def _ignore(*told: object) -> None:
    """In place of the handlers of a link that is over."""


class LinkBase(Link):
    """A :class:`Link` around a sans-I/O connection; a carrier adds the way its bytes take.

    A carrier calls :meth:`_data_received`, :meth:`_sent`, :meth:`_lost` and :meth:`_finished`, and
    implements :meth:`_write`, :meth:`_close`, ``pending`` and ``send_tick``.
    """

    def __init__(
        self,
        dist: DistConnection,
        *,
        local_address: Address,
        remote_address: Address,
        limits: BufferLimits = BufferLimits(),
    ) -> None:
        self.peer = dist.peer
        self.local_address = local_address
        self.remote_address = remote_address
        self.stats = LinkStats()
        self.error: QuicDistError | None = None
        self._dist = dist
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._on_message: MessageHandler | None = None
        self._on_lost: LostHandler | None = None
        self._ended = False
        self._early: list[tuple[ControlMessage, Any]] = []
        self._paused = False
        #: With more bytes queued than this nothing can be added.
        self._most = limits.max_pending
        self._drain_waiters: list[asyncio.Future[None]] = []
        self._over = self._loop.create_future()
        #: Has a say in which stream a message takes, on a carrier with several.
        self._stream_assignment: StreamAssignment | None = None

    # -- what a carrier adds ---------------------------------------------------------------

    @abstractmethod
    def _write(self, stream_id: int, parts: Sequence[Chunk], size: int) -> int:
        """Queue ``parts``, ``size`` bytes in all, on a stream, to be transmitted in one batch per
        turn of the loop; the bytes that now wait to leave. The carrier calls :meth:`_sent` once
        they are fewer."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """Bytes of messages that wait to leave."""

    @abstractmethod
    def _write_out(self) -> None:
        """Transmit of what is queued as much as the carrier takes now, without waiting."""

    @abstractmethod
    def _close(self, reason: str) -> None:
        """Tell the peer, let go of the connection, then call :meth:`_finished`. What is queued is
        transmitted for some seconds more."""

    @abstractmethod
    def _abandon(self, reason: str) -> None:
        """As :meth:`_close`, but at once: what is queued is dropped."""

    # -- out -------------------------------------------------------------------------------

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD, *, pair: Hashable = None) -> None:
        if self._ended:
            raise LinkClosed(self.peer.name)
        if self._paused and self.queued > self._most and not self._made_room():
            return
        stream_id, parts = self._dist.send(control, payload, pair=pair)
        stats = self.stats
        stats.messages_out += 1
        stats.sent += 1
        size = sum(map(len, parts))
        stats.bytes_out += size
        if self._stream_assignment is not None:
            stream_id = self._stream_assignment.place(stream_id, control, pair, size)
        if self._write(stream_id, parts, size) > self._limits.high_water and not self._paused:
            self._paused = True
            # A message that is larger than all that may wait is given room of its own.
            self._most = self._limits.max_pending + (size if size > self._limits.max_pending else 0)

    def _made_room(self) -> bool:
        """More is queued than may be. If the carrier takes nothing of it either, the link is ended:
        a peer that does not read cannot be allowed to fill this node's memory, and nothing may be
        missing between two signals that do arrive."""
        self._write_out()
        if self.queued <= self._most:
            return True
        error = SendBufferFull(self.peer.name, self.queued, self._limits.max_pending)
        log.warning("connection to %s (%s) closed: %s", self.peer.name, self.remote_address, error)
        self._end(error)
        # Not at once: the send may come from a message that this link is delivering.
        self._loop.call_soon(self._abandon, str(error))
        return False

    @property
    def writable(self) -> bool:
        return not self._paused

    async def drain(self) -> None:
        if not self._paused or self._ended:
            await asyncio.sleep(0)
            return
        waiter = self._loop.create_future()
        self._drain_waiters.append(waiter)
        try:
            await waiter
        finally:
            self._drain_waiters.remove(waiter)

    def _sent(self, waiting: int) -> None:
        """Only ``waiting`` bytes wait to leave now."""
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
        if self._ended:
            self._loop.call_soon(on_lost, self.error)
            if self._over.done():
                self._forget_soon()

    def _deliver_early(self) -> None:
        early, self._early = self._early, []
        self._deliver(early)

    def _data_received(self, stream_id: int, data: bytes) -> None:
        """Hand over bytes of one stream; bytes the protocol refuses end the link."""
        if self._ended:
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

    def _received(self, messages: list[tuple[ControlMessage, Any]]) -> None:
        self.stats.messages_in += len(messages)
        if self._on_message is None or self._early:  # what came before goes first
            self._early += messages
            if self.stats.bytes_in > self._limits.before_start:
                self._fail(
                    LinkLost(self.peer.name, f"{self.stats.bytes_in} bytes came before the link was started")
                )
            return
        self._deliver(messages)

    def _deliver(self, messages: Iterable[tuple[ControlMessage, Any]]) -> None:
        handler = self._on_message
        assert handler is not None
        # What had come before the connection was lost is still delivered; not so what comes
        # after a handler has closed the link.
        ended = self._ended
        for control, payload in messages:
            try:
                handler(control, payload)
            except KeyboardInterrupt:
                raise
            except ProtocolError as error:
                self._fail(error)
            except BaseException:
                log.exception("%s from %s was not handled", control.op.name, self.peer.name)
            if self._ended is not ended:
                return

    # -- the end ---------------------------------------------------------------------------

    def _fail(self, error: QuicDistError) -> None:
        """The peer broke the protocol: close, and report ``error`` as what ended the link."""
        if self._end(error):
            reason = clean(str(error), MAX_REASON)
            log.warning("connection to %s (%s) closed: %s", self.peer.name, self.remote_address, reason)
            self._close(reason)

    def _lost(self, error: QuicDistError) -> None:
        """The carrier has no connection any more."""
        self._end(error)
        self._finished()

    def close(self, reason: str = "") -> None:
        if self._end(None):
            self._close(reason)

    def _end(self, error: QuicDistError | None) -> bool:
        if self._ended:
            return False
        self._ended = True
        self.error = error
        self._resume()
        if self._on_lost is not None:
            # Not at once: whoever closes a link is not to be called back before close() returns.
            self._loop.call_soon(self._on_lost, error)
        return True

    def _finished(self) -> None:
        """The peer has been told, nothing of the connection is left."""
        if not self._over.done():
            self._over.set_result(None)
            if self._on_lost is not None:
                self._forget_soon()

    def _forget_soon(self) -> None:
        """When all has been told, let go of those to whom it was: they hold the link, most often."""
        if not self._loop.is_closed():
            self._loop.call_soon(self._forget)

    def _forget(self) -> None:
        self._on_message = self._on_lost = _ignore

    @property
    def closed(self) -> bool:
        return self._ended

    async def wait_closed(self) -> None:
        await asyncio.shield(self._over)
