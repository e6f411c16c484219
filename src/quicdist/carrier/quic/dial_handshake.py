"""The distribution handshake on a QUIC connection: the side that dials."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from typing import Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import LocalNode
from quicdist.carrier.errors import (
    AuthenticationRefused,
    ConnectError,
    DialAgain,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.happy_eyeballs import Claim
from quicdist.carrier.quic.close_codes import dial_refused, wrong_cookie
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.contract import Ticket
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.quic.handshake import CONNECTING, CONTROL_STREAM, Machine, QuicHandshake
from quicdist.carrier.quic.link import QuicLink, decoding_link
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    Connected,
    ConnectionAlive,
    Event,
    HandshakeFraming,
    Initiator,
    Role,
    Status,
    StatusReceived,
    WrongCookie,
)
from quicdist.protocol.handshake_messages import Due

#: Checks for silence within the time that a peer may be silent.
CHECKS: Final = 4
#: Round trips that a peer may be silent in a handshake, which takes two: its first time-out takes three where
#: round-trip times vary little, the next one six.
MAX_SILENT_ROUND_TRIPS: Final = 10


class Dialling(QuicHandshake):
    """The side that dials ``node``, whoever reads the messages."""

    role = Role.CLIENT

    def __init__(
        self,
        machine: Machine,
        node: str,
        address: Address,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        claim: Claim,
    ) -> None:
        super().__init__(machine, settings, stream_counts)
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
        """Called before the first datagram is sent: writes the early data. ``ticket`` is the session ticket
        that the datagram shows."""
        self._ticket_shown = ticket is not None
        if self.connection.engine.can_send_early_data() and self._claim():
            # Only the name message: see quicdist.carrier.quic.resumption.
            (name,) = self._machine.data_to_send()
            self._name_said()
            self._early_data = True
            self._answered = False
            self.connection.write(CONTROL_STREAM, (name,), len(name))

    async def begun(self, seconds: float, stall: float | None = None) -> bool:
        """Wait ``seconds`` for the QUIC handshake. Returns whether it is complete, or the peer may have this
        node's name already. With ``stall`` the wait ends early when the peer has answered and was then silent
        for so many seconds, on a long path for more. Raises the error of the handshake."""
        if self._early_data:
            return True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        heard, since = 0, loop.time()
        while True:
            checked_at = loop.time()
            left = end - checked_at
            try:
                async with asyncio.timeout(left if stall is None else min(left, stall / CHECKS)):
                    await self._either(self._up.wait())
                return True
            except TimeoutError:
                # When the event loop was blocked, the answer and the time-out come in the same turn.
                if self._up.is_set() or self.done.done():
                    return True
            now = loop.time()
            if now >= end:
                return False
            datagrams = self.connection.socket.datagrams_in
            if datagrams != heard or (stall is not None and now - checked_at > 2 * stall / CHECKS):
                # Or the event loop was blocked, and what came meanwhile is not read yet.
                heard, since = datagrams, now
            if stall is not None and heard and now - since >= self._max_silence(stall):
                return False

    def _max_silence(self, stall: float) -> float:
        """How long a peer that has answered may be silent, in seconds: on a long path more than ``stall``."""
        round_trip = self.connection.engine.quickest_round_trip()
        return max(stall, MAX_SILENT_ROUND_TRIPS * round_trip) if math.isfinite(round_trip) else stall

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        if self._early_data and not self.connection.early_data_accepted:
            if event.early_data_accepted:
                # quic_dist up to 1.8.1: its answer to the early data is lost.
                text = "the peer accepted early data and did not resume the session"
                self._fail(DialAgain(self._node, self._address, text))
                return
            self.connection.engine.early_data_refused(asyncio.get_running_loop().time())
        # Only the connection that won the race begins the distribution handshake.
        if self._claim():
            self._name_said()
            super().handshake_completed(event)

    @abstractmethod
    def _name_said(self) -> None:
        """The name message is about to be sent."""

    def _too_late(self, reason: str) -> QuicDistError:
        unanswered = self._machine.expects == Due.ACK and not self.connection.unacknowledged(CONTROL_STREAM)
        if unanswered:
            reason += (
                ", although our digest was received (quic_dist before 2.0 is silent if the cookie is wrong)"
            )
        error = SetupTimeout(self._node, self._address, reason)
        error.digest_unanswered = unanswered
        return error

    def _not_authentic(self, reason: str) -> QuicDistError:
        return AuthenticationRefused(self._node, self._address, reason)

    def _closed(self, closing: Closing) -> QuicDistError:
        node, address = self._node, self._address
        if closing.unreachable:
            return PeerUnreachable(node, address, closing.reason)
        if self._ticket_shown and self._state is CONNECTING:
            return DialAgain(node, address, f"the QUIC handshake failed: {closing}")
        psk = self._settings.tls.external_psk is not None
        if (refused := dial_refused(node, address, closing, psk=psk)) is not None:
            return refused
        if self._state is CONNECTING:
            what = "the peer refused the QUIC connection" if closing.by_peer else "the QUIC handshake failed"
            return ConnectError(node, address, f"{what}: {closing}")
        expected = self._machine.expects
        if not closing.by_peer:
            text = f"the QUIC connection ended while {expected} was expected: {closing}"
            return ConnectError(node, address, text)
        if wrong_cookie(closing):
            return WrongCookie(node, f"the peer refused our digest: {closing.reason}")
        if closing.reason and self.connection.engine.peer_is_quicdist():
            # quicdist gives a reason.
            text = f"the peer closed the connection while {expected} was expected: {closing}"
            return ConnectError(node, address, text)
        return self._machine.connection_closed()


class DialHandshake(Dialling):
    """The side that dials ``node``: this node."""

    def __init__(
        self,
        node: str,
        address: Address,
        local: LocalNode,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        claim: Claim,
    ) -> None:
        machine = Initiator(
            local.identity, node, local.cookie_for(node), HandshakeFraming.BARE, challenges=local.challenges
        )
        super().__init__(machine, node, address, settings, stream_counts, claim)
        self._initiator = machine
        self._local = local

    def _name_said(self) -> None:
        self._local.name_said(self._node)

    def _decide(self, event: Event) -> None:
        if isinstance(event, StatusReceived) and event.status is Status.ALIVE:
            go_on = self._local.connection_alive(self._node)
            self._initiator.send_alive_answer(go_on)
            if not go_on:
                raise ConnectionAlive(self._node)

    def _make_link(self, connected: Connected) -> QuicLink:
        return decoding_link(
            connected, self.role, self._local.codec, self.connection, self._settings, self._stream_counts
        )
