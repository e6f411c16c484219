"""The distribution handshake on a QUIC connection, either role.

It runs on stream 0, the first the dialling side opens, without length prefixes. quic_dist takes
what lies in its buffer for one message, so two messages must never reach it together: the second of
two in a row leaves only when the first has been acknowledged, and a moment later. A peer that is
quicdist has said that it need not be so (:mod:`quicdist.carrier.quic.engine.own_parameters`).

Where there is an ``auth_callback``, it is asked before the first message is read or written.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import LocalNode
from quicdist.carrier.errors import (
    AcceptError,
    AcceptTimeout,
    AuthenticationRefused,
    ConnectError,
    DigestUnanswered,
    IncomingAuthenticationRefused,
    IncomingCertificateRefused,
    PeerUnreachable,
    SetupTimeout,
    SimultaneousDropped,
    TicketRefused,
)
from quicdist.carrier.happy_eyeballs import Claim
from quicdist.carrier.quic.authentication import AuthPeer, why_refused
from quicdist.carrier.quic.close_codes import accept_refused, dial_refused, wrong_cookie
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.contract import Ticket
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.quic.engine.own_parameters import JOINED_MESSAGES
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.simultaneous_connect import Attempts, Held
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.protocol import (
    Acceptor,
    Connected,
    ConnectionAlive,
    DistConnection,
    Event,
    HandshakeError,
    HandshakeFraming,
    Initiator,
    OldConnectionPending,
    PeerNamed,
    PeerProved,
    Role,
    Status,
    StatusReceived,
    WrongCookie,
)
from quicdist.protocol.handshake import Handshake
from quicdist.protocol.handshake_messages import Due

log = get_logger("quicdist.carrier.quic")

CONTROL_STREAM = 0
#: Seconds from the acknowledgement of a message to the next: what quic_dist has received it may not have
#: read yet.
GAP = 0.02


class QuicHandshake(ABC):
    """Drives one sans-I/O handshake over one connection, until there is a link or an error.

    ``done`` is the link, or raises; :meth:`link` waits for it. Whoever does closes the connection when
    it raises.
    """

    role: Role

    def __init__(
        self, machine: Handshake, local: LocalNode, settings: QuicSettings, stream_counts: StreamCounts
    ) -> None:
        self.done: asyncio.Future[QuicLink] = asyncio.get_running_loop().create_future()
        self.connection: QuicConnection
        self._machine = machine
        self._local = local
        self._settings = settings
        self._stream_counts = stream_counts
        self._outbox: deque[bytes] = deque()
        self._answered = True
        self._acknowledged_at: float | None = None
        self._quic_is_up = False
        self._connected: Connected | None = None
        self._early: list[tuple[int, bytes, bool]] = []
        self._early_resets: list[tuple[int, int]] = []
        self._early_size = 0
        self._authenticated = settings.auth_callback is None
        self._peer: AuthPeer | None = None
        self._up = asyncio.Event()

    async def link(self, seconds: float) -> QuicLink:
        """The link, within ``seconds``, not counting what the ``auth_callback`` takes of its own.
        Raises what stood in its way, and TimeoutError."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if not self._authenticated:
                    await self._either(self._up.wait())
                    begun = loop.time()
                    limit.reschedule(None)
                    await self._either(self._authenticate())
                    limit.reschedule(loop.time() + end - begun)
                return await self.done
        finally:
            del limit  # It holds the task, and the task's error holds this.

    def forget(self) -> None:
        """Whoever asked has been told what came of it. An error holds who raised it, this handshake too."""
        self.done = asyncio.get_running_loop().create_future()
        self.done.cancel()

    async def _either(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait until ``work`` is over, or the connection is; then it is cancelled."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self.done}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            # What was cancelled ends before anything else goes on.
            await asyncio.wait({task})
        try:
            if self.done.done():
                self.done.result()
            task.result()
        finally:
            del task, either  # What they raise holds this.

    def _auth_peer(self) -> AuthPeer | None:
        """The peer as the callback sees it, from the first that is heard of it."""
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
        self._authenticated = True
        held, self._early = self._early, []
        self._early_size = 0
        for stream_id, data, end in held:
            self.stream_data(stream_id, data, end)
        self._advance()

    #: The name of the node dialled, None where this one is.
    _dialled: str | None = None

    @abstractmethod
    def _not_authentic(self, reason: str) -> QuicDistError:
        """The error for a peer that the callback refuses."""

    def timed_out(self, seconds: float) -> QuicDistError:
        """The error that it means if nothing more comes within ``seconds``."""
        if not self._quic_is_up:
            state = "nothing that makes a QUIC connection came from there"
            if self._settings.tls.external_psk is not None:
                state += ", as nothing does of a quic_dist that has another secret for our pre-shared key"
            return self._too_late(seconds, state)
        return self._too_late(seconds, f"{self._machine.expects} was expected")

    @abstractmethod
    def _too_late(self, seconds: float, state: str) -> QuicDistError:
        """The error for time run out in ``state``."""

    # -- connection events --------------------------------------------------------------------

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        self._quic_is_up = True
        self._up.set()
        self._advance()

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        if self.done.done():
            return
        peer = self._auth_peer()
        if peer is not None and peer.data_received(stream_id, data, end):
            return
        if stream_id != CONTROL_STREAM or self._connected is not None or not self._authenticated:
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
        if stream_id == CONTROL_STREAM and self._connected is None:
            self._fail(self._machine.connection_closed())
        else:
            self._early_resets.append((stream_id, code))

    def turn_ended(self) -> None:
        if self._outbox:
            self._advance()

    def connection_closed(self, closing: Closing) -> None:
        if not self.done.done():
            self.done.set_exception(self._closed(closing))

    # -- the handshake ---------------------------------------------------------------------

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Connected):
                self._connected = event
                if event.leftover:
                    self._keep_early(CONTROL_STREAM, event.leftover, False)
            else:
                self._decide(event)

    @abstractmethod
    def _decide(self, event: Event) -> None:
        """Answer an event of the role. May raise."""

    def _keep_early(self, stream_id: int, data: bytes, end: bool) -> None:
        """The peer is through with the handshake before us, or what it sent was overtaken."""
        self._early.append((stream_id, data, end))
        self._early_size += len(data)
        limit = self._settings.buffers.before_start
        if self._early_size > limit:
            text = f"it sent more than {limit} bytes before the handshake was over"
            self._fail(HandshakeError(self._machine.node, f"{self._machine.node}: {text}"))

    def _advance(self) -> None:
        """Write what may be written; be done when all of it is."""
        if not self._quic_is_up or not self._authenticated or self.done.done():
            return
        self._outbox.extend(self._machine.data_to_send())
        while self._outbox and self._may_write():
            message = self._outbox.popleft()
            self._answered = False
            self._acknowledged_at = None
            self.connection.write(CONTROL_STREAM, (message,), len(message))
        if self._connected is not None and not self._outbox:
            self._become_link(self._connected)

    #: The peer may be sent two messages at once.
    _joins = False

    def _may_write(self) -> bool:
        """Whether a message may leave now: it will not reach the peer together with another."""
        if self._answered or self._joins:
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
        settings = self._settings
        dist = DistConnection(
            connected.peer,
            connected.local,
            codec=self._local.codec,
            streams=self._stream_counts.plan(self.role, connected.peer),
            max_frame=settings.max_frame,
        )
        link = QuicLink(dist, self.connection, settings, self._stream_counts)
        self.connection.authenticated()
        self.connection.handler = link
        for stream_id, data, end in self._early:
            link.stream_data(stream_id, data, end)
        for stream_id, code in self._early_resets:
            link.stream_reset(stream_id, code)
        self._early.clear()
        self._early_resets.clear()
        self.done.set_result(link)

    def _fail(self, error: QuicDistError) -> None:
        if self._authenticated:
            # A refusal may be among it: no wait for acknowledgements any more.
            for message in (*self._outbox, *self._machine.data_to_send()):
                self.connection.write(CONTROL_STREAM, (message,), len(message))
            self._outbox.clear()
        if not self.done.done():
            self.done.set_exception(error)

    @abstractmethod
    def _closed(self, closing: Closing) -> QuicDistError:
        """The error that the end of the connection means now."""


