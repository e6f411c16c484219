"""Connecting to a host with several addresses: Happy Eyeballs (RFC 8305).

Attempts start one after the other, a short delay apart or as soon as the one before has failed, IPv6 and IPv4
in turn. The first that succeeds wins, and the others are cancelled.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from quicdist.carrier.addresses import Address
from quicdist.carrier.datagram_socket import SocketAddress
from quicdist.carrier.event_loops import getaddrinfo

#: Between two attempts, in seconds (RFC 8305, section 8: Connection Attempt Delay).
ATTEMPT_DELAY = 0.25

T = TypeVar("T")


class Candidate(NamedTuple):
    """One address to dial."""

    family: socket.AddressFamily
    address: SocketAddress

    def __str__(self) -> str:
        return str(Address(self.address[0], self.address[1]))


#: Called by an attempt that has succeeded: True if it is the first and may continue. After False it is
#: cancelled, and must not have any effect at the peer.
Claim = Callable[[], bool]
Attempt = Callable[[Candidate, Claim], Coroutine[Any, Any, T]]


async def candidates(address: Address, kind: socket.SocketKind) -> list[Candidate]:
    """The addresses to dial for ``address``, in order; a resolver is asked only for host names.

    Raises OSError, and UnicodeError for a malformed host name.
    """
    known = [_literal(host, address.port) for host in address.addresses or (address.host,)]
    if all(known):
        return interleave(candidate for candidate in known if candidate)
    found = await getaddrinfo(address.host, address.port, kind=kind)
    return interleave(Candidate(family, where) for family, _, _, _, where in found)


def interleave(found: Iterable[Candidate]) -> list[Candidate]:
    """The address families in turn, each in its order, beginning with that of the first (RFC 8305, section
    4)."""
    by_family: dict[socket.AddressFamily, list[Candidate]] = {}
    for candidate in dict.fromkeys(found):
        by_family.setdefault(candidate.family, []).append(candidate)
    turns = itertools.zip_longest(*by_family.values())
    return [candidate for turn in turns for candidate in turn if candidate is not None]


async def race(
    attempt: Attempt[T],
    addresses: Sequence[Candidate],
    *,
    passing: tuple[type[Exception], ...],
    delay: float | None = None,
) -> T:
    """The result of the first attempt that succeeds, or its error after that.

    ``passing`` are the errors that concern one address only; any other ends the race. ``delay`` is in
    seconds, :data:`ATTEMPT_DELAY` by default. Raises the error of the only address, or an ExceptionGroup of
    those of all addresses, in order."""
    if len(addresses) == 1:
        return await attempt(addresses[0], lambda: True)
    loop = asyncio.get_running_loop()
    through: asyncio.Future[int] = loop.create_future()
    tasks: list[asyncio.Task[T]] = []
    waiting = deque(addresses)
    pause = ATTEMPT_DELAY if delay is None else delay

    def claim(number: int) -> bool:
        if not through.done():
            through.set_result(number)
        return through.result() == number

    try:
        while True:
            if waiting:
                number = len(tasks)
                tasks.append(loop.create_task(attempt(waiting.popleft(), lambda n=number: claim(n))))  # type: ignore[misc]
            await news(through, tasks, pause if waiting else None)
            if (decided := _decided(through, tasks, passing)) is not None:
                call_off(task for number, task in enumerate(tasks) if number != decided)
                return await tasks[decided]
            if not waiting and all(task.done() for task in tasks):
                raise ExceptionGroup("no address can be reached", [_error(task) for task in tasks])
    finally:
        call_off(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # Their errors hold this frame: avoid the cycle.


async def news(through: asyncio.Future[int], tasks: Iterable[asyncio.Task[T]], pause: float | None) -> None:
    """Wait up to ``pause`` seconds until an attempt succeeds or fails."""
    waited: list[asyncio.Future[Any]] = [through, *(task for task in tasks if not task.done())]
    await asyncio.wait(waited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)


def _decided(
    through: asyncio.Future[int],
    tasks: Iterable[asyncio.Task[T]],
    passing: tuple[type[Exception], ...],
) -> int | None:
    """The number of the attempt that decides the race: it has succeeded, or its error is not passing."""
    if through.done():
        return through.result()
    for number, task in enumerate(tasks):
        if task.done() and (task.cancelled() or not isinstance(task.exception(), passing)):
            return number
    return None


def _error(task: asyncio.Task[T]) -> Exception:
    error = task.exception()
    assert isinstance(error, Exception)
    return error


def call_off(tasks: Iterable[asyncio.Task[T]]) -> None:
    """Cancel ``tasks``."""
    for task in tasks:
        task.cancel()


def _literal(host: str, port: int) -> Candidate | None:
    """The candidate for an IP address; None for a host name."""
    if "%" in host:  # a scope name, which the resolver turns into a number
        return None
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.version == 4:
        return Candidate(socket.AF_INET, (host, port))
    return Candidate(socket.AF_INET6, (host, port, 0, 0))
