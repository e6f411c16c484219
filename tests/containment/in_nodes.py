"""Places that belong to a node: discovery, node events, logging, other threads, streams, authentication."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from quicdist import Node, NodeDown, NodeUp, NotConnected, Process
from quicdist.carrier import Address
from quicdist.carrier.stream_errors import StreamReset
from quicdist.discovery import Backend, BackendDiscovery, Discovery
from tests.containment.faults import Fault, Mute
from tests.containment.in_servers import both
from tests.containment.lab import Lab
from tests.containment.places import place, raised
from tests.support.pairs import COOKIE

QUIC = ("quic",)


@contextlib.asynccontextmanager
async def third(lab: Lab, **options: Any) -> AsyncIterator[Node]:
    """One more node, which only dials."""
    known = {lab.two.name: ("127.0.0.1", lab.two.addresses[0].port)}
    given = {"cookie": COOKIE, "listen": False, **lab.options, **options}
    if "discovery" not in given:
        given.setdefault("nodes", known)
    async with Node("three@127.0.0.1", **given) as node:
        yield node


# -- discovery -----------------------------------------------------------------------------------


class BackEnd(Backend):
    """One method does something, ``lookup`` knows nobody."""

    def __init__(self, method: str, does: Callable[..., Any]) -> None:
        setattr(self, method, does)

    async def lookup(self, node: str, host: str) -> Any:
        return None


class OwnDiscovery(Discovery):
    def __init__(self, lookup: Callable[..., Any]) -> None:
        self._lookup = lookup

    async def register_node(self, name: str, port: int, family: Any = "inet") -> int:
        return 4

    async def port_please(self, name: str, host: str) -> int:
        return 0

    async def address_please(self, name: str, host: str, family: Any = None) -> Address:
        found: Address = await self._lookup(name)
        return found

    async def names(self, host: str) -> list[Any]:
        return []


async def _not_found(lab: Lab, fault: Fault, discovery: Discovery) -> None:
    """A dial fails and says why; one that takes for ever can be called off."""
    async with third(lab, discovery=discovery) as node:
        dialling = lab.around(lambda: asyncio.ensure_future(node.connect(lab.two.name)))
        await lab.seen_both()
        await lab.check()
        if fault.never:
            node.disconnect(lab.two.name)
        error = await raised(dialling)
        assert isinstance(error, NotConnected), error
        assert error.attempts
        assert str(error).isprintable()


def asked_when_dialling(method: str) -> None:
    @place(f"{method} of a discovery back end", coroutine=True)
    async def run(lab: Lab, fault: Fault) -> Any:
        await _not_found(lab, fault, BackendDiscovery(BackEnd(method, fault.awaited)))


asked_when_dialling("init")
asked_when_dialling("lookup")
asked_when_dialling("lookup_all")


@place("lookup of a discovery", coroutine=True)
async def own_discovery(lab: Lab, fault: Fault) -> Any:
    await _not_found(lab, fault, OwnDiscovery(fault.awaited))


@place("list_nodes of a discovery back end", coroutine=True, own_task=False, waits=False)
async def list_nodes(lab: Lab, fault: Fault) -> Any:
    asked = BackendDiscovery(BackEnd("list_nodes", fault.awaited)).names("host")
    error = await raised(lab.around(lambda: asyncio.ensure_future(asked)))
    assert isinstance(error, Exception), error


def _listening(lab: Lab, discovery: Discovery) -> Node:
    options = {"cookie": COOKIE, "host": "127.0.0.1", "port": 0, **lab.options}
    return Node("three@127.0.0.1", discovery=discovery, **options)


@place("register of a discovery back end", coroutine=True, waits=False)
async def register(lab: Lab, fault: Fault) -> Any:
    """A node that cannot be registered does not start."""
    node = _listening(lab, BackendDiscovery(BackEnd("register", fault.awaited)))
    error = await raised(lab.around(lambda: asyncio.ensure_future(node.start())))
    assert isinstance(error, Exception), error
    assert str(error).isprintable()


@place("unregister of a discovery back end", coroutine=True, own_task=False, waits=False)
async def unregister(lab: Lab, fault: Fault) -> Any:
    """A node that cannot be taken out of discovery stops all the same."""
    node = _listening(lab, BackendDiscovery(BackEnd("unregister", fault.awaited)))
    await node.start()
    await lab.around(lambda: asyncio.ensure_future(node.stop()))
    await node.run_forever()


# -- node events, other threads, logging -----------------------------------------------------------


@place("subscriber of node events")
async def subscriber(lab: Lab, fault: Fault) -> Any:
    """The next subscriber is told all the same."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    ends = [lab.two.subscribe(fault.plain), lab.two.subscribe(told.put_nowait)]
    async with third(lab) as node:
        await lab.around(lambda: asyncio.ensure_future(node.connect(lab.two.name)))
        assert isinstance(await told.get(), NodeUp)
    assert isinstance(await told.get(), NodeDown)
    for end in ends:
        end()


