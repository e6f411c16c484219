"""What other nodes may call, and what not."""

from __future__ import annotations

import asyncio
import math
import types
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from quicdist import (
    Atom,
    GenServer,
    NameRegistered,
    Node,
    NodeError,
    Process,
    RemoteError,
    current_call,
)
from quicdist.otp.exports import Exports


def test_only_exported_arities_are_found() -> None:
    exports = Exports()
    exports.add("py", "add", lambda one, two=2: one + two)
    assert exports.find("py", "add", 1) is not None
    assert exports.find("py", "add", 2) is not None
    for module, function, arity in (("py", "add", 0), ("py", "add", 3), ("py", "sub", 2), ("os", "add", 2)):
        assert exports.find(module, function, arity) is None


def test_a_name_can_be_exported_once() -> None:
    exports = Exports()
    exports.add("py", "f", math.sqrt)
    exports.add("py", "f", math.sqrt)
    with pytest.raises(NameRegistered, match="py:f"):
        exports.add("py", "f", math.sin)


def test_a_namespace_of_a_module_has_its_own_functions() -> None:
    module = types.ModuleType("m")
    exec(
        "import os\nfrom json import loads\ndef mine(): ...\ndef _hidden(): ...\nclass C: ...\nx = 1",
        vars(module),
    )
    exports = Exports()
    exports.add_namespace("m", module)
    assert exports.find("m", "mine", 0) is not None
    for name in ("os", "loads", "_hidden", "C", "x"):
        assert exports.find("m", name, 0) is None
        assert exports.find("m", name, 1) is None


def test_a_namespace_of_an_object_has_its_methods_and_runs_no_property() -> None:
    class Account:
        @property
        def balance(self) -> int:
            raise AssertionError("a property was run")

        def deposit(self, amount: int) -> int:
            return amount

        def _audit(self) -> None: ...

    exports = Exports()
    exports.add_namespace("account", Account())
    assert exports.find("account", "deposit", 1) is not None
    assert exports.find("account", "_audit", 0) is None
    assert exports.find("account", "balance", 0) is None


def test_nested_mappings_add_to_the_module_name() -> None:
    exports = Exports()
    exports.add_namespace(
        "Elixir.Py", {"Math": math, "Text": {"upcase": str.upper}, "twice": lambda x: 2 * x}
    )
    assert exports.find("Elixir.Py.Math", "sqrt", 1) is not None
    assert exports.find("Elixir.Py.Text", "upcase", 1) is not None
    assert exports.find("Elixir.Py", "twice", 1) is not None
    assert exports.find("Elixir.Py", "Math", 0) is None


def in_another_process(number: int) -> tuple[int, int]:
    import os

    return os.getpid(), number


async def test_an_export_runs_in_a_process_pool(one: Node, two: Node) -> None:
    import os

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        two.export("py", executor=pool)(in_another_process)
        pid, number = await one.call(two.name, "py", "in_another_process", [7])
    assert number == 7
    assert pid != os.getpid()


async def test_current_call_names_the_caller(one: Node, two: Node) -> None:
    @two.export("py")
    async def caller() -> Any:
        return current_call().caller

    assert (await one.call(two.name, "py", "caller")).node == Atom(one.name)
    with pytest.raises(NodeError):
        current_call()


async def test_a_value_that_cannot_be_encoded_is_an_error_of_the_call(one: Node, two: Node) -> None:
    two.exports.add("py", "strange", object)
    with pytest.raises(RemoteError, match="EncodeError"):
        await one.call(two.name, "py", "strange")
    assert await one.ping(two.name)


async def test_an_exported_process_can_be_spawned(one: Node, two: Node) -> None:
    came: asyncio.Queue[Any] = asyncio.Queue()

    @two.exports.process("py")
    async def body(process: Process, *values: Any) -> None:
        came.put_nowait(values)

    two.exports.process(Atom("py"), Atom("other_name"))(body)
    asker = one.spawn(lambda process, message: None)
    await asker.spawn_on(two.name, "py", "body", [1, 2])
    await asker.spawn_on(two.name, "py", "other_name", [3])
    assert [await came.get(), await came.get()] == [(1, 2), (3,)]
    with pytest.raises(NameRegistered, match="py:body"):
        two.exports.process("py", "body")(lambda process: None)


async def test_an_exported_process_cannot_be_called(one: Node, two: Node) -> None:
    two.exports.process("py", "body")(lambda process: None)
    with pytest.raises(RemoteError, match="undef"):
        await one.call(two.name, "py", "body", [])


async def test_an_exported_child_is_started_by_a_call(one: Node, two: Node) -> None:
    @two.exports.child("py", name="started")
    async def start(process: Process, value: int) -> None:
        await process.receive(value)

    ok, pid = await one.call(two.name, "py", "start", [1])
    started = two.whereis("started")
    assert started is not None
    assert (ok, pid) == (Atom("ok"), started.pid)
    with pytest.raises(NameRegistered, match="py:start"):
        two.exports.child("py", "start")(GenServer)


async def test_introspection_works_only_if_it_is_exported(one: Node, two: Node) -> None:
    with pytest.raises(RemoteError, match="undef"):
        await one.call(two.name, "erlang", "node", [])
    two.exports.introspection()
    assert await one.call(two.name, "erlang", "node", []) == Atom(two.name)
