"""Names that an object keeps: ``{via, Module, Name}`` with a module of Python."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import IGNORE, Atom, CallTimeout, GenServer, NameRegistered, Node, NoSuchProcess, Pid, Stop, Via
from tests.otp.conftest import ended

NORMAL = Atom("normal")


class Registry:
    """A dict, asked slowly."""

    def __init__(self) -> None:
        self.names: dict[Any, Pid] = {}
        self.asked = 0

    async def whereis_name(self, name: Any) -> Pid | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self.names.get(name)

    def register_name(self, name: Any, pid: Pid) -> bool:
        return self.names.setdefault(name, pid) == pid

    def unregister_name(self, name: Any) -> None:
        self.names.pop(name, None)


class Echo(GenServer):
    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.notes: list[Any] = []

    def init(self) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def handle_call(self, request: Any, sender: Any) -> Any:
        return request

    def handle_cast(self, request: Any) -> None:
        self.notes.append(request)

    def handle_info(self, message: Any) -> None:
        self.notes.append(message)


async def test_messages_to_a_name_keep_their_order(node: Node) -> None:
    registry, server = Registry(), Echo()
    name = Via(registry, "echo")
    process = await node.gen_server.start(server, name=name)
    assert process is not None
    assert registry.names == {"echo": process.pid}
    for number in range(3):
        node.gen_server.cast(name, number)
        node.send(name, (number,))
    assert await node.gen_server.call(name, 7) == 7
    assert server.notes == [0, (0,), 1, (1,), 2, (2,)]
    assert registry.asked == 1  # once for all that were waiting
    assert await node.gen_server.call(Via(registry, "echo"), 8) == 8
    assert registry.asked == 2


async def test_a_name_that_nobody_has_is_no_such_process(node: Node) -> None:
    class Nobody(Registry):
        async def whereis_name(self, name: Any) -> None:
            assert name == [1, {}]

    name = Via(Nobody(), [1, {}])
    with pytest.raises(NoSuchProcess, match="no process is registered"):
        await node.gen_server.call(name, 1)
    with pytest.raises(NoSuchProcess, match="no process is registered"):
        await node.gen_server.stop(name)
    node.send(name, 1)
    node.gen_server.cast(name, 1)


async def test_a_registry_that_fails_or_does_not_answer(node: Node) -> None:
    class Bad(Registry):
        async def whereis_name(self, name: Any) -> Pid | None:
            if name == "hangs":
                await asyncio.Event().wait()
            raise ValueError("no good")

    with pytest.raises(ValueError, match="no good"):
        await node.gen_server.call(Via(Bad(), "fails"), 1)
    with pytest.raises(CallTimeout, match="hangs"):
        await node.gen_server.call(Via(Bad(), "hangs"), 1, timeout=0.01)
    with pytest.raises(CallTimeout, match="hangs"):
        await node.gen_server.stop(Via(Bad(), "hangs"), timeout=0.01)


@pytest.mark.parametrize("waits", [True, False])
async def test_a_taken_via_name_is_name_registered(
    node: Node, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The second one ends as if it had never been, whether someone waits for it or not."""
    registry, second = Registry(), Echo()
    first = await node.gen_server.start(Echo(), name=Via(registry, "echo"))
    assert first is not None
    if waits:
        with pytest.raises(NameRegistered, match="echo"):
            await node.gen_server.start(second, name=Via(registry, "echo"))
    else:
        await ended(node.serve(second, name=Via(registry, "echo")))
    assert second.process.exit_reason == NORMAL
    assert registry.names == {"echo": first.pid}
    assert "was not started" in caplog.text


@pytest.mark.parametrize("result", [IGNORE, Stop(Atom("not_today")), ValueError("no good")])
async def test_the_name_is_unregistered_if_init_fails(node: Node, result: Any) -> None:
    registry, server = Registry(), Echo(result)
    await ended(node.serve(server, name=Via(registry, "echo")))
    assert registry.names == {}
