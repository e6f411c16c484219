"""The contract between a carrier and the node above it.

OTP asks a ``-proto_dist`` module for ``listen``, ``accept``, ``accept_connection``, ``setup``,
``close``, ``select``, ``address`` and ``is_node_name`` (ERTS User's Guide, *How to Implement an
Alternative Carrier for the Erlang Distribution*). A :class:`Carrier` answers the same eight names.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from quicdist.carrier.addresses import Address, NetAddress
from quicdist.carrier.stream_errors import StreamsNotSupported
from quicdist.carrier.stream_priorities import DEFAULT_PRIORITY
from quicdist.carrier.user_stream import UserStream

if TYPE_CHECKING:
    from quicdist.errors import QuicDistError
    from quicdist.protocol import Challenges, ControlMessage, LocalIdentity, Peer, PeerNamed, Status
    from quicdist.term import Codec


class Listener(ABC):
    """What :meth:`Carrier.listen` gives: the place at which peers can dial this node."""

    @property
    @abstractmethod
    def address(self) -> NetAddress:
        """Where it listens, with the port the system chose when 0 was asked for."""


class Incoming(ABC):
    """A connection that came in, on which no handshake has run yet."""

    @property
    @abstractmethod
    def remote_address(self) -> Address:
        """Where it comes from."""

    @abstractmethod
    def close(self) -> None:
        """Drop it without a handshake."""


class LocalNode(Protocol):
    """What a carrier asks of the node it works for. All of it answers at once: nothing waits."""

    @property
    def identity(self) -> LocalIdentity:
        """Name, creation and flags this node offers in handshakes."""

    @property
    def codec(self) -> Codec:
        """How terms are encoded and decoded on this node's connections."""

    @property
    def challenges(self) -> Challenges:
        """The challenges this node has sent that are not answered yet."""

    def cookie_for(self, node: str) -> str:
        """The cookie shared with ``node`` (OTP's ``erlang:get_cookie/1``)."""

    def connection_requested(self, peer: PeerNamed) -> Status:
        """The status the acceptor answers: whether this peer may connect, and how."""

    def connection_alive(self, node: str) -> bool:
        """Our dial was answered ``alive``: ``node`` believes that there is a connection. True to
        go on and have it replaced, False to drop the attempt."""

    def name_said(self, node: str) -> None:
        """Our dial is about to say this node's name to ``node``: its ``net_kernel`` decides by it."""

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        """A peer that dials us has shown that it knows the cookie, and was not answered ``alive``. None
        to let it in. Otherwise both nodes dial, and our dial goes before: the future is done when
        that is over, and this is asked again.

        Raises :class:`~quicdist.protocol.ConnectionAlive` if there is a connection by now.
        """

    def old_connection_pending(self, node: str) -> None:
        """A peer that we answered ``alive`` has gone on and shown that it knows the cookie: take
        the old connection to ``node`` down, now; a new link follows."""


@dataclass(slots=True)
class LinkStats:
    """Counters of one link, all of them only ever growing.

    ``received`` grows with whatever came from the peer, be it only an acknowledgement; ``sent``
    with every message or tick handed over. A tick is due when ``sent`` stood still, the peer is
    alive when ``received`` moved: the way ``dist_util`` does its ticking.
    """

    received: int = 0
    sent: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ticks_in: int = 0
    ticks_out: int = 0

    def copy(self) -> LinkStats:
        """The counters as they are now."""
        return dataclasses.replace(self)


#: Called in the event loop for every message: the control message, and its payload or NO_PAYLOAD.
MessageHandler = Callable[["ControlMessage", Any], None]
#: Called exactly once when a started link has ended; None if this side closed it.
LostHandler = Callable[["QuicDistError | None"], None]


#: Asked about each stream that the peer opens: True takes it, False has it refused with 0x100.
StreamHandler = Callable[[UserStream], bool]


class UserStreams(ABC):
    """The user streams of one link, opened by either side."""

    @abstractmethod
    def accept(self, handler: StreamHandler | None) -> None:
        """Have ``handler`` asked about each stream that the peer opens from now on, and those that
        it opened before the link was started. Until then, and with None, they are refused."""

    @abstractmethod
    def open(self, priority: int = DEFAULT_PRIORITY) -> UserStream:
        """Open a stream. The peer hears of it with its first bytes, or its end.

        Priorities outside 16 to 255 are brought inside, as quic_dist does. Raises
        :class:`StreamLimitReached`, :class:`StreamsNotSupported` and, on a link that has ended,
        :class:`StreamLost`.
        """

    @abstractmethod
    async def room(self) -> None:
        """Wait until the peer allows one more stream, or the link has ended."""

    @abstractmethod
    def __iter__(self) -> Iterator[UserStream]:
        """Those that are not over."""

    @abstractmethod
    def get(self, stream_id: int) -> UserStream | None:
        """The stream with this id, unless it is over."""


