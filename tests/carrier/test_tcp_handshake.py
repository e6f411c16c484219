"""Handshakes over TCP that do not end well: what each side raises, logs and leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import weakref

import pytest

from quicdist.carrier import AcceptError, AcceptTimeout, Address
from quicdist.carrier.rate_limits import FailureDelay
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tcp.listener import TcpIncoming, TcpListener
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    ConnectionAlive,
    DistFlag,
    HandshakeEnded,
    MalformedHandshake,
    MandatoryFlagsMissing,
    NotAllowed,
    SimultaneousConnect,
    Status,
    WrongCookie,
    WrongNodeName,
)
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.tcp_peers import SETUP_TIME, accept_one, listening, raw_dial, raw_listener
from tests.support.virtual_time import in_virtual_time

LOGGER = "quicdist.carrier.tcp"


@pytest.fixture
def a() -> FakeNode:
    return FakeNode("a@127.0.0.1")


@pytest.fixture
def b() -> FakeNode:
    return FakeNode("b@127.0.0.1")


async def dial_and_accept(
    a: FakeNode, b: FakeNode, dialled: str = "b@127.0.0.1"
) -> tuple[object, object, TcpListener]:
    """What the dialling and the accepting side get: a link or an error."""
    async with listening() as (carrier, listener, address):
        ends = await asyncio.gather(
            carrier.setup(dialled, address, a, setup_time=SETUP_TIME),
            accept_one(carrier, listener, b),
            return_exceptions=True,
        )
        assert not listener._half_open
        for end in ends:
            if not isinstance(end, BaseException):
                end.close()
                await end.wait_closed()
        return *ends, listener


async def test_a_wrong_cookie(a: FakeNode, b: FakeNode, caplog: pytest.LogCaptureFixture) -> None:
    a.cookie = "another"
    dialler, acceptor, _ = await dial_and_accept(a, b)
    assert isinstance(dialler, WrongCookie)
    assert dialler.node == b.name
    assert isinstance(acceptor, WrongCookie)
    assert acceptor.node == a.name
    (line,) = [record for record in caplog.records if record.name == LOGGER]
    assert line.getMessage().startswith("connection from 127.0.0.1:")
    assert f"refused: wrong cookie for {a.name}" in line.getMessage()


@pytest.mark.parametrize(
    ("status", "raised"), [(Status.NOT_ALLOWED, NotAllowed), (Status.NOK, SimultaneousConnect)]
)
async def test_a_node_that_is_refused(
    a: FakeNode, b: FakeNode, status: Status, raised: type[QuicDistError], caplog: pytest.LogCaptureFixture
) -> None:
    b.status = status
    dialler, acceptor, _ = await dial_and_accept(a, b)
    assert type(dialler) is raised
    assert isinstance(acceptor, AcceptError)
    assert acceptor.reason == f"{a.name} was answered {status}"
    assert f"connection from {acceptor.address} refused: {a.name} was answered {status}" in caplog.text


async def test_alive_and_the_dialler_goes_on(a: FakeNode, b: FakeNode) -> None:
    b.status = Status.ALIVE
    dialler, acceptor, _ = await dial_and_accept(a, b)
    assert a.alive_asked == [b.name]
    assert b.taken_down == [a.name]
    assert dialler.peer.name == b.name  # type: ignore[attr-defined]
    assert acceptor.peer.name == a.name  # type: ignore[attr-defined]


async def test_alive_and_the_dialler_gives_up(a: FakeNode, b: FakeNode) -> None:
    b.status = Status.ALIVE
    a.go_on = False
    dialler, acceptor, _ = await dial_and_accept(a, b)
    assert isinstance(dialler, ConnectionAlive)
    assert isinstance(acceptor, ConnectionAlive)
    assert b.taken_down == []


async def test_an_old_connection_is_not_taken_down_for_a_peer_without_the_cookie(
    a: FakeNode, b: FakeNode
) -> None:
    b.status = Status.ALIVE
    a.cookie = "another"
    dialler, acceptor, _ = await dial_and_accept(a, b)
    assert isinstance(dialler, WrongCookie)
    assert isinstance(acceptor, WrongCookie)
    assert b.taken_down == []


async def test_ok_simultaneous_goes_on(a: FakeNode, b: FakeNode) -> None:
    b.status = Status.OK_SIMULTANEOUS
    dialler, _, _ = await dial_and_accept(a, b)
    assert dialler.peer.name == b.name  # type: ignore[attr-defined]


async def test_another_node_than_the_one_dialled(a: FakeNode, b: FakeNode) -> None:
    dialler, acceptor, _ = await dial_and_accept(a, b, dialled="c@127.0.0.1")
    assert isinstance(dialler, WrongNodeName)
    assert (dialler.node, dialler.came) == ("c@127.0.0.1", b.name)
    assert isinstance(acceptor, HandshakeEnded)


def lacking(node: FakeNode, flag: DistFlag) -> FakeNode:
    """``node`` without ``flag``; the digest would stand for it, so that goes too."""
    flags = node.identity.flags & ~flag & ~DistFlag.MANDATORY_25_DIGEST
    node.identity = dataclasses.replace(node.identity, flags=flags)
    return node


@pytest.mark.parametrize("flag", [DistFlag.BIG_CREATION, DistFlag.V4_NC, DistFlag.HANDSHAKE_23])
async def test_a_dialler_that_lacks_a_mandatory_flag(
    a: FakeNode, b: FakeNode, flag: DistFlag, caplog: pytest.LogCaptureFixture
) -> None:
    dialler, acceptor, _ = await dial_and_accept(lacking(a, flag), b)
    assert isinstance(dialler, NotAllowed)
    assert isinstance(acceptor, MandatoryFlagsMissing)
    assert acceptor.missing == flag
    text = f"{a.name} lacks mandatory flags that {b.name} requires: {flag.name}"
    assert text in str(acceptor)
    assert text in caplog.text


async def test_an_acceptor_that_lacks_a_mandatory_flag(a: FakeNode, b: FakeNode) -> None:
    dialler, _, _ = await dial_and_accept(a, lacking(b, DistFlag.UNLINK_ID))
    assert isinstance(dialler, MandatoryFlagsMissing)
    assert (dialler.node, dialler.missing) == (b.name, DistFlag.UNLINK_ID)


NAME = b"N" + bytes(8) + b"\0\0\0\1" + b"\0\3a@h"


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (b"", HandshakeEnded),
        (b"\0", HandshakeEnded),
        (b"\0\0", MalformedHandshake),
        (b"\xff\xff", MalformedHandshake),
        (b"GET / HTTP/1.1\r\n\r\n", MalformedHandshake),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", MalformedHandshake),  # TLS: a ClientHello
        (b"\0\4sokk", MalformedHandshake),
        (b"\0\x0an\0\5\0\0\0\0a@h", MandatoryFlagsMissing),
        (b"\0\x12" + NAME[:13] + b"\0\4a@h", MalformedHandshake),
        (b"\0\x12" + NAME[:13] + b"\0\3abc", MalformedHandshake),
        (b"\0\x12" + NAME[:13] + b"\0\0a@h", MalformedHandshake),
        (b"\0\x12" + NAME, MandatoryFlagsMissing),
    ],
)
async def test_what_is_no_handshake_is_refused_logged_and_forgotten(
    a: FakeNode,
    b: FakeNode,
    said: bytes,
    raised: type[QuicDistError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening() as (carrier, listener, address):
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        async with raw_dial(address) as raw:
            here = Address(*raw.writer.get_extra_info("sockname"))
            raw.writer.write(said)
            raw.writer.write_eof()
            with pytest.raises(raised) as caught:
                await accepting
            await raw.closed()
        assert f"connection from {here} refused: {caught.value}" in caplog.text
        assert not listener._half_open
        # Everything else goes on.
        link, other = await asyncio.gather(
            carrier.setup(b.name, address, a, setup_time=SETUP_TIME), accept_one(carrier, listener, b)
        )
        link.close()
        assert await Inbox.of(other).end() is not None


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (b"", HandshakeEnded),
        (b"\0\4snot", MalformedHandshake),
        (b"\xff\xff", MalformedHandshake),
        (b"\0\3sok\0\1N", MalformedHandshake),
        (b"\0\3sok\0\5aaaaa", MalformedHandshake),
        (b"\0\3sok", HandshakeEnded),
    ],
)
async def test_an_acceptor_that_speaks_something_else(
    a: FakeNode, said: bytes, raised: type[QuicDistError]
) -> None:
    async with raw_listener() as (address, peers):
        dialling = asyncio.create_task(TcpCarrier().setup("b@h", address, a, setup_time=SETUP_TIME))
        peer = await peers.get()
        peer.writer.write(said)
        peer.writer.write_eof()
        with pytest.raises(raised, match="b@h"):
            await dialling
        await peer.closed()


@in_virtual_time
async def test_who_dials_and_says_nothing_is_given_up(b: FakeNode, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        with pytest.raises(AcceptTimeout, match=r"no handshake within 0\.05 s") as caught:
            await accept_one(carrier, listener, b, setup_time=0.05)
        assert caught.value.address == Address(*raw.writer.get_extra_info("sockname"))
        assert f"connection from {caught.value.address} refused: no handshake within 0.05 s" in caplog.text
        assert await raw.closed() == b""
        assert not listener._half_open


async def test_who_talks_without_end_before_we_listen_is_not_kept(b: FakeNode) -> None:
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        raw.writer.write(b"N" * 10_000_000)
        incoming = await anext(aiter(carrier.accept(listener)))
        async with asyncio.timeout(30):
            while incoming.connection.transport.is_reading():  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0)  # nothing tells when the kernel has handed over enough
        assert len(incoming.connection._held) < 1_000_000  # type: ignore[attr-defined]
        with pytest.raises(MalformedHandshake):
            await carrier.accept_connection(incoming, b, setup_time=SETUP_TIME)


@in_virtual_time
async def test_the_oldest_half_open_connection_of_a_source_gives_way(
    a: FakeNode, b: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = TcpCarrier(max_half_open=2)
    async with listening(carrier) as (_, listener, address), contextlib.AsyncExitStack() as stack:
        accepting: list[asyncio.Task[TcpLink]] = []

        async def accept() -> None:
            async for incoming in carrier.accept(listener):
                one = carrier.accept_connection(incoming, b, setup_time=SETUP_TIME)
                accepting.append(asyncio.ensure_future(one))

        server = asyncio.ensure_future(accept())
        strangers = [await stack.enter_async_context(raw_dial(address)) for _ in range(6)]
        for stranger in strangers[:4]:
            assert await stranger.closed() == b""
        assert len(listener._half_open) == 2
        # A good peer gets in among them, at once, and they are still there.
        async with asyncio.timeout(1.0):
            link = await carrier.setup(b.name, address, a, setup_time=SETUP_TIME)
        done = [one for one in accepting if one.done()]
        errors = [one.exception() for one in done]
        assert [type(error) for error in errors if error] == [AcceptError] * 5
        assert "it is the oldest" in str(errors[0])
        lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert len(lines) == 5
        assert "more like it are left out" in lines[-1]
        link.close()
        await link.wait_closed()
        server.cancel()
        for one in accepting:
            one.cancel()
            with contextlib.suppress(asyncio.CancelledError, AcceptError):
                (await one).close()
        assert not listener._half_open


async def test_many_hosts_bring_few_lines(b: FakeNode, caplog: pytest.LogCaptureFixture) -> None:
    """40 hosts that say no names; each had five lines of its own."""
    async with listening(TcpCarrier(), "0.0.0.0") as (carrier, listener, address):
        for number in range(40):
            where = Address("127.0.0.1", address.port)
            async with raw_dial(where, local=f"127.0.1.{1 + number}") as raw:
                raw.writer.write(b"\0\1x")
                with pytest.raises(MalformedHandshake):
                    await accept_one(carrier, listener, b)
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(lines) == 10
    assert "more like it are left out" in lines[-1]


@pytest.mark.parametrize(
    ("came", "stay"),
    [([8, 0], [8, 0]), ([10, 0], [8, 0]), ([10, 2], [6, 2]), ([6, 4], [4, 4])],
    ids=["all-of-one", "more-of-one", "room-for-others", "as-many"],
)
async def test_other_sources_have_their_own_places(b: FakeNode, came: list[int], stay: list[int]) -> None:
    """One source, perhaps a hundred nodes behind one address, may have all places while nobody else comes."""
    carrier = TcpCarrier(max_half_open=8)
    async with listening(carrier, "0.0.0.0") as (_, listener, address), contextlib.AsyncExitStack() as stack:
        hosts = ["127.0.0.1", "127.0.0.2"]
        for host, count in zip(hosts, came, strict=True):
            for _ in range(count):
                where = Address("127.0.0.1", address.port)
                await stack.enter_async_context(raw_dial(where, local=host))
        accepting = aiter(carrier.accept(listener))
        incoming = [await anext(accepting) for _ in range(sum(came))]
        held = [one.remote_address.host for one in incoming if one in set(listener._half_open)]
        assert [held.count(host) for host in hosts] == stay


@in_virtual_time
async def test_wrong_cookies_of_a_source_cost_it_time(a: FakeNode, b: FakeNode) -> None:
    wrong = FakeNode(a.name, cookie="wrong")
    async with listening() as (carrier, listener, address):
        loop = asyncio.get_running_loop()

        async def accept() -> None:
            async for incoming in carrier.accept(listener):
                accepted.append(
                    asyncio.ensure_future(carrier.accept_connection(incoming, b, setup_time=SETUP_TIME))
                )

        accepted: list[asyncio.Task[TcpLink]] = []
        server = asyncio.ensure_future(accept())

        async def fail() -> float:
            begun = loop.time()
            with pytest.raises(WrongCookie):
                await carrier.setup(b.name, address, wrong, setup_time=SETUP_TIME)
            return loop.time() - begun

        assert [await fail() < 0.04 for _ in range(3)] == [True] * 3
        assert await fail() >= 0.05
        assert await fail() >= 0.1
        many = await asyncio.gather(*(fail() for _ in range(8)))
        assert max(many) >= 0.9
        # The right cookie waits for nothing, from the same address.
        failing = asyncio.ensure_future(fail())
        begun = loop.time()
        link = await carrier.setup(b.name, address, a, setup_time=SETUP_TIME)
        assert loop.time() - begun < 0.5
        await failing
        link.close()
        await link.wait_closed()
        server.cancel()
        for one in accepted:
            with contextlib.suppress(WrongCookie):
                (await one).close()
        assert not listener._half_open


@in_virtual_time
async def test_a_wrong_cookie_that_waits_for_its_answer_is_closed_when_that_is_cancelled(
    b: FakeNode,
) -> None:
    wrong = FakeNode("a@127.0.0.1", cookie="wrong")
    carrier = TcpCarrier()
    carrier._wrong_cookies = FailureDelay(free=0, first=3600.0, longest=3600.0)
    async with listening(carrier) as (_, listener, address):
        dialling = asyncio.create_task(carrier.setup(b.name, address, wrong, setup_time=SETUP_TIME))
        incoming = await anext(aiter(carrier.accept(listener)))
        accepting = asyncio.create_task(carrier.accept_connection(incoming, b, setup_time=SETUP_TIME))
        while not len(carrier._wrong_cookies):  # noqa: ASYNC110
            await asyncio.sleep(0)  # nothing tells that it waits
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        async with asyncio.timeout(2.0):
            with pytest.raises(WrongCookie):
                await dialling
        assert not listener._half_open


async def test_an_accepting_that_is_cancelled_closes_its_connection(b: FakeNode) -> None:
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        incoming = await anext(aiter(carrier.accept(listener)))
        accepting = asyncio.create_task(carrier.accept_connection(incoming, b, setup_time=3600))
        await asyncio.sleep(0)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert await raw.closed() == b""
        assert not listener._half_open


@pytest.mark.parametrize("how", ["garbage", "closed", "evicted"])
async def test_a_connection_that_is_refused_is_freed_at_once(b: FakeNode, how: str) -> None:
    """It leaves no cycle that only a full collection finds: a flood's memory is free when it is over."""
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        incoming = await anext(aiter(carrier.accept(listener)))
        assert isinstance(incoming, TcpIncoming)
        connection = weakref.ref(incoming.connection)
        accepting = asyncio.ensure_future(carrier.accept_connection(incoming, b, setup_time=SETUP_TIME))
        await asyncio.sleep(0)
        gc.disable()
        try:
            if how == "garbage":
                raw.writer.write(b"\0\1x")
            elif how == "closed":
                await raw.close()
            else:
                incoming.evict("it is the oldest")
            await asyncio.wait({accepting})
            assert accepting.exception() is not None
            del incoming, accepting
            await raw.closed()
            for _ in range(3):
                await asyncio.sleep(0)
            assert connection() is None
        finally:
            gc.enable()
