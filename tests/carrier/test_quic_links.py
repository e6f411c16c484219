"""Two Python nodes over QUIC in one event loop: what a link does once it is there."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

import pytest

from quicdist.carrier import LinkLost, PeerClosed, PeerSilent
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.dial_handshake import DialHandshake
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.link import BURST, QuicLink
from quicdist.carrier.quic.liveness_probe import NOPROC
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.protocol import DEFAULT_FLAGS, Connected, FrameError, FrameTooLong, RegSend
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import (
    SETUP_TIME,
    LinkPair,
    linked,
    listening,
    quic_link,
    send,
    until,
    written,
)
from tests.support.engine import connection_of
from tests.support.virtual_time import in_virtual_time

MIB = 1024 * 1024


async def test_both_ends_know_each_other(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client, server = pair.client.link, pair.server.link
        assert client.peer.name == "server@127.0.0.1"
        assert server.peer.name == "client@127.0.0.1"
        assert client.peer.creation == pair.server_node.identity.creation
        assert client.peer.negotiated == server.peer.negotiated == DEFAULT_FLAGS & client.peer.flags
        assert client.remote_address == server.local_address
        assert client.local_address == server.remote_address
        assert client.carrier_name == "quic"
        assert [named.name for named in pair.server_node.requested] == ["client@127.0.0.1"]


async def test_messages_both_ways(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        pair.to_server(["hello", 1])
        control, payload = await pair.server.get()
        assert isinstance(control, RegSend)
        assert control.from_pid == pair.client_node.pid()
        assert payload == [b"hello", 1]
        pair.to_client((b"back", 2))
        assert (await pair.client.get())[1] == (b"back", 2)
        assert pair.client.link.stats.messages_out == pair.server.link.stats.messages_in == 1


async def test_messages_of_one_sender_keep_their_order(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        for number in range(5000):
            pair.to_server(number)
        assert [(await pair.server.get())[1] for _ in range(5000)] == list(range(5000))


async def test_senders_take_different_streams(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        for sender in range(200):
            pair.to_server(sender, sender)
        assert sorted([(await pair.server.get())[1] for _ in range(200)]) == list(range(200))
        link = quic_link(pair.client.link)
        streams = connection_of(link._connection.engine)._streams
        used = {key for key, stream in streams.items() if stream.sender.highest_offset}
        # The control stream, and of the sixteen those that are not kept for what is large.
        assert used == set(range(0, 49, 4))


async def test_large_messages_both_ways(settings: QuicSettings) -> None:
    one, many = bytes(range(256)) * 4096, bytes(64 * MIB)
    async with linked(settings) as pair:
        for size in (one, many):
            pair.to_server(size)
            pair.to_client(size)
            assert (await pair.server.get())[1] == size
            assert (await pair.client.get())[1] == size


async def test_windows_far_smaller_than_the_message_do_not_stall_it(settings: QuicSettings) -> None:
    small = QuicSettings(tls=settings.tls, max_data=256 * 1024, max_stream_data=64 * 1024)
    async with linked(small) as pair:
        pair.to_server(bytes(8 * MIB))
        pair.to_client(bytes(8 * MIB))
        assert len((await pair.server.get())[1]) == 8 * MIB
        assert len((await pair.client.get())[1]) == 8 * MIB


async def test_a_tick_is_four_zero_bytes_on_the_control_stream(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client, server = quic_link(pair.client.link), quic_link(pair.server.link)
        await until(client, lambda: not client._connection.unacknowledged(0))
        before = written(client, 0)
        client.send_tick()
        await until(server, lambda: server.stats.ticks_in == 1)
        assert written(client, 0) == before + 4
        assert client.stats.ticks_out == client.stats.sent == 1
        assert pair.server.messages.empty()


async def test_a_tick_that_the_last_handshake_message_could_swallow_goes_as_a_ping(
    settings: QuicSettings,
) -> None:
    """quic_dist takes all that lies in its buffer for one message, until the handshake is over."""
    async with linked(settings) as pair:
        server, client = quic_link(pair.server.link), quic_link(pair.client.link)
        before = written(server, 0)
        server._connection.engine.send_stream_data(
            0, b"\0\0\0\0"
        )  # in place of the unacknowledged last message
        received = client.stats.received
        server.send_tick()
        assert written(server, 0) == before + 4
        await until(client, lambda: client.stats.received > received)
        assert client.stats.ticks_in == 1


async def test_any_packet_counts_as_life(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        server, client = quic_link(pair.server.link), quic_link(pair.client.link)
        before = server.stats.received
        client._connection.ping()
        await until(server, lambda: server.stats.received > before)
        assert server.stats.messages_in == 0


async def test_closing_is_told_once_to_each_end(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        pair.client.link.close("enough")
        pair.client.link.close("again")
        assert await pair.client.end() is None  # a second call would find the future done, and raise
        error = await pair.server.end()
        assert isinstance(error, PeerClosed)
        assert "client@127.0.0.1" in str(error)
        assert "enough" in str(error)
        assert pair.server.link.closed
        await pair.client.link.wait_closed()
        await pair.server.link.wait_closed()
        with pytest.raises(LinkLost, match="server@127"):
            pair.to_server("late")


async def test_messages_sent_before_a_close_arrive(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        for _ in range(8):
            pair.to_server(bytes(MIB))
        pair.client.link.close()
        assert isinstance(await pair.server.end(), PeerClosed)
        assert pair.server.messages.qsize() == 8


async def test_what_came_before_the_start_is_delivered_in_order(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        node = FakeNode("client@127.0.0.1")
        link = await QuicCarrier(settings).setup(
            server.node.name, server.address, node, setup_time=SETUP_TIME
        )
        peer = await server.link()
        for number in range(10):
            send(link, node, number)
        link.close()
        await peer.wait_closed()
        inbox = Inbox.of(peer)
        assert isinstance(await inbox.end(), PeerClosed)
        assert [inbox.messages.get_nowait()[1] for _ in range(10)] == list(range(10))


async def test_drain_waits_for_a_slow_peer_and_keeps_memory_bounded(settings: QuicSettings) -> None:
    limits = BufferLimits(high_water=2 * MIB, low_water=MIB)
    async with linked(QuicSettings(tls=settings.tls, buffers=limits)) as pair:
        link = quic_link(pair.client.link)
        waited = 0
        for _ in range(48):
            pair.to_server(bytes(MIB))
            # The bound and one message. What is in flight is bounded by the window of the path.
            assert link.queued < 2 * MIB + MIB + 1000
            waited += not link.writable
            await link.drain()
        assert waited
        for _ in range(48):
            await pair.server.get()


async def test_drain_ends_with_the_link(settings: QuicSettings) -> None:
    limits = BufferLimits(high_water=1, low_water=0)
    async with linked(QuicSettings(tls=settings.tls, buffers=limits)) as pair:
        pair.to_server(bytes(32 * MIB))
        draining = asyncio.create_task(pair.client.link.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        pair.server.link.close()
        await pair.client.end()
        await draining


async def test_a_handler_that_raises_costs_neither_link_nor_messages(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(settings) as pair:
        get = pair.server._on_message
        calls = 0

        def handler(control: Any, payload: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ValueError("no good")
            get(control, payload)

        quic_link(pair.server.link)._on_message = handler
        pair.to_server("first")
        pair.to_server("second")
        assert (await pair.server.get())[1] == b"second"
        assert "no good" in caplog.text


# -- what a peer can do wrong ------------------------------------------------------------------


def write_raw(pair: LinkPair, stream_id: int, data: bytes) -> None:
    quic_link(pair.client.link)._connection.write(stream_id, (data,), len(data))


async def test_a_frame_over_the_limit_ends_the_link(settings: QuicSettings) -> None:
    async with linked(QuicSettings(tls=settings.tls, max_frame=1000)) as pair:
        pair.to_server("good")
        write_raw(pair, 4, struct.pack(">I", 1001))
        error = await pair.server.end()
        assert isinstance(error, FrameTooLong)
        assert "client@127.0.0.1" in str(error)
        assert "1001" in str(error)
        assert isinstance(await pair.client.end(), PeerClosed)


async def test_bytes_that_are_no_term_end_the_link_after_what_was_good(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        link = quic_link(pair.client.link)
        stream_id, good = link._dist.send(RegSend(pair.client_node.pid(), Atom(""), Atom("echo")), 1)
        write_raw(pair, stream_id, b"".join(good) + struct.pack(">I", 5) + b"\x83\x44\x00\xff\xff")
        assert isinstance(await pair.server.end(), FrameError)
        assert pair.server.messages.get_nowait()[1] == 1


async def test_user_streams_nobody_accepts_are_reset(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        client = quic_link(pair.client.link)
        resets: list[tuple[int, int]] = []
        told = asyncio.Event()
        original = client.stream_reset

        def stream_reset(stream_id: int, code: int) -> None:
            resets.append((stream_id, code))
            original(stream_id, code)
            told.set()

        client.stream_reset = stream_reset  # type: ignore[method-assign]
        write_raw(pair, 68, b"hello?")
        async with asyncio.timeout(10):
            while len(resets) < 2:
                told.clear()
                await told.wait()
        # STOP_SENDING for what we send, RESET_STREAM for what it would have sent.
        assert resets == [(68, 0x100), (68, 0x100)]
        pair.to_server("still here")
        assert (await pair.server.get())[1] == b"still here"


async def test_what_comes_before_the_handshake_is_over_comes_to_the_link_whole(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a stream and a reset, too; and of a stream that is over by then."""
    came: list[tuple[object, ...]] = []
    become_link, stream_data, stream_reset = (
        DialHandshake._become_link,
        QuicLink.stream_data,
        QuicLink.stream_reset,
    )

    def early(self: DialHandshake, connected: Connected) -> None:
        self.stream_data(69, b"user", True)
        self.stream_data(73, b"broken", False)
        self.stream_reset(73, 7)
        self.stream_data(3, b"nobody's", True)
        become_link(self, connected)

    def data(self: QuicLink, stream_id: int, data: bytes, end: bool) -> None:
        came.append((stream_id, data, end))
        stream_data(self, stream_id, data, end)

    def reset(self: QuicLink, stream_id: int, code: int) -> None:
        came.append((stream_id, code))
        stream_reset(self, stream_id, code)

    monkeypatch.setattr(DialHandshake, "_become_link", early)
    monkeypatch.setattr(QuicLink, "stream_data", data)
    monkeypatch.setattr(QuicLink, "stream_reset", reset)
    async with linked(settings) as pair:
        assert came[:4] == [(69, b"user", True), (73, b"broken", False), (3, b"nobody's", True), (73, 7)]
        pair.to_server("still here")
        assert (await pair.server.get())[1] == b"still here"


