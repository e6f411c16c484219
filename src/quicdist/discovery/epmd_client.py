"""The client of epmd; each request is bounded in bytes and time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from quicdist.carrier import Address, event_loops
from quicdist.carrier.happy_eyeballs import Candidate, Claim, candidates, race
from quicdist.discovery import epmd_messages as wire
from quicdist.discovery.contract import RegisteredName
from quicdist.discovery.errors import EpmdError, EpmdTimeout, EpmdUnreachable
from quicdist.forking import close_in_children

DEFAULT_PORT = 4369

#: The limit for NAMES_RESP in bytes: some 20,000 nodes on one host.
MAX_NAMES = 1 << 20
#: Seconds for epmd to close a connection that was closed here.
FINISH_TIME = 1.0


def default_port() -> int:
    """``$ERL_EPMD_PORT``, or 4369."""
    text = os.environ.get("ERL_EPMD_PORT")
    if not text:
        return DEFAULT_PORT
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise EpmdError(Address("localhost", DEFAULT_PORT), f"ERL_EPMD_PORT is {text!r}, no port number")
    return int(text)


class Conversation:
    """A connection to an epmd; errors name the epmd and what it was asked."""

    def __init__(
        self, address: Address, asked: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.address = address
        self._asked = asked
        self._reader = reader
        self._writer = writer

    def send(self, request: bytes) -> None:
        self._writer.write(request)

    async def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            got = len(error.partial)
            raise EpmdError(
                self.address, f"closed the connection when asked {self._asked}, {got} of {size} bytes came"
            ) from error

    async def read_to_end(self, limit: int) -> bytes:
        """All that comes until epmd closes, at most ``limit`` bytes."""
        data = bytearray()
        while chunk := await self._reader.read(1 << 16):
            data += chunk
            if len(data) > limit:
                raise EpmdError(self.address, f"more than {limit} bytes came when asked {self._asked}")
        return bytes(data)

    async def closed(self) -> str:
        """Wait until epmd closes the connection, or says something unasked; why it ended."""
        try:
            data = await self._reader.read(1)
        except OSError as error:
            return f"connection lost: {error}"
        return f"unasked byte {data[0]}" if data else "connection closed"

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        with contextlib.suppress(OSError):  # lost or closed: both are the end of it
            await self._writer.wait_closed()

    async def finish(self) -> None:
        """Close, after epmd has closed too, for which it has :data:`FINISH_TIME`: epmd frees the name of a
        node when it reads the end of the connection, and then closes."""
        try:
            # uvloop raises RuntimeError where the connection was reset just now.
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                async with asyncio.timeout(FINISH_TIME):
                    self._writer.write_eof()
                    while await self._reader.read(1 << 16):
                        pass
        finally:
            self.close()
        await self.wait_closed()

    @property
    def remote_host(self) -> str:
        """The IP address that was connected to."""
        return str(self._writer.get_extra_info("peername")[0])


async def connect(address: Address, asked: str) -> Conversation:
    """Connect to the epmd at ``address``. Raises :class:`EpmdUnreachable`."""
    try:
        found = await candidates(address, socket.SOCK_STREAM)
        sock = await race(_connected_socket, found, passing=(OSError,))
        reader, writer = await asyncio.open_connection(sock=sock)
    except (OSError, UnicodeError, OverflowError) as error:
        raise EpmdUnreachable(address, f"cannot be reached: {error}") from error
    except ExceptionGroup as group:
        why = "; ".join(f"{where}: {error}" for where, error in zip(found, group.exceptions, strict=True))
        raise EpmdUnreachable(address, f"cannot be reached: {why}") from group
    return Conversation(address, asked, reader, writer)


async def _connected_socket(candidate: Candidate, claim: Claim) -> socket.socket:
    # Not asyncio's own happy eyeballs: cancelled at the wrong moment, it leaves its socket open.
    sock = socket.socket(candidate.family, socket.SOCK_STREAM)
    close_in_children(sock.fileno())
    try:
        sock.setblocking(False)
        await event_loops.connect(sock, candidate.address)
        if claim():
            return sock
        raise asyncio.CancelledError
    except BaseException:
        sock.close()
        raise


class EpmdClient:
    """The requests to epmd; each must be answered within ``timeout`` seconds.

    All raise :class:`EpmdError`, :class:`EpmdUnreachable` and :class:`EpmdTimeout`.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    async def alive(
        self, address: Address, name: str, port: int, node_type: wire.NodeType
    ) -> tuple[int, Conversation] | None:
        """ALIVE2_REQ: the creation, and the connection that keeps ``name`` registered while open.

        None if the name is taken.
        """
        conversation: Conversation | None = None
        try:
            async with self._bounded(address, asked := f"to register {name}"):
                conversation = await connect(address, asked)
                conversation.send(wire.alive2_req(name, port, node_type))
                tag = await conversation.read(1)
                rest = await conversation.read(wire.alive2_answer_size(tag[0]) - 1)
                creation = wire.alive2_answer(tag + rest)
        except BaseException:
            if conversation is not None:
                conversation.close()
            raise
        if creation is None:
            conversation.close()
            return None
        return creation, conversation

    async def port_please(self, address: Address, name: str) -> tuple[wire.PortInfo, str] | None:
        """PORT_PLEASE2_REQ: the entry of ``name``, and the IP address of the epmd that answered.

        None if ``name`` is not registered.
        """
        async with self._conversation(address, f"for the port of {name}") as conversation:
            conversation.send(wire.port_please2_req(name))
            if not wire.port2_head(await conversation.read(wire.PORT2_HEAD)):
                return None
            info = wire.port2_body(await conversation.read(wire.PORT2_BODY))
            return info, conversation.remote_host

    async def names(self, address: Address) -> list[RegisteredName]:
        """NAMES_REQ: the nodes registered with the epmd at ``address``."""
        async with self._conversation(address, "for its names") as conversation:
            conversation.send(wire.names_req())
            await conversation.read(wire.NAMES_HEAD)
            return wire.names_body(await conversation.read_to_end(MAX_NAMES))

    @contextlib.asynccontextmanager
    async def _conversation(self, address: Address, asked: str) -> AsyncIterator[Conversation]:
        async with self._bounded(address, asked):
            conversation = await connect(address, asked)
            try:
                yield conversation
            finally:
                conversation.close()

    @contextlib.asynccontextmanager
    async def _bounded(self, address: Address, asked: str) -> AsyncIterator[None]:
        """Convert exceptions to the errors of this package."""
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except TimeoutError as error:
            reason = f"no answer within {self.timeout:g} s when asked {asked}"
            raise EpmdTimeout(address, reason) from error
        except wire.MalformedAnswer as error:
            raise EpmdError(address, str(error)) from error
        except OSError as error:
            raise EpmdUnreachable(address, f"connection lost when asked {asked}: {error}") from error
