"""A carrier whose links show each message to a function: what ``quicdist trace`` prints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quicdist.carrier import (
    Address,
    Carrier,
    Incoming,
    Link,
    Listener,
    LocalNode,
    LostHandler,
    MessageHandler,
    NetAddress,
    TransportStats,
    UserStreams,
)
from quicdist.protocol import NO_PAYLOAD, ControlMessage

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.errors import QuicDistError

#: Called with the link, whether the message was sent, the control message and its payload.
Show = Callable[[Link, bool, ControlMessage, Any], None]


def traced_endpoints(node: Node, show: Show) -> list[Any]:
    """The endpoints of a node that was not started, with carriers that call ``show``: for the option
    ``endpoints`` of the node that takes its place."""
    return [replace(each, carrier=TracedCarrier(each.carrier, show)) for each in node.endpoints]


class TracedCarrier(Carrier):
    """Another carrier, whose links are :class:`TracedLink`."""

    def __init__(self, carrier: Carrier, show: Show) -> None:
        self._carrier = carrier
        self._show = show
        self.family = carrier.family  # type: ignore[misc]

    async def listen(self, name: str, *, host: str | None = None, port: int = 0) -> Listener:
        return await self._carrier.listen(name, host=host, port=port)

    def accept(self, listener: Listener) -> AsyncIterator[Incoming]:
        return self._carrier.accept(listener)

    async def accept_connection(self, incoming: Incoming, local: LocalNode, *, setup_time: float) -> Link:
        link = await self._carrier.accept_connection(incoming, local, setup_time=setup_time)
        return TracedLink(link, self._show)

    async def setup(self, node: str, address: Address, local: LocalNode, *, setup_time: float) -> Link:
        link = await self._carrier.setup(node, address, local, setup_time=setup_time)
        return TracedLink(link, self._show)

    async def close(self, listener: Listener) -> None:
        await self._carrier.close(listener)

    def select(self, node: str) -> bool:
        return self._carrier.select(node)

    def address(self) -> NetAddress:
        return self._carrier.address()


class TracedLink(Link):
    """Another link, each of whose messages is shown: before it is sent, and before it is handled."""

    def __init__(self, link: Link, show: Show) -> None:
        self._link = link
        self._show = show
        self.carrier_name = link.carrier_name  # type: ignore[misc]
        self.peer, self.local = link.peer, link.local
        self.local_address, self.remote_address = link.local_address, link.remote_address
        self.stats = link.stats

    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        def received(control: ControlMessage, payload: Any) -> None:
            self._show(self, False, control, payload)
            on_message(control, payload)

        self._link.start(received, on_lost)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD, *, pair: Hashable = None) -> None:
        self._link.send(control, payload, pair=pair)
        self._show(self, True, control, payload)

    async def drain(self) -> None:
        await self._link.drain()

    @property
    def writable(self) -> bool:
        return self._link.writable

    @property
    def pending(self) -> int:
        return self._link.pending

    def transport_stats(self) -> TransportStats:
        return self._link.transport_stats()

    @property
    def datagram_size(self) -> int | None:
        return self._link.datagram_size

    def migrate(self) -> bool:
        return self._link.migrate()

    def send_tick(self) -> None:
        self._link.send_tick()

    @property
    def user_streams(self) -> UserStreams:
        return self._link.user_streams

    def close(self, reason: str = "") -> None:
        self._link.close(reason)

    async def wait_closed(self) -> None:
        await self._link.wait_closed()

    @property
    def closed(self) -> bool:
        return self._link.closed

    @property
    def error(self) -> QuicDistError | None:  # type: ignore[override]
        return self._link.error
