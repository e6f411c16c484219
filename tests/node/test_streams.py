"""Streams between two Python nodes: what is large does not hold up what is little, whatever it is
sent as; and who takes the streams that come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    Node,
    Process,
    StreamError,
    StreamRefused,
    UserStream,
    make_development_certificates,
)
from tests.node.bulk import WAYS
from tests.node.streams_peer import COOKIE, NAME
from tests.support.head_of_line import assert_small_messages_do_not_wait, in_process, ratio
from tests.support.programs import running_program

MIB = 1024 * 1024
#: What a peer may send on a stream ahead of who reads it.
WINDOW = 4 * MIB

DATA, CLOSED, RESET, TAG = Atom("data"), Atom("closed"), Atom("reset"), Atom("quic_dist_stream")


# -- nodes in two processes ---------------------------------------------------------------------


@asynccontextmanager
async def peer(
    carrier: str, directory: Path, *, prepare: Callable[[Node], None] = lambda node: None, **more: Any
) -> AsyncIterator[tuple[Node, asyncio.subprocess.Process]]:
    """A node with the options ``more``, and another one in a process of its own, connected. ``prepare``
    is called with the first before it starts."""
    files = make_development_certificates(directory / "certs")
    command = sys.executable, "-m", "tests.node.streams_peer", carrier, str(files.cert), str(files.key)
    async with running_program(*command, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        options: dict[str, Any] = {"nodes": {NAME: ("127.0.0.1", port)}, "listen": False}
        options |= {"verify": False} if carrier == "quic" else {"epmd": False}
        node = Node("here@127.0.0.1", cookie=COOKIE, carrier=carrier, **options, **more)
        prepare(node)
        async with node:
            await node.connect(NAME)
            yield node, process


@pytest.mark.slow  # it measures times; tests/simulated/test_bulk_and_small.py has it in simulated time
@pytest.mark.parametrize("size", [8 * MIB, 64 * MIB])
@pytest.mark.parametrize("way", WAYS)
async def test_an_echo_during_a_bulk_transfer_takes_at_most_twice_as_long(
    way: str, size: int, tmp_path: Path
) -> None:
    async with peer("quic", tmp_path) as (node, _):
        bulk = WAYS[way](NAME, size)
        await assert_small_messages_do_not_wait(lambda: ratio(node, ("echo", NAME), bulk))


@pytest.mark.slow
async def test_a_gibibyte_through_a_stream_in_flat_memory(tmp_path: Path) -> None:
    """From a file there into an array here, a piece at a time."""
    path = tmp_path / "large"
    size = 1024 * MIB
    with path.open("wb") as file:
        file.truncate(size)
    async with peer("quic", tmp_path) as (node, process):
        before = resident(process.pid), resident()
        most = [0, 0]

        async def watch() -> None:
            while True:
                most[0] = max(most[0], resident(process.pid) - before[0])
                most[1] = max(most[1], resident() - before[1])
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        async with await node.open_stream(NAME) as stream:
            with path.open("rb") as source:
                assert await stream.sendfile(source) == size
            stream.write_eof()
            assert await stream.read() == b""
        watching.cancel()
        assert max(most) < 64 * MIB


def resident(pid: int | str = "self") -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


# -- nodes in one process -----------------------------------------------------------------------


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes, connected."""
    files = make_development_certificates(tmp_path / "certs")
    options: dict[str, Any] = {"cookie": COOKIE, "verify": False, "host": "127.0.0.1"}
    async with Node("two@127.0.0.1", cert=files.cert, key=files.key, **options) as second:
        nodes = {second.name: ("127.0.0.1", second.addresses[0].port)}
        async with Node("one@127.0.0.1", nodes=nodes, listen=False, **options) as first:
            await first.connect(second.name)
            yield first, second


async def test_streams_go_both_ways(two: tuple[Node, Node]) -> None:
    one, other = two
    for here, there in ((one, other), (other, one)):

        async def upper(stream: UserStream) -> None:
            async for data in stream:
                stream.write(data.upper())

        acceptor = there.accept_streams(upper)
        async with await here.open_stream(there.name) as stream:
            stream.write(b"hello")
            assert await stream.readexactly(5) == b"HELLO"
            stream.write_eof()
            assert await stream.read() == b""
        assert stream.closed
        assert here.list_streams() == []
        acceptor.stop()


