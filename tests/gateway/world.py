"""A gateway with Python nodes in one event loop: one over TCP in place of the BEAM, one over QUIC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from quicdist import Node
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.discovery import StaticDiscovery
from quicdist.discovery.epmd_client import EpmdClient
from quicdist.gateway import Gateway
from tests.gateway.gateways import A, B
from tests.support.ports import any_port

#: The local node is A; B is a node over QUIC.
HOST_B = B.partition("@")[2]


@dataclass
class World:
    gateway: Gateway
    certificates: CertificateFiles
    port_b: int

    def move_b(self) -> None:
        """B is started again: its old port is not free at once."""
        assert isinstance(self.gateway.discovery, StaticDiscovery)
        self.port_b = any_port()
        self.gateway.discovery.add(B, ("127.0.0.1", self.port_b))

    @asynccontextmanager
    async def local(self, **options: Any) -> AsyncIterator[Node]:
        """The local node, over TCP."""
        async with Node(A, cookie="secret", carrier="tcp", host="127.0.0.1", **options) as node:
            yield node

    @asynccontextmanager
    async def remote(self, **options: Any) -> AsyncIterator[Node]:
        """B, over QUIC."""
        assert self.gateway.address is not None
        own = {"cert": self.certificates.cert, "key": self.certificates.key}
        more: dict[str, Any] = {"cookie": "secret", "verify": False} | own | options
        async with Node(
            B,
            carrier="quic",
            host="127.0.0.1",
            port=self.port_b,
            nodes={A: ("127.0.0.1", self.gateway.address.port)},
            **more,
        ) as node:
            yield node


async def disconnected(*nodes: Node) -> None:
    """Wait until these nodes are connected to nobody."""
    async with asyncio.timeout(30):
        while any(node.nodes("connected") for node in nodes):  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0.01)


def client() -> EpmdClient:
    return EpmdClient(5)
