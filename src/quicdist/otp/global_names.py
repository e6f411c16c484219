"""Names known to the whole cluster: ``global``, as one who is not part of it sees them.

A hidden node takes no part in ``global`` and asks a node that does, as OTP's C nodes do
(``ei_global_whereis``, ``ei_global_register``). OTP: ``global(3)``, *ei_global(3)*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quicdist.node.errors import NoSuchProcess, NotConnected
from quicdist.node.process import Process
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import RemoteError
from quicdist.otp.request import Deadline
from quicdist.term import Atom, Pid

_GLOBAL = "global"
_YES = Atom("yes")


@dataclass(frozen=True, slots=True)
class Global:
    """A server by its global name, any term (``{global, Name}``); a ``str`` stands for the atom."""

    name: Any


class GlobalNames:
    """``global`` by way of the connected nodes; ``nodes`` lists those."""

    def __init__(self, erpc: ErpcClient, nodes: Callable[[], list[str]]) -> None:
        self._erpc = erpc
        self._nodes = nodes

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        """The process with this name, None where no connected node knows one
        (``global:whereis_name/1``)."""
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                pid = await self._erpc.call(
                    node, _GLOBAL, "whereis_name", [_term(name)], timeout=deadline.left()
                )
            except (RemoteError, NotConnected):
                continue  # gone, or no BEAM: the next one may know
            if isinstance(pid, Pid):
                return pid
        return None

    async def where(self, to: Global, timeout: float | None) -> Pid:
        """The process a :class:`Global` stands for. Raises :class:`NoSuchProcess`."""
        pid = await self.whereis_name(to.name, timeout=timeout)
        if pid is None:
            raise NoSuchProcess(f"no connected node knows the global name {to.name!r}")
        return pid

    async def register_name(self, name: Any, process: Process, *, timeout: float | None = 5.0) -> bool:
        """Give a process of this node a global name (``global:register_name_external/2``); False
        where it is taken. It is gone with the process. Raises :class:`NotConnected` where no node
        is connected that takes part in ``global``."""
        return bool(await self._ask("register_name_external", [_term(name), process.pid], timeout) == _YES)

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        """Take a global name away (``global:unregister_name_external/1``)."""
        await self._ask("unregister_name_external", [_term(name)], timeout)

    async def _ask(self, function: str, arguments: list[Any], timeout: float | None) -> Any:
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                return await self._erpc.call(node, _GLOBAL, function, arguments, timeout=deadline.left())
            except (RemoteError, NotConnected):
                continue
        raise NotConnected("any of the cluster that knows global names")

    def send(self, name: Any, message: Any) -> None:
        """Send a message to a global name by way of one connected node (``global:send/2``); it is
        lost where that node knows no such name."""
        for node in self._nodes()[:1]:
            self._erpc.cast(node, _GLOBAL, "send", [_term(name), message])


def _term(name: Any) -> Any:
    return Atom(name) if isinstance(name, str) else name