#: How often within the time of a silence it is looked whether there was one.
LOOKS: Final = 4
#: Round trips that a peer may be silent in the middle of a handshake, which takes two: one of its timeouts is
#: three where they vary little, and six for the next one.
PATIENT_ROUND_TRIPS: Final = 10


class DialHandshake(QuicHandshake):
    """The side that dials ``node``."""

    role = Role.CLIENT

    def __init__(
        self,
        node: str,
        address: Address,
        local: LocalNode,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        claim: Claim,
    ) -> None:
        identity = local.identity
        machine = Initiator(
            identity, node, local.cookie_for(node), HandshakeFraming.BARE, challenges=local.challenges
        )
        super().__init__(machine, local, settings, stream_counts)
        self._initiator = machine
        self._node = self._dialled = node
        self._address = address
        self._claim = claim
        self._ticket_shown = False
        self._early_data = False

    @property
    def said_name(self) -> bool:
        """Whether the peer has acknowledged the name message."""
        return self.connection.engine.acknowledged(CONTROL_STREAM) > 0

    def begin(self, ticket: Ticket | None) -> None:
        """Before the first datagram leaves: what can be said in it is written. ``ticket`` is the
        session ticket that it shows."""
        self._ticket_shown = ticket is not None
        if self.connection.engine.can_send_early_data() and self._claim():
            # The name, and no more: see quicdist.carrier.quic.resumption.
            (name,) = self._machine.data_to_send()
            self._local.name_said(self._node)
            self._early_data = True
            self._answered = False
            self.connection.write(CONTROL_STREAM, (name,), len(name))

    async def begun(self, seconds: float, stall: float | None = None) -> bool:
        """Wait for a QUIC connection, for ``seconds``; whether there is one, or the peer may have heard of
        this node already. With ``stall``, not longer than until it was heard, and then for so many seconds,
        or some round trips, was not. Raises what stood in its way."""
        if self._early_data:
            return True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        heard, since = 0, loop.time()
        while True:
            looked_at = loop.time()
            left = end - looked_at
            try:
                async with asyncio.timeout(left if stall is None else min(left, stall / LOOKS)):
                    await self._either(self._up.wait())
                return True
            except TimeoutError:
                # After a standstill of the loop, what came in time and the end of it are seen in one turn.
                if self._up.is_set() or self.done.done():
                    return True
            now = loop.time()
            if now >= end:
                return False
            datagrams = self.connection.socket.datagrams_in
            if datagrams != heard or (stall is not None and now - looked_at > 2 * stall / LOOKS):
                # Or the loop stood still, and what came meanwhile is not read yet.
                heard, since = datagrams, now
            if stall is not None and heard and now - since >= self._patience(stall):
                return False

    def _patience(self, stall: float) -> float:
        """How long a peer that was heard may be silent: on a long path for longer than ``stall`` seconds."""
        round_trip = self.connection.engine.quickest_round_trip()
        return max(stall, PATIENT_ROUND_TRIPS * round_trip) if math.isfinite(round_trip) else stall

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        if self._early_data and not self.connection.early_data_accepted:
            if event.early_data_accepted:
                # quic_dist, up to 1.8.1: whatever it has answered is lost.
                text = "it took early data and did not resume the session"
                self._fail(TicketRefused(self._node, self._address, text))
                return
            self.connection.engine.early_data_refused(asyncio.get_running_loop().time())
        # Not a word of the distribution handshake by any way but the one that won the race.
        if self._claim():
            self._local.name_said(self._node)
            super().handshake_completed(event)

    def _decide(self, event: Event) -> None:
        if isinstance(event, StatusReceived) and event.status is Status.ALIVE:
            go_on = self._local.connection_alive(self._node)
            self._initiator.send_alive_answer(go_on)
            if not go_on:
                raise ConnectionAlive(self._node)

    def _too_late(self, seconds: float, state: str) -> QuicDistError:
        kind = SetupTimeout
        if self._machine.expects == Due.ACK and not self.connection.unacknowledged(CONTROL_STREAM):
            kind = DigestUnanswered
            state += ", and our digest has arrived (quic_dist before 2.0 says nothing if the cookie is wrong)"
        return kind(self._node, self._address, f"not set up within {seconds:.3g} s: {state}")

    def _not_authentic(self, reason: str) -> QuicDistError:
        return AuthenticationRefused(self._node, self._address, reason)

    def _closed(self, closing: Closing) -> QuicDistError:
        node, address = self._node, self._address
        if closing.unreachable:
            return PeerUnreachable(node, address, closing.reason)
        if self._ticket_shown and not self._quic_is_up:
            return TicketRefused(node, address, f"the QUIC handshake failed: {closing}")
        psk = self._settings.tls.external_psk is not None
        if (refused := dial_refused(node, address, closing, psk=psk)) is not None:
            return refused
        if not self._quic_is_up:
            who = "it refused the QUIC connection" if closing.by_peer else "the QUIC handshake failed"
            return ConnectError(node, address, f"{who}: {closing}")
        expected = self._machine.expects
        if not closing.by_peer:
            text = f"the QUIC connection ended while {expected} was expected: {closing}"
            return ConnectError(node, address, text)
        if wrong_cookie(closing):
            return WrongCookie(node, f"it refused our digest: {closing.reason}")
        if closing.reason and self.connection.engine.peer_is_quicdist():
            # A node of quicdist says why.
            text = f"it closed the connection while {expected} was expected: {closing}"
            return ConnectError(node, address, text)
        return self._machine.connection_closed()


