"""Places in servers: each callback, as a plain and as a coroutine function, and what starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from quicdist import (
    Atom,
    CallTimeout,
    ChildSpec,
    Continue,
    GenServer,
    NodeError,
    NoReply,
    Process,
    ProcessEnded,
    ProcessExit,
    Reply,
    Stop,
    Supervisor,
    Via,
)
from quicdist.node.exit_reason import answered_reason
from quicdist.node.process_lifecycle import ProcessState
from tests.containment.faults import GONE, Fault
from tests.containment.lab import KILL, Lab, until
from tests.containment.places import error_of, place, raised

#: Seconds for a call that is given up.
SOON = 0.01


def server(**callbacks: Callable[..., Any]) -> GenServer:
    """One with these callbacks, called without ``self``."""
    methods = {name: _method(function) for name, function in callbacks.items()}
    made: GenServer = type("Server", (GenServer,), methods)()
    return made


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    if asyncio.iscoroutinefunction(function):

        async def awaited(_: Any, *args: Any) -> Any:
            return await function(*args)

        return awaited
    return lambda _, *args: function(*args)


#: Runs a fault in a place, by a callback that may be a coroutine function.
RunWith = Callable[[Lab, Fault, Callable[..., Any]], Awaitable[Any]]


def both(name: str, **options: Any) -> Callable[[RunWith], RunWith]:
    """Decorator: a place for a plain callback, and one for a coroutine."""

    def added(run: RunWith) -> RunWith:
        async def plain(lab: Lab, fault: Fault) -> Any:
            return await run(lab, fault, fault.plain)

        async def awaited(lab: Lab, fault: Fault) -> Any:
            return await run(lab, fault, fault.awaited)

        place(name, **options)(plain)
        place(f"async {name}", coroutine=True, **options)(awaited)
        return run

    return added


async def started(lab: Lab, made: GenServer) -> Process:
    process = await lab.two.gen_server.start(made)
    assert process is not None
    return process


async def ends(lab: Lab, fault: Fault, made: GenServer, act: Callable[..., Any], *args: Any) -> Any:
    """The reason a server ends with when something is done with its pid."""
    process = await started(lab, made)
    if fault.never:
        return await lab.killed(process, act, process.pid, *args)
    return await lab.down(process, act, process.pid, *args)


@both("handle_call", replies=True)
async def handle_call(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    process = await started(lab, server(handle_call=callback))
    call = lab.one.gen_server.send_request
    asked: list[Any] = []
    if fault.never:
        await lab.killed(process, lambda: asked.append(call(process.pid, 1)))
        error = await error_of(asked[0].receive_response())
        assert isinstance(error, ProcessEnded)
        assert error.reason == Atom("killed")
        return None
    reason = await lab.down(process, lambda: asked.append(call(process.pid, 1)))
    error = await error_of(asked[0].receive_response())
    assert isinstance(error, ProcessEnded)
    assert str(error.reason) == str(reason)
    return reason


@both("handle_cast")
async def handle_cast(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    return await ends(lab, fault, server(handle_cast=callback), lab.one.gen_server.cast, 1)


@both("handle_info")
async def handle_info(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    return await ends(lab, fault, server(handle_info=callback), lab.one.send, 1)


@both("handle_continue")
async def handle_continue(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server(handle_cast=lambda _: NoReply(Continue()), handle_continue=callback)
    return await ends(lab, fault, made, lab.one.gen_server.cast, 1)


@both("a time-out")
async def time_out(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server(handle_cast=lambda _: NoReply(0.0), handle_info=callback)
    return await ends(lab, fault, made, lab.one.gen_server.cast, 1)


@both("terminate")
async def terminate(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server(handle_cast=lambda _: Stop(b"asked to"), terminate=callback)
    process = await started(lab, made)
    if fault.never:
        lab.one.gen_server.cast(process.pid, 1)
        await until(lambda: process.state is ProcessState.EXITING)
        assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == Atom("killed")
        await process.finished()
        return None
    return await lab.down(process, lab.one.gen_server.cast, process.pid, 1)


@both("terminate after an exit signal")
async def terminate_by_signal(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    process = await started(lab, server(terminate=callback))
    if fault.never:
        lab.watcher.exit(process.pid, GONE)
        await until(lambda: process.state is ProcessState.EXITING)
        assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == Atom("killed")
        await process.finished()
        return None
    return await lab.down(process, lab.watcher.exit, process.pid, GONE)


@both("terminate after kill")
async def terminate_killed(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    process = await started(lab, server(terminate=callback))
    assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == Atom("killed")
    if fault.never:
        assert process.task is not None
        process.task.cancel()
    await process.finished()


@both("a coroutine called off by an exit signal")
async def called_off(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    """What it raises then does not hide why it ends; ``terminate`` hears that too."""
    begun = asyncio.Event()
    reasons: list[Any] = []

    async def handle_cast(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            result = callback()
            if asyncio.iscoroutine(result):
                await result

    process = await started(lab, server(handle_cast=handle_cast, terminate=reasons.append))
    lab.one.gen_server.cast(process.pid, 1)
    await begun.wait()
    if fault.never:
        lab.watcher.exit(process.pid, GONE)
        await until(lambda: process.state is ProcessState.EXITING)
        assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == Atom("killed")
        await process.finished()
        return
    assert await lab.down(process, lab.watcher.exit, process.pid, GONE) == GONE
    assert reasons == [GONE]


# -- starting ------------------------------------------------------------------------------------


@both("init")
async def init(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server(init=callback)
    starting = asyncio.ensure_future(lab.two.gen_server.start(made))
    await until(lambda: hasattr(made, "process"))
    if fault.never:
        await lab.killed(made.process, lambda: None)
    else:
        lab.around(lambda: None)
    error = await raised(starting)
    if fault.never:
        assert isinstance(error, ProcessEnded)
        return None
    if isinstance(error, ProcessEnded):
        assert str(error.reason) == str(made.process.exit_reason)
    else:
        assert type(error).__name__ in (fault.reason, fault.in_coroutine)
    assert not made.process.alive
    return answered_reason(ProcessExit(made.process.exit_reason))


@both("init of a child of another node")
async def remote_child(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    """The node that asks is its parent, and is answered ``{error, Reason}``."""
    name = f"child{id(fault)}{callback.__name__}"
    if lab.two.exports.find("lab", name, 0) is None:
        lab.two.exports.child("lab", name)(lambda: server(init=callback))
    return await _start_answer(lab, fault, name)


async def _start_answer(lab: Lab, fault: Fault, name: str) -> Any:
    before = set(lab.two._local.runtime.processes())
    asked = lab.around(lab.one.erpc.send_request, lab.two.name, "lab", name)
    if fault.never:
        await lab.seen_both()
        await lab.check()
        new = [process for process in lab.two._local.runtime.processes() if process not in before]
        for process in new:
            lab.watcher.exit(process.pid, KILL)
        await error_of(asked.receive_response())
        return None
    answer = await asked.receive_response()
    if isinstance(answer, tuple) and answer[0] == Atom("error"):
        return answer[1]
    error = await error_of(_raised(answer))
    return getattr(error, "exit_reason", error)


async def _raised(error: Any) -> Any:
    raise error


@place("factory of a child of another node")
async def remote_factory(lab: Lab, fault: Fault) -> Any:
    name = f"factory{id(fault)}"
    if lab.two.exports.find("lab", name, 0) is None:
        lab.two.exports.child("lab", name)(lambda: fault.plain())
    return await _start_answer(lab, fault, name)


def _supervised(name: str, start: Callable[[Fault], Any], **options: Any) -> None:
    """A child that fails when a supervisor starts it: the supervisor goes on and says why."""

    async def run(lab: Lab, fault: Fault) -> Any:
        supervisor = Supervisor()
        process = await started(lab, supervisor)
        spec = ChildSpec("child", start(fault), restart="temporary")
        starting = lab.around(lambda: asyncio.ensure_future(supervisor.start_child(spec)))
        await lab.seen_both()
        await lab.check()
        if fault.never:
            process.exit(process, KILL)
        error = await raised(starting)
        if not fault.never:
            assert isinstance(error, NodeError), error
            assert supervisor.which_children() == {}
            assert await lab.two.gen_server.call(process, Atom("count_children"))
            process.stop(Atom("shutdown"))
        await process.finished()

    place(name, **options)(run)


_supervised("factory of a supervisor's child", lambda fault: fault.plain)
_supervised("init of a supervisor's child", lambda fault: lambda: server(init=fault.plain))
_supervised(
    "async init of a supervisor's child",
    lambda fault: lambda: server(init=fault.awaited),
    coroutine=True,
)


@place("body of a supervisor's child", coroutine=True)
async def supervised_body(lab: Lab, fault: Fault) -> Any:
    """A temporary one: its end is noticed, and others are not."""

    async def body(process: Process) -> None:
        await process.receive()
        await fault.awaited()

    async def other(process: Process) -> None:
        await process.receive()

    supervisor = Supervisor(
        [ChildSpec("faulty", body, restart="temporary"), ChildSpec("other", other)], intensity=0
    )
    process = await started(lab, supervisor)
    children = supervisor.which_children()
    child = children["faulty"]
    assert child is not None
    try:
        if fault.never:
            return await lab.killed(child, lab.one.send, child.pid, "go")
        return await lab.down(child, lab.one.send, child.pid, "go")
    finally:
        await lab.two.gen_server.call(process, Atom("count_children"))
        assert supervisor.which_children() == {"other": children["other"]}
        process.stop(Atom("shutdown"))
        await process.finished()


# -- what sys asks, and names kept by the program --------------------------------------------------


def _asked_by_sys(name: str, ask: Callable[[Lab, Any], Any], *, suspended: bool = False) -> None:
    async def run(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
        made = server(**{name: callback, "handle_call": lambda *_: Reply(b"serves")})
        process = await started(lab, made)
        if suspended:
            await lab.one.sys.suspend(process.pid)
        asked = lab.around(lambda: asyncio.ensure_future(ask(lab, process.pid)))
        if fault.never:
            await error_of(asked)
            await lab.killed(process, lambda: None)
            return
        error = await raised(asked)
        assert isinstance(error, NodeError), error
        if suspended:
            await lab.one.sys.resume(process.pid)
        assert await lab.one.gen_server.call(process.pid, 1) == b"serves"
        process.stop()

    # It runs in the task of the server, which ends with it.
    both(name, replies=name == "get_state", own_task=False)(run)


async def _get_state(lab: Lab, pid: Any) -> None:
    await lab.one.sys.get_state(pid, timeout=SOON * 20)


async def _replace_state(lab: Lab, pid: Any) -> None:
    """As ``sys:replace_state`` asks; the fun is one that the node which asks is asked to apply."""
    if lab.one.exports.find("erlang", "apply", 2) is None:
        lab.one.exports.add("erlang", "apply", _applied)
    answer = await lab.one._services.gen.call(
        pid, (Atom("replace_state"), Atom("fun")), label=Atom("system"), timeout=SOON * 20
    )
    raise NodeError(repr(answer)) if answer[0] == Atom("error") else AssertionError(answer)


def _applied(function: Any, arguments: list[Any]) -> Any:
    return arguments[0]


async def _change_code(lab: Lab, pid: Any) -> None:
    request = (Atom("change_code"), Atom("module"), 1, 2)
    answer = await lab.one._services.gen.call(pid, request, label=Atom("system"), timeout=SOON * 20)
    raise NodeError(repr(answer)) if answer[0] == Atom("error") else AssertionError(answer)


_asked_by_sys("get_state", _get_state)
_asked_by_sys("replace_state", _replace_state)
_asked_by_sys("code_change", _change_code, suspended=True)


class Registry:
    """Names kept by the program; one of its functions does something else."""

    def __init__(self, name: str, does: Callable[..., Any]) -> None:
        setattr(self, name, does)

    def whereis_name(self, name: Any) -> Any:
        return None

    def register_name(self, name: Any, pid: Any) -> Any:
        return True

    def unregister_name(self, name: Any) -> Any:
        return None


@both("whereis_name of a registry")
async def whereis_name(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    name = Via(Registry("whereis_name", callback), "name")
    asked = lab.around(lambda: asyncio.ensure_future(lab.two.gen_server.call(name, 1, timeout=SOON * 20)))
    error = await raised(asked)
    assert isinstance(error, Exception), error
    assert isinstance(error, CallTimeout) is fault.never
    lab.two.send(name, "dropped")


@both("register_name of a registry")
async def register_name(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server()
    name = Via(Registry("register_name", callback), "name")
    starting = asyncio.ensure_future(lab.two.gen_server.start(made, name=name))
    await until(lambda: hasattr(made, "process"))
    if fault.never:
        await lab.killed(made.process, lambda: None)
    else:
        lab.around(lambda: None)
    error = await raised(starting)
    assert isinstance(error, Exception), error
    assert not made.process.alive


@both("unregister_name of a registry")
async def unregister_name(lab: Lab, fault: Fault, callback: Callable[..., Any]) -> Any:
    made = server(init=lambda: Stop(b"not today"))
    name = Via(Registry("unregister_name", callback), "name")
    starting = asyncio.ensure_future(lab.two.gen_server.start(made, name=name))
    await until(lambda: hasattr(made, "process"))
    if fault.never:
        await lab.killed(made.process, lambda: None)
    else:
        lab.around(lambda: None)
    error = await raised(starting)
    assert isinstance(error, Exception), error
    assert not made.process.alive
