"""Links are kept alive while their event loop stands still, from another thread, and no frame is broken."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from quicdist.carrier import PeerClosed, QuicSettings
from quicdist.carrier import keepalive as keepalive_module
from quicdist.carrier.keepalive import TICK_INTERVAL, KeepAlive
from quicdist.carrier.quic.engine.aioquic import event_queue, statistics
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tls.link import TlsLink
from quicdist.protocol import TICK, ControlMessage, RegSend
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import LinkPair, linked
from tests.carrier.tcp_peers import joined
from tests.support.records import records_of

ECHO = Atom("echo")


def in_a_thread(function: Callable[[], Any]) -> Any:
    """What ``function`` returns in another thread, while this one waits."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def stand_still(times: int = 1, pause: float = 0.0, between: Callable[[float], None] = time.sleep) -> None:
    """Block the running loop while it is kept alive so many times, as its watch does."""
    keeper = KeepAlive.of(asyncio.get_running_loop())

    def act() -> None:
        for _ in range(times):
            keeper.act(1.0)
            between(pause)

    in_a_thread(act)


class Member:
    """Something to keep alive."""

    def __init__(self, keeper: KeepAlive, *, fails: bool = False) -> None:
        self.calls: list[tuple[float, int]] = []
        self._fails = fails
        keeper.add(self)

    def keep_alive(self, now: float) -> None:
        self.calls.append((now, threading.get_ident()))
        logging.getLogger("quicdist.carrier.quic").warning("in between")
        if self._fails:
            raise ValueError("not that")


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads take turns five hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# -- who is kept, and for how long ---------------------------------------------------------------


@pytest.fixture
def keeper() -> Iterator[KeepAlive]:
    """Of a loop that does not run."""
    loop = asyncio.new_event_loop()
    yield KeepAlive.of(loop)
    loop.close()


def test_members_are_kept_alive_until_they_are_discarded_or_collected(keeper: KeepAlive) -> None:
    member, gone = Member(keeper), Member(keeper)
    keeper.discard(gone)
    del gone
    keeper.act(1.0)
    keeper.act(2.0)
    assert [thread for _, thread in member.calls] == [threading.get_ident()] * 2
    assert abs(member.calls[-1][0] - time.monotonic()) < 10


async def test_a_member_that_fails_is_left_out_and_costs_the_others_nothing() -> None:
    keeper = KeepAlive.of(asyncio.get_running_loop())
    bad, good = Member(keeper, fails=True), Member(keeper)
    with records_of("quicdist.carrier") as records:
        keeper.act(1.0)
        keeper.act(1.25)
        await asyncio.sleep(0)
    assert [len(member.calls) for member in (bad, good)] == [1, 2]
    said = [record.getMessage() for record in records.take() if record.name == "quicdist.carrier"]
    assert len(said) == 1
    assert "could not be kept alive" in said[0]


def test_a_loop_that_stands_still_for_too_long_is_given_up_and_told_once(keeper: KeepAlive) -> None:
    member = Member(keeper)
    with records_of("quicdist.carrier") as records:
        keeper.act(keepalive_module.MAX_BLOCKED - 1)
        for _ in range(3):
            keeper.act(keepalive_module.MAX_BLOCKED + 1)
        assert len(member.calls) == 1
        (said,) = [record for record in records.take() if record.name == "quicdist.carrier"]
        assert said.levelno == logging.WARNING
        assert said.getMessage().startswith("the event loop is blocked for 901 s: its connections are no")
        # Another standstill is another matter.
        keeper.act(1.0)
        assert len(member.calls) == 2


def test_nothing_is_done_while_the_loop_has_the_lock(keeper: KeepAlive) -> None:
    member = Member(keeper)
    with keeper.lock:
        in_a_thread(lambda: keeper.act(1.0))
    assert member.calls == []
    keeper.busy = True
    keeper.act(1.0)
    assert member.calls == []
    keeper.busy = False
    in_a_thread(lambda: keeper.act(1.0))
    assert len(member.calls) == 1
    assert not keeper.acting