class AcceptHandshake(QuicHandshake):
    """The side that was dialled."""

    role = Role.SERVER

    def __init__(
        self,
        connection: QuicConnection,
        local: LocalNode,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        attempts: Attempts,
    ) -> None:
        machine = Acceptor(
            local.identity,
            HandshakeFraming.BARE,
            local.cookie_for,
            challenges=local.challenges,
            confirm=True,
        )
        super().__init__(machine, local, settings, stream_counts)
        self._acceptor = machine
        self._attempts = attempts
        #: It is to give way to this node's own attempt.
        self._is_held = False
        self.connection = connection
        self._quic_is_up = True
        self._up.set()

    @property
    def node(self) -> str:
        """The peer's name, or words for want of it."""
        return self._machine.node

    def _decide(self, event: Event) -> None:
        if isinstance(event, PeerNamed):
            self._check_name(event.name)
            self._joins = self.connection.engine.peer_says(JOINED_MESSAGES)
            status = self._local.connection_requested(event)
            if status is Status.NOK:
                self._hold(event.name)
                return
            self._acceptor.send_status(status)
            if status is Status.NOT_ALLOWED:
                raise AcceptError(self.connection.remote_address, f"{event.name} was answered {status}")
        elif isinstance(event, OldConnectionPending):
            self._local.old_connection_pending(event.name)
            self._handle(self._acceptor.old_connection_down())
        elif isinstance(event, PeerProved):
            if self._local.peer_proved(event.name) is None:
                self._handle(self._acceptor.acknowledge())
            else:
                self._hold(event.name)

    def _hold(self, name: str) -> None:
        """Both dial, and this node's own attempt stands: see
        :mod:`quicdist.carrier.quic.simultaneous_connect`."""
        self._is_held = True
        error = self._dropped(name)
        held = Held(name, self._attempts, lambda: self._fail(error))
        self.done.add_done_callback(lambda done: held.cancel())

    def _dropped(self, name: str) -> SimultaneousDropped:
        text = f"{name} dials this node, which dials it, and whose name is the greater"
        return SimultaneousDropped(self.connection.remote_address, text)

    def _check_name(self, name: str) -> None:
        """Whoever has shown a certificate is to be a node on a host named there."""
        why = self.connection.engine.why_not_named(name.partition("@")[2])
        if why is not None:
            text = f"its certificate is not for the host of {name}: {why}"
            raise IncomingCertificateRefused(self.connection.remote_address, text)

    def _not_authentic(self, reason: str) -> QuicDistError:
        return IncomingAuthenticationRefused(self.connection.remote_address, reason)

    def _too_late(self, seconds: float, state: str) -> QuicDistError:
        return AcceptTimeout(self.connection.remote_address, f"{self.node}: {state} within {seconds:.3g} s")

    def _closed(self, closing: Closing) -> QuicDistError:
        if (refused := accept_refused(self.connection.remote_address, closing)) is not None:
            return refused
        if closing.by_peer:
            if self._is_held:
                # Its attempt has given way to this node's, by itself.
                return self._dropped(self.node)
            return self._machine.connection_closed()
        return AcceptError(self.connection.remote_address, f"{self.node}: {closing}")
