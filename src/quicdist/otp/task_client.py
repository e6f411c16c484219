"""The client side of Elixir's ``Task.Supervisor``: tasks on any node that has one.

Elixir: ``Task.Supervisor``, versions 1.14 to 1.18. The function is given by module, name and arguments: a
Python program has no Elixir fun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quicdist.node.errors import NodeError
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.gen import GenClient, described
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.request import Request
from quicdist.term import Atom, Pid, Reference, format_term
from quicdist.term.names import Name, mfa_of
from quicdist.term.shorten import shorten

if TYPE_CHECKING:
    from quicdist.otp.child_spec import Restart, Shutdown

_START_TASK, _MONITOR, _OK = Atom("start_task"), Atom("monitor"), Atom("ok")
_TERMINATE_CHILD, _WHICH_CHILDREN = Atom("terminate_child"), Atom("which_children")
_NIL = Atom("nil")


class TaskSupervisorClient:
    """Starts tasks under a ``Task.Supervisor`` of any node: a pid, process, ``name``, ``(name, node)``,
    :class:`Global` or :class:`Via`. The name of an Elixir module is ``"Elixir.MyApp.Tasks"``."""

    def __init__(self, runtime: Runtime, gen: GenClient, servers: GenServerClient) -> None:
        self._runtime = runtime
        self._gen = gen
        self._servers = servers

    async def async_nolink(
        self,
        to: Any,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        shutdown: Shutdown | None = None,
    ) -> Request[Any]:
        """Start a task, and return the :class:`Request` of its value (``Task.Supervisor.async_nolink/5``;
        awaiting it is ``Task.await``)::

            task = await node.task_supervisor.async_nolink(tasks, "Elixir.MyApp", "work", [1])
            value = await task.receive_response(5.0)

        ``shutdown`` is what the supervisor gives the task to end, seconds or one of OTP's words. Awaiting
        the request raises :class:`ProcessEnded` with the reason of a task that failed. Raises
        :class:`NodeError` if the task was refused, and the errors of a call.
        """
        return await self._start(to, (module, function, arguments), shutdown, None)

    async def async_link(
        self,
        to: Any,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        process: Process,
        shutdown: Shutdown | None = None,
    ) -> Request[Any]:
        """As :meth:`async_nolink`, with ``process`` as the owner of the task, linked to it
        (``Task.Supervisor.async/5``)."""
        return await self._start(to, (module, function, arguments), shutdown, process)

    async def start_child(
        self,
        to: Any,
        module: Name,
        function: Name,
        arguments: Sequence[Any] = (),
        *,
        restart: Restart = "temporary",
        shutdown: Shutdown | None = None,
    ) -> Pid:
        """Start a task whose value nobody wants; its pid (``Task.Supervisor.start_child/5``)."""
        owner = self._gen.process.pid
        mfa = _mfa(module, function, arguments)
        return await self._child(to, [self._owner(owner), [owner], mfa], Atom(restart), shutdown)

    async def children(self, to: Any) -> list[Pid]:
        """The tasks that are running (``Task.Supervisor.children/1``)."""
        children = await self._servers.call(to, _WHICH_CHILDREN, timeout=None)
        return [pid for _, pid, *_ in children if isinstance(pid, Pid)]

    async def terminate_child(self, to: Any, pid: Pid) -> bool:
        """End a task; whether the supervisor had it (``Task.Supervisor.terminate_child/2``)."""
        answer: Any = await self._servers.call(to, (_TERMINATE_CHILD, pid), timeout=None)
        return bool(answer == _OK)

    def _owner(self, pid: Pid) -> tuple[Any, ...]:
        """``{Node, Name or Pid, Pid}``."""
        process = self._runtime.find(pid)
        name = None if process is None else process.name
        return (Atom(self._runtime.name), pid if name is None else Atom(name), pid)

    async def _child(self, to: Any, arguments: list[Any], restart: Atom, shutdown: Shutdown | None) -> Pid:
        request = (_START_TASK, arguments, restart, _shutdown_term(shutdown))
        match await self._servers.call(to, request, timeout=None):
            case (ok, Pid() as pid) if ok == _OK:
                return pid
            case answer:
                raise NodeError(f"{described(to)} did not start the task: {format_term(shorten(answer))}")

    async def _start(
        self,
        to: Any,
        call: tuple[Name, Name, Sequence[Any]],
        shutdown: Shutdown | None,
        process: Process | None,
    ) -> Request[Any]:
        mfa = _mfa(*call)
        owner = (process or self._gen.process).pid
        arguments = [self._owner(owner), _MONITOR]
        task = await self._child(to, arguments, Atom("temporary"), shutdown)
        if process is not None:
            process.link(task)
        return self._ask(owner, task, mfa)

    def _ask(self, owner: Pid, task: Pid, mfa: tuple[Any, ...]) -> Request[Any]:
        """Send the task its function; the answer comes by an alias, as from ``Task.Supervised``."""
        runtime, monitors = self._runtime, self._runtime.monitors
        reference: Reference = runtime.identifiers.reference()

        def close() -> None:
            monitors.unalias(reference)
            monitors.demonitor(reference, owner)

        result: Request[Any] = Request(lambda: f"task {task}", close)

        def answered(message: Any) -> None:
            if isinstance(message, tuple) and len(message) == 2 and message[0] == reference:
                close()
                result.succeed(message[1])

        def down(reason: Any) -> None:
            close()
            result.fail(self._gen.down_error(task, reason))

        monitors.alias(answered, reference)
        try:
            monitors.monitor(None, owner, task, down, reference=reference)
            runtime.send(owner, task, (owner, reference, reference, [owner], mfa))
        except BaseException:
            close()
            raise
        return result


def _mfa(module: Name, function: Name, arguments: Sequence[Any]) -> tuple[Any, ...]:
    module, function, arguments = mfa_of(module, function, arguments)
    return (Atom(module), Atom(function), arguments)


def _shutdown_term(shutdown: Shutdown | None) -> Any:
    if shutdown is None:
        return _NIL
    return Atom(shutdown) if isinstance(shutdown, str) else round(shutdown * 1000)
