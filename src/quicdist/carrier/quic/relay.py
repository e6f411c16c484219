"""The far end of a gateway: a node in the cluster, over QUIC. Its handshake with the near node is relayed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quicdist.carrier.addresses import Address
from quicdist.carrier.contract import Incoming
from quicdist.carrier.errors import AcceptError, ConnectError
from quicdist.carrier.happy_eyeballs import Claim
from quicdist.carrier.quic.accept_handshake import Accepting
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.data_streams import StreamCounts
from quicdist.carrier.quic.dial_handshake import Dialling
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.handshake import QuicHandshake
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.quic.simultaneous_connect import Attempts
from quicdist.carrier.relay import NearEnd, RelayLink
from quicdist.carrier.stream_assignment import BULK
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    Connected,
    Event,
    HandshakeError,
    HandshakeFraming,
    PeerNamed,
    ProtocolError,
    SimultaneousConnect,
    StatusReceived,
    WrongCookie,
)
from quicdist.protocol.control import Op
from quicdist.protocol.errors import UNNAMED, HandshakeEnded
from quicdist.protocol.handshake_messages import Due, Status
from quicdist.protocol.handshake_relay import End, HandshakeRelay
from quicdist.protocol.relay import (
    AliasOwners,
    FrameKind,
    RelayConnection,
    Route,
    Routes,
    operation_of,
    receiver_of,
)

if TYPE_CHECKING:
    from quicdist.protocol import Chunk, LocalIdentity, Peer

#: Connects to the near node for a far node that has said its name. Raises QuicDistError.
ConnectNear = Callable[[PeerNamed], Awaitable[NearEnd]]

#: The answers to a probe.
_PROBE_ANSWERS = (Op.PAYLOAD_MONITOR_P_EXIT, Op.MONITOR_P_EXIT)
#: An answer to a probe is a small frame.
_LONGEST_ANSWER = 1024


@dataclass(frozen=True, slots=True)
class NearNode:
    """What the handshake says for the link to the near node."""

    peer: Peer
    #: The far node, as the near node knows it.
    local: LocalIdentity
    #: The bytes that the near node has sent after its last message.
    leftover: bytes


class QuicRelayLink(RelayLink, QuicLink):
    """The link to the far node."""

    def __init__(
        self,
        dist: RelayConnection,
        near: NearNode,
        connection: QuicConnection,
        settings: QuicSettings,
        stream_counts: StreamCounts,
    ) -> None:
        super().__init__(dist, connection, settings, stream_counts)
        self.near = near
        self._take_own_signals = None
        self._mark = self._liveness_probe.mark
        self._routes = Routes(dist.peer.name)
        self._owners = AliasOwners()
        #: While receiving is paused: the bytes, and the messages that they completed, by stream.
        self._not_consumed: dict[int, tuple[int, int]] = {}

    # -- out -------------------------------------------------------------------------------

    def relay(self, kind: FrameKind, frame: Chunk) -> None:
        try:
            super().relay(kind, frame)
        except ProtocolError as error:
            self._fail(error)

    def _stream_of(self, kind: FrameKind, frame: Chunk) -> int:
        assignment = self._stream_assignment
        if kind is FrameKind.NEXT or kind is FrameKind.LAST:
            route = self._routes.next(frame, last=kind is FrameKind.LAST)
            if assignment is not None:
                assignment.keep(route.receiver, route.stream_id)
            return route.stream_id
        receiver = receiver_of(frame)
        key = None if receiver is None else self._owners.key(receiver)
        stream_id = self._plan.choose(key)
        if assignment is not None:
            stream_id = assignment.homes[stream_id]
            size = max(len(frame), BULK) if kind is FrameKind.FIRST else len(frame)
            if key is not None and (size >= BULK or assignment.moved):
                stream_id = assignment.place(stream_id, None, key, size)
        if kind is FrameKind.FIRST:
            self._routes.begin(frame, Route(key, stream_id))
        return stream_id

    # -- in --------------------------------------------------------------------------------

    def _received(self, messages: list[Any]) -> None:
        own = None
        for message in messages:
            kind, frame = message
            if kind is FrameKind.WHOLE or kind is FrameKind.FIRST:
                self._owners.learn(frame)
                if len(frame) < _LONGEST_ANSWER and self._is_probe_answer(frame):
                    own = message
        if own is not None:
            self.stats.messages_in += 1
            messages = [message for message in messages if message is not own]
        super()._received(messages)

    def _is_probe_answer(self, frame: Chunk) -> bool:
        return operation_of(frame) in _PROBE_ANSWERS and self._mark in bytes(frame)

    def pause_receiving(self) -> None:
        # The far node sends what its windows allow.
        self.receiving_paused = True

    def resume_receiving(self) -> None:
        self.receiving_paused = False
        held, self._not_consumed = self._not_consumed, {}
        if not self.closed:
            for stream_id, (size, messages) in held.items():
                super()._consumed(stream_id, size, messages)

    def _consumed(self, stream_id: int, size: int, messages: int) -> None:
        if self.receiving_paused:
            before = self._not_consumed.get(stream_id, (0, 0))
            self._not_consumed[stream_id] = before[0] + size, before[1] + messages
        else:
            super()._consumed(stream_id, size, messages)


class _FarMachine:
    """The far node's half of a handshake that is relayed, as the QUIC handshake uses it."""

    def __init__(self, end: End, node: str) -> None:
        self.end = end
        self.near = End.ACCEPTOR if end is End.INITIATOR else End.INITIATOR
        near, far = HandshakeFraming.PACKET_2, HandshakeFraming.BARE
        framings = (far, near) if end is End.INITIATOR else (near, far)
        self.relay = HandshakeRelay(*framings, node)
        #: None until there is a connection to the near node; messages for it wait.
        self.to_near: Callable[[bytes], None] | None = None
        self._told: set[str] = set()

    @property
    def node(self) -> str:
        return self.relay.node

    @node.setter
    def node(self, node: str) -> None:
        self.relay.node = node

    @property
    def expects(self) -> str:
        return self.relay.expects

    def receive_data(self, data: bytes) -> list[Event]:
        return self._receive(self.end, data)

    def receive_near(self, data: bytes) -> list[Event]:
        return self._receive(self.near, data)

    def _receive(self, end: End, data: bytes) -> list[Event]:
        try:
            self.relay.receive_data(end, data)
        finally:
            self.flush_near()
        return self._events()

    def flush_near(self) -> None:
        """Write the messages for the near node, if it is connected."""
        if self.to_near is not None:
            for message in self.relay.data_to_send(self.near):
                self.to_near(message)

    def _events(self) -> list[Event]:
        relay = self.relay
        events: list[Event] = []
        if relay.initiator is not None and self._is_news("name"):
            events.append(PeerNamed(relay.initiator.name, relay.initiator.flags, relay.initiator.creation))
        if relay.status is not None and self._is_news("status"):
            events.append(StatusReceived(relay.status))
        if relay.done and self._is_news("done"):
            events.append(
                Connected(relay.peer(self.end), relay.identity(self.near), relay.leftover(self.end))
            )
        return events

    def _is_news(self, what: str) -> bool:
        if what in self._told:
            return False
        self._told.add(what)
        return True

    def data_to_send(self) -> list[bytes]:
        return self.relay.data_to_send(self.end)

    def connection_closed(self) -> HandshakeError:
        if self.relay.due is Due.ACK and self.end is End.ACCEPTOR:
            text = "it closed the connection after the digest of the local node"
            return WrongCookie(self.node, text)
        return HandshakeEnded(self.node, self.expects)


