"""The functions of ``global`` that other nodes call on this one: resolvers of conflicts, and its API.

OTP: ``global(3)``. ``global:resolve_it/4`` is called by the resolver of another node, on the node of one of
the two processes.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from quicdist.node.errors import NoSuchProcess
from quicdist.node.exit_reason import EXIT, KILL, UNDEF, exit_reason
from quicdist.node.process import Process
from quicdist.otp.call_context import current_call
from quicdist.otp.errors import RemoteError
from quicdist.otp.exports import Exports
from quicdist.otp.global_names import GlobalNames, resolver_term
from quicdist.otp.global_resolving import NONE
from quicdist.term import Atom, Export, Fun, Pid

_CONFLICT = Atom("global_name_conflict")
_YES, _NO, _OK = Atom("yes"), Atom("no"), Atom("ok")
_BADARG, _BADFUN, _UNDEFINED = Atom("badarg"), Atom("badfun"), Atom("undefined")
_INFINITY = Atom("infinity")


def random_exit_name(process: Process, name: Any, one: Pid, other: Pid) -> Any:
    """Kill the process on the greater node."""
    kept, killed = _smaller_first(one, other)
    process.exit(killed, KILL)
    return kept


def random_notify_name(process: Process, name: Any, one: Pid, other: Pid) -> Any:
    """Tell the process on the greater node that it has lost the name."""
    kept, told = _smaller_first(one, other)
    process.send(told, (_CONFLICT, name))
    return kept


def notify_all_name(process: Process, name: Any, one: Pid, other: Pid) -> Any:
    """Tell both processes that they have lost the name."""
    process.send(one, (_CONFLICT, name, other))
    process.send(other, (_CONFLICT, name, one))
    return NONE


def _smaller_first(one: Pid, other: Pid) -> tuple[Pid, Pid]:
    return (one, other) if one.node.name < other.node.name else (other, one)


_GLOBAL = Atom("global")
_DEFAULT = resolver_term("random_exit_name")
#: The resolvers of OTP, by name; they act for the process that runs the call.
_RESOLVERS: dict[str, Callable[[Process, Any, Pid, Pid], Any]] = {
    "random_exit_name": random_exit_name,
    "random_notify_name": random_notify_name,
    "notify_all_name": notify_all_name,
}


class GlobalExports:
    """The functions, by the names and arities of OTP."""

    def __init__(self, names: GlobalNames, exports: Exports) -> None:
        self._names = names
        self._exports = exports

    def export(self) -> None:
        """Let other nodes call them."""
        for function in (
            *(self.resolve_it, self.whereis_name, self.registered_names, self.register_name),
            *(self.re_register_name, self.unregister_name, self.register_name_external),
            *(self.unregister_name_external, self.send, self.sync, self.set_lock, self.del_lock),
            self.disconnect,
        ):
            self._exports.add("global", function.__name__, function)
        for name, resolver in _RESOLVERS.items():
            self._exports.add("global", name, self._exported(resolver))

    def _exported(self, resolver: Callable[[Process, Any, Pid, Pid], Any]) -> Callable[[Any, Pid, Pid], Any]:
        def resolve(name: Any, one: Pid, other: Pid) -> Any:
            return resolver(current_call().process, name, one, other)

        return resolve

    async def resolve_it(self, method: Any, name: Any, one: Pid, other: Pid) -> Any:
        """Call a resolver; what it raises is returned as ``{'EXIT', Reason}``, as ``catch`` does."""
        if isinstance(method, Fun) and (method.module, method.arity) == (_GLOBAL, 3):
            method = _DEFAULT  # of register_name/2: a local fun, which a BEAM of the same release can call
        if not isinstance(method, Export):
            return (EXIT, (_BADFUN, method))
        export = self._exports.find(method.module.name, method.function.name, 3)
        if export is None or method.arity != 3:
            return (EXIT, (UNDEF, [(method.module, method.function, [name, one, other], [])]))
        try:
            result = export.function(name, one, other)
            return await result if isawaitable(result) else result
        except KeyboardInterrupt:
            raise
        except Exception as error:
            return (EXIT, exit_reason(error))

    async def whereis_name(self, name: Any) -> Any:
        pid = await self._names.whereis_name(name)
        return _UNDEFINED if pid is None else pid

    async def registered_names(self) -> list[Any]:
        return await self._names.registered_names()

    async def register_name(self, name: Any, pid: Pid, method: Any = None) -> Atom:
        registered = await self._names.register_name(name, pid, _resolver(method), timeout=None)
        return _YES if registered else _NO

    async def re_register_name(self, name: Any, pid: Pid, method: Any = None) -> Atom:
        await self._names.re_register_name(name, pid, _resolver(method), timeout=None)
        return _YES

    async def register_name_external(self, name: Any, pid: Pid, method: Any = None) -> Atom:
        registered = await self._names.register_name_external(name, pid, _resolver(method), timeout=None)
        return _YES if registered else _NO

    async def unregister_name(self, name: Any) -> Atom:
        await self._names.unregister_name(name, timeout=None)
        return _OK

    async def unregister_name_external(self, name: Any) -> Atom:
        return await self.unregister_name(name)

    async def send(self, name: Any, message: Any) -> Pid:
        try:
            return await self._names.send(name, message)
        except NoSuchProcess:
            raise RemoteError("exit", (_BADARG, (name, message)), []) from None

    async def sync(self, nodes: list[Atom] | None = None) -> Atom:
        await self._names.sync(nodes)
        return _OK

    def disconnect(self) -> list[Atom]:
        return [Atom(node) for node in self._names.disconnect()]

    async def set_lock(self, lock_id: Any, nodes: list[Atom] | None = None, retries: Any = _INFINITY) -> bool:
        attempts = None if retries == _INFINITY else int(retries)
        return await self._names.set_lock(lock_id, nodes, attempts, process=current_call().process)

    async def del_lock(self, lock_id: Any, nodes: list[Atom] | None = None) -> bool:
        await self._names.del_lock(lock_id, nodes, process=current_call().process)
        return True


def _resolver(method: Any) -> Export:
    match method:
        case None:
            return _DEFAULT
        case Export() | (Atom(), Atom()):
            return resolver_term(method)
    raise RemoteError("error", Atom("function_clause"), [])
