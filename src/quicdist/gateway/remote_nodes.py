"""The remote nodes of one host, each with a TCP port at which the local node dials it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from quicdist.carrier import Address, TcpCarrier
from quicdist.carrier.tcp.listener import TcpIncoming, TcpListener
from quicdist.containment import settle_within
from quicdist.discovery import Discovery, DiscoveryError, NodeNotFound, RegisteredName
from quicdist.errors import QuicDistError
from quicdist.gateway.errors import GatewayError
from quicdist.gateway.tasks import Tasks
from quicdist.protocol import is_node_name

#: Remote nodes of one host that have a port; beyond that the one that was asked for least recently loses it,
#: as programs on this machine may ask for any name.
MAX_NODES: Final = 256
#: Names of one host that an answer to NAMES_REQ lists.
MAX_LISTED: Final = 64

#: Called with a remote node and a connection of the local node to it; it is the caller's task.
Dialled = Callable[[str, TcpIncoming], Coroutine[Any, Any, None]]


async def addresses_of(discovery: Discovery, node: str, seconds: float) -> Sequence[Address]:
    """All addresses that discovery, which may be code of the program, has for ``node``, within ``seconds``.
    Raises :class:`~quicdist.discovery.DiscoveryError` and :class:`GatewayError`."""
    found, error = await settle_within(lambda: discovery.lookup_all(node), seconds)
    if error is None:
        return list(found)
    if isinstance(error, QuicDistError):
        raise error
    raise GatewayError(f"{type(discovery).__name__} failed to look up {node}: {error!r}") from error


class RemoteNodes:
    """The nodes of ``host``, which the local node finds at ``address``: the :class:`~quicdist.gateway.epmd
    .Names` of that host's epmd."""

    def __init__(
        self, host: str, address: str, discovery: Discovery, dialled: Dialled, *, seconds: float
    ) -> None:
        self._host = host
        self._address = address
        self._discovery = discovery
        self._dialled = dialled
        self._seconds = seconds
        self._carrier = TcpCarrier()
        self._listeners: OrderedDict[str, TcpListener] = OrderedDict()
        self._tasks = Tasks()
        self._lock = asyncio.Lock()

    async def port_of(self, name: str) -> int | None:
        node = f"{name}@{self._host}"
        if not is_node_name(node):
            return None
        try:
            await addresses_of(self._discovery, node, self._seconds)
        except NodeNotFound:
            return None
        return await self._port(node)

    async def registered(self) -> Sequence[RegisteredName]:
        try:
            known, error = await settle_within(lambda: self._discovery.names(self._host), self._seconds)
        except DiscoveryError:
            return []
        if error is not None:
            raise GatewayError(f"cannot list the nodes of {self._host}: {error}")
        names = sorted({name.name for name in known})[:MAX_LISTED]
        return [
            RegisteredName(name, await self._port(f"{name}@{self._host}"))
            for name in names
            if is_node_name(f"{name}@{self._host}")
        ]

    async def _port(self, node: str) -> int:
        """The port of ``node``; it is opened if there is none."""
        async with self._lock:
            listener = self._listeners.get(node)
            if listener is None:
                listener = await self._carrier.listen(node, host=self._address)
                self._listeners[node] = listener
                self._tasks.spawn(self._accept(node, listener), f"dials of {node}")
                if len(self._listeners) > MAX_NODES:
                    self._listeners.popitem(last=False)[1].close()
            self._listeners.move_to_end(node)
        return listener.address.port

    async def _accept(self, node: str, listener: TcpListener) -> None:
        async for incoming in self._carrier.accept(listener):
            assert isinstance(incoming, TcpIncoming)
            self._tasks.spawn(self._dialled(node, incoming), f"dial of {node}")

    async def close(self) -> None:
        """Close the ports, and give up dials that are under way."""
        while self._listeners:
            self._listeners.popitem()[1].close()
        await self._tasks.close()
