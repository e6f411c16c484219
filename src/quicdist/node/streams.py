"""User streams of a node: opened to other nodes, and accepted from them.

This module has the streams for Python code: :class:`~quicdist.carrier.UserStream` objects that are read and
written. Streams whose data come to a process as messages are in :mod:`quicdist.node.quic_dist`. On the wire
both are the same.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quicdist.carrier import DEFAULT_PRIORITY, Link, StreamLimitReached, StreamsNotSupported, UserStream
from quicdist.containment import describe, settle
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.node.stream_support import has_streams
from quicdist.protocol.names import node_name
from quicdist.term.names import Name

if TYPE_CHECKING:
    from types import TracebackType

    from quicdist.node.connections import ConnectionTable
    from quicdist.node.process import Process
    from quicdist.node.runtime import Runtime

log = get_logger("quicdist.node")

#: Serves one stream: a coroutine function, or a plain function.
StreamHandler = Callable[[UserStream], Any]
#: Takes a new stream.
Taker = Callable[[UserStream], None]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """An entry of ``quic_dist:list_streams/0``. ``owner`` is a process, or None if Python code reads the
    stream."""

    node: str
    stream_id: int
    owner: Process | None
    priority: int
    recv_fin: bool
    send_fin: bool


class StreamAcceptor:
    """Accepts streams that other nodes open, until :meth:`stop`.

    Without a handler it is an asynchronous iterator over the streams.
    """

    def __init__(self, streams: Streams, node: Name | None, take: Taker | None = None) -> None:
        #: The node whose streams it accepts; None: all nodes.
        self.node = None if node is None else node_name(node)
        self._streams = streams
        self._take = take
        self._came: asyncio.Queue[UserStream | None] = asyncio.Queue()

    def take(self, stream: UserStream) -> None:
        """Take a stream."""
        if self._take is not None:
            self._take(stream)
        else:
            self._came.put_nowait(stream)

    def stop(self) -> None:
        """Accept no more streams. Accepted ones continue, and an iteration ends after them."""
        if self._streams.remove(self):
            self._came.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[UserStream]:
        """The streams that other nodes open, until :meth:`stop`."""
        if self._take is not None:
            raise TypeError("cannot iterate over an acceptor with a handler: the handler gets the streams")
        while (stream := await self._came.get()) is not None:
            yield stream

    async def __aenter__(self) -> StreamAcceptor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Streams:
    """The user streams of one node, and its acceptors."""

    def __init__(self, connections: ConnectionTable, runtime: Callable[[], Runtime]) -> None:
        self._connections = connections
        self._runtime = runtime
        self._pool: list[StreamAcceptor] = []
        self._next_acceptor: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: The owner of each stream that a process owns.
        self.owners: dict[UserStream, Process] = {}

    # -- opening ---------------------------------------------------------------------------

    async def open(self, node: Name, priority: int = DEFAULT_PRIORITY) -> UserStream:
        """Open a stream to ``node``, which is connected first if it is not. Waits while the node allows no
        more streams. The node sees the stream with its first bytes, or its end.

        Raises :class:`NotConnected`, :class:`StreamsNotSupported`, and :class:`StreamLost` if the
        connection ends meanwhile.
        """
        runtime = self._runtime()
        runtime.check_loop()
        node = node_name(node)
        link = await self._connections.connect(node)
        streams = link.user_streams
        if not await has_streams(runtime, link):
            raise StreamsNotSupported(node, "its quic_dist is older than 1.0")
        while True:
            try:
                return streams.open(priority)
            except StreamLimitReached:
                await streams.room()

    # -- accepting -------------------------------------------------------------------------

    def accept(self, handler: StreamHandler | None = None, *, node: Name | None = None) -> StreamAcceptor:
        """Accept streams that ``node`` opens, or any node: see :meth:`quicdist.Node.accept_streams`."""
        take = None if handler is None else lambda stream: self._serve(handler, stream)
        return self.add(StreamAcceptor(self, node, take))

    def add(self, acceptor: StreamAcceptor) -> StreamAcceptor:
        self._pool.append(acceptor)
        return acceptor

    def remove(self, acceptor: StreamAcceptor) -> bool:
        if acceptor not in self._pool:
            return False
        self._pool.remove(acceptor)
        return True

    def link_made(self, link: Link) -> None:
        """Pass the streams of a new connection to the acceptors."""
        try:
            link.user_streams.accept(self._offered)
        except StreamsNotSupported:
            return

    def _offered(self, stream: UserStream) -> bool:
        """Give a stream to the next acceptor, round robin; False if there is none."""
        node = stream.node
        pool = [acceptor for acceptor in self._pool if acceptor.node is None or acceptor.node == node]
        if not pool:
            return False
        number = self._next_acceptor.get(node, 0)
        self._next_acceptor[node] = number + 1
        pool[number % len(pool)].take(stream)
        return True

    def _serve(self, handler: StreamHandler, stream: UserStream) -> None:
        try:
            served = handler(stream)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            stream.reset()
            _serving_failed(stream, error)
            return
        if inspect.isawaitable(served):
            task = asyncio.get_running_loop().create_task(
                _serve(served, stream), name=f"quicdist: stream {stream.stream_id} of {stream.node}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- listing ---------------------------------------------------------------------------

    def links(self, node: Name | None) -> list[Link]:
        node = None if node is None else node_name(node)
        return [link for link in self._connections.links() if node is None or link.peer.name == node]

    def list(self, node: Name | None = None) -> list[StreamInfo]:
        """The open streams with ``node``, or with all nodes."""
        found = []
        for link in self.links(node):
            try:
                streams = link.user_streams
            except StreamsNotSupported:
                continue
            found += [
                StreamInfo(
                    stream.node,
                    stream.stream_id,
                    self.owners.get(stream),
                    stream.priority,
                    stream.recv_fin,
                    stream.send_fin,
                )
                for stream in streams
            ]
        return found

    def find(self, node: str, stream_id: int) -> UserStream | None:
        """The open stream with ``node`` that has this id."""
        link = self._connections.link(node)
        if link is None:
            return None
        try:
            return link.user_streams.get(stream_id)
        except StreamsNotSupported:
            return None

    def stop_accepting(self) -> None:
        """Stop all acceptors."""
        for acceptor in list(self._pool):
            acceptor.stop()

    def is_run_by(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a handler runs in ``task``."""
        return task in self._tasks

    async def finished(self, timeout: float) -> None:
        """Wait until the running handlers have ended, for ``timeout`` seconds; then cancel them."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout)
        self.break_off()

    def break_off(self) -> None:
        """Cancel the running handlers."""
        for task in list(self._tasks):
            task.cancel()


async def _serve(served: Awaitable[Any], stream: UserStream) -> None:
    _, error = await settle(_used(served, stream))
    if error is not None:
        _serving_failed(stream, error)


async def _used(served: Awaitable[Any], stream: UserStream) -> None:
    async with stream:
        await served


def _serving_failed(stream: UserStream, error: BaseException) -> None:
    if isinstance(error, QuicDistError):
        log.info("serving stream %d of %s ended: %s", stream.stream_id, stream.node, describe(error))
    else:
        log.error("serving stream %d of %s failed", stream.stream_id, stream.node, exc_info=error)
