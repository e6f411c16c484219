"""``node.global_names`` between Python nodes: published ones, and a hidden one that asks a published one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    CallTimeout,
    GenServer,
    Global,
    NameRegistered,
    Node,
    NodeError,
    NoSuchProcess,
    Process,
)
from quicdist.otp.global_names import ABORTED
from quicdist.term import EncodeError
from tests.otp.conftest import COOKIE


@pytest_asyncio.fixture
async def greater() -> AsyncIterator[Node]:
    """A published node that listens."""
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": "tcp", "epmd": False, "host": "127.0.0.1"}
    async with Node("two@127.0.0.1", hidden=False, **options) as node:
        yield node


@pytest_asyncio.fixture
async def smaller(greater: Node) -> AsyncIterator[Node]:
    """A published node that knows where the other one listens; they are not connected."""
    async with Node("one@127.0.0.1", hidden=False, **dials(greater)) as node:
        yield node


def dials(other: Node) -> dict[str, Any]:
    nodes = {other.name: ("127.0.0.1", other.addresses[0].port)}
    return {"cookie": COOKIE, "carrier": "tcp", "epmd": False, "host": "127.0.0.1", "nodes": nodes}


def holder(node: Node) -> Process:
    async def hold(process: Process) -> None:
        await process.receive()

    return node.spawn(hold)


async def meet(one: Node, other: Node) -> None:
    await one.connect(other.name)
    await one.global_names.sync()
    await other.global_names.sync()


async def gone(node: Node, name: str) -> None:
    async with asyncio.timeout(30):
        while await node.global_names.whereis_name(name) is not None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)


class Adder(GenServer):
    def handle_call(self, request: Any, sender: Any) -> Any:
        return request + 1


async def test_a_server_started_by_a_global_name_is_called_on_both_nodes(
    smaller: Node, greater: Node
) -> None:
    await meet(smaller, greater)
    await smaller.gen_server.start(Adder(), name=Global("adder"))
    assert await greater.gen_server.call(Global("adder"), 1) == 2
    assert await smaller.gen_server.call(Global("adder"), 2) == 3
    with pytest.raises(NameRegistered):
        await greater.gen_server.start(Adder(), name=Global("adder"))


async def test_names_of_a_node_that_stops_are_gone_on_the_other_one(smaller: Node, greater: Node) -> None:
    await meet(smaller, greater)
    await smaller.global_names.register_name("there", holder(smaller))
    await greater.global_names.register_name("here", holder(greater))
    await smaller.stop()
    await gone(greater, "there")
    assert await greater.global_names.registered_names() == [Atom("here")]


async def test_a_conflict_is_resolved_by_the_method_of_the_smaller_node(smaller: Node, greater: Node) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    loser = greater.spawn(lambda _, message: heard.put_nowait(message))
    await greater.global_names.register_name("shared", loser, "notify_all_name")
    await smaller.global_names.register_name("shared", holder(smaller), "random_notify_name")
    await meet(smaller, greater)
    assert await heard.get() == (Atom("global_name_conflict"), Atom("shared"))
    kept = await greater.global_names.whereis_name("shared")
    assert kept is not None
    assert kept == await smaller.global_names.whereis_name("shared")
    assert kept.node == Atom(smaller.name)


@pytest.mark.parametrize("resolver", [("nobody", "exports_it"), ("faulty", "resolver"), ("faulty", "odd")])
async def test_a_resolver_that_fails_unregisters_the_name(
    smaller: Node, greater: Node, resolver: tuple[str, str]
) -> None:
    @smaller.export("faulty", "resolver")
    def fails(name: Any, one: Any, other: Any) -> None:
        raise ValueError(name)

    smaller.exports.add("faulty", "odd", lambda name, one, other: 17)
    process = holder(greater)
    await greater.global_names.register_name("shared", process)
    await smaller.global_names.register_name("shared", holder(smaller), resolver)
    await meet(smaller, greater)
    assert await smaller.global_names.registered_names() == []
    assert await greater.global_names.registered_names() == []
    assert process.alive


async def test_re_register_name_takes_a_name_from_another_process(smaller: Node, greater: Node) -> None:
    await meet(smaller, greater)
    first, second = holder(smaller), holder(greater)
    await smaller.global_names.register_name("name", first)
    await greater.global_names.re_register_name("name", second)
    assert await smaller.global_names.whereis_name("name") == second.pid
    assert first.alive
    smaller.send(first, Atom("stop"))
    await first.finished()
    assert await greater.global_names.whereis_name("name") == second.pid


async def test_a_hidden_node_registers_at_a_published_one(greater: Node) -> None:
    async with Node("hidden@127.0.0.1", **dials(greater)) as hidden:
        await hidden.connect(greater.name)
        process, other = holder(hidden), holder(hidden)
        assert await hidden.global_names.register_name("of_hidden", process)
        assert not await hidden.global_names.register_name("of_hidden", other)
        assert await greater.global_names.whereis_name("of_hidden") == process.pid
        assert await hidden.global_names.registered_names() == [Atom("of_hidden")]
        assert await hidden.global_names.register_name("other", other)
        hidden.send(process, Atom("stop"))
        await gone(greater, "of_hidden")
        await hidden.global_names.re_register_name("other", holder(hidden))
        await hidden.global_names.unregister_name("other")
        assert other.alive
        assert await greater.global_names.registered_names() == []
        await hidden.global_names.register_name("until_the_stop", other)
    await gone(greater, "until_the_stop")


async def test_a_registration_waits_for_the_lock_and_times_out(smaller: Node, greater: Node) -> None:
    await meet(smaller, greater)
    names = greater.global_names
    assert await names.set_lock(("global", "me"))
    with pytest.raises(CallTimeout, match="register_name of late"):
        await smaller.global_names.register_name("late", holder(smaller), timeout=0.05)
    await names.del_lock(("global", "me"))
    assert await names.register_name("next", holder(greater), timeout=30)


async def test_a_cancelled_set_lock_leaves_no_lock(smaller: Node, greater: Node) -> None:
    await meet(smaller, greater)
    held = ("resource", "holder")
    assert await greater.global_names.set_lock(held, [greater.name])
    waiting = asyncio.create_task(smaller.global_names.set_lock(("resource", "waiter")))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await greater.global_names.del_lock(held, [greater.name])
    assert await greater.global_names.set_lock(("resource", "third"), retries=3)


async def test_trans_returns_the_value_raises_the_error_and_aborts(smaller: Node, greater: Node) -> None:
    await meet(smaller, greater)
    names, lock = smaller.global_names, (Atom("resource"), 1)

    async def value() -> int:
        assert not await greater.global_names.set_lock((Atom("resource"), 2), retries=0)
        return 7

    assert await names.trans(lock, value) == 7
    with pytest.raises(ZeroDivisionError):
        await names.trans(lock, lambda: 1 // 0)
    assert await greater.global_names.set_lock((Atom("resource"), 2), retries=3)
    assert await names.trans(lock, value, retries=0) == ABORTED


async def test_wrong_arguments_raise(smaller: Node) -> None:
    names = smaller.global_names
    with pytest.raises(NodeError, match="a lock is"):
        await names.set_lock("resource")  # type: ignore[arg-type]
    with pytest.raises(EncodeError):
        await names.set_lock(("resource", object()))
    with pytest.raises(EncodeError):
        await names.register_name(object(), holder(smaller))
    with pytest.raises(NodeError, match="a process or a pid"):
        await names.register_name("name", "process")  # type: ignore[arg-type]
    with pytest.raises(NoSuchProcess, match="nobody"):
        await names.send("nobody", 1)
    assert await names.register_name("name", holder(smaller))  # the registrar lives


def test_a_published_node_that_does_not_listen_is_refused() -> None:
    with pytest.raises(NodeError, match="must listen"):
        Node("one@127.0.0.1", cookie=COOKIE, carrier="tcp", hidden=False, listen=False)


async def test_with_connect_all_false_nothing_is_exchanged(greater: Node) -> None:
    async with Node("alone@127.0.0.1", hidden=False, connect_all=False, **dials(greater)) as alone:
        await greater.global_names.register_name("name", holder(greater))
        await alone.connect(greater.name)
        assert greater.nodes() == [alone.name]
        with pytest.raises(CallTimeout):
            await greater.global_names.sync(timeout=0.5)
        assert await alone.global_names.registered_names() == []