class Link(ABC):
    """One established connection to one peer, past its handshake."""

    carrier_name: ClassVar[str]
    peer: Peer
    local_address: Address
    remote_address: Address
    stats: LinkStats

    @abstractmethod
    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        """Deliver from now on. ``on_message`` is called synchronously, one call per message and
        no task; an exception it raises is logged and costs neither link nor later messages, unless it is
        a :class:`~quicdist.protocol.ProtocolError`: the link ends with it.
        Nothing is delivered before this; what has come until then is delivered in order, from
        the event loop. ``on_lost`` is called exactly once, even if the link has ended already.
        """

    @abstractmethod
    def send(self, control: ControlMessage, payload: Any = ..., *, pair: Hashable = None) -> None:
        """Send one message. What is sent in one turn of the loop leaves in one batch at its end;
        messages of one sender to one destination keep their order (``pair`` overrides the two that
        ``control`` names, see :mod:`quicdist.protocol.streams`). Does not wait: see :meth:`drain`.
        When more waits already than the link may hold, the message is dropped and the link ends with
        :class:`SendBufferFull`.

        Raises :class:`LinkLost` on a link that has ended, and what
        :meth:`quicdist.protocol.DistConnection.send` raises; then nothing was sent.
        """

    @abstractmethod
    async def drain(self) -> None:
        """Wait while more than the link's bound is buffered, until the link ends at the latest; always
        for one turn of the event loop."""

    @property
    @abstractmethod
    def writable(self) -> bool:
        """Whether :meth:`drain` has nothing to wait for."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes given to this link that have not left it."""

    @property
    def datagram_size(self) -> int | None:
        """How long the datagrams to this peer may be now, in bytes: what its path is known to take. None
        on a carrier without datagrams."""
        return None

    def migrate(self) -> bool:
        """Go on from a new socket, at the address that leads to the peer now; whether this link can:
        one over QUIC that this node dialled. Raises :class:`CarrierError` if no way leads there."""
        return False

    @abstractmethod
    def send_tick(self) -> None:
        """Send one tick; nothing happens on a link that has ended."""

    @property
    def user_streams(self) -> UserStreams:
        """Streams of bytes beside the messages. Raises :class:`StreamsNotSupported` on a carrier that
        has none."""
        raise StreamsNotSupported(self.peer.name, f"the connection is over {self.carrier_name}")

    @abstractmethod
    def close(self, reason: str = "") -> None:
        """End the link; ``reason`` is for the peer's log. What was sent before is handed over as
        far as it can go without waiting. Closing twice does nothing."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the link has ended and the peer has been told."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the link has ended."""

    #: What ended the link; None before, and where this side closed it.
    error: QuicDistError | None = None


class Carrier(ABC):
    """OTP's eight callbacks. One carrier object serves one node."""

    #: What ``#net_address.protocol`` and ``-proto_dist`` call it: ``"quic"`` or ``"tcp"``.
    family: ClassVar[str]

    @abstractmethod
    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> Listener:
        """Listen for peers of the node called ``name``; 0 lets the system or the carrier choose
        the port, None listens on every address. Raises :class:`ListenError`."""

    @abstractmethod
    def accept(self, listener: Listener) -> AsyncIterator[Incoming]:
        """The connections that come in, one by one, until the listener is closed."""

    @abstractmethod
    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> Link:
        """Run the acceptor's side of the handshake, within ``setup_time`` seconds.

        Raises :class:`AcceptError` and the protocol's handshake errors; by then the connection is
        closed and a line is logged.
        """

    @abstractmethod
    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> Link:
        """Dial ``node`` and run the initiator's side of the handshake, within ``setup_time`` s.

        Raises :class:`ConnectError` and the protocol's handshake errors. When it raises or is
        cancelled the connection is closed.
        """

    @abstractmethod
    async def close(self, listener: Listener) -> None:
        """Stop listening. Links that came in by it go on; connections still in their handshake
        are closed."""

    def select(self, node: str) -> bool:
        """Whether this carrier can be used for ``node`` (a well-formed name will do)."""
        return self.is_node_name(node)

    @abstractmethod
    def address(self) -> NetAddress:
        """The protocol and address family this carrier uses, before it listens anywhere."""

    def is_node_name(self, name: str) -> bool:
        """Whether ``name`` is of the form ``name@host`` (``dist_util:is_node_name/1``)."""
        alive, at, host = name.partition("@")
        return bool(alive and at and host) and "@" not in host
