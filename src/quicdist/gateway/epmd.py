"""The epmds of a gateway: that of the local node, and those of the remote hosts.

Source: ERTS User's Guide, *Distribution Protocol*, *EPMD Protocol*.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from quicdist.discovery import RegisteredName, new_creation
from quicdist.discovery import epmd_messages as wire
from quicdist.errors import QuicDistError
from quicdist.gateway.errors import GatewayError
from quicdist.gateway.local_server import LocalServer
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.gateway.epmd")

T = TypeVar("T")

#: Seconds for a request to come; the answer may wait for discovery.
REQUEST_TIME: Final = 10.0
#: Connections with a request that is not answered yet, of all programs on this machine.
MAX_REQUESTS: Final = 256
#: Names that programs on this machine may register.
MAX_NAMES: Final = 256


class Names(Protocol):
    """What an epmd answers."""

    async def port_of(self, name: str) -> int | None:
        """The port of a node, by its name without the host; None if it is not registered."""

    async def registered(self) -> Sequence[RegisteredName]:
        """All names, with their ports."""


class LocalNames:
    """The nodes that have registered with the gateway: the local node, and command-line tools."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._ports: dict[str, int] = {}
        self._changed = changed

    def register(self, name: str, port: int) -> int | None:
        """Register a name; its creation, or None if it is taken, or there are too many."""
        if name in self._ports or len(self._ports) >= MAX_NAMES:
            return None
        self._ports[name] = port
        self._changed(name)
        return new_creation()

    def unregister(self, name: str) -> None:
        del self._ports[name]
        self._changed(name)

    def __contains__(self, name: str) -> bool:
        return name in self._ports

    async def port_of(self, name: str) -> int | None:
        return self._ports.get(name)

    async def registered(self) -> Sequence[RegisteredName]:
        return [RegisteredName(name, port) for name, port in self._ports.items()]


def port_is_taken(error: GatewayError) -> bool:
    """Whether an epmd cannot listen because another program does."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE


class EpmdServer:
    """Answers as epmd at one address, from ``names``. With ``local`` nodes can register."""

    def __init__(self, names: Names, local: LocalNames | None = None) -> None:
        self._names = names
        self._local = local
        self._server = LocalServer(
            "answer as epmd",
            self._converse,
            most=MAX_REQUESTS + (0 if local is None else MAX_NAMES),
            limit=wire.MAX_REQUEST,
        )
        self._requests = 0
        self._too_many = RateLimit()
        self.listen = self._server.listen
        self.close = self._server.close

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def address(self) -> str:
        return self._server.address

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name = await self._request(reader, writer)
        except wire.MalformedAnswer as error:
            log.debug("epmd request refused: %s", error)
        else:
            if name is not None:
                await self._stay(name, reader)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        """Read a request and answer it. Returns the name that it has registered."""
        if self._requests >= MAX_REQUESTS:
            note = self._too_many.admit()
            if note is not None:
                log.warning("epmd request refused: %d are being answered%s", self._requests, note)
            return None
        self._requests += 1
        try:
            async with asyncio.timeout(REQUEST_TIME):
                size = int.from_bytes(await reader.readexactly(2), "big")
                if not 0 < size <= wire.MAX_REQUEST:
                    raise wire.MalformedAnswer(f"a request of {size} bytes")
                return await self._answer(await reader.readexactly(size), writer)
        finally:
            self._requests -= 1

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> str | None:
        """Answer a request. Returns the name that it has registered."""
        tag, registered = body[0], None
        if tag == wire.PORT_PLEASE2_REQ:
            name = wire.port_please2_request(body)
            writer.write(wire.port2_response(name, await self._ask(self._names.port_of(name), None)))
        elif tag == wire.NAMES_REQ:
            writer.write(wire.names_response(self.port, await self._ask(self._names.registered(), ())))
        elif tag == wire.ALIVE2_REQ and self._local is not None:
            request = wire.alive2_request(body)
            creation = self._local.register(request.name, request.port)
            if creation is not None:
                registered = request.name
                # The finally of _stay unregisters it: no await in between.
            writer.write(wire.alive2_response(request, creation))
        else:
            raise wire.MalformedAnswer(f"unknown request {tag}")
        if registered is None:
            await writer.drain()
        return registered

    async def _stay(self, name: str, reader: asyncio.StreamReader) -> None:
        """A node is registered for as long as its connection is open."""
        assert self._local is not None
        try:
            with contextlib.suppress(OSError):
                await reader.read(1)
        finally:
            self._local.unregister(name)

    async def _ask(self, answer: Awaitable[T], otherwise: T) -> T:
        try:
            return await answer
        except QuicDistError as error:
            log.warning("epmd question not answered: %s", error)
            return otherwise
