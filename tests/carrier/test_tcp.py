"""The TCP carrier, TCP to TCP in one loop: links, backpressure, the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quicdist.carrier import (
    Address,
    Link,
    LinkLost,
    ListenError,
    NetAddress,
    PeerClosed,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.liveness import Ticker
from quicdist.carrier.tcp import link as tcp_link
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.protocol import (
    ControlMessage,
    DistFlag,
    FrameError,
    FrameTooLong,
    HandshakeEnded,
    RegSend,
)
from quicdist.term import Atom, EncodeError
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.tcp_peers import SETUP_TIME, accept_one, joined, listening, raw_dial, raw_listener

ECHO = Atom("echo")


@pytest.fixture
def a() -> FakeNode:
    return FakeNode("a@127.0.0.1", creation=11)


@pytest.fixture
def b() -> FakeNode:
    return FakeNode("b@127.0.0.1", creation=22)


def to_echo(node: FakeNode) -> RegSend:
    return RegSend(node.pid(), Atom(""), ECHO)


# -- listening ---------------------------------------------------------------------------------


async def test_all_interfaces_by_default_as_in_otp() -> None:
    for carrier, host, family in (
        (TcpCarrier(), "0.0.0.0", "inet"),
        (TcpCarrier(address_family="inet6"), "::", "inet6"),
    ):
        assert carrier.address() == NetAddress("", 0, "tcp", family)
        listener = await carrier.listen("a@h")
        address = listener.address
        assert (address.host, address.protocol, address.family) == (host, "tcp", family)
        assert address.port != 0
        await carrier.close(listener)


async def test_ipv6_listens_for_ipv4_as_well(a: FakeNode, b: FakeNode) -> None:
    carrier = TcpCarrier(address_family="inet6")
    listener = await carrier.listen("b@h")
    for host in ("127.0.0.1", "::1"):
        address = Address(host, listener.address.port)
        link, other = await asyncio.gather(
            carrier.setup(b.name, address, a, setup_time=SETUP_TIME), accept_one(carrier, listener, b)
        )
        assert other.remote_address.host == host
        assert link.remote_address == address
        link.close()
        other.close()
        await other.wait_closed()
    await carrier.close(listener)


async def test_one_interface_if_asked_for() -> None:
    async with listening(host="127.0.0.1") as (_, listener, _):
        assert listener.address.host == "127.0.0.1"
    async with listening(host="localhost") as (_, listener, _):
        assert listener.address.host in ("127.0.0.1", "::1")


async def test_a_port_that_is_taken_is_named() -> None:
    async with listening() as (carrier, _, address):
        with pytest.raises(ListenError, match=f"cannot listen at 127.0.0.1 port {address.port}: .*in use"):
            await carrier.listen("c@h", host="127.0.0.1", port=address.port)


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("127.0.0.1", 1 << 16), ("x..y", 0)])
async def test_what_cannot_be_listened_at(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen at {host} port {port}"):
        await TcpCarrier().listen("a@h", host=host, port=port)


async def test_closing_a_listener_ends_accepting_and_what_is_half_open_but_no_link(
    a: FakeNode, b: FakeNode
) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(other)
        async with listening() as (carrier, listener, address):
            waiting = asyncio.create_task(accept_one(carrier, listener, b))
            async with raw_dial(address) as dialler, raw_dial(address) as second:
                dialler.writer.write(b"\0")
                await carrier.close(listener)
                assert await dialler.closed() == b""
                assert await second.closed() == b""
            with pytest.raises(HandshakeEnded):
                await waiting
            with pytest.raises(PeerUnreachable):
                await carrier.setup(b.name, address, a, setup_time=SETUP_TIME)
        link.send(to_echo(a), 1)
        assert (await inbox.get())[1] == 1


# -- dialling ----------------------------------------------------------------------------------


async def test_both_ends_know_each_other(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        assert (link.peer.name, link.peer.creation) == (b.name, 22)
        assert (other.peer.name, other.peer.creation) == (a.name, 11)
        assert link.peer.negotiated == other.peer.negotiated == a.identity.flags & b.identity.flags
        assert link.carrier_name == other.carrier_name == "tcp"
        assert link.remote_address == other.local_address
        assert link.local_address == other.remote_address
        assert [peer.name for peer in b.requested] == [a.name]
        for end in (link, other):
            sock: socket.socket = end._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0


async def test_over_ipv6(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b, host="::1") as (link, other):
        assert link.remote_address.host == "::1"
        inbox = Inbox.of(other)
        link.send(to_echo(a), b"six")
        assert (await inbox.get())[1] == b"six"


async def test_nobody_there_is_told_at_once(a: FakeNode, unused_tcp_port: int) -> None:
    address = Address("127.0.0.1", unused_tcp_port)
    with pytest.raises(PeerUnreachable, match=f"cannot connect to b@h at {address}: Connect") as caught:
        await TcpCarrier().setup("b@h", address, a, setup_time=3600)
    assert (caught.value.node, caught.value.address) == ("b@h", address)


@pytest.mark.parametrize(
    ("host", "port"), [("no-such-host.invalid", 1), ("x..y", 1), ("127.0.0.1", 0), ("127.0.0.1", 1 << 16)]
)
async def test_an_address_that_is_none(a: FakeNode, host: str, port: int) -> None:
    with pytest.raises(PeerUnreachable, match=f"cannot connect to b@h at {host}:{port}: "):
        await TcpCarrier().setup("b@h", Address(host, port), a, setup_time=SETUP_TIME)


async def test_who_accepts_and_says_nothing_is_given_up(a: FakeNode) -> None:
    async with raw_listener() as (address, peers):
        with pytest.raises(SetupTimeout, match=r"b@h at .*: no answer within 0\.05 s: expected a status"):
            await TcpCarrier().setup("b@h", address, a, setup_time=0.05)
        assert (await (await peers.get()).closed()).startswith(b"\0")  # our name message, then the end


async def test_a_dial_that_is_cancelled_closes_its_connection(a: FakeNode) -> None:
    async with raw_listener() as (address, peers):
        dialling = asyncio.create_task(TcpCarrier().setup("b@h", address, a, setup_time=3600))
        peer = await peers.get()
        await peer.reader.readexactly(2)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        await peer.closed()


def test_names() -> None:
    carrier = TcpCarrier()
    assert carrier.is_node_name("a@h")
    assert carrier.select("a@h")
    for name in ("a", "@h", "a@", "a@b@c"):
        assert not carrier.is_node_name(name)
        assert not carrier.select(name)


# -- messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [DistFlag(0), DistFlag.FRAGMENTS], ids=["fragments", "pass-through"])
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 1 << 20, 5_000_001])
async def test_messages_both_ways_whole_and_in_order(without: DistFlag, size: int) -> None:
    nodes = [FakeNode(name) for name in ("a@127.0.0.1", "b@127.0.0.1")]
    nodes[0].identity = type(nodes[0].identity)(nodes[0].name, 1, nodes[0].identity.flags & ~without)
    async with joined(nodes[0], nodes[1]) as links:
        inboxes = [Inbox.of(link) for link in links]
        payload = bytes(size)
        for link, node in zip(links, nodes, strict=True):
            for number in range(3):
                link.send(to_echo(node), (number, payload))
        for inbox, node in zip(inboxes, reversed(nodes), strict=True):
            for number in range(3):
                assert await inbox.get() == (to_echo(node), (number, payload))


async def test_what_is_sent_in_one_turn_leaves_in_one_write(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(other)
        for number in range(100):
            link.send(to_echo(a), number)
        assert [(await inbox.get())[1] for _ in range(100)] == list(range(100))
        assert other.stats.received == 1
        assert other.stats.messages_in == link.stats.messages_out == 100
        assert other.stats.bytes_in == link.stats.bytes_out


async def test_what_answers_a_batch_leaves_in_one_write(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(link)
        other.start(lambda control, payload: other.send(to_echo(b), payload), lambda error: None)
        for number in range(100):
            link.send(to_echo(a), number)
        assert [(await inbox.get())[1] for _ in range(100)] == list(range(100))
        assert link.stats.received == 1


async def test_a_large_read_of_costly_messages_does_not_hold_up_the_loop(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_link, "TURN_TIME", 0.0)  # the clock moves with every message
    loop = asyncio.get_running_loop()
    count = 2000
    turns = 0
    got: list[tuple[Any, int]] = []
    ended = loop.create_future()

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    reads: list[int] = []
    read = tcp_link.TcpLink.data_received

    def counted(link: tcp_link.TcpLink, data: bytes) -> None:
        reads.append(len(data))
        read(link, data)

    monkeypatch.setattr(tcp_link.TcpLink, "data_received", counted)
    async with joined(a, b) as (link, other):
        other.start(lambda control, payload: got.append((payload, turns)), ended.set_result)
        for number in range(count):
            link.send(to_echo(a), (number, bytes(64)))
        link.close()  # what came before the end is told before it
        loop.call_soon(turn)
        assert isinstance(await ended, PeerClosed)
        assert [number for (number, _), _ in got] == list(range(count))
        # Reads of 32 KiB at least, a message a turn.
        assert len(reads) < 20
        assert len({at for _, at in got}) > count // 2


async def test_nothing_of_a_large_read_comes_after_its_link_was_closed(a: FakeNode, b: FakeNode) -> None:
    got: list[object] = []

    async with joined(a, b) as (link, other):
        inbox = Inbox.of(link)

        def take(control: object, payload: object) -> None:
            got.append(payload)
            if len(got) == 100:
                other.close()

        other.start(take, lambda error: None)
        for number in range(1000):
            link.send(to_echo(a), (number, bytes(64)))
        assert isinstance(await inbox.end(), PeerClosed)
        await other.wait_closed()
        assert len(got) == 100


async def test_a_fault_in_a_large_read_ends_the_link_behind_what_came_before(
    a: FakeNode, b: FakeNode
) -> None:
    got: list[object] = []
    ended = asyncio.get_running_loop().create_future()
    async with joined(a, b) as (link, other):
        other.start(lambda control, payload: got.append(payload), ended.set_result)
        for number in range(1000):
            link.send(to_echo(a), (number, bytes(64)))
        link._write(0, (b"\0\0\0\4oops",), 8)
        assert isinstance(await ended, FrameError)
        assert len(got) == 1000


async def test_a_peer_whose_messages_take_long_is_not_silent(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while the messages of a large read are taken in, for longer than a ticktime perhaps."""
    monkeypatch.setattr(tcp_link, "TURN_TIME", 0.0)
    silent: list[Link] = []
    got: list[object] = []
    ended = asyncio.get_running_loop().create_future()
    async with joined(a, b) as (link, other):
        ticker = Ticker(lambda: [other], silent.append)

        def take(control: object, payload: object) -> None:
            got.append(payload)
            ticker.look(other)  # as if each took a quarter of the ticktime

        other.start(take, ended.set_result)
        for number in range(1000):
            link.send(to_echo(a), (number, bytes(64)))
        link.close()
        await ended
        assert len(got) == 1000
        assert silent == []


