"""Differences between event loops: asyncio's, and uvloop's, which is libuv.

libuv resolves names in a pool of threads, which never end. A process that is forked after they have started
waits for them when it exits, and crashes or hangs, because they do not exist there: libuv does not support a
fork without an exec (libuv issue 4443). So quicdist never starts them.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
from collections.abc import Sequence
from typing import Any


def is_uvloop(loop: asyncio.AbstractEventLoop) -> bool:
    """True for a loop of uvloop, or of a derived class. Does not import uvloop, which is an extra."""
    return any(kind.__module__.partition(".")[0] == "uvloop" for kind in type(loop).__mro__)


async def getaddrinfo(
    host: str, port: int, *, family: int = 0, kind: int = 0, flags: int = 0
) -> Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]:
    """The addresses of ``host``, by the event loop's resolver; on uvloop by Python's, in a thread of the
    loop's default executor. ``kind`` is the type of the socket.

    Raises OSError, and UnicodeError for a malformed host name.
    """
    loop = asyncio.get_running_loop()
    if is_uvloop(loop):
        look_up = functools.partial(socket.getaddrinfo, host, port, family, kind, flags=flags)
        return await loop.run_in_executor(None, look_up)
    return await loop.getaddrinfo(host, port, family=family, type=kind, flags=flags)


async def connect(sock: socket.socket, address: tuple[Any, ...]) -> None:
    """Connect a non-blocking socket to an IP address. Raises OSError.

    ``sock_connect`` of uvloop resolves IP addresses too, without the scope of IPv6 addresses.
    """
    loop = asyncio.get_running_loop()
    if not is_uvloop(loop):
        await loop.sock_connect(sock, address)
        return
    error = sock.connect_ex(address)
    if error in (errno.EINPROGRESS, errno.EINTR):
        done = asyncio.Event()
        loop.add_writer(sock, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
