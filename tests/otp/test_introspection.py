"""The functions with which other nodes look at a node; interop/test_observer_beam.py compares them with
those of a BEAM."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest

from quicdist import ChildSpec, GenServer, Node, Process, RemoteError, Supervisor
from quicdist.otp.exports import Exports
from quicdist.otp.introspection import Introspection
from quicdist.otp.introspection.application_tree import MAX_PROCESSES
from quicdist.otp.introspection.appmon_info import MAX_TASKS
from quicdist.otp.introspection.memory import process_memory
from quicdist.otp.introspection.observer_backend import MAX_CHARTS
from quicdist.otp.introspection.versions import program_name
from quicdist.term import Atom, Pid, charlist
from tests.otp.conftest import ended
from tests.test_docs import ROOT

#: What a hostile peer may send as an argument.
SHAPES: list[Any] = [
    *(0, -1, 1 << 70, 1.5, b"bytes", Atom("nothing"), (), [], {}, True),
    *([Atom("total")] * 1000, [[]], (Atom("a"), []), {Atom("size"): [1]}, [0xD800]),
    Pid("elsewhere@127.0.0.1", 1, 2, 3),
    Pid("two@127.0.0.1", 77, 0, 3),
]


@pytest.fixture
def looked_at(two: Node) -> Node:
    two.exports.introspection()
    return two


async def call(one: Node, two: Node, module: str, function: str, *arguments: Any) -> Any:
    return await one.call(two.name, module, function, arguments, timeout=10)


async def test_the_page_names_each_function_that_is_exported(node: Node) -> None:
    exported: list[tuple[str, str]] = []

    class Listed(Exports):
        def add(self, module: Any, name: Any, *_: Any, **__: Any) -> None:
            exported.append((module, name))

    Introspection(node._local, lambda: node.net_kernel, lambda: node.sys).export(Listed())
    page = (ROOT / "docs" / "how-to" / "observing.md").read_text()
    listed = page[page.index("These functions are exported") : page.index("An item that only a BEAM has")]
    words = set(re.findall(r"\w+", listed))
    left_out = {name for module, name in exported if module != "observer_backend"} - words
    # Of gen_server for the observer alone, which asks every server for its behaviour.
    assert left_out == {"module_info"}


async def test_introspection_can_be_exported_again(one: Node, looked_at: Node) -> None:
    looked_at.exports.introspection()
    assert await call(one, looked_at, "erlang", "node") == Atom(looked_at.name)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: repr(shape)[:20])
async def test_any_argument_gets_an_answer_or_a_refusal(one: Node, looked_at: Node, shape: Any) -> None:
    functions = [
        *(("erlang", name) for name in ("process_info", "memory", "statistics", "system_info", "port_info")),
        *(("erlang", name) for name in ("garbage_collect", "is_process_alive", "whereis", "nodes")),
        *(("observer_backend", name) for name in ("procs_info", "etop_collect", "get_table_list")),
        *(("code", "ensure_loaded"), ("ets", "info"), ("application", "get_application")),
        *(("proc_lib", "get_label"), ("proc_lib", "translate_initial_call"), ("gen_server", "module_info")),
        *(("gen_statem", "module_info"), ("gen_event", "module_info")),
    ]
    here = one.spawn(_waits)
    for module, function in functions:
        for arguments in ([shape], [shape, shape], [here.pid, shape]):
            with contextlib.suppress(RemoteError):
                await call(one, looked_at, module, function, *arguments)
    for arguments in ([shape, shape, shape], [here.pid, shape, shape], [shape, here.pid, shape]):
        for module, function in (("observer_backend", "get_table"), ("appmon_info", "start_link2")):
            with contextlib.suppress(RemoteError):
                await call(one, looked_at, module, function, *arguments)
    assert await call(one, looked_at, "erlang", "node") == Atom(looked_at.name)


async def test_casts_of_every_shape_leave_the_server_of_applications_alive_and_small(
    one: Node, looked_at: Node
) -> None:
    client = one.spawn(_waits)
    _, server = await call(one, looked_at, "appmon_info", "start_link2", client.pid, client.pid, [])
    names = [Atom(name) for name in ("app", "app_ctrl", "pinfo", "load", "nothing")]
    for shape in SHAPES:
        for name in names:
            for options in ([], shape, [(Atom("timeout"), shape)]):
                one.gen_server.cast(server, (client.pid, name, shape, True, options))
                one.gen_server.cast(server, (shape, name, shape, True, options))
        one.gen_server.cast(server, shape)
        one.send(server, shape)
    for number in range(10_000):
        argument = Atom(f"application_{number}")
        one.gen_server.cast(server, (client.pid, Atom("app"), argument, True, [(Atom("timeout"), 0)]))
    state = await one.sys.get_state(server, timeout=30)
    assert state[Atom("tasks")] == MAX_TASKS
    client.stop()
    assert (await _gone(looked_at, server)) is None


async def _gone(node: Node, pid: Pid) -> Any:
    process = node._local.runtime.find(pid)
    if process is not None:
        await ended(process)
    return node._local.runtime.find(pid)


async def _waits(_: Process) -> None:
    await asyncio.Event().wait()


async def test_statistics_are_sent_at_most_ten_times_a_second_until_the_client_ends(
    one: Node, looked_at: Node
) -> None:
    got: list[float] = []
    done = asyncio.Event()

    async def client(process: Process) -> None:
        await process.spawn_on(looked_at.name, "observer_backend", "fetch_stats", [process.pid, 0])
        loop = asyncio.get_running_loop()
        for _ in range(3):
            match await process.receive():
                case (Atom(name="stats"), 1, [(1, active, total)], _, _):
                    assert 0 < active < total
                    got.append(loop.time())
        done.set()

    one.spawn(client)
    await done.wait()
    assert got[2] - got[0] > 0.15
    fetching = [
        process
        for process in looked_at._local.runtime.processes()
        if isinstance(process.body, tuple) and process.body[1] == Atom("fetch_stats")
    ]
    for process in fetching:
        await ended(process)
    assert len(fetching) <= 1


async def test_no_more_than_twenty_observers_get_statistics(one: Node, looked_at: Node) -> None:
    reasons: asyncio.Queue[Any] = asyncio.Queue()

    async def client(process: Process) -> None:
        for _ in range(MAX_CHARTS + 10):
            await process.spawn_monitor_on(
                looked_at.name, "observer_backend", "fetch_stats", [process.pid, 1000]
            )
        while True:
            match await process.receive():
                case (Atom(name="DOWN"), _, _, _, reason):
                    reasons.put_nowait(reason)

    watcher = one.spawn(client)
    refused = [await reasons.get() for _ in range(10)]
    assert refused == [(Atom("system_limit"), [])] * 10
    watcher.stop()


async def test_a_long_queue_shows_in_the_memory_of_a_process(node: Node) -> None:
    process = node.spawn(_waits)
    before = process_memory(process)
    for _ in range(1000):
        process.send(process.pid, b"x" * 1000)
    assert process_memory(process) > before + 1_000_000


async def test_messages_without_an_erlang_term_are_shown_as_text(one: Node, looked_at: Node) -> None:
    process = looked_at.spawn(_waits)
    for message in (Atom("plain"), (Atom("holds"), {1, 2}), b"last"):
        process.send(process.pid, message)
    messages = await call(one, looked_at, "erlang", "process_info", process.pid, Atom("messages"))
    assert messages == (Atom("messages"), [Atom("plain"), (Atom("holds"), b"{1, 2}"), b"last"])


async def test_the_current_function_is_where_the_coroutine_waits(one: Node, looked_at: Node) -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def body(_: Process) -> None:
        await inner()

    process = looked_at.spawn(body)
    await asyncio.sleep(0)
    item, stack = await call(
        one, looked_at, "erlang", "process_info", process.pid, Atom("current_stacktrace")
    )
    assert item == Atom("current_stacktrace")
    functions = [str(function).rpartition(".")[2] for _, function, _, _ in stack]
    assert functions == ["wait", "inner", "body"]
    _, current = await call(one, looked_at, "erlang", "process_info", process.pid, Atom("current_function"))
    assert current == (Atom("asyncio.locks"), Atom("Event.wait"), 1)


class Worker(GenServer):
    pass


async def test_the_tree_of_the_program_follows_its_supervisors(one: Node, looked_at: Node) -> None:
    inner = ChildSpec("inner", Supervisor, [[ChildSpec("leaf", Worker, name="leaf")]], name="inner")
    await looked_at.gen_server.start(Supervisor([inner]), name="top")
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    client = one.spawn(lambda _, message: inbox.put_nowait(message))
    client.trap_exit = True
    _, server = await call(one, looked_at, "appmon_info", "start_link2", client.pid, client.pid, [])
    one.gen_server.cast(server, (client.pid, Atom("app_ctrl"), Atom(looked_at.name), True, []))
    *_, applications = await inbox.get()
    assert [name for _, name, _ in applications] == [Atom(program_name()), Atom("quicdist")]
    one.gen_server.cast(server, (client.pid, Atom("app"), Atom(program_name()), True, []))
    *_, (root, processes, links, _) = await inbox.get()
    text = {tuple(charlist(name)) for name in ("user", "top", "inner", "leaf")}
    assert tuple(root) == tuple(charlist("user"))
    assert {tuple(name) for _, name in processes} == text
    pairs = [("user", "top"), ("top", "inner"), ("inner", "leaf")]
    assert links == [(charlist(one), charlist(two)) for one, two in pairs]
    assert len(processes) < MAX_PROCESSES


async def test_applications_are_the_program_and_the_loaded_libraries(one: Node, looked_at: Node) -> None:
    applications = await call(one, looked_at, "application", "which_applications")
    assert all(
        isinstance(name, Atom) and description and version for name, description, version in applications
    )
    names = [name.name for name, _, _ in applications]
    assert names[0] == program_name()
    assert {"quicdist", "pytest"} <= set(names)
    assert (await call(one, looked_at, "application", "get_key", Atom("quicdist"), Atom("vsn")))[0] == Atom(
        "ok"
    )
    assert await call(one, looked_at, "application", "get_key", Atom("stdlib"), Atom("vsn")) is None
