"""Calls between two Python nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, CallTimeout, EncodeError, Node, NotConnected, Process, ProcessExit, RemoteError


def offer(node: Node) -> None:
    @node.export("py")
    def add(one: int, two: int) -> int:
        return one + two

    @node.export("py")
    async def fails() -> None:
        raise ValueError("no good")

    @node.export("py")
    def passes_on() -> None:
        raise RemoteError("error", Atom("oops"), [(Atom("m"), Atom("f"), 0, [])])

    @node.export("py")
    def leaves() -> None:
        raise ProcessExit(Atom("gone"))

    @node.export("py")
    async def hangs() -> None:
        await asyncio.Event().wait()


@pytest_asyncio.fixture
async def pair(one: Node, two: Node) -> tuple[Node, Node]:
    """Two nodes that call each other."""
    offer(two)
    return one, two


@pytest.mark.usefixtures("stops_soon")
class TestCall:
    async def test_a_call_returns_the_value(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        assert await one.call(two.name, "py", "add", [1, 2]) == 3

    async def test_an_error_is_a_remote_error(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        with pytest.raises(RemoteError, match=r"py:fails/0 on two@127\.0\.0\.1: error:") as caught:
            await one.call(two.name, "py", "fails")
        assert caught.value.kind == "error"
        assert caught.value.reason == (Atom("python_error"), b"ValueError", b"no good")
        assert caught.value.stack is not None
        function, location = caught.value.stack[0][1], dict(caught.value.stack[0][3])
        assert function.name.endswith("fails")
        assert bytes(location[Atom("file")]).endswith(b"test_rpc.py")

    async def test_a_remote_error_that_an_export_raises_is_passed_on(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        with pytest.raises(RemoteError) as caught:
            await one.call(two.name, "py", "passes_on")
        error = caught.value
        assert (error.kind, error.reason) == ("error", Atom("oops"))
        assert error.stack == [(Atom("m"), Atom("f"), 0, [])]

    async def test_an_exit_is_a_remote_error(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        with pytest.raises(RemoteError) as caught:
            await one.call(two.name, "py", "leaves")
        assert (caught.value.kind, caught.value.reason) == ("exit", Atom("gone"))

    async def test_a_function_that_is_not_exported_is_undef(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        with pytest.raises(RemoteError) as caught:
            await one.call(two.name, "os", "system", ["true"])
        assert caught.value.reason == Atom("undef")
        assert caught.value.stack == [(Atom("os"), Atom("system"), [b"true"], [])]

    async def test_a_call_times_out(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        with pytest.raises(CallTimeout, match=r"py:hangs/0 on two@127\.0\.0\.1"):
            await one.call(two.name, "py", "hangs", timeout=0.01)
        assert await one.call(two.name, "py", "add", [1, 2]) == 3

    async def test_a_call_whose_connection_is_lost_is_not_connected(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        request = one.erpc.send_request(two.name, "py", "hangs")
        await one.call(two.name, "py", "add", [1, 2])
        one.disconnect(two.name)
        with pytest.raises(NotConnected, match="two@127"):
            await request

    async def test_block_calls_run_one_at_a_time(self, pair: tuple[Node, Node]) -> None:
        one, two = pair
        order: list[int] = []
        go = asyncio.Event()

        @two.export("py")
        async def note(number: int) -> None:
            if number == 1:
                await go.wait()
            order.append(number)

        first = asyncio.ensure_future(one.rpc.block_call(two.name, "py", "note", [1]))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(one.rpc.block_call(two.name, "py", "note", [2]))
        assert await one.ping(two.name)
        go.set()
        await asyncio.gather(first, second)
        assert order == [1, 2]


async def test_the_timeout_includes_connecting(one: Node) -> None:
    with pytest.raises(NotConnected):
        await one.call("nobody@127.0.0.1", "py", "f")
    request = one.erpc.send_request("nobody@127.0.0.1", "py", "f")
    request.abandon()
    with pytest.raises(CallTimeout):
        await request


async def test_a_call_ends_with_its_process(one: Node, two: Node) -> None:
    """Killed from outside, the coroutine behind a call is cancelled."""
    cancelled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    running: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @two.export("py")
    async def hangs() -> None:
        from quicdist import current_call

        running.set_result(current_call().process)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set_result(True)
            raise

    request = one.erpc.send_request(two.name, "py", "hangs")
    (await running).stop(Atom("enough"))
    assert await cancelled
    with pytest.raises(RemoteError) as caught:
        await request
    assert (caught.value.kind, caught.value.reason) == ("signal", Atom("enough"))


async def test_casts_run_without_a_result(one: Node, two: Node) -> None:
    got: asyncio.Queue[Any] = asyncio.Queue()
    two.exports.add("py", "note", got.put_nowait)
    one.cast(two.name, "py", "note", [1])
    one.erpc.multicast([two.name], "py", "note", [2])
    assert [await got.get(), await got.get()] == [1, 2]


class TestItself:
    """A node among those it asks: ``[node() | nodes()]``."""

    async def test_calls_to_the_node_itself(self, two: Node) -> None:
        offer_itself(two)
        name = two.name
        assert await two.ping(name)
        await two.connect(name)
        assert await two.call(name, "own", "add", [1, 2]) == 3
        assert await two.call(name, "own", "later", [4]) == 4
        with pytest.raises(RemoteError, match="undef"):
            await two.call(name, "own", "nothing")
        with pytest.raises(RemoteError) as caught:
            await two.call(name, "own", "leaves")
        assert (caught.value.kind, caught.value.reason) == ("exit", Atom("gone"))
        with pytest.raises(CallTimeout):
            await two.call(name, "own", "later", [5], timeout=0)
        assert await two.rpc.block_call(name, "own", "add", [1, 2]) == 3
        assert two.nodes("connected") == []
        assert two._services.gen.process.monitors == []

    async def test_multicall_includes_the_node_itself(self, one: Node, two: Node) -> None:
        offer_itself(one)
        offer_itself(two)
        names = [one.name, two.name]
        assert await one.erpc.multicall(names, "own", "add", [1, 2]) == [3, 3]
        assert await one.rpc.multicall(names, "own", "add", [1, 2]) == ([3, 3], [])
        got: asyncio.Queue[Any] = asyncio.Queue()
        for node in (one, two):
            node.exports.add("own", "note", got.put_nowait)
        one.erpc.multicast(names, "own", "note", [1])
        assert [await got.get(), await got.get()] == [1, 1]

    async def test_spawning_on_the_node_itself(self, node: Node) -> None:
        done: asyncio.Queue[Any] = asyncio.Queue()

        @node.exports.process("own")
        async def ends(process: Process, reason: Atom) -> None:
            raise ProcessExit(reason)

        async def parent(process: Process) -> None:
            process.trap_exit = True
            pid, reference = await process.spawn_monitor_on(node.name, "own", "ends", [Atom("x")], link=True)
            for message in (
                (Atom("EXIT"), pid, Atom("x")),
                (Atom("DOWN"), reference, Atom("process"), pid, Atom("x")),
            ):
                done.put_nowait(await process.receive(message))

        node.spawn(parent)
        assert len(await done.get()) == 3
        assert len(await done.get()) == 5


def offer_itself(node: Node) -> None:
    async def later(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    def leaves() -> None:
        raise ProcessExit(Atom("gone"))

    node.exports.add("own", "add", lambda one, two: one + two)
    node.exports.add("own", "later", later)
    node.exports.add("own", "leaves", leaves)


async def test_what_default_makes_of_a_value_is_what_the_other_node_gets(two: Node) -> None:
    two.export("py", "same")(lambda value: value)
    nodes = {two.name: ("127.0.0.1", two.addresses[0].port)}
    options: dict[str, Any] = {"cookie": "otp tests", "carrier": "tcp", "epmd": False, "listen": False}
    async with Node("three@127.0.0.1", nodes=nodes, default=lambda value: sorted(value), **options) as three:
        # The first is sent when the connection is there, the second at once.
        for _ in range(2):
            assert await three.call(two.name, "py", "same", [{2, 1}]) == [1, 2]
        with pytest.raises(EncodeError, match="default raised TypeError"):
            await three.call(two.name, "py", "same", [object()])
        assert await three.call(two.name, "py", "same", [{3}]) == [3]
