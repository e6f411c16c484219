"""Connecting and resolving, on asyncio's event loop and on uvloop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.carrier import event_loops


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if request.param == "asyncio":
        return None
    factory: Any = pytest.importorskip("uvloop").new_event_loop
    return factory  # type: ignore[no-any-return]


def run(work: Any, loop_factory: Any) -> Any:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(work)


def test_a_socket_connects_to_a_port_that_listens(loop_factory: Any) -> None:
    async def connected() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
            sock.setblocking(False)
            await event_loops.connect(sock, server.getsockname())
            accepted, where = server.accept()
            accepted.close()
            return bool(where == sock.getsockname())

    assert run(connected(), loop_factory)


def test_connecting_to_a_closed_port_raises_connection_refused(loop_factory: Any) -> None:
    async def refused() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = server.getsockname()
        with socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await event_loops.connect(sock, closed)

    run(refused(), loop_factory)


def test_an_address_is_resolved_and_what_is_none_raises_gaierror(loop_factory: Any) -> None:
    async def resolved() -> list[Any]:
        with pytest.raises(socket.gaierror):
            await event_loops.getaddrinfo("", 1, kind=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        found = await event_loops.getaddrinfo("127.0.0.1", 7, kind=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]

    assert run(resolved(), loop_factory) == [(socket.AF_INET, ("127.0.0.1", 7))]


def test_a_loop_derived_from_that_of_uvloop_counts_as_one() -> None:
    uvloop = pytest.importorskip("uvloop")
    derived = type("Derived", (uvloop.Loop,), {"__module__": __name__})
    for loop, expected in (
        (derived(), True),
        (uvloop.new_event_loop(), True),
        (asyncio.new_event_loop(), False),
    ):
        try:
            assert event_loops.is_uvloop(loop) is expected
        finally:
            loop.close()