@pytest.mark.parametrize("stream_id", [0, 4])
async def test_finishing_a_distribution_stream_ends_the_link(settings: QuicSettings, stream_id: int) -> None:
    async with linked(settings) as pair:
        client = quic_link(pair.client.link)
        client._connection.engine.send_stream_data(stream_id, b"", end_stream=True)
        client._connection.touch()
        error = await pair.server.end()
        assert "finished" in str(error)
        assert "client@127.0.0.1" in str(error)


@in_virtual_time
async def test_pings_keep_an_idle_link_alive(settings: QuicSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicdist.carrier.quic.settings.MIN_PING_INTERVAL", 0.02)
    lively = QuicSettings(tls=settings.tls, net_ticktime=0.08, idle_timeout=0.5)
    async with linked(lively) as pair:
        server = quic_link(pair.server.link)
        loop = asyncio.get_running_loop()
        end = loop.time() + 3 * lively.idle_timeout
        await until(server, lambda: loop.time() > end)
        assert not server.closed
        assert server.stats.messages_in == 0


@in_virtual_time
async def test_a_peer_that_fell_silent_is_lost_after_the_idle_timeout(settings: QuicSettings) -> None:
    quiet = QuicSettings(tls=settings.tls, idle_timeout=0.3)
    async with linked(quiet) as pair:
        quic_link(pair.client.link)._connection.socket.close()  # as if the cable were cut
        error = await pair.server.end()
        assert isinstance(error, PeerSilent)
        assert "client@127.0.0.1" in str(error)


@in_virtual_time
async def test_a_peer_whose_connection_answers_but_not_its_node_is_lost(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a BEAM does after ``net_kernel:disconnect/1``."""
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: False)
    monkeypatch.setattr("quicdist.carrier.quic.settings.MIN_PING_INTERVAL", 0.02)
    async with linked(settings, QuicSettings(tls=settings.tls, net_ticktime=0.2)) as pair:
        quic_link(pair.server.link)._received = lambda messages: None  # type: ignore[method-assign]
        error = await pair.client.end()
        assert isinstance(error, PeerSilent)
        assert "server@127.0.0.1" in str(error)
        assert "0.2 s" in str(error)
        assert isinstance(await pair.server.end(), PeerClosed)


@pytest.mark.parametrize("reason", [NOPROC, None])
@in_virtual_time
async def test_an_idle_node_answers_nudges_and_is_not_lost(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch, reason: Atom | None
) -> None:
    monkeypatch.setattr("quicdist.carrier.quic.settings.MIN_PING_INTERVAL", 0.02)
    async with linked(settings, QuicSettings(tls=settings.tls, net_ticktime=0.2)) as pair:
        client, server = quic_link(pair.client.link), quic_link(pair.server.link)
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.0
        if reason is None:  # no answers, but ticks
            server._received = lambda messages: server.send_tick()  # type: ignore[method-assign]
        await until(client, lambda: loop.time() > end)
        assert not client.closed
        assert client.stats.ticks_in or reason
        # The nodes hear nothing of it.
        assert pair.client.messages.empty()
        assert pair.server.messages.empty()
        assert client.stats.messages_in == client.stats.messages_out == 0


async def test_a_standstill_of_the_loop_is_not_the_silence_of_a_peer(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer was not asked meanwhile."""
    monkeypatch.setattr("quicdist.carrier.quic.settings.MIN_PING_INTERVAL", 0.1)
    async with linked(settings, QuicSettings(tls=settings.tls, net_ticktime=0.4)) as pair:
        client = quic_link(pair.client.link)
        assert client._ping_timer is not None
        # As a loop does that runs its timers before it reads its sockets: uvloop.
        time.sleep(1.0)  # noqa: ASYNC251
        client._ping_timer.cancel()
        client._ping()
        assert not client.closed
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.5
        await until(client, lambda: loop.time() > end)
        assert not client.closed


@in_virtual_time
async def test_a_late_timer_reads_first_what_has_come(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        server = quic_link(pair.server.link)._connection
        pair.to_server(1)
        quic_link(pair.client.link)._connection.transmit()  # it is with the kernel, and nothing has read it
        server._deadline = asyncio.get_running_loop().time() - 10
        connection_of(server.engine)._close_at = server._deadline
        server._on_timer()
        assert not server.closed
        assert (await pair.server.get())[1] == 1


@in_virtual_time
async def test_a_burst_that_falls_silent_is_nudged_for_its_end(settings: QuicSettings) -> None:
    """quic_dist keeps the end of a long burst back until it has something more to send."""
    async with linked(settings) as pair:
        client, server = quic_link(pair.client.link), quic_link(pair.server.link)
        nudged: list[float] = []
        take_own = client._liveness_probe.take_own
        loop = asyncio.get_running_loop()

        def hook(messages: list[Any]) -> list[Any]:
            rest = take_own(messages)
            if len(rest) < len(messages):
                nudged.append(loop.time())
            return rest

        client._take_own_signals = hook
        pair.to_server("little")
        assert (await pair.server.get())[1] == b"little"
        for _ in range(2):
            pair.to_server(bytes(BURST))
            assert len((await pair.server.get())[1]) == BURST
            burst = loop.time()
            await until(client, lambda: bool(nudged))
            assert nudged.pop() >= burst
        assert not nudged
        assert server._burst_timer is None


def test_settings_take_the_pace_of_pings_from_net_ticktime() -> None:
    assert QuicSettings().ping_interval == 15
    assert QuicSettings(net_ticktime=8).ping_interval == 5
