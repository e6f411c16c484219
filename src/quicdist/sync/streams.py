"""Streams of bytes, for threads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, cast

from quicdist.carrier import UserStream as AsyncUserStream
from quicdist.node.streams import StreamAcceptor as AsyncStreamAcceptor
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, blocking, in_loop, next_of
from quicdist.sync.threads import in_thread


class UserStream(Facade[AsyncUserStream]):
    """A :class:`quicdist.UserStream` for threads: an iterator over the data received, and a context manager,
    which closes the stream. One thread at a time may read."""

    write = in_loop(AsyncUserStream.write)
    write_eof = in_loop(AsyncUserStream.write_eof)
    drain = blocking(AsyncUserStream.drain)
    send = blocking(AsyncUserStream.send)
    sendfile = blocking(AsyncUserStream.sendfile)
    reset = in_loop(AsyncUserStream.reset)
    close = in_loop(AsyncUserStream.close)
    read = blocking(AsyncUserStream.read)
    readexactly = blocking(AsyncUserStream.readexactly)
    readinto = blocking(AsyncUserStream.readinto)
    at_eof = in_loop(AsyncUserStream.at_eof)

    @property
    def node(self) -> str:
        """The name of the other node."""
        return self._inner.node

    @property
    def stream_id(self) -> int:
        """The id of the stream in QUIC."""
        return self._inner.stream_id

    @property
    def priority(self) -> int:
        """The priority of the data sent here: 16 first, 255 last."""
        return self._inner.priority

    @property
    def send_fin(self) -> bool:
        """Whether this side has finished what it sends."""
        return self._inner.send_fin

    @property
    def recv_fin(self) -> bool:
        """Whether the peer has finished what it sends; some of it may still have to be read."""
        return self._inner.recv_fin

    @property
    def closed(self) -> bool:
        """Whether it is over: finished by both sides, reset, or lost."""
        return self._inner.closed

    def __iter__(self) -> Iterator[bytes]:
        """Data as it comes, until the end."""
        while piece := self.read(_PIECE):
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream; reset it, with code 0, if an exception ends the block."""
        if kind is None:
            self.close()
        else:
            self.reset()


#: Bytes of a piece of an iteration, at most.
_PIECE = 1024 * 1024


class StreamAcceptor(Facade[AsyncStreamAcceptor]):
    """What ``accept_streams`` returns: an iterator over the streams that other nodes open, and a context
    manager, which stops it."""

    def __init__(self, thread: LoopThread, inner: AsyncStreamAcceptor) -> None:
        super().__init__(thread, inner)
        self._streams = aiter(inner)

    stop = in_loop(AsyncStreamAcceptor.stop)

    @property
    def node(self) -> str | None:
        """The node whose streams it accepts, None: of any node."""
        return self._inner.node

    def __iter__(self) -> Iterator[UserStream]:
        """The streams that other nodes open, until :meth:`stop`."""
        while (stream := self._thread.call(next_of, self._streams)) is not None:
            yield UserStream(self._thread, stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stream_of(thread: LoopThread, stream: AsyncUserStream) -> UserStream:
    """The stream for threads."""
    return UserStream(thread, stream)


def handler_of(thread: LoopThread, handler: Callable[[UserStream], Any]) -> Callable[[AsyncUserStream], Any]:
    """A plain function as the handler of a stream: it is called in a thread, and the stream is closed when it
    returns, and reset when it raises."""
    if inspect.iscoroutinefunction(handler):
        return cast("Callable[[AsyncUserStream], Any]", handler)

    async def served(stream: AsyncUserStream) -> None:
        name = f"quicdist stream {stream.stream_id} of {stream.node}"
        await in_thread(name, handler, UserStream(thread, stream))

    return served
