"""``erlang:processes/0``, ``process_info/1,2`` and the other functions about processes.

OTP: ``erlang(3)``, ``proc_lib(3)``, ``sys(3)``; ``rpc:pinfo/1,2``, ``c:ni/0`` and the observer call them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.otp.introspection.behaviours import module_infos
from quicdist.otp.introspection.process_items import NAME, default_items, item
from quicdist.otp.introspection.refusals import UNDEFINED, Export, badarg, local_process
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.sys_client import SysClient
from quicdist.term import Atom, Pid

_INIT_IT = Atom("init_it")
_PROC_LIB, _INIT_P = Atom("proc_lib"), Atom("init_p")
#: Items of one call of ``process_info``: a BEAM has fewer. Each costs time, and a caller may repeat one.
_MAX_ITEMS = 200


class ProcessFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(
        self, node: LocalNode, net_kernel: Callable[[], NetKernel], sys: Callable[[], SysClient]
    ) -> None:
        self._node = node
        self._net_kernel = net_kernel
        self._sys = sys

    def exports(self) -> Iterator[Export]:
        for function in (
            *(self.node, self.nodes, self.processes, self.registered, self.whereis),
            *(self.is_process_alive, self.process_info, self.garbage_collect),
        ):
            yield "erlang", function.__name__, function
        yield "proc_lib", "translate_initial_call", self.translate_initial_call
        yield "proc_lib", "get_label", self.get_label
        yield from module_infos()
        yield "sys", "get_status", self.get_status
        yield "sys", "get_state", self.get_state

    # -- erlang ------------------------------------------------------------------------------------

    def node(self) -> Atom:
        return Atom(self._node.name)

    def nodes(self, kinds: Any = ()) -> list[Atom]:
        wanted = [kinds] if isinstance(kinds, Atom) else kinds
        return [Atom(name) for name in self._net_kernel().nodes(*map(str, wanted))]

    def processes(self) -> list[Pid]:
        return [process.pid for process in self._node.runtime.processes()]

    def registered(self) -> list[Atom]:
        return [Atom(name) for name in self._node.runtime.registered()]

    def whereis(self, name: Atom) -> Pid | Atom:
        process = self._node.runtime.whereis(name)
        return UNDEFINED if process is None else process.pid

    def is_process_alive(self, pid: Pid) -> bool:
        return self._find(pid) is not None

    def process_info(self, pid: Pid, wanted: Any = None) -> Any:
        process = self._find(pid)
        if process is None:
            return UNDEFINED
        if wanted is None:
            return default_items(process)
        names = wanted if isinstance(wanted, list) else [wanted]
        if len(names) > _MAX_ITEMS:
            raise badarg()
        found = [(name, item(process, name)) for name in names]
        if isinstance(wanted, list):
            return found
        return [] if wanted == NAME and not process.name else found[0]

    def garbage_collect(self, pid: Pid) -> bool:
        """Whether the process is alive. A Python process has no heap of its own to collect."""
        return self.is_process_alive(pid)

    def _find(self, pid: Any) -> Process | None:
        return local_process(self._node.runtime, pid)

    # -- the state of a server, as the observer asks for it ----------------------------------------

    def translate_initial_call(self, pid: Pid) -> Any:
        """``{Behaviour, init_it, 6}`` for a server, as ``proc_lib`` has it for a server of that module."""
        process = self._find(pid)
        if isinstance(process, ServerLoop):
            return (process.server.behaviour, _INIT_IT, 6)
        return (_PROC_LIB, _INIT_P, 5)

    def get_label(self, pid: Pid) -> Atom:
        """The label (``proc_lib:get_label/1``, OTP 27): a Python process has none."""
        self._find(pid)
        return UNDEFINED

    def get_status(self, to: Any, timeout: Any = 5000) -> Awaitable[Any]:
        return self._sys().get_status(to, timeout=_seconds(timeout))

    def get_state(self, to: Any, timeout: Any = 5000) -> Awaitable[Any]:
        return self._sys().get_state(to, timeout=_seconds(timeout))


def _seconds(timeout: Any) -> float | None:
    return timeout / 1000 if isinstance(timeout, int) else None
