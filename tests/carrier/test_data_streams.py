"""Peers that have another number of data streams than quic_dist has had since 1.4.0, 16 each way.

Between real BEAMs the number is compiled in; here it is that of one end of a link.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicdist.carrier import StreamsNotSupported, UserStream
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.data_streams import UNDECIDED, StreamCounts
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.protocol import Peer, RegSend, Role, StreamPlan
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import (
    PATIENCE,
    SETUP_TIME,
    LinkPair,
    Listening,
    linked_to,
    listening,
    quic_link,
    send,
)
from tests.support.virtual_time import in_virtual_time

pytestmark = pytest.mark.usefixtures("quic_dist_peers")

#: So many senders that every data stream is taken by some.
SENDERS = 400


class Counts(StreamCounts):
    """Those of a node that was compiled with ``count`` data streams."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def plan(self, role: Role, peer: Peer) -> StreamPlan:
        sending = tuple(4 * number + (4 if role is Role.CLIENT else 1) for number in range(self._count))
        return StreamPlan(control=0, sending=sending, data_streams=self._count)


@contextlib.asynccontextmanager
async def other(settings: QuicSettings, count: int) -> AsyncIterator[Listening]:
    """A node that listens and has ``count`` data streams."""
    async with listening(settings) as server:
        server.carrier._stream_counts = Counts(count)
        yield server


@contextlib.asynccontextmanager
async def pair_with(settings: QuicSettings, count: int) -> AsyncIterator[LinkPair]:
    async with other(settings, count) as server, linked_to(server, settings) as pair:
        as_quic_dist(pair.server)
        yield pair


def as_quic_dist(inbox: Inbox) -> None:
    """This end uses all its streams for all messages, and takes nothing beyond them for any."""
    link = quic_link(inbox.link)
    link._stream_assignment = link._extra = None


async def payloads(inbox: Inbox, count: int) -> list[Any]:
    return [(await inbox.get())[1] for _ in range(count)]


@pytest.mark.parametrize("count", [17, 32, 100])
async def test_messages_on_streams_beyond_ours_are_delivered_in_order(
    settings: QuicSettings, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "quicdist"):
        async with pair_with(settings, count) as pair:
            for turn in range(2):
                for sender in range(SENDERS):
                    pair.to_client((sender, turn), sender)
            came = await payloads(pair.client, 2 * SENDERS)
            assert sorted(came) == [(sender, turn) for sender in range(SENDERS) for turn in range(2)]
            by_sender = {sender: [turn for who, turn in came if who == sender] for sender in range(SENDERS)}
            assert all(turns == [0, 1] for turns in by_sender.values())
            with pytest.raises(StreamsNotSupported, match="more data streams than the 16 expected"):
                pair.client.link.user_streams.open()
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("server@127.0.0.1 sends messages on stream ")
    assert "16 were expected" in warning


async def test_a_large_message_and_what_follows_it_come_on_a_stream_beyond_ours(
    settings: QuicSettings,
) -> None:
    async with pair_with(settings, 32) as pair:
        large = bytes(20 * 1024 * 1024)
        for sender in range(40):
            pair.to_client(large if sender == 20 else sender, sender)
        came = await payloads(pair.client, 40)
        assert large in came


async def test_streams_of_applications_are_told_from_those_of_messages(settings: QuicSettings) -> None:
    async with pair_with(settings, 32) as pair:
        taken: asyncio.Queue[UserStream] = asyncio.Queue()
        pair.client.link.user_streams.accept(lambda stream: not taken.put_nowait(stream))  # type: ignore[func-returns-value]
        stream = pair.server.link.user_streams.open()
        assert stream.stream_id == 4 * 32 + 1
        for sender in range(SENDERS):
            pair.to_client(sender, sender)
        stream.write(b"\0\0\0\x05hello")
        stream.write_eof()
        assert sorted(await payloads(pair.client, SENDERS)) == list(range(SENDERS))
        async with asyncio.timeout(PATIENCE):
            ours = await taken.get()
            assert await ours.read() == b"\0\0\0\x05hello"
        assert taken.empty()


