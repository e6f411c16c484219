"""A host with several addresses, tried the happy-eyeballs way (RFC 8305).

The attempts start one after the other, a short delay apart or as soon as the one before has failed,
IPv6 and IPv4 by turns. The first that gets through wins, and the others are called off.
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
from quicdist.carrier.udp import SocketAddress

#: Between two attempts, in seconds (RFC 8305, section 8: Connection Attempt Delay).
ATTEMPT_DELAY = 0.25

T = TypeVar("T")


class Candidate(NamedTuple):
    """One address to dial."""

    family: socket.AddressFamily
    address: SocketAddress

    def __str__(self) -> str:
        return str(Address(self.address[0], self.address[1]))


#: An attempt calls it when it has got through: True if it is the first, and may go on; on False it
#: must leave no trace at the peer, for it is called off.
Claim = Callable[[], bool]
Attempt = Callable[[Candidate, Claim], Coroutine[Any, Any, T]]


async def candidates(address: Address, kind: socket.SocketKind) -> list[Candidate]:
    """What to dial for ``address``, in order; the resolver is asked only for what is not known.

    Raises OSError, or UnicodeError for a name that cannot be one.
    """
    known = [_literal(host, address.port) for host in address.addresses or (address.host,)]
    if all(known):
        return interleave(candidate for candidate in known if candidate)
    look_up = asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=kind)
    return interleave(Candidate(family, where) for family, _, _, _, where in await look_up)


def interleave(found: Iterable[Candidate]) -> list[Candidate]:
    """The families by turns, each in the order given, that of the first first (RFC 8305, section 4)."""
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
    """What the first attempt to get through returns, or raises after it has.

    ``passing`` are the errors that say something of one address only; any other ends the race.
    ``delay`` in seconds is :data:`ATTEMPT_DELAY` unless given.
    Raises the one error there is, or an ExceptionGroup of those of all addresses, in order.
    """
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
                raise ExceptionGroup("no address will do", [_error(task) for task in tasks])
    finally:
        call_off(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # An error of theirs holds this frame, so that nothing here may hold it.


async def news(through: asyncio.Future[int], tasks: Iterable[asyncio.Task[T]], pause: float | None) -> None:
    """Wait up to ``pause`` seconds until one is through, or has failed."""
    waited: list[asyncio.Future[Any]] = [through, *(task for task in tasks if not task.done())]
    await asyncio.wait(waited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)


def _decided(
    through: asyncio.Future[int],
    tasks: Iterable[asyncio.Task[T]],
    passing: tuple[type[Exception], ...],
) -> int | None:
    """The number of the attempt that decides the race: one that is through, or whose error speaks for all."""
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
    """Cancel them."""
    for task in tasks:
        task.cancel()


def _literal(host: str, port: int) -> Candidate | None:
    """The candidate for an IP address, for which nobody has to be asked; None for a name."""
    if "%" in host:  # a scope, which the resolver turns into its number
        return None
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.version == 4:
        return Candidate(socket.AF_INET, (host, port))
    return Candidate(socket.AF_INET6, (host, port, 0, 0))
