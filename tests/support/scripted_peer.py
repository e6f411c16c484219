"""A scripted peer of a node, over TCP: it sends any message, valid or not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from quicdist import Node
from quicdist.carrier import Address
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.carrier.tcp.link import TcpLink
from quicdist.protocol import NO_PAYLOAD, UNUSED, ControlMessage, RegSend
from quicdist.term import Atom, Pid, Reference
from tests.carrier.nodes import FakeNode, Inbox

COOKIE = "secret"
PEER = "peer@127.0.0.1"


class ScriptedPeer:
    """A peer that sends only what the test sends."""

    def __init__(self, local: FakeNode, link: TcpLink) -> None:
        self.local = local
        self.link = link
        self.inbox = Inbox.of(link)
        self._numbers = 1

    @property
    def node(self) -> str:
        return self.link.peer.name

    def pid(self) -> Pid:
        """A new pid of the peer."""
        self._numbers += 1
        return self.local.pid(self._numbers)

    def reference(self) -> Reference:
        """A new reference of the peer."""
        self._numbers += 1
        return Reference(Atom(self.local.name), (self._numbers, 0, 0), self.local.identity.creation)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        self.link.send(control, payload)

    def tell(self, name: str, message: Any, sender: Pid | None = None) -> None:
        """Send a message to a registered name."""
        self.send(RegSend(sender or self.pid(), UNUSED, Atom(name)), message)

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.link._write(0, (data,), len(data))

    def frame(self, data: bytes) -> None:
        """Write bytes as one frame."""
        self.raw(len(data).to_bytes(4, "big") + data)


@contextlib.asynccontextmanager
async def scripted_peer(node: Node, name: str = PEER, **options: Any) -> AsyncIterator[ScriptedPeer]:
    """A peer that is connected to ``node``, which listens over TCP."""
    carrier = TcpCarrier()
    local = FakeNode(name, cookie=COOKIE, **options)
    address = Address("127.0.0.1", node.addresses[0].port)
    link = await carrier.setup(node.name, address, local, setup_time=10)
    try:
        yield ScriptedPeer(local, link)
    finally:
        link.close()
        await link.wait_closed()


def tcp_node(name: str = "py@127.0.0.1", **options: Any) -> Node:
    """A node for scripted peers."""
    return Node(name, cookie=COOKIE, carrier="tcp", host="127.0.0.1", port=0, epmd=False, **options)
