"""A payload beyond a limit of the node it is for: lost alone, and told to who waits for what it leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, GenServer, Node, Process, RemoteError
from quicdist.node.errors import ProcessEnded, SpawnError
from quicdist.otp.gen_messages import From
from quicdist.term import Codec, Limits
from tests.support.head_of_line import in_process
from tests.support.pairs import CARRIERS, LISTENER, pair

SYSTEM_LIMIT = Atom("system_limit")


def nested(depth: int) -> Any:
    term: Any = []
    for _ in range(depth):
        term = [term]
    return term


DEEP = nested(100)


class Echo(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        return DEEP if request == Atom("deep") else request


@pytest_asyncio.fixture(params=CARRIERS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Connected; the second one takes terms of 50 levels."""
    async with pair(request.param, tmp_path) as (one, two):
        two._local.codec = Codec(limits=Limits(max_depth=50))
        two.serve(Echo(), name="echo")
        await one.connect(LISTENER)
        link = one._local.connections.link(LISTENER)
        yield one, two
        assert one._local.connections.link(LISTENER) is link


async def test_a_call_ends_as_if_the_server_had(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    server = two.whereis("echo")
    with pytest.raises(ProcessEnded) as ended:
        await one.gen_server.call(("echo", LISTENER), DEEP, timeout=60)
    assert ended.value.reason[0] == SYSTEM_LIMIT
    assert ended.value.reason[1].startswith(b"nested deeper than 50")
    assert await one.gen_server.call(("echo", LISTENER), nested(20)) == nested(20)
    assert two.whereis("echo") is server


async def test_a_spawn_request_is_refused(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    two.export("m", "same")(lambda term: term)
    with pytest.raises(RemoteError, match="system_limit"):
        await one.call(LISTENER, "m", "same", [DEEP])

    async def spawn(process: Process) -> None:
        with pytest.raises(SpawnError, match="system_limit"):
            await process.spawn_on(LISTENER, "m", "same", [DEEP])

    await in_process(one, spawn)
    assert await one.call(LISTENER, "m", "same", [1]) == 1


async def test_an_end_is_told_with_another_reason(nodes: tuple[Node, Node]) -> None:
    one, two = nodes

    async def watch(process: Process) -> None:
        process.trap_exit = True
        for end in ("link", "exit", "monitor"):

            async def ends(other: Process, end: str = end) -> None:
                if end == "link":
                    other.link(process.pid)
                if end == "exit":
                    other.exit(process.pid, DEEP)
                else:
                    await other.receive()
                    other.stop(DEEP)

            other = one.spawn(ends)
            if end == "monitor":
                process.monitor(other.pid)
            await two.ping(one.name)
            one._local.runtime.deliver(other, Atom("end"))
            *_, reason = await process.receive(timeout=10)
            assert reason[0] == SYSTEM_LIMIT

    await in_process(two, watch)


async def test_a_result_is_an_error_of_the_call(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    one.export("m")(deep)
    with pytest.raises(RemoteError, match="system_limit"):
        await two.call(one.name, "m", "deep")


def deep() -> Any:
    return DEEP


async def test_any_other_message_is_dropped_with_a_warning(
    nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = nodes
    came: list[Any] = []
    two.spawn(lambda process, message: came.append(message), name="box")

    async def send(process: Process) -> None:
        for _ in range(20):
            process.send(("box", LISTENER), DEEP)
        process.send(("box", LISTENER), 1)
        await one.ping(LISTENER)

    await in_process(one, send)
    assert came == [1]
    lines = [line for line in caplog.messages if "was dropped" in line]
    assert len(lines) == 5
    assert lines[0].startswith(f"REG_SEND from {one.name} was dropped: nested deeper than 50")
    assert lines[-1].endswith("(more like it are left out for 60 s)")
