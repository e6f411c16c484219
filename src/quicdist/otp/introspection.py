"""``erlang:process_info`` and similar functions, to be exported to other nodes.

OTP: ``erlang(3)``, ``rpc:pinfo/1,2``. With these, the observer of another node can show a Python process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from quicdist.node.exit_reason import PROCESS
from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.otp.errors import RemoteError
from quicdist.otp.exports import Exports
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.sys_client import SysClient
from quicdist.term import Atom, Pid

_UNDEFINED = Atom("undefined")
_BADARG = Atom("badarg")
_NAME = Atom("registered_name")
_WAITING, _NORMAL = Atom("waiting"), Atom("normal")
_GEN_SERVER, _BEHAVIOUR = Atom("gen_server"), Atom("behaviour")
_APPLY = (Atom("erlang"), Atom("apply"), 2)
_WORD = 8


def _initial_call(process: Process) -> tuple[Any, ...]:
    return process.initial_call if isinstance(process, ServerLoop) else _APPLY


def _dictionary(process: Process) -> list[Any]:
    return process.dictionary if isinstance(process, ServerLoop) else []


def _no_garbage(_: Process) -> list[Any]:
    names = ("min_bin_vheap_size", "min_heap_size", "fullsweep_after", "minor_gcs")
    return [(Atom(name), 0) for name in names]


#: By item. What a Python process does not have is empty or 0, in the form of a BEAM.
_ITEMS: dict[Atom, Callable[[Process], Any]] = {
    Atom(name): item
    for name, item in {
        "async_dist": lambda _: False,
        "backtrace": lambda _: b"",
        "binary": lambda _: [],
        "catchlevel": lambda _: 0,
        "current_function": _initial_call,
        "current_location": lambda process: (*_initial_call(process), []),
        "current_stacktrace": lambda _: [],
        "dictionary": _dictionary,
        "error_handler": lambda _: Atom("error_handler"),
        "garbage_collection": _no_garbage,
        "garbage_collection_info": _no_garbage,
        "group_leader": lambda process: process.group_leader or process.pid,
        "heap_size": lambda _: 0,
        "initial_call": _initial_call,
        "label": lambda _: _UNDEFINED,
        "last_calls": lambda _: False,
        "links": lambda process: process.links,
        "magic_ref": lambda _: [],
        "max_heap_size": lambda _: {Atom("size"): 0, Atom("kill"): True, Atom("error_logger"): True},
        "memory": lambda _: 0,
        "message_queue_data": lambda _: Atom("on_heap"),
        "message_queue_len": lambda process: process.message_queue_len,
        "messages": lambda process: process.messages,
        "min_bin_vheap_size": lambda _: 0,
        "min_heap_size": lambda _: 0,
        "monitored_by": lambda process: [watcher for watcher, _ in process.monitored_by.values()],
        "monitors": lambda process: [(PROCESS, target) for target in process.runtime.monitored(process)],
        "parent": lambda process: process.parent or _UNDEFINED,
        "priority": lambda _: _NORMAL,
        "reductions": lambda _: 0,
        "registered_name": lambda process: Atom(process.name) if process.name else [],
        "sequential_trace_token": lambda _: [],
        "stack_size": lambda _: 0,
        "status": lambda _: _WAITING,
        "suspending": lambda _: [],
        "total_heap_size": lambda _: 0,
        "trace": lambda _: 0,
        "trap_exit": lambda process: process.trap_exit,
    }.items()
}
#: The items of ``process_info/1``, after ``registered_name`` if there is one.
_DEFAULT = [
    Atom(name)
    for name in (
        *("current_function", "initial_call", "status", "message_queue_len", "links", "dictionary"),
        *("trap_exit", "error_handler", "priority", "group_leader", "total_heap_size", "heap_size"),
        *("stack_size", "reductions", "garbage_collection", "suspending"),
    )
]


def _item(process: Process, item: Any) -> Any:
    match item:
        case Atom() if item in _ITEMS:
            return _ITEMS[item](process)
        case (Atom(name="dictionary"), key):
            return next((value for known, value in _dictionary(process) if known == key), _UNDEFINED)
    raise RemoteError("error", _BADARG, [])


class Introspection:
    """The functions, with their names and arities on a BEAM."""

    def __init__(
        self, node: LocalNode, net_kernel: Callable[[], NetKernel], sys: Callable[[], SysClient]
    ) -> None:
        self._node = node
        self._net_kernel = net_kernel
        self._sys = sys

    def export(self, exports: Exports) -> None:
        """Let other nodes call them."""
        for function in (
            *(self.node, self.nodes, self.processes, self.registered, self.whereis),
            *(self.is_process_alive, self.process_info, self.system_info),
        ):
            exports.add("erlang", function.__name__, function)
        exports.add("proc_lib", "translate_initial_call", self.translate_initial_call)
        exports.add("gen_server", "module_info", self.module_info)
        exports.add("sys", "get_status", self.get_status)
        exports.add("sys", "get_state", self.get_state)

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
        return _UNDEFINED if process is None else process.pid

    def is_process_alive(self, pid: Pid) -> bool:
        return self._find(pid) is not None

    def process_info(self, pid: Pid, wanted: Any = None) -> Any:
        process = self._find(pid)
        if process is None:
            return _UNDEFINED
        if wanted is None:
            items = [_NAME, *_DEFAULT] if process.name else _DEFAULT
            return [(item, _ITEMS[item](process)) for item in items]
        items = wanted if isinstance(wanted, list) else [wanted]
        found = [(item, _item(process, item)) for item in items]
        if isinstance(wanted, list):
            return found
        return [] if wanted == _NAME and not process.name else found[0]

    def system_info(self, item: Atom) -> Any:
        known = {"wordsize": _WORD, "process_count": len(self._node.runtime.processes())}
        if item.name not in known:
            raise RemoteError("error", _BADARG, [])
        return known[item.name]

    def _find(self, pid: Any) -> Process | None:
        if not isinstance(pid, Pid) or not self._node.runtime.is_local(pid):
            raise RemoteError("error", _BADARG, [])
        return self._node.runtime.find(pid)

    # -- the state of a server, as the observer asks for it ----------------------------------------

    def translate_initial_call(self, pid: Pid) -> Any:
        process = self._find(pid)
        is_server = isinstance(process, ServerLoop)
        return (_GEN_SERVER, Atom("init_it"), 6) if is_server else (Atom("proc_lib"), Atom("init_p"), 5)

    def module_info(self, what: Atom) -> Any:
        if what != Atom("attributes"):
            raise RemoteError("error", _BADARG, [])
        return [(_BEHAVIOUR, [_GEN_SERVER])]

    def get_status(self, to: Any, timeout: Any = 5000) -> Awaitable[Any]:
        return self._sys().get_status(to, timeout=_seconds(timeout))

    def get_state(self, to: Any, timeout: Any = 5000) -> Awaitable[Any]:
        return self._sys().get_state(to, timeout=_seconds(timeout))


def _seconds(timeout: Any) -> float | None:
    return timeout / 1000 if isinstance(timeout, int) else None
