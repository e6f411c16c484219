"""The network of a cluster under test: the connections between any two nodes can be cut, without root.

Each node has an epmd of its own, played here. Asked for another node, it answers with the port of a proxy of
this pair of nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from quicdist.discovery import epmd_messages as epmd

#: ALIVE2_REQ up to the length of the name.
_ALIVE2_HEAD = struct.Struct(">BHBBHHH")
_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_creations = itertools.count(1)


class Network:
    """Start a node with ``ERL_EPMD_PORT`` set to :meth:`epmd_port` of its name (the part before ``@``)."""

    def __init__(self) -> None:
        #: The port where each registered node listens.
        self._ports: dict[str, int] = {}
        self._epmds: dict[str, asyncio.Server] = {}
        #: The proxy from one node to another.
        self._proxies: dict[tuple[str, str], asyncio.Server] = {}
        self._cut: set[frozenset[str]] = set()
        self._silent: set[frozenset[str]] = set()
        self._writers: dict[frozenset[str], set[asyncio.StreamWriter]] = defaultdict(set)
        self._tasks: set[asyncio.Task[None]] = set()

    async def epmd_port(self, name: str) -> int:
        """The port of the epmd that this node is to use."""
        if name not in self._epmds:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._serve_epmd(name, reader, writer)

            self._epmds[name] = await self._listen(serve)
        return _port(self._epmds[name])

    def cut(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Close all connections between ``some`` and ``others``, and refuse new ones."""
        pairs = _pairs(some, others)
        self._cut |= pairs
        self._abort(pairs)

    def silence(self, some: Iterable[str], others: Iterable[str]) -> None:
        """From now on nothing arrives between ``some`` and ``others``, neither data nor the end of a
        connection. New connections are accepted by the network, and carry nothing."""
        self._silent |= _pairs(some, others)

    def heal(self) -> None:
        """Allow new connections again; those that were silent are closed."""
        silent, self._silent, self._cut = self._silent, set(), set()
        self._abort(silent)

    def _abort(self, pairs: set[frozenset[str]]) -> None:
        for pair in pairs:
            for writer in self._writers[pair]:
                writer.transport.abort()

    async def close(self) -> None:
        for server in [*self._epmds.values(), *self._proxies.values()]:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- epmd --------------------------------------------------------------------------------------

    async def _serve_epmd(
        self, asker: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        request = await reader.readexactly(size)
        match request[0]:
            case epmd.ALIVE2_REQ:
                _, port, *_, length = _ALIVE2_HEAD.unpack_from(request)
                name = request[_ALIVE2_HEAD.size :][:length].decode()
                assert name == asker, f"{name} asked the epmd of {asker}"
                self._ports[name] = port
                writer.write(struct.pack(">BBI", epmd.ALIVE2_X_RESP, 0, next(_creations)))
                await reader.read()  # registered until the node closes the connection
                if self._ports.get(name) == port:
                    del self._ports[name]
            case epmd.PORT_PLEASE2_REQ:
                writer.write(await self._port_answer(asker, request[1:].decode()))
            case epmd.NAMES_REQ:
                lines = [f"name {name} at port {port}\n" for name, port in self._ports.items()]
                writer.write(struct.pack(">I", _port(self._epmds[asker])) + "".join(lines).encode())

    async def _port_answer(self, asker: str, name: str) -> bytes:
        if name not in self._ports:
            return bytes((epmd.PORT2_RESP, 1))
        port = self._ports[name] if name == asker else await self._proxy(asker, name)
        head = struct.pack(">BBHBBHHH", epmd.PORT2_RESP, 0, port, epmd.NodeType.NORMAL, 0, 6, 5, len(name))
        return head + name.encode() + b"\0\0"

    # -- proxies -----------------------------------------------------------------------------------

    async def _proxy(self, dialler: str, listener: str) -> int:
        way = dialler, listener
        if way not in self._proxies:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._forward(dialler, listener, reader, writer)

            self._proxies[way] = await self._listen(serve)
        return _port(self._proxies[way])

    async def _forward(
        self, dialler: str, listener: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pair = frozenset((dialler, listener))
        if pair in self._cut or listener not in self._ports:
            writer.transport.abort()
            return
        back, onward = await asyncio.open_connection("127.0.0.1", self._ports[listener])
        ends = {writer, onward}
        if pair in self._cut:
            onward.transport.abort()
            return
        self._writers[pair] |= ends
        try:
            await asyncio.gather(self._pump(pair, reader, onward), self._pump(pair, back, writer))
        finally:
            self._writers[pair] -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, pair: frozenset[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward until the end of the data; then close the other side's half as well."""
        while data := await reader.read(1 << 16):
            if pair not in self._silent:
                writer.write(data)
                await writer.drain()
        if pair not in self._silent and writer.can_write_eof():
            writer.write_eof()

    # -- servers -----------------------------------------------------------------------------------

    async def _listen(self, serve: _Serve) -> asyncio.Server:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                try:
                    await serve(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(handle(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await asyncio.start_server(accept, "127.0.0.1", 0)


def _pairs(some: Iterable[str], others: Iterable[str]) -> set[frozenset[str]]:
    others = list(others)
    return {frozenset((one, other)) for one in some for other in others}


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port
