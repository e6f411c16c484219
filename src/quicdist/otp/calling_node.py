"""A node that only calls others, without the services that other nodes find on a :class:`quicdist.Node`.

It is for a command that asks one question: it loads, starts and stops sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from quicdist.config import Source, as_config
from quicdist.node.endpoints import Endpoint
from quicdist.node.local_node import NodeServices
from quicdist.node.node_options import make_local_node
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.gen import GenClient
from quicdist.otp.net_kernel import NetKernel
from quicdist.protocol.names import node_name
from quicdist.term.names import Name


class CallingNode:
    """A hidden node that does not listen. It has the methods of :class:`quicdist.Node` of these names.

    ``config`` and ``vm_args`` are the cluster's files, ``options`` those of
    :func:`~quicdist.node.node_options.make_local_node`; it raises what that function raises, and
    :class:`~quicdist.config.ConfigError`.
    """

    def __init__(
        self, name: Name, *, config: Source | Sequence[Source] | None, vm_args: Source | None, **options: Any
    ) -> None:
        self._clients = _Clients(self)
        self._local = make_local_node(
            as_config(config, vm_args),
            owner=self,
            services=self._clients,
            name=name,
            listen=False,
            hidden=True,
            **options,
        )

    async def __aenter__(self) -> Self:
        await self._local.lifecycle.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._local.lifecycle.exit(raised)

    @property
    def name(self) -> str:
        return self._local.name

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._local.endpoints

    @property
    def net_kernel(self) -> NetKernel:
        return self._clients.net_kernel

    async def connect(self, node: Name) -> None:
        await self._local.connections.connect(node_name(node))

    async def is_auth(self, node: Name, *, timeout: float = 10.0) -> None:
        await self.net_kernel.is_auth(node, timeout)

    async def call(
        self,
        node: Name,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        timeout: float | None = None,
    ) -> Any:
        return await self._clients.erpc.call(node, module, function, arguments, timeout=timeout)


class _Clients(NodeServices):
    """The clients of such a node, which exist from its start."""

    net_kernel: NetKernel
    erpc: ErpcClient

    def __init__(self, node: CallingNode) -> None:
        self._node = node

    def start(self) -> None:
        local = self._node._local
        gen = GenClient(local.runtime)
        gen.start()
        self.net_kernel = NetKernel(local, gen)
        self.erpc = ErpcClient(local.runtime, local.connections, gen)