async def test_acceptors_take_turns(two: tuple[Node, Node]) -> None:
    here, there = two
    took: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def acceptor(name: str) -> Callable[[UserStream], None]:
        return lambda stream: took.put_nowait((name, stream.stream_id))

    there.accept_streams(acceptor("a"))
    there.accept_streams(acceptor("b"), node=here.name)
    there.accept_streams(acceptor("never"), node="another@127.0.0.1")
    streams = [await here.open_stream(there.name) for _ in range(6)]
    for stream in streams:
        stream.write(b"x")
    got = sorted([await took.get() for _ in streams], key=lambda item: item[1])
    assert [stream_id for _, stream_id in got] == [stream.stream_id for stream in streams]
    assert [name for name, _ in got] in (["a", "b"] * 3, ["b", "a"] * 3)


async def test_a_stream_that_nobody_accepts_is_refused(two: tuple[Node, Node]) -> None:
    here, there = two
    there.accept_streams(lambda stream: None).stop()
    stream = await here.open_stream(there.name)
    stream.write(b"x")
    with pytest.raises(StreamRefused, match=there.name) as caught:
        await stream.read()
    assert caught.value.code == 0x100


async def test_streams_of_processes_are_handed_over(two: tuple[Node, Node]) -> None:
    """By quic_dist's rules: the owner alone may send, hand over and reset."""
    here, there = two
    messages: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    first = there.spawn(lambda _, message: messages.put_nowait(("first", message)))
    second = there.spawn(lambda _, message: messages.put_nowait(("second", message)))
    there.quic_dist.accept_streams(first)
    stream = await here.open_stream(there.name, priority=16)
    stream.write(b"one")
    ref = (TAG, Atom(here.name), stream.stream_id)
    assert await messages.get() == ("first", (TAG, ref, (DATA, b"one", False)))
    (listed,) = there.quic_dist.list_streams()
    assert (listed.node, listed.stream_id, listed.owner, listed.recv_fin) == (
        here.name,
        stream.stream_id,
        first,
        False,
    )
    with pytest.raises(StreamError, match=r"owns .*, not "):
        there.quic_dist.send(second, ref, b"not mine")
    there.quic_dist.controlling_process(first, ref, second)
    with pytest.raises(StreamError, match=r"owns .*, not "):
        there.quic_dist.send(first, ref, b"no longer mine")
    there.quic_dist.send(second, ref, b"mine", True)
    assert await stream.read() == b"mine"
    stream.write(b"two")
    stream.write_eof()
    told = [await messages.get()]
    while told[-1] != ("second", (TAG, ref, CLOSED)):
        told.append(await messages.get())
    assert b"".join(message[2][1] for _, message in told[:-1]) == b"two"
    with pytest.raises(StreamError, match=r"there is no stream .* or it has ended"):
        there.quic_dist.send(second, ref, b"it is over")


async def test_the_end_of_its_owner_resets_a_stream(two: tuple[Node, Node]) -> None:
    here, there = two
    came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    owner = there.spawn(lambda _, message: came.set_result(None))
    there.quic_dist.accept_streams(owner)
    told: asyncio.Queue[Any] = asyncio.Queue()
    opener = here.spawn(lambda _, message: told.put_nowait(message))
    ref = await here.quic_dist.open_stream(opener, there.name)
    here.quic_dist.send(opener, ref, b"x")
    await came
    owner.exit(owner, Atom("kill"))
    assert await told.get() == (TAG, ref, (RESET, 0))


async def test_a_process_that_does_not_receive_slows_the_sender(two: tuple[Node, Node]) -> None:
    here, there = two
    go = asyncio.Event()
    size = 16 * MIB

    async def owner(process: Process) -> int:
        there.quic_dist.accept_streams(process)
        accepting.set()
        await go.wait()
        got = 0
        while True:
            match await process.receive():
                case (_, _, (_, bytes() as data, fin)):
                    got += len(data)
                    if fin:
                        return got

    accepting = asyncio.Event()
    running = asyncio.ensure_future(in_process(there, owner))
    await accepting.wait()
    stream = await here.open_stream(there.name)
    sent = asyncio.ensure_future(stream.send(bytes(size)))
    link = there._local.connections.link(here.name)
    assert link is not None
    # As much comes as the window allows, and no more. Nobody is told of bytes that nobody reads.
    async with asyncio.timeout(30):
        while (theirs := link.user_streams.get(stream.stream_id)) is None or theirs._unread < WINDOW:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert theirs._unread == WINDOW == theirs.window.size
    assert not sent.done()
    go.set()
    await sent
    stream.write_eof()
    assert await running == size
