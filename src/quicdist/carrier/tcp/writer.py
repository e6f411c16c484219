"""The writing half of a TCP connection: frames in, bytes to the kernel, from two threads.

The thread of the event loop queues and writes. While it is blocked, :meth:`Writer.keep_alive` writes in
another one (:mod:`quicdist.carrier.keepalive`). An asyncio transport cannot be used there, and does not show
where a frame ends that the kernel has taken in part. So the writer has its own descriptor for the socket, and
ticks are sent between frames."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque

from quicdist.carrier.keepalive import TICK_INTERVAL
from quicdist.forking import close_in_children
from quicdist.protocol import TICK

#: Bytes for one call of the kernel, at most.
FEED = 256 * 1024


class Writer:
    """Writes to the socket of a transport that has written all of its own bytes.

    All but :attr:`queue` and :attr:`put` is changed under the lock of
    :class:`~quicdist.carrier.keepalive.KeepAlive` only.
    """

    __slots__ = ("_kept_at", "error", "left", "put", "queue", "sock", "ticks")

    def __init__(self, transport: asyncio.Transport) -> None:
        #: None once it is closed.
        self.sock = _duplicate(transport)
        #: The queue: whole frames but for the first. The link adds at its end, and counts in ``put``.
        self.queue: deque[bytes | memoryview] = deque()
        #: Bytes that were queued, and those that have left, in all.
        self.put = self.left = 0
        #: The error after which nothing can be written.
        self.error: OSError | None = None
        #: Ticks sent by :meth:`keep_alive` and not counted yet.
        self.ticks = 0
        self._kept_at = 0.0

    @property
    def is_empty(self) -> bool:
        """The kernel has all that was ever queued."""
        return not self.queue

    def write(self) -> bool:
        """In the thread of the event loop: write the queue; False if the kernel did not take all."""
        queue = self.queue
        if not queue:
            return True
        if self.put - self.left > FEED:
            return self._write_in_steps()
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        queue.clear()
        return self._send(data)

    def _write_in_steps(self) -> bool:
        # From the front, one by one: another thread may add meanwhile.
        while self.queue:
            if not self._send(self._take(FEED)):
                return False
        return True

    def _take(self, room: int) -> bytes | memoryview:
        """Up to ``room`` bytes from the front of the queue."""
        queue = self.queue
        taken: list[bytes | memoryview] = []
        while queue and room > 0:
            part = queue.popleft()
            size = len(part)
            if size > room:
                view = memoryview(part)
                queue.appendleft(view[room:])
                part, size = view[:room], room
            taken.append(part)
            room -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _send(self, data: bytes | memoryview) -> bool:
        """Write ``data`` from the front of the queue; whether the kernel took all."""
        assert self.sock is not None
        try:
            sent = self.sock.send(data)
        except OSError as error:
            if not self._takes_later(error):
                return False
            sent = 0
        self.left += sent
        if sent < len(data):
            self.queue.appendleft(memoryview(data)[sent:])
            return False
        return True

    def _takes_later(self, error: OSError) -> bool:
        """Whether the kernel, which has taken nothing, takes bytes later. Otherwise nothing more can be
        written."""
        if isinstance(error, BlockingIOError | InterruptedError):
            return True
        self._fail(error)
        return False

    def _fail(self, error: OSError) -> None:
        self.error = error
        self._clear()

    def _clear(self) -> None:
        self.queue.clear()
        self.left = self.put

    def keep_alive(self, now: float, *, ticks: bool) -> bool:
        """In another thread: write the queue, or a tick if one is due and ``ticks`` allows it; whether there
        was something to write."""
        if self.sock is None or self.error is not None:
            return False
        if self.is_empty:
            if not ticks or now - self._kept_at < TICK_INTERVAL:
                return False
            self.left -= len(TICK)
            self.queue.append(TICK)
            self.ticks += 1
        self._kept_at = now
        self._write_in_steps()
        return True

    def close(self) -> None:
        """Drop the queue, and close the descriptor."""
        self._clear()
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def _duplicate(transport: asyncio.Transport) -> socket.socket | None:
    """Another descriptor of a transport's socket; None if that is closed already."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None:
        return None
    with contextlib.suppress(OSError):
        duplicate = socket.fromfd(sock.fileno(), sock.family, sock.type, sock.proto)
        close_in_children(duplicate.fileno())
        duplicate.setblocking(False)
        return duplicate
    return None