async def test_what_is_logged_meanwhile_is_handled_by_the_loop() -> None:
    """It may stand still in a logging handler, which is code of the program and has a lock of its own."""
    keeper = KeepAlive.of(asyncio.get_running_loop())
    member = Member(keeper)
    with records_of("quicdist.carrier.quic") as records:
        in_a_thread(lambda: keeper.act(1.0))
        assert len(member.calls) == 1
        assert records.take() == []
        await asyncio.sleep(0)
        (record,) = records.take()
    assert record.getMessage() == "in between"


def test_a_loop_of_simulated_time_is_left_alone() -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.time = lambda: 5.0  # type: ignore[method-assign]
        keeper = KeepAlive.of(loop)
        member = Member(keeper)
        keeper.act(1.0)
        assert member.calls == []
        assert KeepAlive.of(loop) is keeper
    finally:
        loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_lock_is_free_in_a_child_forked_while_the_keep_alive_thread_had_it() -> None:
    loop = asyncio.new_event_loop()
    keeper = KeepAlive.of(loop)
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with keeper.lock:
            taken.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    threading.Timer(0.2, release.set).start()
    child = os.fork()  # waits for the lock
    if not child:
        os._exit(0 if keeper.lock.acquire(timeout=5) else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with keeper.lock:
        pass
    loop.close()


# -- TCP -----------------------------------------------------------------------------------------


@pytest.fixture
def a() -> FakeNode:
    return FakeNode("a@127.0.0.1", creation=11)


@pytest.fixture
def b() -> FakeNode:
    return FakeNode("b@127.0.0.1", creation=22)


def to_echo(node: FakeNode) -> RegSend:
    return RegSend(node.pid(), Atom(""), ECHO)


async def test_tcp_ticks_every_second_and_counts_them(
    a: FakeNode, b: FakeNode, advance: Callable[[float], None]
) -> None:
    async with joined(a, b) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        before = link.stats.copy()
        stand_still(times=5, pause=TICK_INTERVAL / 4, between=advance)
        link.send(to_echo(a), 1)
        assert (await inbox.get())[1] == 1
        assert link.stats.ticks_out - before.ticks_out == 2
        assert link.stats.sent - before.sent == 3
        assert other.stats.ticks_in == 2
        assert other.stats.bytes_in == link.stats.bytes_out


def plaintext(link: TcpLink, data: bytes) -> bytes:
    """What a link decodes of bytes of its socket."""
    return link._session.receive_data(data) if isinstance(link, TlsLink) else data


async def test_tcp_sends_what_is_queued_and_no_tick_inside_a_frame(a: FakeNode, b: FakeNode) -> None:
    size = 32 * 1024 * 1024
    async with joined(a, b) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        other._transport.pause_reading()
        link.send(to_echo(a), b"\x01" * size)
        for _ in range(3):  # as much leaves as the kernel takes
            await asyncio.sleep(0)
        assert 0 < link.pending < size
        link.send(to_echo(a), b"queued")
        # The loop stands still, and the peer reads.
        sock = other._transport.get_extra_info("socket")
        peer_sock = os.dup(sock.fileno())
        keeper = KeepAlive.of(asyncio.get_running_loop())

        def read() -> bytes:
            came = bytearray()
            while not came.endswith(TICK * 2):
                keeper.act(1.0)
                link._writer._kept_at = 0.0  # as if a second had passed
                try:
                    came += plaintext(other, os.read(peer_sock, 1 << 20))
                except BlockingIOError:
                    time.sleep(0.001)
            return bytes(came)

        came = in_a_thread(read)
        os.close(peer_sock)
        assert link.pending == 0
        # What the other end takes in now is what a peer has read.
        other._transport.resume_reading()
        TcpLink.data_received(other, came)
        assert len((await inbox.get())[1]) == size
        assert (await inbox.get())[1] == b"queued"
        assert other.stats.ticks_in >= 2
        link.send(to_echo(a), b"after")
        assert (await inbox.get())[1] == b"after"


async def test_tcp_delivers_what_a_peer_sent_before_it_closed_meanwhile(a: FakeNode, b: FakeNode) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(link)
        other.send(to_echo(b), b"last words")
        await asyncio.sleep(0)
        other._transport.close()
        await asyncio.sleep(0)
        # The peer answers the first tick with a reset, and the second cannot be sent.
        for _ in range(3):
            link._writer._kept_at = 0.0
            stand_still(pause=0.05)
        assert (await inbox.get())[1] == b"last words"
        await inbox.end()


@pytest.mark.usefixtures("frequent_switches")
async def test_messages_sent_while_the_loop_stands_still_are_sent_once(a: FakeNode, b: FakeNode) -> None:
    """The loop's thread sends, in code of the program, while the other one writes what is queued."""
    async with joined(a, b) as (link, other):
        Inbox.of(link)
        inbox = Inbox.of(other)
        keeper = KeepAlive.of(asyncio.get_running_loop())
        over = threading.Event()

        def act() -> None:
            while not over.is_set():
                keeper.act(1.0)

        thread = threading.Thread(target=act)
        thread.start()
        count = 20_000
        for number in range(count):
            link.send(to_echo(a), number)
        over.set()
        thread.join()
        assert [(await inbox.get())[1] for _ in range(count)] == list(range(count))
        assert link.pending == 0


# -- QUIC ----------------------------------------------------------------------------------------


def connections(pair: LinkPair) -> tuple[Any, Any]:
    assert isinstance(pair.client.link, QuicLink)
    assert isinstance(pair.server.link, QuicLink)
    return pair.client.link._connection, pair.server.link._connection


async def test_quic_acknowledges_while_blocked_and_delivers_afterwards(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client, server = connections(pair)
        pair.to_server(b"asked")
        pair.to_client(b"answered")
        stand_still(times=10, pause=0.02)
        assert statistics.in_flight(client.engine) == statistics.in_flight(server.engine) == 0
        assert event_queue.events_waiting(server.engine) > 0
        assert (await pair.server.get())[1] == b"asked"
        assert (await pair.client.get())[1] == b"answered"


async def test_quic_ticks_every_second_and_counts_them(
    settings: QuicSettings, advance: Callable[[float], None]
) -> None:
    async with linked(settings) as pair:
        pair.to_server(b"asked")
        assert (await pair.server.get())[1] == b"asked"
        stand_still(times=2)  # by now the handshake is acknowledged for sure
        ends = pair.client.link, pair.server.link
        await asyncio.sleep(0)
        before = [(end.stats.ticks_out, end.stats.sent, end.stats.ticks_in) for end in ends]
        stand_still(times=5, pause=TICK_INTERVAL / 4, between=advance)
        await asyncio.sleep(0.01)
        after = [(end.stats.ticks_out, end.stats.sent, end.stats.ticks_in) for end in ends]
        counts = [
            tuple(b - a for a, b in zip(*each, strict=True)) for each in zip(before, after, strict=True)
        ]
        assert counts == [(1, 1, 1)] * 2


async def test_quic_sends_again_what_was_lost_meanwhile(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client, _ = connections(pair)
        send = client.socket.send_now
        lost: list[Any] = []
        client.socket.send_now = lost.extend
        pair.to_server(b"lost at first")
        stand_still(times=2, pause=0.02)
        assert lost
        client.socket.send_now = send
        stand_still(times=50, pause=0.02)
        assert statistics.unacknowledged(client.engine, 4 * 16) == 0
        assert statistics.in_flight(client.engine) == 0
        assert (await pair.server.get())[1] == b"lost at first"


async def test_a_blocked_quic_node_holds_no_more_than_its_windows(settings: QuicSettings) -> None:
    """While nobody takes what came, the peer gets no more credit than it had."""
    size = 48 * 1024 * 1024
    async with linked(settings) as pair:
        client, server = connections(pair)
        pair.to_server(b"first")
        assert (await pair.server.get())[1] == b"first"
        pair.to_server(bytes(size))
        before = -1
        while (held := held_by(server.engine)) != before:
            before = held
            stand_still(times=100, pause=0.002)
        assert 0 < held <= settings.max_stream_data
        assert client.queued > size - 2 * settings.max_stream_data
        assert event_queue.events_waiting(server.engine) < 1000
        assert len((await pair.server.get())[1]) == size


def held_by(quic: Any) -> int:
    return sum(len(getattr(event, "data", b"")) for event in list(quic._events))


async def test_a_fault_meanwhile_ends_that_connection_when_the_loop_goes_on(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(settings) as pair:
        _, server = connections(pair)

        def fail(*_: object) -> None:
            raise ValueError("a bug")

        server.engine.receive_datagram = fail
        pair.to_server(b"x")
        stand_still(times=3, pause=0.01)
        assert not pair.server.link.closed
        error = await pair.server.end()
        assert "internal error when keeping it alive in a blocked event loop" in str(error)
        assert isinstance(await pair.client.end(), PeerClosed)
        assert "keeping it alive in a blocked event loop failed" in caplog.text
        assert "a bug" in caplog.text


async def test_a_quic_message_of_many_datagrams_and_messages_on_all_streams_in_order(
    settings: QuicSettings,
) -> None:
    async with linked(settings) as pair:
        expected: dict[int, list[int]] = {}
        for number in range(2000):
            sender = number % 40 + 1
            expected.setdefault(sender, []).append(number)
            pair.to_server(number, sender)
            if number % 100 == 0:
                stand_still(times=2)
                await asyncio.sleep(0)
        came: dict[int, list[int]] = {}
        for _ in range(2000):
            control, payload = await pair.server.get()
            assert isinstance(control, RegSend)
            came.setdefault(control.from_pid.id, []).append(payload)
        assert came == expected


async def test_a_message_waits_while_the_other_thread_uses_the_queues(settings: QuicSettings) -> None:
    keeper = KeepAlive.of(asyncio.get_running_loop())
    acting = threading.Event()
    queued: list[int] = []
    async with linked(settings) as pair:
        client, _ = connections(pair)

        def act() -> None:
            with keeper.lock:
                keeper.acting = True
                acting.set()
                time.sleep(0.1)
                queued.append(client.queued)
                keeper.acting = False

        thread = threading.Thread(target=act)
        thread.start()
        acting.wait()
        pair.to_server(b"x")
        thread.join()
        assert queued == [0]
        assert client.queued > 0
        assert (await pair.server.get())[1] == b"x"


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("pause", [0.0, 0.003])
async def test_quic_links_that_are_used_by_both_threads_at_once(settings: QuicSettings, pause: float) -> None:
    """As when the loop goes on in the middle, but all the time."""
    keeper = KeepAlive.of(asyncio.get_running_loop())
    over = threading.Event()

    def act() -> None:
        while not over.is_set():
            keeper.act(1.0)
            time.sleep(pause)

    async def take(inbox: Inbox) -> list[Any]:
        return [(await inbox.get())[1] for _ in range(3000)]

    async def give(to: Callable[[Any], None]) -> None:
        for number in range(3000):
            to((number, bytes(200_000 if number % 500 == 0 else 50)))
            if number % 7 == 0:
                await asyncio.sleep(0)

    async with linked(settings) as pair:
        thread = threading.Thread(target=act)
        thread.start()
        try:
            *came, _, _ = await asyncio.gather(
                take(pair.server), take(pair.client), give(pair.to_server), give(pair.to_client)
            )
        finally:
            over.set()
            await asyncio.to_thread(thread.join)
        for messages in came:
            assert messages is not None
            assert [number for number, _ in messages] == list(range(3000))
        assert pair.client.link.stats.ticks_out > 0


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_code_of_the_program_runs_without_the_lock(
    carrier: str, a: FakeNode, b: FakeNode, settings: QuicSettings
) -> None:
    keeper = KeepAlive.of(asyncio.get_running_loop())
    free: list[bool] = []
    came = asyncio.Event()

    def is_free() -> bool:
        got = keeper.lock.acquire(blocking=False)
        if got:
            keeper.lock.release()
        return got

    def on_message(control: ControlMessage, payload: Any) -> None:
        free.append(in_a_thread(is_free))
        if payload:
            came.set()

    async def check(link: Any, other: Any) -> None:
        link.start(lambda control, payload: None, lambda error: None)
        other.start(on_message, lambda error: None)
        for number in range(10):
            link.send(to_echo(a), number == 9)
            await asyncio.sleep(0)
        await came.wait()
        assert free == [True] * 10

    if carrier == "tcp":
        async with joined(a, b) as (link, other):
            assert isinstance(link, TcpLink)
            await check(link, other)
    else:
        async with linked(settings) as pair:
            # A link is started once: its handler is replaced.
            pair.server.link._on_message = on_message  # type: ignore[attr-defined]
            for number in range(10):
                pair.to_server(number == 9)
                await asyncio.sleep(0)
            await came.wait()
            assert free == [True] * 10
