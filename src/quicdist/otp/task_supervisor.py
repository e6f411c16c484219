"""``Task.Supervisor`` of Elixir: tasks that other nodes start here.

Elixir: ``Task.Supervisor``, ``Task.Supervised`` and ``DynamicSupervisor``, versions 1.14 to 1.18, whose
messages are the same. A task runs an exported function.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

from quicdist.node.errors import NodeError, ProcessExit
from quicdist.node.exit_reason import DOWN, SHUTDOWN
from quicdist.node.patterns import ANY, AnyOf
from quicdist.node.process import Process
from quicdist.otp.child_spec import Child, ChildSpec, Restart, Shutdown
from quicdist.otp.child_start import Factory
from quicdist.otp.dispatcher import Dispatcher
from quicdist.otp.errors import RemoteError
from quicdist.otp.gen_messages import From
from quicdist.otp.outcome import RETURN, Outcome
from quicdist.otp.supervisor import Supervisor
from quicdist.term import Atom, Pid, Reference

_ERROR, _BADARG, _EXIT, _TIMEOUT = Atom("error"), Atom("badarg"), Atom("exit"), Atom("timeout")
_MAX_CHILDREN, _NOT_FOUND = Atom("max_children"), Atom("not_found")
_SUPERVISED = Atom("Elixir.Task.Supervised")
#: Seconds that a task waits for its function, as in Elixir: its owner may have lost the connection.
OWNER_TIME: Final = 5.0
#: Tasks of one supervisor at once. A BEAM has its limit of processes.
MAX_CHILDREN: Final = 100_000


class TaskSupervisor(Supervisor):
    """A ``Task.Supervisor`` for the nodes of the cluster; ``node.serve(TaskSupervisor(), name="tasks")``
    starts it.

    ``Task.Supervisor.async({:tasks, node}, Module, function, args)`` in Elixir then runs the exported
    function ``Module.function`` here; ``async_nolink``, ``start_child`` and ``async_stream`` work too. The
    name of an Elixir module is ``"Elixir.MyApp.Tasks"``.

    More than ``max_children`` tasks at once are refused with ``{:error, :max_children}``; None is no limit.
    ``intensity`` and ``period`` limit the restarts of tasks that are not ``:temporary``, as in
    :class:`Supervisor`.
    """

    def __init__(
        self, *, max_children: int | None = MAX_CHILDREN, intensity: int = 3, period: float = 5.0
    ) -> None:
        if max_children is not None and max_children < 0:
            raise NodeError(f"max_children must be 0 or more, got {max_children}")
        self._max_children = max_children
        template = ChildSpec("task", _run_child, restart="temporary")
        super().__init__([template], strategy="simple_one_for_one", intensity=intensity, period=period)

    async def handle_call(self, request: Any, sender: From) -> Any:
        match request:
            case (Atom(name="start_task"), list() as arguments, restart, shutdown):
                spec = self._spec(arguments, restart, shutdown)
                if spec is None:
                    return (_ERROR, _BADARG)
                if self._max_children is not None and len(self._children) >= self._max_children:
                    return (_ERROR, _MAX_CHILDREN)
                return await self._start_child(spec)
            case Atom(name="which_children" | "count_children") | (Atom(name="terminate_child"), Pid()):
                return await super().handle_call(request, sender)
            case (Atom(name="terminate_child"), _):
                return (_ERROR, _NOT_FOUND)
        return (_ERROR, _BADARG)

    def _spec(self, arguments: list[Any], restart: Any, shutdown: Any) -> ChildSpec | None:
        """The child of a request; None for one that is not as ``Task.Supervisor`` makes it."""
        spec, dispatcher = self._template, self.process.node._services.dispatcher
        assert spec is not None
        its_restart, its_shutdown = _restart(restart), _shutdown(shutdown)
        if its_restart is None or its_shutdown is None:
            return None
        start: Factory
        args: tuple[Any, ...]
        match arguments:
            case [(_, _, Pid() as owner), Atom(name="monitor" | "nomonitor") as monitor]:
                start, args = _reply, (dispatcher, owner, monitor.name == "monitor")
            case [(_, _, Pid() as owner), list(), (Atom(), Atom(), list()) as mfa]:
                start, args = _run_child, (dispatcher, owner, mfa)
            case _:
                return None
        return replace(spec, start=start, args=args, restart=its_restart, shutdown=its_shutdown)

    def _shown(self, child: Child) -> tuple[Any, ...]:
        return (*super()._shown(child)[:3], [_SUPERVISED])

    def _count(self) -> list[tuple[Atom, int]]:
        (specs, _), *others = super()._count()
        return [(specs, len(self._children)), *others]

    def _find(self, child_id: Any) -> Child | None:
        return self._by_pid.get(child_id)


def _restart(term: Any) -> Restart | None:
    match term:
        case None | Atom(name="nil" | "temporary"):
            return "temporary"
        case Atom(name="transient"):
            return "transient"
        case Atom(name="permanent"):
            return "permanent"
    return None


def _shutdown(term: Any) -> Shutdown | None:
    match term:
        case None | Atom(name="nil"):
            return 5.0
        case Atom(name="brutal_kill"):
            return "brutal_kill"
        case Atom(name="infinity"):
            return "infinity"
        case int() if term >= 0:
            return term / 1000
    return None


async def _reply(process: Process, dispatcher: Dispatcher, owner: Pid, monitor: bool) -> None:
    """``Task.Supervised.reply/3``: wait for the function from the owner, run it and send the owner its
    value."""
    reference = process.monitor(owner) if monitor else process.make_ref()
    wanted = AnyOf((owner, ANY, ANY, ANY, ANY), (DOWN, reference, ANY, ANY, ANY))
    try:
        message = await process.receive(wanted, timeout=OWNER_TIME if monitor else None)
    except TimeoutError:
        raise ProcessExit(_TIMEOUT) from None
    if message[0] == DOWN:
        raise ProcessExit((SHUTDOWN, message[4]))
    _, tag, reply_to, _, mfa = message
    if monitor:
        process.demonitor(reference, flush=True)
    if not isinstance(reply_to, Pid | Reference) or not _is_mfa(mfa):
        raise ProcessExit(_BADARG)
    value = await _run(process, dispatcher, owner, mfa)
    # The value must not be overtaken by the exit signal on another stream.
    process.runtime.send(process.pid, reply_to, (tag, value), owner=owner)


async def _run_child(process: Process, dispatcher: Dispatcher, owner: Pid, mfa: Any) -> None:
    """``Task.Supervised.noreply/4``: run a function."""
    await _run(process, dispatcher, owner, mfa)


def _is_mfa(mfa: Any) -> bool:
    match mfa:
        case (Atom(), Atom(), list()):
            return True
    return False


async def _run(process: Process, dispatcher: Dispatcher, owner: Pid, mfa: tuple[Any, ...]) -> Any:
    """The value of an exported function. Raises what it raised, with class, reason and stack."""
    process.body = (mfa[0], mfa[1], len(mfa[2]))
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def done(outcome: Outcome) -> None:
        if not ended.done():
            ended.set_result(outcome)

    dispatcher.apply(process, owner, mfa, done)
    kind, value, *stack = await ended
    if kind == RETURN:
        return value
    if kind == _EXIT:
        raise ProcessExit(value)
    raise RemoteError(kind.name, value, stack[0] if stack else [])
