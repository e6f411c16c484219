"""What is sent to a node while it is dialled: in order, as it was when it was sent, within a bound."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, EncodeError, Node, NotConnected, Process
from quicdist.node import outbox
from quicdist.protocol import (
    DEFAULT_FLAGS,
    DistFlag,
    Event,
    Link,
    LocalIdentity,
    PayloadExit2,
    PeerNamed,
    RegSend,
    Status,
)
from quicdist.term import Pid, Record, Reference
from tests.protocol import raw_node
from tests.support.head_of_line import in_process

NAME = "slow@127.0.0.1"
SLOW_NODE = LocalIdentity(NAME, 7)
SLOW = Pid(NAME, 1, 0, 7)
NOCONNECTION = Atom("noconnection")
MIB = 1024 * 1024


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the other node listens, which answers nothing before it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(raw_node.TIMEOUT)
        yield listening


@pytest_asyncio.fixture
async def node(listener: socket.socket) -> AsyncIterator[Node]:
    nodes = {NAME: ("127.0.0.1", listener.getsockname()[1])}
    async with Node(
        "here@127.0.0.1", cookie="secret", carrier="tcp", epmd=False, listen=False, nodes=nodes, setup_time=60
    ) as node:
        yield node


async def accepted(listener: socket.socket, local: LocalIdentity = SLOW_NODE) -> raw_node.RawLink:
    """Answer the node's dial."""

    def answer(acceptor: Any, event: Event) -> list[Event] | None:
        if not isinstance(event, PeerNamed):
            return None
        acceptor.send_status(Status.OK)
        return []

    return await asyncio.to_thread(raw_node.accept, listener, local, answer)


async def received(link: raw_node.RawLink, kind: Any) -> Any:
    return await asyncio.to_thread(link.receive, kind)


async def test_a_message_is_sent_as_it_was_when_it_was_sent(node: Node, listener: socket.socket) -> None:
    message = [1]
    node.send(("box", NAME), message)
    message.append(2)
    with pytest.raises(EncodeError):
        node.send(("box", NAME), object())
    with pytest.raises(EncodeError):
        node.spawn(lambda *_: None).spawn_request(NAME, "m", "f", [], options=[object()])
    link = await accepted(listener)
    assert (await received(link, RegSend))[1] == [1]
    link.close()


@pytest.mark.parametrize("bound", ["signals", "bytes"])
async def test_a_full_outbox_drops_all_signals_and_reports_it(
    node: Node,
    listener: socket.socket,
    bound: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(outbox, "MAX_SIGNALS", 100 if bound == "signals" else 1_000_000)
    monkeypatch.setattr(outbox, "MAX_BYTES", MIB)
    size = 10 if bound == "signals" else 100_000

    async def tell(process: Process) -> None:
        process.trap_exit = True
        process.link(SLOW)
        first = process.monitor(SLOW)
        asked = node.gen_server.send_request(("server", NAME), 1)
        spawned = process.spawn_request(NAME, "m", "f")
        for number in range(200):
            process.send(("box", NAME), (number, bytes(size)))
        # Signals that come on top are not taken, and told as well.
        other = Pid(NAME, 2, 0, 7)
        process.link(other)
        second = process.monitor(other)
        async with asyncio.timeout(10):
            with pytest.raises(NotConnected, match="are queued for"):
                await asked
            came = [await process.receive() for _ in range(5)]
        down = (Atom("process"), SLOW, NOCONNECTION)
        assert sorted(map(repr, came)) == sorted(
            map(
                repr,
                [
                    (Atom("EXIT"), SLOW, NOCONNECTION),
                    (Atom("DOWN"), first, *down),
                    (Atom("spawn_reply"), spawned, Atom("error"), NOCONNECTION),
                    (Atom("EXIT"), other, NOCONNECTION),
                    (Atom("DOWN"), second, Atom("process"), other, NOCONNECTION),
                ],
            )
        )
        # From here on it takes what fits again, in order.
        process.link(SLOW)
        for number in range(3):
            process.send(("box", NAME), number)

    await in_process(node, tell)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith(f"signals to {NAME} are dropped: ")
    assert f"{bound} are queued for {NAME}" in line

    link = await accepted(listener)
    linked = (await received(link, None))[0]
    assert isinstance(linked, Link)
    assert linked.to_pid == SLOW
    assert [(await received(link, RegSend))[1] for _ in range(3)] == [0, 1, 2]
    link.close()


async def test_one_message_larger_than_the_bound_waits_alone(
    node: Node, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_BYTES", MIB)
    node.send(("box", NAME), bytes(2 * MIB))
    link = await accepted(listener)
    assert len((await received(link, RegSend))[1]) == 2 * MIB
    link.close()


async def test_a_term_that_the_peer_cannot_decode_is_reported(node: Node, listener: socket.socket) -> None:
    record = Record("m", "r", {"f": 1})
    older = LocalIdentity(NAME, 7, DEFAULT_FLAGS & ~DistFlag.NATIVE_RECORDS)

    async def send(process: Process) -> None:
        process.send(("box", NAME), record)
        process.send(("box", NAME), "after")
        reference = process.spawn_request(NAME, "m", "f", [record])
        process.exit(SLOW, record)
        accepting = asyncio.ensure_future(accepted(listener, older))
        async with asyncio.timeout(10):
            assert await process.receive() == (
                Atom("spawn_reply"),
                reference,
                Atom("error"),
                Atom("notsup"),
            )
        link = await accepting
        assert (await received(link, RegSend))[1] == b"after"
        (_, name, _), _ = (await received(link, PayloadExit2))[1]
        assert name == b"EncodeError"
        link.close()

    await in_process(node, send)


async def test_a_queued_native_record_is_sent_to_a_peer_that_supports_it(
    node: Node, listener: socket.socket
) -> None:
    record = Record("m", "r", {"f": 1})
    node.send(("box", NAME), record)
    link = await accepted(listener)
    assert (await received(link, RegSend))[1] == record
    link.close()


async def test_a_signal_that_the_peer_does_not_support_is_left_out(
    node: Node, listener: socket.socket
) -> None:
    older = LocalIdentity(NAME, 7, DEFAULT_FLAGS & ~DistFlag.ALTACT_SIG)

    async def send(process: Process) -> None:
        process.exit(Reference(NAME, (1, 2, 3), 7), Atom("boom"))  # to an alias, since OTP 28
        process.send(("box", NAME), "after")
        link = await accepted(listener, older)
        assert (await received(link, RegSend))[1] == b"after"
        link.close()

    await in_process(node, send)