class _RelayedHandshake(QuicHandshake):
    """What both roles share."""

    _far: _FarMachine

    def near_received(self, data: bytes) -> bool:
        """Bytes of the near node; False if the handshake is over."""
        if self.done.done() or self._far.relay.done:
            return False
        try:
            self._handle(self._far.receive_near(data))
        except QuicDistError as error:
            self._near_refused(error)
        else:
            self._advance()
        return True

    def _near_refused(self, error: QuicDistError) -> None:
        self._fail(error)

    def near_closed(self) -> None:
        """The near node has closed its connection; also after it has kept its own attempt of two."""
        if not self.done.done() and self._far.relay.status is not Status.NOK:
            self._fail(
                self._near_lost(f"the local node closed its connection while {self._far.expects} was due")
            )

    @abstractmethod
    def _near_lost(self, reason: str) -> QuicDistError:
        """The error for a near node that has closed its connection."""

    def _make_link(self, connected: Connected) -> QuicLink:
        settings = self._settings
        dist = RelayConnection(
            connected.peer,
            connected.local,
            streams=self._stream_counts.plan(self.role, connected.peer),
            max_frame=settings.max_frame,
        )
        relay, near = self._far.relay, self._far.near
        node = NearNode(relay.peer(near), relay.identity(self._far.end), relay.leftover(near))
        return QuicRelayLink(dist, node, self.connection, settings, self._stream_counts)


