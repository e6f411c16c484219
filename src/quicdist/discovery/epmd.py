"""Discovery by epmd, the Erlang port mapper daemon: the default of nodes over TCP."""

from __future__ import annotations

import asyncio

from quicdist.carrier import Address
from quicdist.discovery import epmd_client
from quicdist.discovery.contract import Discovery, Family, RegisteredName, alive_name
from quicdist.discovery.epmd_messages import NodeType
from quicdist.discovery.errors import (
    DiscoveryError,
    EpmdTimeout,
    EpmdUnreachable,
    Looked,
    NodeNameTaken,
    NodeNotFound,
)
from quicdist.discovery.resolve import resolve
from quicdist.logs import get_logger

logger = get_logger("quicdist.discovery.epmd")

_LOOPBACK: dict[Family, str] = {"inet": "127.0.0.1", "inet6": "::1"}


class EpmdDiscovery(Discovery):
    """Registers nodes with the epmd of this host and asks the epmd of a node's host for its port.

    ``port`` is epmd's port on every host, ``$ERL_EPMD_PORT`` or 4369 by default. ``host`` is where the epmd
    to register with is, this host's loopback address by default: epmd always listens there, whatever
    ``$ERL_EPMD_ADDRESS`` says. With ``start_epmd`` a local epmd that is not running is started, if there is
    one on ``PATH``. ``hidden`` is the type of the node for epmd, which tells it to no other node. ``timeout``
    (seconds) bounds each question, ``reconnect_after`` (seconds) is the time between attempts to reconnect to
    an epmd that went away (``RECONNECT_TIME`` in ``erl_epmd``).
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        host: str | None = None,
        start_epmd: bool = True,
        hidden: bool = True,
        timeout: float = 10.0,
        reconnect_after: float = 2.0,
    ) -> None:
        self.port = port if port is not None else epmd_client.default_port()
        self._host = host
        self._start_epmd = start_epmd
        self._node_type = NodeType.HIDDEN if hidden else NodeType.NORMAL
        self._client = epmd_client.EpmdClient(timeout)
        self._reconnect_after = reconnect_after
        self._registrations: dict[str, _Registration] = {}

    async def register_node(self, name: str, port: int, family: Family = "inet") -> int:
        """Register with epmd, and again whenever epmd comes back after it went away.

        Raises :class:`NodeNameTaken`, :class:`EpmdUnreachable`, :class:`EpmdError`.
        """
        alive = alive_name(name)
        address = Address(self._host or _LOOPBACK[family], self.port)
        if alive in self._registrations:
            raise NodeNameTaken(name, "this program")
        registration = _Registration(self, name, port, address)
        self._registrations[alive] = registration
        try:
            return await registration.begin()
        except BaseException:
            del self._registrations[alive]
            raise

    async def port_please(self, name: str, host: str) -> int:
        return (await self._find(name, host))[0]

    async def address_please(self, name: str, host: str, family: Family | None = None) -> Address:
        if family is None:
            # All addresses of the host are left for the carrier to try: the one at which epmd
            # answered need not be one at which the node listens.
            return Address(host, await self.port_please(name, host))
        try:
            address = (await resolve(host, self.port, family))[0]
        except DiscoveryError as error:
            raise NodeNotFound(f"{name}@{host}", [Looked("epmd", str(error))]) from error
        port, answered_at = await self._find(name, host, asked=address.host)
        return Address(answered_at, port)

    async def names(self, host: str) -> list[RegisteredName]:
        """The names that ``epmd -names`` prints on ``host``. Raises :class:`EpmdError`."""
        return await self._client.names(Address(host, self.port))

    async def unregister_node(self, name: str) -> None:
        registration = self._registrations.pop(alive_name(name), None)
        if registration is not None:
            await registration.end()

    async def close(self) -> None:
        while self._registrations:
            await self._registrations.popitem()[1].end()

    async def _find(self, name: str, host: str, asked: str | None = None) -> tuple[int, str]:
        where = Address(asked or host, self.port)
        try:
            found = await self._client.port_please(where, name)
        except (EpmdUnreachable, EpmdTimeout) as error:
            looked = Looked(f"epmd at {where}", error.reason)
            raise NodeNotFound(f"{name}@{host}", [looked]) from error
        if found is None:
            raise NodeNotFound(f"{name}@{host}", [Looked(f"epmd at {where}", "not registered")])
        info, answered_at = found
        return info.port, answered_at


class _Registration:
    """One name kept registered: a node is registered for as long as its connection is open."""

    def __init__(self, epmd: EpmdDiscovery, node: str, port: int, address: Address) -> None:
        self._epmd = epmd
        self._node = node
        self._port = port
        self._address = address
        self._conversation: epmd_client.Conversation | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def begin(self) -> int:
        try:
            creation = await self._register()
        except EpmdUnreachable:
            if not self._epmd._start_epmd or self._epmd._host is not None:
                raise
            from quicdist.discovery.epmd_daemon import start_epmd

            await start_epmd(self._address, within=self._epmd._client.timeout)
            creation = await self._register()
        self._keeper = asyncio.create_task(self._keep(), name=f"epmd keeper of {self._node}")
        return creation

    async def end(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._conversation is not None:
            await self._conversation.finish()

    async def _register(self) -> int:
        answer = await self._epmd._client.alive(
            self._address, alive_name(self._node), self._port, self._epmd._node_type
        )
        if answer is None:
            raise NodeNameTaken(self._node, f"epmd at {self._address}")
        creation, self._conversation = answer
        return creation

    async def _keep(self) -> None:
        while self._conversation is not None:
            reason = await self._conversation.closed()
            self._conversation.close()
            self._conversation = None
            logger.warning("epmd at %s: %s; %s is not registered now", self._address, reason, self._node)
            await self._register_again()
            logger.info("%s is registered again with epmd at %s", self._node, self._address)

    async def _register_again(self) -> None:
        # The creation that comes with it is not used: a node keeps its own as long as it lives.
        last = ""
        while True:
            await asyncio.sleep(self._epmd._reconnect_after)
            try:
                await self._register()
            except DiscoveryError as error:
                if str(error) != last:  # once for each error, not for each attempt
                    last = str(error)
                    logger.warning("%s cannot be registered again: %s", self._node, error)
            else:
                return
