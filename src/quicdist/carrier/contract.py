"""The contract between a carrier and the node above it.

OTP asks a ``-proto_dist`` module for ``listen``, ``accept``, ``accept_connection``, ``setup``,
``close``, ``select``, ``address`` and ``is_node_name`` (ERTS User's Guide, *How to Implement an
Alternative Carrier for the Erlang Distribution*). A :class:`Carrier` answers the same eight names.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from quicdist.carrier.addresses import Address, NetAddress
from quicdist.carrier.stream_errors import StreamsNotSupported
from quicdist.carrier.stream_priorities import DEFAULT_PRIORITY
from quicdist.carrier.user_stream import UserStream

if TYPE_CHECKING:
    from quicdist.errors import QuicDistError
    from quicdist.protocol import (
        Challenges,
        ControlMessage,
        GivenName,
        LocalIdentity,
        Peer,
        PeerNamed,
        Status,
    )
    from quicdist.term import Codec


class Listener(ABC):
    """The result of :meth:`Carrier.listen`: an address at which peers can dial this node."""

    #: Connections that ended before they were :class:`Incoming`, by reason: ``TlsAlert``, ``PeerClosed``,
    #: ``Silent``, ``Dropped``.
    failed: Mapping[str, int] = {}

    @property
    @abstractmethod
    def address(self) -> NetAddress:
        """The address. If port 0 was requested, with the port that the system chose."""


class Incoming(ABC):
    """An incoming connection, before its distribution handshake."""

    @property
    @abstractmethod
    def remote_address(self) -> Address:
        """The address of the peer."""

    @abstractmethod
    def close(self) -> None:
        """Close it without a handshake."""


class LocalNode(Protocol):
    """The node as a carrier uses it, for handshakes only. No method waits.

    A dial calls, in this order, :meth:`cookie_for`, :meth:`name_said`, and :meth:`connection_alive` if the
    peer answers ``alive``. An incoming connection calls :meth:`connection_requested` when the peer has sent
    its name, :meth:`cookie_for`, and when the peer has proved that it knows the cookie either
    :meth:`peer_proved` or, if it was answered ``alive``, :meth:`old_connection_pending`. What an established
    link delivers goes to the handlers of :meth:`Link.start`."""

    @property
    def identity(self) -> LocalIdentity:
        """The name, creation and flags that this node sends in handshakes."""

    @property
    def codec(self) -> Codec:
        """Encodes and decodes terms on this node's connections."""

    @property
    def challenges(self) -> Challenges:
        """The challenges of this node that are not answered yet."""

    def cookie_for(self, node: str) -> str:
        """The cookie shared with ``node`` (OTP's ``erlang:get_cookie/1``)."""

    def connection_requested(self, peer: PeerNamed) -> Status | GivenName:
        """A peer has sent its name, or asks for one. Returns the status to answer with, or the name."""

    def connection_alive(self, node: str) -> bool:
        """Our dial was answered ``alive``: ``node`` has a connection to this node already. True to replace
        it, False to drop the dial."""

    def name_said(self, node: str) -> None:
        """Our dial is about to send this node's name to ``node``: from now on its ``net_kernel`` decides."""

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        """A peer that dials this node knows the cookie, and was not answered ``alive``. None accepts it.
        Otherwise both nodes dial, and our dial goes first: the future is done when that is over, and this
        method is called again.

        Raises :class:`~quicdist.protocol.ConnectionAlive` if there is a connection by now.
        """

    def old_connection_pending(self, node: str) -> None:
        """A peer that was answered ``alive`` replaces its connection, and knows the cookie: end the old
        connection to ``node`` now; a new link follows."""


@dataclass(slots=True)
class LinkStats:
    """Counters of one link; they never decrease.

    ``received`` grows with everything that comes from the peer, acknowledgements included; ``sent`` with
    every message and tick. As in ``dist_util``, a tick is due when ``sent`` has not changed, and the peer is
    alive when ``received`` has changed."""

    received: int = 0
    sent: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ticks_in: int = 0
    ticks_out: int = 0
    #: How often more was queued than the high-water mark allows, so that senders had to wait.
    send_pauses: int = 0

    def copy(self) -> LinkStats:
        """A copy of the counters."""
        return dataclasses.replace(self)


@dataclass(frozen=True, slots=True)
class TransportStats:
    """What the transport of a link has measured; None where it does not tell.

    ``round_trip`` is the smoothed round-trip time, ``round_trip_variation`` its mean deviation (seconds).
    ``retransmissions`` are the packets that were declared lost (QUIC), or the segments that were sent again
    (TCP); ``spurious_losses`` are those among them that turned out to have arrived. ``congestion_window`` and
    ``in_flight`` are bytes.
    """

    round_trip: float | None = None
    round_trip_variation: float | None = None
    packets_sent: int | None = None
    retransmissions: int | None = None
    spurious_losses: int | None = None
    congestion_window: int | None = None
    in_flight: int | None = None


#: Called in the event loop for every message, with the control message and its payload or NO_PAYLOAD.
MessageHandler = Callable[["ControlMessage", Any], None]
#: Called exactly once when a started link has ended, with the error, or None if this side closed it.
LostHandler = Callable[["QuicDistError | None"], None]


#: Called for each user stream that the peer opens: True accepts it, False refuses it with code 0x100.
StreamHandler = Callable[[UserStream], bool]


