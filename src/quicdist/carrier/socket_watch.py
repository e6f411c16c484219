"""Watches a datagram socket in the event loop, also when the kernel reports ICMP errors on it.

An ICMP error about one address makes the socket of all of them readable with POLLERR. libuv then stops
watching it (``uv__poll_io``): on uvloop nothing more would be read from a listening socket after one peer has
gone. So there the loop watches an epoll descriptor, which watches the socket and has no errors itself.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

from quicdist.carrier.event_loops import is_uvloop
from quicdist.forking import close_in_children, keep_in_children


class SocketWatch:
    """Calls ``readable`` when there is something to read, or an error; see :meth:`writable`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, descriptor: int, readable: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._nests = is_uvloop(loop) and hasattr(select, "epoll")
        self._reading: Any = None
        self._writing: Any = None
        self._reading = self._watched("EPOLLIN")
        loop.add_reader(descriptor if self._reading is None else self._reading.fileno(), readable)

    def _watched(self, event: str) -> Any:
        """An epoll object that is readable when the socket has ``event``; None where the loop watches the
        socket itself."""
        if not self._nests:
            return None
        watched = select.epoll()
        # In a forked process the loop would stop watching this one, and with it the loop of the parent.
        close_in_children(watched.fileno())
        watched.register(self._descriptor, getattr(select, event))
        return watched

    def writable(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` whenever the socket can be written, until :meth:`not_writable`."""
        self._writing = self._watched("EPOLLOUT")
        if self._writing is None:
            self._loop.add_writer(self._descriptor, callback)
        else:
            self._loop.add_reader(self._writing.fileno(), callback)

    def not_writable(self) -> None:
        """Undo :meth:`writable`."""
        if self._writing is None:
            self._loop.remove_writer(self._descriptor)
        else:
            self._loop.remove_reader(self._writing.fileno())
            _close(self._writing)
            self._writing = None

    def close(self) -> None:
        """Stop watching; before the socket is closed. The loop may be closed already."""
        if not self._loop.is_closed():
            self.not_writable()
            self._loop.remove_reader(self._descriptor if self._reading is None else self._reading.fileno())
        for watched in (self._reading, self._writing):
            if watched is not None:
                _close(watched)


def _close(watched: Any) -> None:
    keep_in_children(watched.fileno())
    watched.close()
