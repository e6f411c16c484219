"""What a message within one node is: the object that was sent, not a copy (docs/reference/signals.md).
Between two nodes it is encoded when it is sent, and decoded anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from quicdist import ANY, Atom, EncodeError, GenServer, Node, Process

TCP: dict[str, Any] = {"cookie": "local", "carrier": "tcp", "host": "127.0.0.1", "port": 0, "epmd": False}
DOWN, EXIT = Atom("DOWN"), Atom("EXIT")


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("local@127.0.0.1", **TCP) as it:
        yield it


@asynccontextmanager
async def another(node: Node) -> AsyncIterator[Node]:
    """A second node that ``node`` is connected to."""
    nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
    async with Node("other@127.0.0.1", nodes=nodes, **TCP) as other:
        await other.connect(node.name)
        yield other


class Box:
    """A process that keeps what it is sent."""

    def __init__(self, node: Node, name: str) -> None:
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.process = node.spawn(lambda process, message: self.came.put_nowait(message), name=name)


WAYS: dict[str, Callable[[Node, Box], Any]] = {
    "pid": lambda node, box: box.process.pid,
    "process": lambda node, box: box.process,
    "name": lambda node, box: "box",
    "name and own node": lambda node, box: ("box", node.name),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_message_within_a_node_is_the_object_that_was_sent(node: Node, way: str) -> None:
    box = Box(node, "box")
    for message in ("text", ["a", "list"], {"a": {1}}, object(), Atom("true"), bytearray(b"x")):
        node.send(WAYS[way](node, box), message)
        assert await box.came.get() is message


async def test_a_process_receives_its_own_message_as_it_sent_it(node: Node) -> None:
    came: list[Any] = []

    async def body(process: Process) -> None:
        message = ["text", (1, 2)]
        process.send(process.pid, message)
        came.append(await process.receive() is message)

    await node.spawn(body).finished()
    assert came == [True]


async def test_a_list_changed_after_it_was_sent_is_changed_for_the_receiver(node: Node) -> None:
    box = Box(node, "box")
    message = [1]
    node.send("box", message)
    message.append(2)
    assert await box.came.get() == [1, 2]


async def test_a_str_arrives_as_bytes_from_another_node_and_as_str_within_one(node: Node) -> None:
    box = Box(node, "box")
    async with another(node) as other:
        for sender in (node, other):
            sender.send(("box", node.name), "text")
        assert {await box.came.get(), await box.came.get()} == {"text", b"text"}


async def test_a_list_changed_after_it_was_sent_to_another_node_arrives_as_it_was(node: Node) -> None:
    box = Box(node, "box")
    nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
    async with Node("other@127.0.0.1", nodes=nodes, **TCP) as other:
        for _ in ("while it is dialled", "over the link"):
            message = [1]
            other.send(("box", node.name), message)
            message.append(2)
            assert await box.came.get() == [1]


async def test_what_erlang_has_no_term_for_can_be_sent_within_a_node_only(node: Node) -> None:
    box = Box(node, "box")
    node.send("box", {1, 2})
    assert await box.came.get() == {1, 2}
    async with another(node) as other:
        with pytest.raises(EncodeError):
            other.send(("box", node.name), {1, 2})


async def test_exit_reasons_within_a_node_are_the_objects_that_were_given(node: Node) -> None:
    reason = ("failed", ["why"])
    came: list[Any] = []
    ready = asyncio.Event()

    async def watcher(process: Process) -> None:
        process.trap_exit = True
        linked = process.spawn_link(ends)
        watched, reference = process.spawn_monitor(ends)
        linked.stop(reason)
        watched.stop(reason)
        came.append((await process.receive((EXIT, linked.pid, ANY)))[2])
        came.append((await process.receive((DOWN, reference, ANY, ANY, ANY)))[4])
        ready.set()

    async def ends(process: Process) -> None:
        await process.receive()

    node.spawn(watcher)
    await ready.wait()
    assert [each is reason for each in came] == [True, True]


async def test_requests_and_replies_of_a_server_within_a_node_are_not_copied(node: Node) -> None:
    class Keeps(GenServer):
        async def handle_call(self, request: Any, sender: Any) -> Any:
            return request

    node.serve(Keeps(), name="keeps")
    request = ["a", "list"]
    assert await node.gen_server_call("keeps", request) is request


async def test_arguments_and_values_of_a_call_to_the_own_node_are_not_copied(node: Node) -> None:
    @node.export("py")
    def same(value: Any) -> Any:
        return value

    value = ["a", "list"]
    assert await node.call(node.name, "py", "same", [value]) is value