@place("call_soon_threadsafe")
async def threadsafe(lab: Lab, fault: Fault) -> Any:
    called = asyncio.Event()

    def thread() -> None:
        lab.two.call_soon_threadsafe(fault.plain)
        lab.two.call_soon_threadsafe(called.set)

    await lab.around(lambda: asyncio.to_thread(thread))
    await called.wait()


@place("callback of a request")
async def request(lab: Lab, fault: Fault) -> Any:
    called = asyncio.Event()
    asked = lab.around(lab.one.erpc.send_request, lab.two.name, "lab", "add", [1, 2])
    asked.when_done(fault.plain)
    asked.when_done(lambda value, error: called.set())
    await called.wait()


class FaultyHandler(logging.Handler):
    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def emit(self, record: logging.LogRecord) -> None:
        self._fault.plain()


@contextlib.contextmanager
def logged_by(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    """With the errors of a logger given to one handler alone; what that raises is not printed."""
    before = logger.level, logger.propagate, logging.raiseExceptions
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = logging.raiseExceptions = False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate, logging.raiseExceptions = before[1:]
        logger.removeHandler(handler)


async def _crash(lab: Lab) -> None:
    """Something that is logged: a handler that fails."""

    def fails(process: Process, message: Any) -> None:
        raise Mute

    process = lab.two._local.runtime.spawn(fails)
    reason = await lab.down(process, lab.one.send, process.pid, "go")
    assert reason[0][1] == b"Mute"


@place("logging handler")
async def logging_handler(lab: Lab, fault: Fault) -> Any:
    with logged_by(logging.getLogger("quicdist.node"), FaultyHandler(fault)):
        await _crash(lab)


@place("logging filter")
async def logging_filter(lab: Lab, fault: Fault) -> Any:
    logger = logging.getLogger("quicdist.node")
    logger.addFilter(fault.plain)
    try:
        with logged_by(logger, logging.NullHandler()):
            await _crash(lab)
    finally:
        logger.removeFilter(fault.plain)


# -- streams -------------------------------------------------------------------------------------


@both("stream handler", carriers=QUIC)
async def stream_handler(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    """The stream is reset; one that another accepts goes on."""
    acceptor = lab.two.accept_streams(callback)
    try:
        stream = await lab.one.open_stream(lab.two.name)
        lab.around(stream.write, b"data")
        if fault.never:
            await lab.seen_both()
            await lab.check()
            stream.reset()
            return
        error = await raised(stream.read())
        assert isinstance(error, StreamReset), error
    finally:
        acceptor.stop()
    async with lab.two.accept_streams(echo):
        other = await lab.one.open_stream(lab.two.name)
        await other.send(b"data")
        other.write_eof()
        assert await other.read() == b"data"


async def echo(stream: Any) -> None:
    await stream.send(await stream.read())


@place("handler that owns a stream", carriers=QUIC)
async def stream_owner(lab: Lab, fault: Fault) -> Any:
    process = lab.two._local.runtime.spawn(fault.plain)
    lab.two.quic_dist.accept_streams(process)
    stream = await lab.one.open_stream(lab.two.name)
    reason = await lab.down(process, stream.write, b"data")
    error = await raised(stream.read())
    assert isinstance(error, StreamReset), error
    return reason


# -- authentication ------------------------------------------------------------------------------


async def _refused(lab: Lab, fault: Fault, listening: Any, dialling: Any) -> None:
    def options(callback: Any) -> dict[str, Any]:
        quic = {"auth_callback": callback, "auth_handshake_timeout": 0.05 if fault.never else 5.0}
        return {"cookie": COOKIE, **lab.options, "quic": {**lab.options.get("quic", {}), **quic}}

    async with Node("gate@127.0.0.1", host="127.0.0.1", port=0, **options(listening)) as gate:
        nodes = {gate.name: ("127.0.0.1", gate.addresses[0].port)}
        async with third(lab, nodes=nodes, **options(dialling)) as node:
            connecting = lab.around(lambda: asyncio.ensure_future(node.connect(gate.name)))
            await lab.seen_both()
            await lab.check()
            error = await raised(connecting)
            assert isinstance(error, NotConnected), error
            assert "authentication" in str(error) or fault.needs_task, error


async def lets_in(peer: Any) -> bool:
    return True


@place("auth_callback of who listens", coroutine=True, carriers=QUIC)
async def auth_listening(lab: Lab, fault: Fault) -> Any:
    await _refused(lab, fault, fault.awaited, lets_in)


@place("auth_callback of who dials", coroutine=True, carriers=QUIC)
async def auth_dialling(lab: Lab, fault: Fault) -> Any:
    await _refused(lab, fault, lets_in, fault.awaited)
