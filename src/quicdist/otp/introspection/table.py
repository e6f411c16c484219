"""The table of the functions that let other nodes look at this one."""

from __future__ import annotations

from collections.abc import Callable

from quicdist.node.local_node import LocalNode
from quicdist.otp.exports import Exports
from quicdist.otp.introspection.applications import ApplicationFunctions
from quicdist.otp.introspection.appmon_info import AppmonFunctions
from quicdist.otp.introspection.memory import MemoryFunctions
from quicdist.otp.introspection.modules import ModuleFunctions
from quicdist.otp.introspection.node_links import NodeLinks
from quicdist.otp.introspection.observer_backend import ObserverBackend
from quicdist.otp.introspection.ports import PortFunctions
from quicdist.otp.introspection.processes import ProcessFunctions
from quicdist.otp.introspection.refusals import Export
from quicdist.otp.introspection.statistics import StatisticsFunctions
from quicdist.otp.introspection.system_info import SystemInfoFunctions
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.sys_client import SysClient


class Introspection:
    """All these functions, for one node."""

    def __init__(
        self, node: LocalNode, net_kernel: Callable[[], NetKernel], sys: Callable[[], SysClient]
    ) -> None:
        self._node = node
        self._net_kernel = net_kernel
        self._sys = sys

    def export(self, exports: Exports) -> None:
        """Let other nodes call them."""
        node, links = self._node, NodeLinks(self._node)
        memory, statistics = MemoryFunctions(node), StatisticsFunctions(node, links)
        ports, applications = PortFunctions(node, links), ApplicationFunctions(node)
        system = SystemInfoFunctions(node, lambda: len(ports.ports()))
        backend = ObserverBackend(node, memory, statistics, system)
        functions: list[Export] = []
        for part in (
            ProcessFunctions(node, self._net_kernel, self._sys),
            *(memory, statistics, system, ports, applications, backend),
            ModuleFunctions(node, exports),
            AppmonFunctions(node, applications),
        ):
            functions += part.exports()
        for module, name, function in functions:
            exports.add(module, name, function)
        for module, name, body in backend.bodies():
            node.spawnables.offer_body(module, name, body)
        links.watch()