@pytest.mark.parametrize("turn_time", [0.0, 60.0], ids=["a-later-turn", "the-first-turn"])
@pytest.mark.parametrize("lost_at", [None, 50], ids=["there", "lost"])
async def test_an_error_in_a_large_read_ends_the_link(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch, turn_time: float, lost_at: int | None
) -> None:
    """In a later turn as in the first, where asyncio ends it: nothing would be read ever after. And where the
    connection is lost meanwhile."""
    monkeypatch.setattr(tcp_link, "TURN_TIME", turn_time)
    loop = asyncio.get_running_loop()
    told: list[BaseException] = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    ended = loop.create_future()
    count = 0

    async with joined(a, b) as (link, other):
        whole = other._dist.receive_by_frames

        def failing(stream_id: int, data: bytes) -> Iterator[tuple[ControlMessage, Any] | None]:
            nonlocal count
            for message in whole(stream_id, data):
                if count == 100:
                    raise MemoryError
                if count == lost_at:
                    other._transport.abort()
                count += 1
                yield message

        monkeypatch.setattr(other._dist, "receive_by_frames", failing)
        other.start(lambda control, payload: None, ended.set_result)
        for number in range(1000):
            link.send(to_echo(a), (number, bytes(64)))
        async with asyncio.timeout(30):
            assert isinstance(await ended, LinkLost)
        assert count == 100
        assert [type(error) for error in told] == [MemoryError]


