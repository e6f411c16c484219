"""Places in processes: bodies, handlers, patterns, what is called when a process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quicdist import ANY, Process
from quicdist.node.process_lifecycle import ProcessState
from tests.containment.faults import Fault
from tests.containment.lab import KILL, KILLED, Lab, until
from tests.containment.places import place


async def ends(lab: Lab, fault: Fault, process: Process) -> Any:
    """The reason a process ends with when it is sent something."""
    if fault.never:
        return await lab.killed(process, lab.one.send, process.pid, "go")
    return await lab.down(process, lab.one.send, process.pid, "go")


@place("body", coroutine=True)
async def body(lab: Lab, fault: Fault) -> Any:
    async def run(process: Process) -> None:
        await process.receive()
        await fault.awaited()

    return await ends(lab, fault, lab.two._local.runtime.spawn(run))


@place("body, in a task group", coroutine=True)
async def task_group(lab: Lab, fault: Fault) -> Any:
    """A group ends with a group; of one exit it is that exit."""

    async def run(process: Process) -> None:
        await process.receive()
        async with asyncio.TaskGroup() as group:
            # A task ends the event loop with these, as the group's own do.
            await group.create_task(asyncio.sleep(0))
            await fault.awaited()

    reason = await ends(lab, fault, lab.two._local.runtime.spawn(run))
    if isinstance(reason, tuple) and b"ExceptionGroup" in reason[0][1]:
        return None
    return reason


@place("body that cleans up", coroutine=True)
async def cleans_up(lab: Lab, fault: Fault) -> Any:
    """What goes wrong after an exit signal does not hide why the process ends."""

    async def run(process: Process) -> None:
        try:
            await process.receive(b"never")
        finally:
            await fault.awaited()

    process = lab.two._local.runtime.spawn(run)
    lab.one.send(process.pid, b"runs")
    await until(lambda: process.messages)
    if fault.never:
        lab.watcher.exit(process.pid, b"called off")
        await until(lambda: process.state is ProcessState.EXITING)
        assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == KILLED
        await process.finished()
    else:
        assert await lab.down(process, lab.watcher.exit, process.pid, b"called off") == b"called off"


@place("body that cleans up when killed", coroutine=True)
async def cleans_up_killed(lab: Lab, fault: Fault) -> Any:
    async def run(process: Process) -> None:
        try:
            await process.receive(b"never")
        finally:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.01, task.cancel)
            await fault.awaited()

    process = lab.two._local.runtime.spawn(run)
    lab.one.send(process.pid, b"runs")
    await until(lambda: process.messages)
    assert await lab.down(process, lab.watcher.exit, process.pid, KILL) == KILLED
    await process.finished()


@place("handler")
async def handler(lab: Lab, fault: Fault) -> Any:
    return await ends(lab, fault, lab.two._local.runtime.spawn(fault.plain))


class Special(Process):
    __slots__ = ("fault",)
    fault: Fault

    def handle(self, message: Any) -> None:
        self.fault.plain()


@place("handle of a process of one's own")
async def handle(lab: Lab, fault: Fault) -> Any:
    runtime = lab.two._local.runtime
    process = Special(runtime, runtime.identifiers.pid())
    process.fault = fault
    return await ends(lab, fault, runtime.add(process))


@place("handler that another handler sends to")
async def second_handler(lab: Lab, fault: Fault) -> Any:
    runtime = lab.two._local.runtime
    second = runtime.spawn(fault.plain)
    first = runtime.spawn(lambda process, message: process.send(second, message))
    reason = await lab.down(second, lab.one.send, first.pid, "go")
    assert first.alive
    first.stop()
    return reason


@place("pattern, when a message comes")
async def pattern(lab: Lab, fault: Fault) -> Any:
    async def run(process: Process) -> None:
        await process.receive(fault.plain)

    process = lab.two._local.runtime.spawn(run)
    await asyncio.sleep(0)
    return await ends(lab, fault, process)


@place("pattern, of a message that waits")
async def pattern_waiting(lab: Lab, fault: Fault) -> Any:
    async def run(process: Process) -> None:
        await process.receive(b"go")
        await process.receive((ANY, fault.plain))

    process = lab.two._local.runtime.spawn(run)
    lab.one.send(process.pid, (1, 2))
    await until(lambda: process.messages)
    return await ends(lab, fault, process)


@place("pattern, in a body that catches what it raises")
async def pattern_caught(lab: Lab, fault: Fault) -> Any:
    """It is the receiver's error, which can go on."""
    caught = []

    async def run(process: Process) -> None:
        try:
            await process.receive(fault.plain)
        except BaseException as error:
            caught.append(error)
        await process.receive(b"go")

    process = lab.two._local.runtime.spawn(run)
    await asyncio.sleep(0)
    reason = await ends(lab, fault, process)
    assert reason.name == "normal"
    assert len(caught) == 1


@place("on_end")
async def on_end(lab: Lab, fault: Fault) -> Any:
    process = lab.two._local.runtime.spawn(lambda process, _: process.stop(b"over"))
    called: list[str] = []
    process.on_end(fault.plain)
    process.on_end(lambda: called.append("second"))
    assert await ends(lab, fault, process) == b"over"
    assert called == ["second"]


@place("spawned body", coroutine=True)
async def spawned_body(lab: Lab, fault: Fault) -> Any:
    return await _spawned(lab, fault, fault.awaited)


@place("spawned function")
async def spawned_function(lab: Lab, fault: Fault) -> Any:
    return await _spawned(lab, fault, fault.plain)


async def _spawned(lab: Lab, fault: Fault, function: Callable[..., Any]) -> Any:
    """By the other node; its reason comes by the monitor asked for with it."""
    name = f"f{id(fault)}"
    lab.two._local.runtime.spawning.functions._bodies.pop(("lab", name), None)
    lab.two.exports.process("lab", name)(function)
    process = lab.one._local.runtime.add_process()
    request = lab.around(lambda: process.spawn_request(lab.two.name, "lab", name, [], monitor=True))
    *_, pid = await process.receive((ANY, request, ANY, ANY))
    if fault.never:
        await lab.seen_both()
        await lab.check()
        process.exit(pid, KILL)
        assert (await process.receive())[-1] == KILLED
        return None
    reason = (await process.receive())[-1]
    process.stop()
    return reason
