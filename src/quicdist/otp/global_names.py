"""Names that the modules of other nodes keep: ``global``, as one who is not part of it sees it.

A hidden node takes no part in ``global`` and asks a node that does, as OTP's C nodes do
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


class RemoteNames:
    """The names that ``module`` keeps on other nodes: the first of ``nodes`` that has it is asked."""

    _REGISTER, _UNREGISTER = "register_name", "unregister_name"

    def __init__(self, erpc: ErpcClient, module: str, nodes: Callable[[], Iterable[str]]) -> None:
        self._erpc = erpc
        self._module = module
        self._nodes = nodes

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        """The process with this name, None where no connected node knows one
        (``global:whereis_name/1``)."""
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                pid = await self._erpc.call(
                    node, self._module, "whereis_name", [named_term(name)], timeout=deadline.left()
                )
            except (RemoteError, NotConnected):
                continue  # gone, or no BEAM: the next one may know
            if isinstance(pid, Pid):
                return pid
        return None

    async def register_name(self, name: Any, process: Process | Pid, *, timeout: float | None = 5.0) -> bool:
        """Give a process of this node a name (``global:register_name_external/2``); False where it
        is taken. It is gone with the process. Raises :class:`NotConnected` where no node is
        connected that keeps such names."""
        pid = process.pid if isinstance(process, Process) else process
        return bool(await self._ask(self._REGISTER, [named_term(name), pid], timeout) == _YES)

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        """Take a name away (``global:unregister_name_external/1``)."""
        await self._ask(self._UNREGISTER, [named_term(name)], timeout)

    async def _ask(self, function: str, arguments: list[Any], timeout: float | None) -> Any:
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                return await self._erpc.call(node, self._module, function, arguments, timeout=deadline.left())
            except (RemoteError, NotConnected):
                continue
        raise NotConnected(f"any of the cluster that keeps names of {self._module}")


class GlobalNames(RemoteNames):
    """``global`` by way of the connected nodes; ``nodes`` lists those."""

    _REGISTER, _UNREGISTER = "register_name_external", "unregister_name_external"

    def __init__(self, erpc: ErpcClient, nodes: Callable[[], Iterable[str]]) -> None:
        super().__init__(erpc, "global", nodes)