class UserStreams(ABC):
    """The user streams of one link, opened by either side."""

    @abstractmethod
    def accept(self, handler: StreamHandler | None) -> None:
        """Call ``handler`` for each stream that the peer opens from now on, and for those that it opened
        before the link was started. Before this call, and with None, streams are refused."""

    @abstractmethod
    def open(self, priority: int = DEFAULT_PRIORITY) -> UserStream:
        """Open a stream. The peer learns of it with its first bytes, or its end.

        Priorities are clamped to 16 to 255, as in quic_dist. Raises
        :class:`StreamLimitReached`, :class:`StreamsNotSupported` and, on a link that has ended,
        :class:`StreamLost`.
        """

    @abstractmethod
    async def room(self) -> None:
        """Wait until the peer allows another stream, or the link has ended."""

    @abstractmethod
    def __iter__(self) -> Iterator[UserStream]:
        """The streams that have not ended."""

    @abstractmethod
    def get(self, stream_id: int) -> UserStream | None:
        """The stream with this id; None if it is over or there is none."""


class Link(ABC):
    """One established connection to one peer, after the handshake."""

    carrier_name: ClassVar[str]
    peer: Peer
    #: This node as the peer knows it.
    local: LocalIdentity
    local_address: Address
    remote_address: Address
    stats: LinkStats
    #: Whether the event loop may poll for quick answers of the peer, see :mod:`quicdist.carrier.busy_wait`.
    busy_wait: bool = True

    @abstractmethod
    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        """Deliver messages from now on; those that came before are delivered in order, from the event loop.

        ``on_message`` is called synchronously for each message. A
        :class:`~quicdist.protocol.ProtocolError` that it raises ends the link; other exceptions are logged.
        ``on_lost`` is called exactly once, even if the link has ended already.
        """

    @abstractmethod
    def send(self, control: ControlMessage, payload: Any = ..., *, pair: Hashable = None) -> None:
        """Send one message, without waiting: see :meth:`drain`. Messages that are sent in one turn of the
        event loop leave in one batch at its end. Those of one sender to one destination keep their order
        (``pair`` overrides the two that ``control`` names, see :mod:`quicdist.protocol.streams`). When more
        bytes are queued than the link may hold, the message is dropped and the link ends with
        :class:`SendBufferFull`.

        Raises :class:`LinkLost` on a link that has ended, and what
        :meth:`quicdist.protocol.DistConnection.send` raises; then nothing was sent.
        """

    @abstractmethod
    async def drain(self) -> None:
        """Wait while more bytes are queued than the link's limit, until it ends at the latest. Always yields
        to the event loop once."""

    @property
    @abstractmethod
    def writable(self) -> bool:
        """Whether :meth:`drain` would not wait."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes that were sent on this link and have not left it."""

    def transport_stats(self) -> TransportStats:
        """The measurements of the transport, now."""
        return TransportStats()

    @property
    def datagram_size(self) -> int | None:
        """The size of the longest datagrams to this peer, in bytes, by path MTU discovery; None on a carrier
        without datagrams."""
        return None

    def migrate(self) -> bool:
        """Migrate to a new socket, bound to the address that routes to the peer now. False if this link
        cannot: only QUIC links that this node dialled can. Raises :class:`CarrierError` if the peer is
        unreachable."""
        return False

    @abstractmethod
    def send_tick(self) -> None:
        """Send one tick; does nothing on a link that has ended."""

    @property
    def user_streams(self) -> UserStreams:
        """Streams of bytes, concurrent with the messages. Raises :class:`StreamsNotSupported` on a carrier
        without streams."""
        raise StreamsNotSupported(self.peer.name, f"the connection is over {self.carrier_name}")

    @abstractmethod
    def close(self, reason: str = "") -> None:
        """End the link; ``reason`` is for the peer's log. Messages that were sent before are still
        transmitted for some seconds. The second call does nothing."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the link has ended and its connection is closed or lost."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the link has ended."""

    #: The error that ended the link; None before that, and if this side closed it.
    error: QuicDistError | None = None


class Carrier(ABC):
    """OTP's eight callbacks. One carrier object serves one node."""

    #: Its name in ``#net_address.protocol``: ``"quic"``, ``"tcp"`` or ``"tls"``.
    family: ClassVar[str]

    @abstractmethod
    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> Listener:
        """Listen for peers of the node ``name``. Port 0 lets the system or the carrier choose; host None is
        every address. Raises :class:`ListenError`."""

    @abstractmethod
    def accept(self, listener: Listener) -> AsyncIterator[Incoming]:
        """The incoming connections, one by one, until the listener is closed."""

    @abstractmethod
    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> Link:
        """Run the acceptor's side of the handshake, within ``setup_time`` seconds.

        Raises :class:`AcceptError` and the handshake errors of the protocol; the connection is closed then,
        and a line is logged."""

    @abstractmethod
    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> Link:
        """Dial ``node`` and run the initiator's side of the handshake, within ``setup_time`` s.

        Raises :class:`ConnectError` and the handshake errors of the protocol. When it raises or is cancelled,
        the connection is closed.
        """

    @abstractmethod
    async def close(self, listener: Listener) -> None:
        """Stop listening. Established links stay; connections in their handshake are closed."""

    def select(self, node: str) -> bool:
        """Whether this carrier can be used for ``node``: it is a well-formed name."""
        return self.is_node_name(node)

    @abstractmethod
    def address(self) -> NetAddress:
        """The protocol and address family of this carrier, before it listens anywhere."""

    def is_node_name(self, name: str) -> bool:
        """Whether ``name`` is of the form ``name@host`` (``dist_util:is_node_name/1``)."""
        alive, at, host = name.partition("@")
        return bool(alive and at and host) and "@" not in host
