"""As much of a node as a BEAM needs to talk to: it listens, registers with epmd, dials, echoes.

It answers ``net_adm:ping`` and sends ``{echoed, Message}`` to whoever sends ``{Pid, Message}`` to
``echo``; what is sent to ``sink`` is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from quicdist.carrier import Link
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.discovery import EpmdDiscovery
from quicdist.errors import QuicDistError
from quicdist.protocol import ControlMessage, RegSend, SendSender
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode

SETUP_TIME = 20.0
#: Longer than anything here takes on a busy machine; a test that needs it hangs.
PATIENCE = 30.0

T = TypeVar("T")


class TcpNode:
    def __init__(self, local: FakeNode, carrier: TcpCarrier) -> None:
        self.local = local
        self.carrier = carrier
        self.discovery = EpmdDiscovery(start_epmd=False)
        #: Links that came in, and what became of the connections that did not become one.
        self.accepted: asyncio.Queue[Link] = asyncio.Queue()
        self.refused: asyncio.Queue[QuicDistError] = asyncio.Queue()
        self.sink: asyncio.Queue[Any] = asyncio.Queue()
        self.lost: asyncio.Queue[tuple[Link, QuicDistError | None]] = asyncio.Queue()
        self.links: list[Link] = []

    async def dial(self, node: str) -> Link:
        address = await self.discovery.lookup(node)
        link = await self.carrier.setup(node, address, self.local, setup_time=SETUP_TIME)
        self._start(link)
        return link

    async def accept(self, listener: Any) -> None:
        async with asyncio.TaskGroup() as group:
            async for incoming in self.carrier.accept(listener):
                group.create_task(self._accept_one(incoming))

    async def _accept_one(self, incoming: Any) -> None:
        try:
            link = await self.carrier.accept_connection(incoming, self.local, setup_time=SETUP_TIME)
        except QuicDistError as error:
            self.refused.put_nowait(error)
        else:
            self._start(link)
            self.accepted.put_nowait(link)

    def _start(self, link: Link) -> None:
        self.links.append(link)
        link.start(
            lambda control, payload: self._received(link, control, payload),
            lambda error: self.lost.put_nowait((link, error)),
        )

    def _received(self, link: Link, control: ControlMessage, payload: Any) -> None:
        if not isinstance(control, RegSend):
            if isinstance(control, SendSender):
                self.sink.put_nowait((control.to_pid, payload))
            return
        match str(control.to_name), payload:
            case "net_kernel", (_, (pid, tag), (request, _)) if request == Atom("is_auth"):
                self.send(link, pid, (tag, Atom("yes")))
            case "echo", (pid, message):
                self.send(link, pid, (Atom("echoed"), message))
            case "sink", message:
                self.sink.put_nowait(message)

    def send(self, link: Link, pid: Any, message: Any) -> None:
        link.send(SendSender(self.local.pid(), pid), message)

    def send_to_name(self, link: Link, name: str, message: Any) -> None:
        link.send(RegSend(self.local.pid(), Atom(""), Atom(name)), message)


async def soon(queue: asyncio.Queue[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await queue.get()


@asynccontextmanager
async def tcp_node(
    local: FakeNode, carrier: TcpCarrier | None = None, *, register: bool = True
) -> AsyncIterator[TcpNode]:
    """A running :class:`TcpNode` at a port of its own."""
    node = TcpNode(local, carrier or TcpCarrier())
    listener = await node.carrier.listen(local.name, host="127.0.0.1")
    accepting = asyncio.create_task(node.accept(listener))
    try:
        if register:
            await node.discovery.register_node(local.name, listener.address.port)
        yield node
    finally:
        await node.discovery.close()
        await node.carrier.close(listener)
        for link in node.links:
            link.close()
        for link in node.links:
            await link.wait_closed()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
