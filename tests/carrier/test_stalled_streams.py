"""A stream that stands still while its connection lives ends the link, by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioquic.quic.packet import QuicStreamFrame

from quicdist.carrier import LinkLost
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.nodes import Inbox
from tests.carrier.quic_support import LinkPair, quic_link, settings_of, with_linked_pair
from tests.carrier.test_data_streams import payloads
from tests.support.engine import connection_of

#: A quarter of it, 15 s, is between two looks.
TICKTIME = 60.0
#: Until a stream that stands still is noticed: found at one look, and over the limit at another.
NOTICED = TICKTIME + 2 * TICKTIME / 4


def stream_of(inbox: Inbox, stream_id: int) -> Any:
    return connection_of(quic_link(inbox.link)._connection.engine)._streams[stream_id]


async def quiet_stream(pair: LinkPair) -> int:
    """A stream of messages to the client on which nothing more comes."""
    # The links' own signals have streams of their own, twice a look.
    await asyncio.sleep(TICKTIME)
    streams = connection_of(quic_link(pair.client.link)._connection.engine)._streams

    def used() -> set[int]:
        return {each for each in streams if each & 3 == 1 and streams[each].receiver.highest_offset}

    before = used()
    for sender in range(100):
        pair.to_client(1, sender)
        await pair.client.get()
        if fresh := used() - before:
            await asyncio.sleep(1)  # until all of it is acknowledged
            return fresh.pop()
    raise AssertionError("all streams are taken")


def open_gap(inbox: Inbox, stream_id: int) -> int:
    """Bytes come on a stream behind others that the peer has forgotten; where those would begin."""
    receiver = stream_of(inbox, stream_id).receiver
    offset = int(receiver._buffer_start)
    receiver.handle_frame(QuicStreamFrame(data=bytes(10), offset=offset + 100, fin=False))
    return offset


async def ended_after(inbox: Inbox) -> tuple[float, str]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(600):
        error = await asyncio.shield(inbox.lost)
    assert isinstance(error, LinkLost)
    return loop.time() - begun, str(error)


def test_a_gap_that_stays_open_for_the_ticktime_ends_the_link(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        stream_id = await quiet_stream(pair)
        offset = open_gap(pair.client, stream_id)
        assert quic_link(pair.client.link)._connection.engine.waiting_for() == {stream_id: offset}
        seconds, text = await ended_after(pair.client)
        assert TICKTIME <= seconds <= NOTICED + 1
        assert f"stream {stream_id} has a gap at offset {offset} that stayed open for " in text
        assert text.endswith(": the missing bytes never came")
        assert "server@127.0.0.1" in text

    with_linked_pair(settings, test)


def test_a_gap_in_a_stream_of_an_application_does_too(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        pair.client.link.user_streams.accept(lambda stream: True)
        stream = pair.server.link.user_streams.open()
        stream.write(b"begun")
        await asyncio.sleep(1)
        offset = open_gap(pair.client, stream.stream_id)
        assert offset == 5
        _, text = await ended_after(pair.client)
        assert f"stream {stream.stream_id} has a gap at offset 5" in text

    with_linked_pair(settings, test)


def test_gaps_that_are_filled_in_time_cost_nothing(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        stream_id = await quiet_stream(pair)
        receiver = stream_of(pair.client, stream_id).receiver
        for _ in range(10):
            offset = open_gap(pair.client, stream_id)
            await asyncio.sleep(TICKTIME * 0.9)
            receiver.handle_frame(QuicStreamFrame(data=bytes(100), offset=offset, fin=False))
            assert receiver._buffer_start == offset + 110
            await asyncio.sleep(TICKTIME * 0.1)
        assert not pair.client.link.closed

    with_linked_pair(settings, test)


def test_what_is_never_acknowledged_while_other_things_are_ends_the_link(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        stream_id = await quiet_stream(pair)
        sender = stream_of(pair.server, stream_id).sender
        offset = int(sender._buffer_start)
        sender.on_data_delivery = lambda *told: None
        quic_link(pair.server.link)._connection.write(stream_id, (bytes(4),), 4)
        await asyncio.sleep(1)
        assert quic_link(pair.server.link)._connection.engine.unacknowledged_from() == {stream_id: offset}
        seconds, text = await ended_after(pair.server)
        assert TICKTIME <= seconds <= NOTICED + 1
        assert f"stream {stream_id}: bytes from offset {offset} on were not acknowledged for " in text
        assert text.endswith(", while packets of the peer came")

    with_linked_pair(settings, test)


@pytest.mark.parametrize("quicdist", [True, False])
def test_a_stream_that_the_peer_does_not_read_may_wait_for_long(
    certificates: Any, monkeypatch: pytest.MonkeyPatch, *, quicdist: bool
) -> None:
    """That is what flow control is for."""
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: quicdist)
    settings = settings_of(certificates, stream_window=100_000)

    async def test(pair: LinkPair) -> None:
        pair.client.link.user_streams.accept(lambda stream: True)
        stream = pair.server.link.user_streams.open()
        stream.write(bytes(1_000_000))
        await asyncio.sleep(1800)
        assert not pair.client.link.closed
        assert not pair.server.link.closed
        pair.to_client(1)
        assert await payloads(pair.client, 1) == [1]

    with_linked_pair(settings, test)


def test_a_peer_that_is_silent_is_not_blamed_for_gaps(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        stream_id = await quiet_stream(pair)
        open_gap(pair.client, stream_id)
        udp = quic_link(pair.server.link)._connection.socket
        udp.loop.remove_reader(udp._sock.fileno())
        udp.send = lambda datagrams: None  # type: ignore[method-assign]
        _, text = await ended_after(pair.client)
        assert "gap" not in text

    with_linked_pair(settings, test)