async def test_what_came_before_the_link_was_started_is_delivered(a: FakeNode, b: FakeNode) -> None:
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        # The first frame comes right behind the handshake: a tick, and a message in pass-through form.
        await raw.initiate(a, b.name)
        link = await accepting
        raw.writer.write(bytes(4))
        inbox = Inbox.of(link)
        raw.writer.write(bytes(4))
        raw.writer.close()
        assert isinstance(await inbox.end(), PeerClosed)
        assert link.stats.ticks_in == 2
        assert link.stats.messages_in == 0


async def test_ticks(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        link.send_tick()
        link.send(to_echo(a), 1)
        await inbox.get()
        assert (link.stats.ticks_out, link.stats.sent, link.stats.messages_out) == (1, 2, 1)
        assert (other.stats.ticks_in, other.stats.messages_in) == (1, 1)
        assert link.stats.bytes_out == other.stats.bytes_in
        link.close()
        link.send_tick()
        assert link.stats.ticks_out == 1


async def test_no_tick_where_bytes_already_wait(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, _):
        link.send(to_echo(a), bytes(50_000_000))
        await asyncio.sleep(0)
        link.send_tick()
        assert link.stats.ticks_out == 0


async def test_what_cannot_be_encoded_is_not_sent_and_costs_nothing(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(other)
        with pytest.raises(EncodeError):
            link.send(to_echo(a), object())
        link.send(to_echo(a), 2)
        assert (await inbox.get())[1] == 2


# -- backpressure ------------------------------------------------------------------------------


@pytest.mark.parametrize("low_water", [100, 50_000, 1_000_000])
async def test_a_slow_peer_slows_its_sender(a: FakeNode, b: FakeNode, low_water: int) -> None:
    limits = BufferLimits(high_water=2_000_000, low_water=low_water)
    async with joined(a, b, TcpCarrier(limits=limits)) as (link, other):
        # The peer reads nothing until it is started.
        sent = 0
        while link.writable:
            link.send(to_echo(a), (sent, bytes(100_000)))
            sent += 1
            await asyncio.sleep(0)
            assert sent < 1000, "a peer that reads nothing takes everything"
        assert link.pending <= limits.high_water + 101_000
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        inbox = Inbox.of(other)
        async with asyncio.timeout(30):
            await draining
        assert link.writable
        assert link.pending <= low_water
        assert [(await inbox.get())[1][0] for _ in range(sent)] == list(range(sent))


async def test_drain_ends_with_the_link(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        while link.writable:
            link.send(to_echo(a), bytes(100_000))
            await asyncio.sleep(0)
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        other._transport.abort()
        async with asyncio.timeout(30):
            await draining
        assert link.closed


# -- the end -----------------------------------------------------------------------------------


async def test_closing_tells_both_sides_once(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        ours, theirs = Inbox.of(link), Inbox.of(other)
        link.close("enough")
        link.close("enough")
        assert link.closed
        assert await ours.end() is None
        error = await theirs.end()
        assert isinstance(error, PeerClosed)
        assert str(error) == "connection to a@127.0.0.1 lost: the peer closed it"
        assert other.closed
        await link.wait_closed()
        await other.wait_closed()
        for end, node in ((link, b), (other, a)):
            with pytest.raises(LinkLost, match=f"connection to {node.name} lost: it is closed"):
                end.send(to_echo(a), 1)


async def test_a_peer_that_dies_is_noticed(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        ours = Inbox.of(link)
        sock: socket.socket = other._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # die by a reset
        other._transport.abort()
        error = await ours.end()
        assert isinstance(error, PeerClosed)
        assert error.node == b.name


async def test_a_link_that_ended_before_it_was_started_says_so(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        link.send(to_echo(a), "last words")
        link.close()
        await link.wait_closed()
        inbox = Inbox.of(other)
        assert (await inbox.get())[1] == b"last words"
        assert isinstance(await inbox.end(), PeerClosed)


async def test_what_was_sent_before_closing_arrives(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        for number in range(10):
            link.send(to_echo(a), (number, bytes(2_000_000)))
        link.close()
        inbox = Inbox.of(other)
        assert [(await inbox.get())[1][0] for _ in range(10)] == list(range(10))
        assert isinstance(await inbox.end(), PeerClosed)
        await link.wait_closed()


async def test_closing_does_not_wait_for_ever_for_a_peer_that_reads_nothing(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_link, "LINGER", 0.05)
    async with joined(a, b) as (link, _):
        link.send(to_echo(a), bytes(50_000_000))
        link.close()
        async with asyncio.timeout(30):
            await link.wait_closed()


async def test_a_steady_peer_gets_all_however_slow_it_is(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time begins anew with all that it takes."""
    monkeypatch.setattr(tcp_link, "LINGER", 1.0)
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        await raw.initiate(a, b.name)
        inbox = Inbox.of(await accepting)
        inbox.link.send(to_echo(a), bytes(20_000_000))
        inbox.link.close()
        begun = time.monotonic()
        size = 0
        while got := await raw.reader.read(1 << 20):
            size += len(got)
            await asyncio.sleep(0.02)
        assert size > 20_000_000
        assert time.monotonic() - begun > tcp_link.LINGER
        await inbox.link.wait_closed()


async def test_time_in_which_the_loop_is_blocked_is_not_the_silence_of_the_peer(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_link, "LINGER", 0.5)
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        await raw.initiate(a, b.name)
        inbox = Inbox.of(await accepting)
        inbox.link.send(to_echo(a), bytes(20_000_000))
        inbox.link.close()
        asyncio.get_running_loop().call_soon(time.sleep, 1.5 * tcp_link.LINGER)
        assert len(await raw.reader.read()) > 20_000_000
        await inbox.link.wait_closed()


async def test_a_close_beside_what_the_peer_sends_is_no_reset(a: FakeNode, b: FakeNode) -> None:
    """A reset could take with it what the peer has not read yet."""
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        await raw.initiate(a, b.name)
        inbox = Inbox.of(await accepting)
        raw.writer.write(bytes(4) * 10_000)  # ticks, which nobody has read when the link closes
        inbox.link.send(to_echo(a), "last words")
        inbox.link.close()
        assert b"last words" in await raw.reader.read()
        raw.writer.close()
        await raw.writer.wait_closed()
        await inbox.link.wait_closed()


async def test_a_close_does_not_wait_for_the_peer_to_close(
    a: FakeNode, b: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_link, "FIN_TIME", 0.05)
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        await raw.initiate(a, b.name)
        inbox = Inbox.of(await accepting)
        inbox.link.close()
        assert await raw.reader.read() == b""
        async with asyncio.timeout(30):
            await inbox.link.wait_closed()


async def test_a_frame_longer_than_the_limit_ends_that_link_and_no_other(
    a: FakeNode, b: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = TcpCarrier(max_frame=1000)
    c = FakeNode("c@127.0.0.1")
    async with joined(a, b, carrier) as (link, other), listening(carrier) as (_, listener, address):
        good = Inbox.of(other)
        async with raw_dial(address) as raw:
            accepting = asyncio.create_task(accept_one(carrier, listener, b))
            await raw.initiate(c, b.name)
            bad = Inbox.of(await accepting)
            raw.writer.write((1001).to_bytes(4, "big"))  # the length is enough: none of it is waited for
            error = await bad.end()
            assert isinstance(error, FrameTooLong)
            assert (error.node, error.length, error.limit) == (c.name, 1001, 1000)
            assert await raw.closed() == b""
            await bad.link.wait_closed()
        assert "c@127.0.0.1" in caplog.text
        assert "1001" in caplog.text
        link.send(to_echo(a), 1)
        assert (await good.get())[1] == 1


async def test_a_frame_that_is_no_message_ends_the_link(a: FakeNode, b: FakeNode) -> None:
    async with listening() as (carrier, listener, address), raw_dial(address) as raw:
        accepting = asyncio.create_task(accept_one(carrier, listener, b))
        await raw.initiate(a, b.name)
        inbox = Inbox.of(await accepting)
        raw.writer.write(bytes.fromhex("00000006 83 44 00 ff ff ff"))
        error = await inbox.end()
        assert isinstance(error, FrameError)
        assert error.node == a.name
        await raw.closed()
        await inbox.link.wait_closed()