class _RelayDial(_RelayedHandshake, Dialling):
    """The near node dials ``node``. ``name`` is its name message, as it came."""

    def __init__(
        self,
        node: str,
        address: Address,
        name: bytes,
        near: NearEnd,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        claim: Claim,
    ) -> None:
        self._far = _FarMachine(End.ACCEPTOR, node)
        self._near = near
        self._far.to_near = near.write
        self._far.receive_near(name)
        super().__init__(self._far, node, address, settings, stream_counts, claim)

    def _name_said(self) -> None:
        """Nothing to do: the near node decides between two dials."""

    def _decide(self, event: Event) -> None:
        if isinstance(event, StatusReceived):
            self._near.attach(self)

    def _near_lost(self, reason: str) -> QuicDistError:
        return ConnectError(self._node, self._address, reason)


class _RelayAccept(_RelayedHandshake, Accepting):
    """A far node dials the near node."""

    def __init__(
        self,
        connection: QuicConnection,
        connect: ConnectNear,
        settings: QuicSettings,
        stream_counts: StreamCounts,
        attempts: Attempts,
    ) -> None:
        self._far = _FarMachine(End.INITIATOR, UNNAMED)
        self._connect = connect
        self._connecting: asyncio.Task[None] | None = None
        super().__init__(self._far, connection, settings, stream_counts, attempts)

    def _decide(self, event: Event) -> None:
        if isinstance(event, PeerNamed):
            self._far.node = event.name
            self._named(event)
            self._connecting = asyncio.create_task(
                self._connect_near(event), name="connecting to the local node"
            )
            self.done.add_done_callback(lambda done: self._stop_connecting())

    async def _connect_near(self, peer: PeerNamed) -> None:
        try:
            near = await self._connect(peer)
        except QuicDistError as error:
            self._fail(error)
            return
        self._far.to_near = near.write
        near.attach(self)
        self._far.flush_near()

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()

    def _near_refused(self, error: QuicDistError) -> None:
        if isinstance(error, SimultaneousConnect):
            # The near node dials as well, and its own attempt is kept. The status is not sent.
            self._far.data_to_send()
            self._hold(self.node)
        else:
            self._fail(error)

    def _near_lost(self, reason: str) -> QuicDistError:
        if self._far.relay.due is Due.ACK:
            return WrongCookie(self.node, "the local node refused its digest")
        return AcceptError(self.connection.remote_address, f"{self.node}: {reason}")


class QuicRelayCarrier(QuicCarrier):
    """A QUIC carrier whose handshakes and links are those of a near node, which are relayed to it."""

    async def relay_dial(
        self, node: str, address: Address, name: bytes, near: NearEnd, *, setup_time: float
    ) -> QuicRelayLink:
        """Dial ``node`` for the near node, whose name message is ``name``, as it came. Raises as
        :meth:`setup` does."""

        def begin(settings: QuicSettings, claim: Claim) -> Dialling:
            return _RelayDial(node, address, name, near, settings, self._stream_counts, claim)

        return _relayed(await self._dial(node, address, begin, setup_time))

    async def relay_accept(
        self, incoming: Incoming, connect: ConnectNear, *, setup_time: float
    ) -> QuicRelayLink:
        """Accept a far node that dials the near node, to which ``connect`` makes a connection. Raises as
        :meth:`accept_connection` does."""

        def begin(connection: QuicConnection) -> Accepting:
            return _RelayAccept(connection, connect, self.settings, self._stream_counts, self._attempts)

        return _relayed(await self._accept(incoming, begin, setup_time))


def _relayed(link: QuicLink) -> QuicRelayLink:
    assert isinstance(link, QuicRelayLink)
    return link
