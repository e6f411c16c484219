"""A TCP server of a gateway for programs on its machine: one question, one answer, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from quicdist.forking import close_in_children
from quicdist.gateway.errors import GatewayError
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.gateway")

#: Connections that are accepted in one turn of the event loop, and wait for it: those of a flood do not delay
#: the traffic that is relayed.
BACKLOG: Final = 32

#: Answers one connection. What may end it without a word: the program has gone, or sends nothing.
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class LocalServer:
    """Calls ``answer`` for each connection, and closes it after that. ``what`` it does, for errors, as in
    "cannot answer as epmd". At most ``most`` connections are answered at once; others are closed. ``limit``
    is that of a request, in bytes."""

    def __init__(self, what: str, answer: Answer, *, most: int, limit: int) -> None:
        self._what = what
        self._answer = answer
        self._most = most
        self._limit = limit
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._too_many = RateLimit()
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        """Raises :class:`GatewayError`, whose cause is the :class:`OSError`."""
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=self._limit, backlog=BACKLOG
            )
        except OSError as error:
            raise GatewayError(f"cannot {self._what} at {host}:{port}: {error.strerror or error}") from error
        for sock in self._server.sockets:
            close_in_children(sock.fileno())
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return str(self._server.sockets[0].getsockname()[0])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._open) >= self._most:
                note = self._too_many.admit()
                if note is not None:
                    log.warning("cannot %s: %d connections are open%s", self._what, len(self._open), note)
                return
            self._open.add(task)
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # The program has gone, or sends no request.
        except asyncio.CancelledError:
            pass  # The gateway stops.
        finally:
            self._open.discard(task)
            writer.close()
