"""Names registered with modules of other nodes, ``global`` among them.

A hidden node is not part of ``global``. It asks a node that is, as OTP's C nodes do
(``ei_global_whereis``, ``ei_global_register``). OTP: ``global(3)``, *ei_global(3)*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quicdist.node.errors import NotConnected
from quicdist.node.process import Process
from quicdist.otp.deadline import Deadline
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import RemoteError
from quicdist.term import Atom, Pid
from quicdist.term.names import named_term

_YES = Atom("yes")


class RemoteNameRegistry:
    """The names registered with ``module``: asks the first of ``nodes`` that has this module."""

    _REGISTER, _UNREGISTER = "register_name", "unregister_name"

    def __init__(self, erpc: ErpcClient, module: str, nodes: Callable[[], Iterable[str]]) -> None:
        self._erpc = erpc
        self._module = module
        self._nodes = nodes

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        """The pid of a name, None if no connected node knows it (``global:whereis_name/1``).
        ``timeout`` is in seconds."""
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                pid = await self._erpc.call(
                    node, self._module, "whereis_name", [named_term(name)], timeout=deadline.left()
                )
            except (RemoteError, NotConnected):
                continue  # disconnected, or without the module: ask the next one
            if isinstance(pid, Pid):
                return pid
        return None

    async def register_name(self, name: Any, process: Process | Pid, *, timeout: float | None = 5.0) -> bool:
        """Register a name for a process of this node (``global:register_name_external/2``); False if it
        is taken. The name ends with the process. Raises :class:`NotConnected` if no connected node has
        the module."""
        pid = process.pid if isinstance(process, Process) else process
        return bool(await self._ask(self._REGISTER, [named_term(name), pid], timeout) == _YES)

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        """Unregister a name (``global:unregister_name_external/1``)."""
        await self._ask(self._UNREGISTER, [named_term(name)], timeout)

    async def _ask(self, function: str, arguments: list[Any], timeout: float | None) -> Any:
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                return await self._erpc.call(node, self._module, function, arguments, timeout=deadline.left())
            except (RemoteError, NotConnected):
                continue
        raise NotConnected(f"with the module {self._module}")


class GlobalNames(RemoteNameRegistry):
    """``global``, as the connected nodes know it; ``nodes`` lists those."""

    _REGISTER, _UNREGISTER = "register_name_external", "unregister_name_external"

    def __init__(self, erpc: ErpcClient, nodes: Callable[[], Iterable[str]]) -> None:
        super().__init__(erpc, "global", nodes)
