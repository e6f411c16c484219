"""The distribution handshake on a QUIC connection: what both roles share.

It runs on stream 0, the first that the dialling side opens, without length prefixes. quic_dist reads all that
is in its buffer as one message, so two messages must never reach it together: the second of two in a row is
sent a moment after the first was acknowledged. quicdist announces that it does not need this
(:mod:`quicdist.carrier.quic.engine.own_parameters`).

An ``auth_callback`` is called before the first message is read or written.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterable
from enum import Enum
from typing import Any, Final, Protocol

from quicdist.carrier.quic.authentication import AuthPeer, why_refused
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.protocol import (
    Connected,
    Event,
    HandshakeError,
    Role,
)

log = get_logger("quicdist.carrier.quic")

CONTROL_STREAM = 0
#: Seconds from the acknowledgement of a message to the next one: quic_dist may not have read yet what it has
#: acknowledged.
GAP: Final = 0.02


class Machine(Protocol):
    """A sans-I/O handshake: a :class:`~quicdist.protocol.handshake.Handshake`, or one that is relayed."""

    #: The name of the peer, for errors; a text in place of it until it is known.
    node: str

    @property
    def expects(self) -> str:
        """The message that the peer has to send next, in words for an error."""

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes of the peer. Raises :class:`~quicdist.protocol.HandshakeError`."""

    def data_to_send(self) -> list[bytes]:
        """The messages for the peer."""

    def connection_closed(self) -> HandshakeError:
        """The error that a connection closed by the peer means now."""


class HandshakeState(Enum):
    """The state of a distribution handshake::

        CONNECTING ──> AUTHENTICATING ──> PENDING ──> CONNECTED
             └──── without auth_callback ────^

    Whether it has succeeded or failed is in :attr:`QuicHandshake.done`.
    """

    #: The QUIC handshake is under way.
    CONNECTING = "connecting"
    #: The ``auth_callback`` has to answer.
    AUTHENTICATING = "authenticating"
    #: Handshake messages are exchanged; OTP's name.
    PENDING = "pending"
    #: The last message has come; messages of this side may still wait to be sent.
    CONNECTED = "connected"


CONNECTING: Final = HandshakeState.CONNECTING
AUTHENTICATING: Final = HandshakeState.AUTHENTICATING
PENDING: Final = HandshakeState.PENDING
CONNECTED: Final = HandshakeState.CONNECTED

#: The states that may follow each state.
TRANSITIONS: Final = {
    CONNECTING: {AUTHENTICATING, PENDING},
    AUTHENTICATING: {PENDING},
    PENDING: {CONNECTED},
    CONNECTED: frozenset[HandshakeState](),
}