def test_a_stream_that_begins_like_a_message_and_stops_is_an_applications(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with pair_with(settings, 16) as pair:
            taken: asyncio.Queue[UserStream] = asyncio.Queue()
            pair.client.link.user_streams.accept(lambda stream: not taken.put_nowait(stream))  # type: ignore[func-returns-value]
            loop = asyncio.get_running_loop()
            stream = pair.server.link.user_streams.open()
            begun = loop.time()
            stream.write(b"\0\0\0")
            ours = await taken.get()
            assert await ours.readexactly(3) == b"\0\0\0"
            assert UNDECIDED <= loop.time() - begun < 2 * UNDECIDED

    run()


def test_what_follows_the_length_of_a_message_may_be_late_on_a_slow_path(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "probe_timeout", lambda quic: 0.5)

    @in_virtual_time
    async def run() -> None:
        async with pair_with(settings, 32) as pair:
            link = quic_link(pair.server.link)
            control = RegSend(pair.server_node.pid(1), Atom(""), Atom("echo"))
            stream_id, frame = 0, b""
            for sender in range(SENDERS):
                stream_id, parts = link._dist.send(control, 1, pair=sender)
                frame = b"".join(parts)
                if stream_id > 4 * 16 + 1:
                    break
            link._connection.write(stream_id, (frame[:4],), 4)
            await asyncio.sleep(1.5)
            link._connection.write(stream_id, (frame[4:],), len(frame) - 4)
            assert await payloads(pair.client, 1) == [1]

    run()


def test_a_byte_that_begins_no_message_is_given_to_the_application_at_once(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with pair_with(settings, 16) as pair:
            taken: asyncio.Queue[UserStream] = asyncio.Queue()
            pair.client.link.user_streams.accept(lambda stream: not taken.put_nowait(stream))  # type: ignore[func-returns-value]
            loop = asyncio.get_running_loop()
            stream = pair.server.link.user_streams.open()
            begun = loop.time()
            stream.write(b"\x01")
            ours = await taken.get()
            assert await ours.readexactly(1) == b"\x01"
            assert loop.time() - begun < UNDECIDED / 2

    run()


async def test_a_peer_with_fewer_streams_ends_the_link_by_name_and_the_next_one_uses_those(
    settings: QuicSettings,
) -> None:
    node = FakeNode("client@127.0.0.1")
    carrier = QuicCarrier(settings)
    async with other(settings, 8) as server:
        client = Inbox.of(await carrier.setup(server.node.name, server.address, node, setup_time=SETUP_TIME))
        as_quic_dist(Inbox.of(await server.link()))
        for sender in range(SENDERS):
            send(client.link, node, sender, sender)
        error = str(await client.end())
        assert "the peer refused data stream 36 as a user stream (code 0x100)" in error
        assert "it has at most 8 data streams, 16 were expected" in error
        again = Inbox.of(await carrier.setup(server.node.name, server.address, node, setup_time=SETUP_TIME))
        theirs = Inbox.of(await server.link())
        for sender in range(SENDERS):
            send(again.link, node, sender, sender)
        assert sorted(await payloads(theirs, SENDERS)) == list(range(SENDERS))
        for sender in range(SENDERS):
            send(theirs.link, server.node, sender, sender)
        assert sorted(await payloads(again, SENDERS)) == list(range(SENDERS))
        # The first beyond their eight.
        assert quic_link(again.link).user_streams.open().stream_id == 36
        for link in (again.link, theirs.link):
            link.close()
            await link.wait_closed()


def test_a_node_that_was_started_again_is_expected_to_have_sixteen() -> None:
    counts = StreamCounts()
    before, after = (a_peer(creation) for creation in (1, 2))
    plan = counts.plan(Role.CLIENT, before)
    assert len(plan.sending) == 16
    counts.refused(before, plan, plan.sending[4])
    assert counts.plan(Role.SERVER, before) == StreamPlan(0, (1,), 4)
    assert len(counts.plan(Role.CLIENT, after).sending) == 16


def a_peer(creation: int) -> Peer:
    identity = FakeNode("a@127.0.0.1", creation=creation).identity
    return Peer(identity.name, creation, identity.flags, identity.flags)
