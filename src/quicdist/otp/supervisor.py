"""``supervisor``: starts processes of this node and restarts them when they end.

OTP: ``supervisor(3)``; Design Principles, *Supervisor Behaviour*. Other nodes can call
``supervisor:which_children/1`` and similar functions on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from quicdist.containment import settle
from quicdist.logs import RateLimit, get_logger
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import KILL, KILLED, SHUTDOWN, answered_reason, exit_reason, is_shutdown
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import finished_within
from quicdist.node.reports import Shown
from quicdist.otp.child_spec import Child, ChildSpec, ChildState, RestartIntensity
from quicdist.otp.child_start import start_link
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_server import NO_REPLY, GenServer, Stop
from quicdist.otp.server_process import ServerProcess
from quicdist.term import Atom, Pid, format_term
from quicdist.term.names import argument_list, named_term

log = get_logger("quicdist.otp")

_unexpected = RateLimit()

#: Seconds to wait for the code of a killed child to end before the next one is started.
KILL_TIME = 5.0

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"]
_STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one")
_SIMPLE_ONE_FOR_ONE = Atom("simple_one_for_one")

_OK, _ERROR, _EXIT = Atom("ok"), Atom("error"), Atom("EXIT")
_WHICH_CHILDREN, _COUNT_CHILDREN = Atom("which_children"), Atom("count_children")
_RESTARTING, _NOT_FOUND, _RUNNING = Atom("restarting"), Atom("not_found"), Atom("running")
_UNDEFINED = Atom("undefined")
_START_CHILD = Atom("start_child")
_ALREADY_STARTED, _ALREADY_PRESENT = Atom("already_started"), Atom("already_present")
_FAILED_TO_START_CHILD = Atom("failed_to_start_child")
_INVALID_CHILD_SPEC = Atom("invalid_child_spec")
_REACHED_MAX_RESTART_INTENSITY = Atom("reached_max_restart_intensity")
_TRY_AGAIN_RESTART = Atom("try_again_restart")


class Supervisor(GenServer):
    """Supervises processes of this node; ``node.serve(Supervisor([...]))`` starts it.

    ``strategy``: when a child has to be restarted, restart it alone (``one_for_one``), all children
    (``one_for_all``), or it and those started after it (``rest_for_one``). With more than ``intensity``
    restarts within ``period`` seconds, the supervisor ends all children and itself, with ``shutdown``.
    Children are started in order and ended in reverse order.

    With ``simple_one_for_one`` there is one specification for any number of children, and none at the
    start: ``start_child`` starts a child, with arguments that are added to those of the specification.
    Such children are identified by their pids, forgotten when they end, and ended all at once.
    """

    process: ServerProcess
    supervises = True

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = "one_for_one",
        intensity: int = 1,
        period: float = 5.0,
    ) -> None:
        if strategy not in _STRATEGIES:
            raise NodeError(f"strategy must be one of {', '.join(_STRATEGIES)}, got {strategy!r}")
        if intensity < 0 or period <= 0:
            raise NodeError(f"intensity must be 0 or more and period above 0 s, got {intensity} and {period}")
        self._strategy = strategy
        self._intensity = RestartIntensity(intensity, period)
        self._specs = list(children)
        #: The specification of all children with ``simple_one_for_one``.
        self._template: ChildSpec | None = None
        if strategy == "simple_one_for_one":
            if len(self._specs) != 1:
                raise NodeError(f"simple_one_for_one needs one child specification, got {len(self._specs)}")
            self._template = self._specs.pop()
        #: The children in start order.
        self._children: dict[Child, None] = {}
        #: Children by the pid of their process, or of the last one they had.
        self._by_pid: dict[Pid, Child] = {}
        ids = [spec.term_id for spec in self._specs]
        if any(ids.count(one) > 1 for one in ids):
            raise NodeError(f"two children have the same id: {ids!r}")

    # -- starting and ending -----------------------------------------------------------------------

    async def init(self) -> Any:
        self.process.trap_exit = True
        self._children = dict.fromkeys(map(Child, self._specs))
        failed = await self._start_all(self._children)
        if failed is not None:
            await self._end_all(self._children)
            return Stop((SHUTDOWN, (_FAILED_TO_START_CHILD, failed[0].spec.term_id, exit_reason(failed[1]))))
        return None

    async def terminate(self, reason: Any) -> None:
        await self._end_all(self._children)

    async def _start(self, child: Child) -> None:
        spec = child.spec
        supervisor = self.process
        process = await start_link(
            supervisor.runtime, spec.start, spec.args, supervisor.pid, spec.name, supervisor.group_leader
        )
        self._unlist(child)
        child.started(process)
        if process is not None:
            self._by_pid[process.pid] = child
            self.process.node._services.reports.child_started(self.process, child)

    def _forget(self, child: Child) -> None:
        self._children.pop(child, None)
        self._unlist(child)

    def _unlist(self, child: Child) -> None:
        if child.pid is not None:
            self._by_pid.pop(child.pid, None)

    async def _start_all(self, children: Iterable[Child]) -> tuple[Child, BaseException] | None:
        """Start children in order; the first that fails, and its error."""
        for child in list(children):
            _, error = await settle(self._start(child))
            if error is not None:
                self._report("start_error", child, exit_reason(error))
                return child, error
            if child.process is None and (child.spec.restart == "temporary" or self._template):
                self._forget(child)
        return None

    async def _end_all(self, children: Iterable[Child]) -> None:
        if self._template is not None:
            await asyncio.gather(*map(self._end, list(children)))
            return
        for child in reversed(list(children)):
            await self._end(child)

    async def _end(self, child: Child) -> None:
        """End one child within its shutdown time, and wait until its code has ended. Code that does not
        end after ``kill`` either is left running."""
        process = child.process
        child.stopped()
        if child.spec.restart == "temporary":
            self._forget(child)
        if process is None or not process.alive:
            return
        shutdown_time = child.spec.shutdown_time
        if shutdown_time != 0:
            self.process.exit(process, SHUTDOWN)
            if not await finished_within(process, shutdown_time) and process.alive:
                self._report("shutdown_error", child, KILLED)
        if process.alive:
            self.process.exit(process, KILL)
        await self._code_ended(child, process)

    async def _code_ended(self, child: Child, process: Process) -> None:
        """Wait until the code of an ended process has ended too, and has freed what it held."""
        if not await finished_within(process, KILL_TIME):
            log.error(
                "%r: the code of child %r still runs %g s after its end, although it was cancelled",
                self.process,
                child.spec.id,
                KILL_TIME,
            )

    # -- children that end -------------------------------------------------------------------------

    async def handle_info(self, message: Any) -> Any:
        match message:
            case (tag, Pid() as pid, reason) if tag == _EXIT:
                child = self._by_pid.get(pid)
                if child is not None and child.process is not None:
                    return await self._ended(child, reason)
            case _:
                note = _unexpected.admit(self.process.pid)
                if note is not None:
                    text = Shown(message)
                    log.error("%r got an unexpected message: %s%s", self.process, text, note)
        return None

    async def _ended(self, child: Child, reason: Any) -> Any:
        spec = child.spec
        if child.process is not None:
            await self._code_ended(child, child.process)
        child.stopped()
        if spec.restart == "permanent" or not is_shutdown(reason):
            self._report("child_terminated", child, reason)
        if spec.restart == "permanent" or (spec.restart == "transient" and not is_shutdown(reason)):
            return await self._restart(child)
        if spec.restart == "temporary" or self._template is not None:
            self._forget(child)
        return None

    async def _restart(self, child: Child) -> Any:
        if not self._intensity.allows(asyncio.get_running_loop().time()):
            child.stopped()
            self._report("shutdown", child, _REACHED_MAX_RESTART_INTENSITY)
            return Stop(SHUTDOWN)
        affected = [child]
        if self._strategy in ("rest_for_one", "one_for_all"):
            affected = list(self._children)
            if self._strategy == "rest_for_one":
                affected = affected[affected.index(child) :]
        await self._end_all(affected)
        failed = await self._start_all(one for one in affected if one in self._children)
        if failed is not None:
            # By a message, as in OTP: messages that wait come first, such as an exit.
            failed[0].restart_failed()
            self.process.send(
                self.process.pid, (Atom("$gen_cast"), (_TRY_AGAIN_RESTART, self._id(failed[0])))
            )
        return None

    async def handle_cast(self, request: Any) -> Any:
        match request:
            case (kind, child_id) if kind == _TRY_AGAIN_RESTART:
                child = self._find(child_id)
                if child is not None and child.state is ChildState.RESTARTING:
                    return await self._restart(child)
        return None

    def _report(self, context: str, child: Child, reason: Any) -> None:
        self.process.node._services.reports.child_failed(self.process, context, child, reason)

    # -- calls -------------------------------------------------------------------------------------

    async def handle_call(self, request: Any, sender: From) -> Any:
        match request:
            case Atom() if request == _WHICH_CHILDREN:
                return [self._shown(child) for child in reversed(self._children)]
            case Atom() if request == _COUNT_CHILDREN:
                return self._count()
            case (Atom() as kind, list() as more) if kind == _START_CHILD and self._template is not None:
                template = self._template
                return await self._start_child(replace(template, args=(*template.args, *more)))
            case (Atom() as kind, ChildSpec() as spec) if kind == _START_CHILD and self._template is None:
                return await self._start_child(spec)
            case (Atom() as kind, spec) if kind == _START_CHILD:
                # From another node, which cannot name Python code.
                return (_ERROR, (_INVALID_CHILD_SPEC, spec))
            case (Atom(name=name), child_id) if name in _CHILD_CALLS:
                by_pid = name == "terminate_child" and isinstance(child_id, Pid)
                if self._template is not None and name in _BY_ID and not by_pid:
                    return (_ERROR, _SIMPLE_ONE_FOR_ONE)
                child = self._find(child_id)
                return (_ERROR, _NOT_FOUND) if child is None else await _CHILD_CALLS[name](self, child)
        return NO_REPLY

    def get_state(self) -> Any:
        return {
            Atom("strategy"): Atom(self._strategy),
            Atom("children"): list(map(self._shown, self._children)),
        }

    def _shown(self, child: Child) -> tuple[Any, ...]:
        spec = child.spec
        pid: Any = _UNDEFINED if child.process is None else child.process.pid
        if child.state is ChildState.RESTARTING:
            pid = _RESTARTING
        child_id = spec.term_id if self._template is None else _UNDEFINED
        return (child_id, pid, Atom(spec.type), spec.modules)

    def _id(self, child: Child) -> Any:
        """The id of a child; its pid with ``simple_one_for_one``."""
        return child.spec.term_id if self._template is None else child.pid

    def _find(self, child_id: Any) -> Child | None:
        template = self._template
        if template is not None:
            if not isinstance(child_id, Pid):
                return Child(template) if child_id == template.term_id else None
            runtime = self.process.runtime
            # A process that has ended is treated as a child that has ended, as in OTP.
            gone = runtime.is_local(child_id) and runtime.find(child_id) is None
            return self._by_pid.get(child_id, Child(template) if gone else None)
        return next((child for child in self._children if child.spec.term_id == child_id), None)

    def _count(self) -> list[tuple[Atom, int]]:
        kinds = [child.spec.type for child in self._children]
        active = sum(child.process is not None and child.process.alive for child in self._children)
        specs = len(kinds) if self._template is None else 1
        counts = (specs, active, kinds.count("supervisor"), kinds.count("worker"))
        return list(zip(map(Atom, ("specs", "active", "supervisors", "workers")), counts, strict=True))

    async def _start_child(self, spec: ChildSpec) -> Any:
        known = None if self._template is not None else self._find(spec.term_id)
        if known is not None:
            return (
                _ERROR,
                _ALREADY_PRESENT if known.process is None else (_ALREADY_STARTED, known.process.pid),
            )
        child = Child(spec)
        self._children[child] = None
        failed = await self._start_all([child])
        if failed is not None:
            self._forget(child)
            return (_ERROR, answered_reason(failed[1]))
        return _started(child)

    async def _restart_child(self, child: Child) -> Any:
        if child.state is not ChildState.STOPPED:
            return (_ERROR, _RUNNING if child.state is ChildState.RUNNING else _RESTARTING)
        failed = await self._start_all([child])
        return (_ERROR, answered_reason(failed[1])) if failed is not None else _started(child)

    async def _terminate_child(self, child: Child) -> Any:
        await self._end(child)
        if self._template is not None:
            self._forget(child)
        return _OK

    async def _delete_child(self, child: Child) -> Any:
        if child.state is not ChildState.STOPPED:
            return (_ERROR, _RUNNING if child.state is ChildState.RUNNING else _RESTARTING)
        self._forget(child)
        return _OK

    async def _get_childspec(self, child: Child) -> Any:
        return (_OK, (self._template or child.spec).to_term())

    # -- from Python -------------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec | Sequence[Any] = ()) -> Pid | None:
        """Start a child (``supervisor:start_child/2``) by its specification, with
        ``simple_one_for_one`` by its arguments; its pid, None if its ``init`` returned ``IGNORE``. Raises
        :class:`NodeError` if it cannot be started."""
        return self._pid(
            await self._ask((_START_CHILD, spec if isinstance(spec, ChildSpec) else argument_list(spec)))
        )

    async def restart_child(self, child_id: Any) -> Pid | None:
        """Start a child that was terminated (``supervisor:restart_child/2``)."""
        return self._pid(await self._ask((Atom("restart_child"), named_term(child_id))))

    async def terminate_child(self, child_id: Any) -> None:
        """End a child, by its id, with ``simple_one_for_one`` by its pid (``terminate_child/2``). Its
        specification is kept unless it is temporary."""
        self._checked(await self._ask((Atom("terminate_child"), named_term(child_id))))

    async def delete_child(self, child_id: Any) -> None:
        """Delete the specification of a child that was terminated (``supervisor:delete_child/2``)."""
        self._checked(await self._ask((Atom("delete_child"), named_term(child_id))))

    def which_children(self) -> dict[Any, Process | None]:
        """The process of each child, None if it has none, by id (``simple_one_for_one``: by pid), in start
        order."""
        if self._template is not None:
            return {child.pid: child.process for child in self._children}
        return {child.spec.id: child.process for child in self._children}

    async def _ask(self, request: Any) -> Any:
        return await self.process.node.gen_server.call(self.process.pid, request, timeout=None)

    def _checked(self, answer: Any) -> Any:
        if isinstance(answer, tuple) and answer[0] == _ERROR:
            raise NodeError(f"{self.process!r}: {format_term(answer[1])}")
        return answer

    def _pid(self, answer: Any) -> Pid | None:
        pid = self._checked(answer)[1]
        return pid if isinstance(pid, Pid) else None


def _started(child: Child) -> Any:
    return (_OK, _UNDEFINED if child.process is None else child.process.pid)


#: Calls that name a child by its id, which children of ``simple_one_for_one`` do not have.
_BY_ID = ("restart_child", "terminate_child", "delete_child")

_CHILD_CALLS: dict[str, Callable[[Supervisor, Child], Any]] = {
    "restart_child": Supervisor._restart_child,
    "terminate_child": Supervisor._terminate_child,
    "delete_child": Supervisor._delete_child,
    "get_childspec": Supervisor._get_childspec,
}