class QuicHandshake(ABC):
    """Runs one sans-I/O handshake over one QUIC connection, until there is a link or an error.

    The result of ``done`` is the link, or the error; :meth:`link` waits for it. The caller of :meth:`link`
    closes the connection when it raises.
    """

    role: Role
    #: The name of the node dialled; None on the accepting side.
    _dialled: str | None = None
    #: The peer reads two messages from one buffer (``JOINED_MESSAGES``).
    _joins_messages = False

    def __init__(self, machine: Machine, settings: QuicSettings, stream_counts: StreamCounts) -> None:
        self.done: asyncio.Future[QuicLink] = asyncio.get_running_loop().create_future()
        self.connection: QuicConnection
        self._machine = machine
        self._settings = settings
        self._stream_counts = stream_counts
        self._outbox: deque[bytes] = deque()
        self._state = CONNECTING
        #: The peer has read the last message: it has answered, or had :data:`GAP` seconds for it.
        self._answered = True
        self._acknowledged_at: float | None = None
        self._connected: Connected | None = None
        #: Data and resets for the link that came before there is one.
        self._early: list[tuple[int, bytes, bool]] = []
        self._early_resets: list[tuple[int, int]] = []
        self._early_size = 0
        self._peer: AuthPeer | None = None
        #: The QUIC handshake is complete.
        self._up = asyncio.Event()

    def _enter(self, state: HandshakeState) -> None:
        assert state in TRANSITIONS[self._state], f"{self._state.name} to {state.name}"
        self._state = state

    def _quic_completed(self) -> None:
        """The QUIC handshake is complete."""
        self._enter(PENDING if self._settings.auth_callback is None else AUTHENTICATING)
        self._up.set()

    def _awaits_authentication(self) -> bool:
        """Whether the ``auth_callback`` has to answer first."""
        if self._state is CONNECTING:
            return self._settings.auth_callback is not None
        return self._state is AUTHENTICATING

    async def link(self, seconds: float) -> QuicLink:
        """The link, within ``seconds``, not counting the time of the ``auth_callback``. Raises the error
        of the handshake, and TimeoutError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if self._settings.auth_callback is not None:
                    await self._either(self._up.wait())
                    begun = loop.time()
                    limit.reschedule(None)
                    await self._either(self._authenticate())
                    limit.reschedule(loop.time() + end - begun)
                return await self.done
        finally:
            del limit  # It holds the task, whose error holds this handshake.

    def forget(self) -> None:
        """Drop the result once the caller has it: an error holds the frames that raised it, and this
        handshake with them."""
        self.done = asyncio.get_running_loop().create_future()
        self.done.cancel()

    async def _either(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait until ``work`` is over; it is cancelled if the connection ends before."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self.done}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            # Wait for the cancelled task to end.
            await asyncio.wait({task})
        try:
            if self.done.done():
                self.done.result()
            task.result()
        finally:
            del task, either  # Their errors hold this handshake.

    def _auth_peer(self) -> AuthPeer | None:
        """The peer for the ``auth_callback``; None without one."""
        if self._peer is None and self._settings.auth_callback is not None:
            self._peer = AuthPeer(self.connection, self.role, self._dialled)
        return self._peer

    async def _authenticate(self) -> None:
        callback, seconds = self._settings.auth_callback, self._settings.auth_handshake_timeout
        peer = self._auth_peer()
        if callback is not None and peer is not None:
            reason = await why_refused(callback, peer, seconds)
            if reason is not None:
                self._fail(self._not_authentic(reason))
                return
        self._enter(PENDING)
        held, self._early = self._early, []
        self._early_size = 0
        for stream_id, data, end in held:
            self.stream_data(stream_id, data, end)
        self._advance()

    @abstractmethod
    def _not_authentic(self, reason: str) -> QuicDistError:
        """The error for a peer that the callback has refused."""

    def timed_out(self, seconds: float) -> QuicDistError:
        """The error for a handshake that has not succeeded within ``seconds``."""
        if self._state is not CONNECTING:
            return self._too_late(f"no answer within {seconds:.3g} s: expected {self._machine.expects}")
        hint = " (a wrong pre-shared key looks the same)" if self._settings.tls.external_psk else ""
        return self._too_late(f"no QUIC handshake response within {seconds:.3g} s{hint}")

    @abstractmethod
    def _too_late(self, reason: str) -> QuicDistError:
        """The error for a time-out."""

    # -- connection events --------------------------------------------------------------------

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        if self._state is CONNECTING:
            self._quic_completed()
        self._advance()

    def path_changed(self) -> None:
        return  # The link reads the addresses when it is made.

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        if self.done.done():
            return
        peer = self._auth_peer()
        if peer is not None and peer.data_received(stream_id, data, end):
            return
        if stream_id != CONTROL_STREAM or self._state is CONNECTED or self._awaits_authentication():
            self._keep_early(stream_id, data, end)
            return
        self._answered = True
        try:
            self._handle(self._machine.receive_data(data))
            if end and self._connected is None:
                raise self._machine.connection_closed()
            if end:
                self._keep_early(CONTROL_STREAM, b"", end)
        except QuicDistError as error:
            self._fail(error)
        else:
            self._advance()

    def stream_reset(self, stream_id: int, code: int) -> None:
        peer = self._auth_peer()
        if peer is not None and peer.stream_reset(stream_id):
            return
        if self.done.done():
            return
        if stream_id == CONTROL_STREAM and self._state is not CONNECTED:
            self._fail(self._machine.connection_closed())
        else:
            self._early_resets.append((stream_id, code))

    def events_processed(self) -> None:
        if self._outbox:
            self._advance()

    def connection_closed(self, closing: Closing) -> None:
        if not self.done.done():
            self.done.set_exception(self._closed(closing))

    # -- the handshake ---------------------------------------------------------------------

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Connected):
                self._enter(CONNECTED)
                self._connected = event
                if event.leftover:
                    self._keep_early(CONTROL_STREAM, event.leftover, False)
            else:
                self._decide(event)

    @abstractmethod
    def _decide(self, event: Event) -> None:
        """Answer an event of the protocol. May raise."""

    def _keep_early(self, stream_id: int, data: bytes, end: bool) -> None:
        """Keep data for the link: the peer completed the handshake before this side, or streams were
        reordered."""
        self._early.append((stream_id, data, end))
        self._early_size += len(data)
        limit = self._settings.buffers.before_start
        if self._early_size > limit:
            text = f"it sent more than {limit} bytes before the handshake was complete"
            self._fail(HandshakeError(self._machine.node, f"{self._machine.node}: {text}"))

    def _advance(self) -> None:
        """Write the messages that may be sent now. Once the last one is written, there is a link."""
        state = self._state
        if (state is not PENDING and state is not CONNECTED) or self.done.done():
            return
        self._outbox.extend(self._machine.data_to_send())
        while self._outbox and self._may_write():
            message = self._outbox.popleft()
            self._answered = False
            self._acknowledged_at = None
            self.connection.write(CONTROL_STREAM, (message,), len(message))
        if self._connected is not None and not self._outbox:
            self._become_link(self._connected)

    def _may_write(self) -> bool:
        """Whether a message may be sent now without reaching the peer together with another one."""
        if self._answered or self._joins_messages:
            return True
        if self.connection.unacknowledged(CONTROL_STREAM):
            return False
        if self._acknowledged_at is None:
            loop = asyncio.get_running_loop()
            self._acknowledged_at = loop.time()
            loop.call_later(GAP, self._gap_over, self._acknowledged_at)
        return False

    def _gap_over(self, since: float) -> None:
        if since == self._acknowledged_at:
            self._answered = True
            self._advance()

    def _become_link(self, connected: Connected) -> None:
        link = self._make_link(connected)
        self.connection.authenticated()
        self.connection.handler = link
        for stream_id, data, end in self._early:
            link.stream_data(stream_id, data, end)
        for stream_id, code in self._early_resets:
            link.stream_reset(stream_id, code)
        self._early.clear()
        self._early_resets.clear()
        self.done.set_result(link)

    @abstractmethod
    def _make_link(self, connected: Connected) -> QuicLink:
        """The link of a handshake that is done."""

    def _fail(self, error: QuicDistError) -> None:
        if not self._awaits_authentication():
            # One of them may be a refusal: do not wait for acknowledgements.
            for message in (*self._outbox, *self._machine.data_to_send()):
                self.connection.write(CONTROL_STREAM, (message,), len(message))
            self._outbox.clear()
        if not self.done.done():
            self.done.set_exception(error)

    @abstractmethod
    def _closed(self, closing: Closing) -> QuicDistError:
        """The error for a connection that ends in the current state."""
