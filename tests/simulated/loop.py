"""An event loop in simulated time: no real socket, no thread, no waiting.

Its clock jumps to the next timer. A function for a thread runs at once, in place. When nothing is scheduled
any more the program waits for something that cannot come, and :class:`Deadlock` says so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import selectors
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds one turn of the loop takes.
TURN = 20e-6


class Deadlock(AssertionError):
    """All tasks wait, and nothing is scheduled."""


class SimulatedSelector(selectors.BaseSelector):
    """Watches simulated sockets, and in place of waiting moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        #: Descriptors of simulated sockets that have something to read.
        self.readable: dict[int, None] = {}
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, file: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = file if isinstance(file, int) else file.fileno()
        key = self._keys[number] = selectors.SelectorKey(file, number, events, data)
        return key

    def unregister(self, file: Any) -> selectors.SelectorKey:
        return self._keys.pop(file if isinstance(file, int) else file.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += TURN
        keys = self._keys
        if self.readable:
            found = [(keys[number], selectors.EVENT_READ) for number in self.readable if number in keys]
            if found:
                return found
        if timeout is None:
            raise Deadlock("every task waits for something that nothing will bring about")
        if timeout > 0:
            self.now += timeout
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self.selector = SimulatedSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """Of addresses only: no name server is asked."""
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, f"no name server in the simulation: {host}") from None
        found = (host, port) if version == 4 else (host, port, 0, 0)
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, type, proto, "", found)]

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""
