"""Task supervisors in Python, used by Python, and what a peer may send them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import Atom, Node, NodeError, Process, ProcessEnded, TaskSupervisor


async def test_a_task_supervisor_refuses_wrong_requests(node: Node) -> None:
    node.serve(TaskSupervisor(max_children=1), name="tasks")
    start, call, pid = Atom("start_task"), node.gen_server.call, node.spawn(lambda *_: None).pid
    owner = (Atom(node.name), pid, pid)
    wrong: list[Any] = [
        (start, 1, None, None),
        (start, [], None, None),
        (start, [owner], None, None),
        (start, [1, Atom("monitor")], None, None),
        (start, [owner, Atom("watch")], None, None),
        (start, [owner, Atom("monitor")], Atom("often"), None),
        (start, [owner, Atom("monitor")], None, -1),
        (start, [owner, [], (Atom("py"), Atom("f"), 1)], None, None),
        (Atom("start_child"), []),
        (Atom("start_child"), 1),
        Atom("nothing"),
        (),
        7,
    ]
    for request in wrong:
        assert await call("tasks", request) == (Atom("error"), Atom("badarg"))
    assert await call("tasks", (Atom("terminate_child"), 1)) == (Atom("error"), Atom("not_found"))
    _, task = await call("tasks", (start, [owner, Atom("monitor")], None, None))
    node.send(task, (pid, 1, Atom("not_a_pid"), [], (Atom("py"), Atom("f"), [])))
    with pytest.raises(NodeError, match="max_children"):
        await node.task_supervisor.async_nolink("tasks", "py", "f")


async def test_python_runs_tasks_of_its_own_node(node: Node) -> None:
    node.serve(TaskSupervisor(), name="tasks")

    @node.export("py")
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    @node.export("py")
    def fail() -> None:
        raise ValueError("no")

    tasks = node.task_supervisor
    many = [await tasks.async_nolink("tasks", "py", "double", [n]) for n in range(10)]
    assert await asyncio.gather(*many) == list(range(0, 20, 2))
    with pytest.raises(ProcessEnded) as ended:
        await (await tasks.async_nolink("tasks", "py", "fail"))
    assert ended.value.reason[0] == (Atom("python_error"), "ValueError", "no")
    assert await tasks.children("tasks") == []


async def test_a_value_that_is_no_term_ends_its_task(node: Node) -> None:
    node.serve(TaskSupervisor(), name="tasks")
    node.export("py", "thing")(object)
    task = await node.task_supervisor.async_nolink("tasks", "py", "thing")
    # Messages within one node are not encoded.
    assert type(await task) is object


async def test_a_stopping_supervisor_ends_its_tasks_within_their_time(node: Node) -> None:
    supervisor = node.serve(TaskSupervisor(), name="tasks")
    ends: list[Any] = []

    @node.export("py")
    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cleaned up")

    task = await node.task_supervisor.async_nolink("tasks", "py", "hangs")
    while not await node.task_supervisor.children("tasks"):
        pass
    await asyncio.sleep(0)
    await node.gen_server.stop(supervisor)
    with pytest.raises(ProcessEnded) as ended:
        await task
    assert ended.value.reason == Atom("shutdown")
    assert ends == ["cleaned up"]


async def test_a_linked_task_that_fails_ends_its_owner(node: Node) -> None:
    node.serve(TaskSupervisor(), name="tasks")
    go = asyncio.Event()

    @node.export("py")
    async def fail() -> None:
        await go.wait()
        raise ValueError("no")

    async def owner(process: Process) -> None:
        task = await node.task_supervisor.async_link("tasks", "py", "fail", process=process)
        go.set()
        await task

    process = node.spawn(owner)
    await process.finished()
    assert process.exit_reason[0] == (Atom("python_error"), "ValueError", "no")
