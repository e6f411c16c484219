"""The distribution handshake on a QUIC connection: the side that accepts."""

from __future__ import annotations

from quicdist.carrier.contract import LocalNode
from quicdist.carrier.errors import (
    AcceptError,
    AcceptTimeout,
    Refusal,
)
from quicdist.carrier.quic.close_codes import accept_refused
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.own_parameters import JOINED_MESSAGES
from quicdist.carrier.quic.handshake import Machine, QuicHandshake
from quicdist.carrier.quic.link import QuicLink, decoding_link
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.simultaneous_connect import Attempts, DelayedDrop
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    Acceptor,
    Connected,
    Event,
    HandshakeFraming,
    OldConnectionPending,
    PeerNamed,
    PeerProved,
    Role,
    Status,
)


class Accepting(QuicHandshake):
    """The side that was dialled, whoever reads the messages."""

    role = Role.SERVER

    def __init__(
        self,
        machine: Machine,
        connection: QuicConnection,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        attempts: Attempts,
    ) -> None:
        super().__init__(machine, settings, stream_counts)
        self._attempts = attempts
        #: Set if this node's own dial is kept and the peer's will be dropped.
        self._delayed_drop: DelayedDrop | None = None
        self.connection = connection
        # If it is not complete yet, early data has come, which can be answered.
        self._quic_completed()

    @property
    def node(self) -> str:
        """The peer's name, or a text in place of it before it is known."""
        return self._machine.node

    def _hold(self, name: str) -> None:
        """Both nodes dial, and this node's own dial is kept: see
        :mod:`quicdist.carrier.quic.simultaneous_connect`."""
        error = self._dropped(name)
        drop = self._delayed_drop = DelayedDrop(name, self._attempts, lambda: self._fail(error))
        self.done.add_done_callback(lambda done: drop.cancel())

    def _dropped(self, name: str) -> AcceptError:
        text = f"{name} and this node dial each other, and this node has the greater name"
        return AcceptError(self.connection.remote_address, text, Refusal.SIMULTANEOUS)

    def _named(self, peer: PeerNamed) -> None:
        """The peer has sent its name. Its certificate, if it has shown one, must name the host."""
        self._joins_messages = self.connection.engine.peer_says(JOINED_MESSAGES)
        why = self.connection.engine.why_not_named(peer.host)
        if why is not None:
            text = f"its certificate is not valid for the host of {peer.name}: {why}"
            raise AcceptError(self.connection.remote_address, text, Refusal.CERTIFICATE)

    def _not_authentic(self, reason: str) -> QuicDistError:
        return AcceptError(self.connection.remote_address, reason, Refusal.AUTHENTICATION)

    def _too_late(self, reason: str) -> QuicDistError:
        return AcceptTimeout(self.connection.remote_address, f"{self.node}: {reason}")

    def _closed(self, closing: Closing) -> QuicDistError:
        if (refused := accept_refused(self.connection.remote_address, closing)) is not None:
            return refused
        if closing.by_peer:
            if self._delayed_drop is not None:
                # The peer has dropped its own attempt.
                return self._dropped(self.node)
            return self._machine.connection_closed()
        return AcceptError(self.connection.remote_address, f"{self.node}: {closing}")


class AcceptHandshake(Accepting):
    """The side that was dialled: this node."""

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
        self._acceptor = machine
        self._local = local
        super().__init__(machine, connection, settings, stream_counts, attempts)

    def _decide(self, event: Event) -> None:
        if isinstance(event, PeerNamed):
            self._named(event)
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

    def _make_link(self, connected: Connected) -> QuicLink:
        return decoding_link(
            connected, self.role, self._local.codec, self.connection, self._settings, self._stream_counts
        )
