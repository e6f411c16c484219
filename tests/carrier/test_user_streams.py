"""User streams of one link, as readers and writers; with the real quic_dist see tests/interop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from quicdist.carrier import (
    IncompleteStream,
    StreamError,
    StreamLimitReached,
    StreamLost,
    StreamRefused,
    StreamReset,
    UserStream,
)
from quicdist.carrier.link import BufferLimits
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.stream_errors import SendBufferFull
from tests.carrier.quic_support import PATIENCE, LinkPair, linked, quic_link
from tests.support.simulated_engine import SimulatedEngines
from tests.support.virtual_time import in_virtual_time

MIB = 1024 * 1024
KIB = 1024

#: The first user stream of a client: 4(N+1), N = 16.
FIRST = 68


@dataclass
class Ends:
    """A pair of links whose server takes the streams that come."""

    pair: LinkPair
    came: asyncio.Queue[UserStream]

    async def open(self, priority: int = 128) -> tuple[UserStream, UserStream]:
        """Both ends of a new stream, of which one byte was read."""
        ours = self.pair.client.link.user_streams.open(priority)
        ours.write(b"!")
        theirs = await self.taken()
        assert await theirs.readexactly(1) == b"!"
        return ours, theirs

    async def taken(self) -> UserStream:
        async with asyncio.timeout(PATIENCE):
            return await self.came.get()


@contextlib.asynccontextmanager
async def ends_of(settings: QuicSettings) -> AsyncIterator[Ends]:
    async with linked(settings) as pair:
        came: asyncio.Queue[UserStream] = asyncio.Queue()

        def take(stream: UserStream) -> bool:
            came.put_nowait(stream)
            return True

        pair.server.link.user_streams.accept(take)
        yield Ends(pair, came)


@pytest_asyncio.fixture(params=["aioquic", "simulated"])
async def ends(settings: QuicSettings, request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    engines = SimulatedEngines() if request.param == "simulated" else None
    async with ends_of(dataclasses.replace(settings, engines=engines)) as both:
        yield both


async def test_ids_are_those_of_quic_dist(ends: Ends) -> None:
    """From 4(N+1) on of the client and 4N+1 of the server."""
    client, server = ends.pair.client.link.user_streams, ends.pair.server.link.user_streams
    assert [client.open().stream_id for _ in range(3)] == [FIRST, 72, 76]
    assert [server.open().stream_id for _ in range(3)] == [65, 69, 73]


async def test_reading_in_all_ways(ends: Ends) -> None:
    ours, theirs = await ends.open()
    ours.write(b"one two three")
    assert await theirs.readexactly(4) == b"one "
    assert await theirs.read(0) == b""
    assert await theirs.read(3) == b"two"
    buffer = bytearray(3)
    assert await theirs.readinto(buffer) == 3
    assert buffer == b" th"
    ours.write(bytearray(b" and the rest"))
    ours.write_eof()
    assert await theirs.read() == b"ree and the rest"
    assert theirs.at_eof()
    assert await theirs.read(5) == await theirs.read() == b""
    assert await theirs.readinto(buffer) == 0
    with pytest.raises(IncompleteStream) as caught:
        await theirs.readexactly(1)
    assert caught.value.partial == b""


async def test_a_stream_that_ends_too_soon(ends: Ends) -> None:
    ours, theirs = await ends.open()
    ours.write(b"abc")
    ours.write_eof()
    with pytest.raises(IncompleteStream, match="3 of 10") as caught:
        await theirs.readexactly(10)
    assert caught.value.partial == b"abc"


async def test_each_side_finishes_for_itself(ends: Ends) -> None:
    ours, theirs = await ends.open()
    ours.write_eof()
    ours.write_eof()
    with pytest.raises(StreamError, match=f"stream {ours.stream_id} .* is finished"):
        ours.write(b"more")
    assert await theirs.read() == b""
    assert (theirs.recv_fin, theirs.send_fin, theirs.closed) == (True, False, False)
    theirs.write(b"answer")
    theirs.write_eof()
    assert await ours.read() == b"answer"
    assert ours.closed
    assert theirs.closed
    assert list(ends.pair.client.link.user_streams) == list(ends.pair.server.link.user_streams) == []


@pytest.mark.parametrize("code", [0, 77, (1 << 62) - 1])
async def test_a_reset_ends_both_directions(ends: Ends, code: int) -> None:
    ours, theirs = await ends.open()
    reading = asyncio.create_task(ours.read())
    await asyncio.sleep(0)
    theirs.reset(code)
    for end, waiting in ((ours, reading), (theirs, theirs.read())):
        with pytest.raises(StreamReset) as caught:
            await waiting
        assert caught.value.code == code
        with pytest.raises(StreamReset):
            end.write(b"more")
        assert end.closed
    ours.reset(5)  # It is over: nothing happens.
    with pytest.raises(ValueError, match="below 2"):
        ours.reset(1 << 62)


async def test_a_block_that_raises_resets(ends: Ends) -> None:
    ours, theirs = await ends.open()
    with pytest.raises(ZeroDivisionError):
        async with ours:
            _ = 1 / 0
    with pytest.raises(StreamReset) as caught:
        await theirs.read()
    assert caught.value.code == 0


async def test_closing_throws_away_what_still_comes(ends: Ends) -> None:
    """And the peer, which still sends, is not held up."""
    ours, theirs = await ends.open()
    async with ours:
        pass
    await theirs.send(bytes(16 * MIB))
    theirs.write_eof()
    await theirs.drain()
    assert theirs.closed


async def test_nobody_accepts(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        stream = pair.client.link.user_streams.open()
        stream.write(b"anybody?")
        with pytest.raises(StreamRefused) as caught:
            await stream.read()
        assert caught.value.code == 0x100
        assert list(pair.server.link.user_streams) == []


async def test_streams_end_with_the_link(ends: Ends) -> None:
    ours, theirs = await ends.open()
    reading = asyncio.create_task(theirs.read())
    ends.pair.client.link.close()
    with pytest.raises(StreamLost, match=str(theirs.stream_id)):
        await reading
    with pytest.raises(StreamLost):
        ours.write(b"x")
    with pytest.raises(StreamLost):
        ends.pair.client.link.user_streams.open()


async def test_the_limit_of_streams(ends: Ends) -> None:
    streams = ends.pair.client.link.user_streams
    connection = quic_link(ends.pair.client.link)._connection
    opened = [streams.open() for _ in range(connection.engine.streams_allowed() - FIRST // 4)]
    with pytest.raises(StreamLimitReached, match="until an open one has ended"):
        streams.open()
    room = asyncio.create_task(streams.room())
    await asyncio.sleep(0)
    assert not room.done()
    for stream in opened:
        stream.write_eof()
        (await ends.taken()).write_eof()
    async with asyncio.timeout(PATIENCE):
        await room
    streams.open()


@in_virtual_time  # nothing counts as lost: what is sent again comes later than its priority says
async def test_priorities(settings: QuicSettings) -> None:
    """The lowest number first, equals in turn, those outside of 16 to 255 brought inside."""
    priorities = [255, 16, 200, 16, 1, 1000]
    finished: list[int] = []

    async def read(stream: UserStream) -> None:
        assert len(await stream.read()) == 512 * KIB
        finished.append(stream.stream_id)

    async with ends_of(settings) as ends:
        streams = ends.pair.client.link.user_streams
        opened = [streams.open(priority) for priority in priorities]
        assert [stream.priority for stream in opened] == [255, 16, 200, 16, 16, 255]
        for stream in opened:
            stream.write(bytes(512 * KIB))
            stream.write_eof()
        await asyncio.gather(*[read(await ends.taken()) for _ in opened])
    number = {stream.stream_id: stream.priority for stream in opened}
    assert [number[stream_id] for stream_id in finished] == [16, 16, 16, 200, 255, 255]


async def test_messages_go_before_streams(ends: Ends) -> None:
    ours, theirs = await ends.open()
    ours.write(bytes(4 * MIB))
    for number in range(50):
        ends.pair.to_server(number)
    for number in range(50):
        assert (await ends.pair.server.get())[1] == number
    assert theirs._unread < 4 * MIB
    assert len(await theirs.readexactly(4 * MIB)) == 4 * MIB


async def test_a_reader_that_waits_slows_the_writer(settings: QuicSettings) -> None:
    """The peer holds as much as the window says, this side as much as its bound."""
    limits = BufferLimits(stream_high_water=256 * KIB, stream_low_water=128 * KIB, max_pending=MIB)
    small = QuicSettings(tls=settings.tls, stream_window=MIB, buffers=limits)
    async with ends_of(small) as ends:
        ours, theirs = await ends.open()
        sending = asyncio.create_task(ours.send(bytes(8 * MIB)))
        async with asyncio.timeout(PATIENCE):
            while theirs._unread < MIB:  # noqa: ASYNC110  # nobody is told of bytes that nobody reads
                await asyncio.sleep(0.001)
        assert theirs._unread == MIB
        connection = quic_link(ends.pair.client.link)._connection
        assert connection.queued_on(ours.stream_id) <= 256 * KIB + 128 * KIB
        assert not sending.done()
        # Who does not wait is told.
        written = 8 * MIB
        with pytest.raises(SendBufferFull, match="await drain"):  # noqa: PT012
            for _ in range(1000):
                ours.write(bytes(64 * KIB))
                written += 64 * KIB
        # Messages are not held up by it.
        ends.pair.to_server("little")
        assert (await ends.pair.server.get())[1] == b"little"
        while written:
            written -= len(await theirs.read(64 * KIB))
        await sending


async def test_arrays_and_files(ends: Ends) -> None:
    """Sent from where they are, and read into where they go."""
    numbers = array("d", map(float, range(100_000)))
    ours, theirs = await ends.open()
    sending = asyncio.create_task(ours.send(memoryview(numbers)))
    back = array("d", bytes(8 * len(numbers)))
    assert await theirs.readinto(memoryview(back)) == 8 * len(numbers)
    await sending
    assert back == numbers
    content = bytes(range(256)) * 4096
    sending_file = asyncio.create_task(ours.sendfile(io.BytesIO(content)))
    assert await theirs.readexactly(len(content)) == content
    assert await sending_file == len(content)


async def test_many_streams_at_once(ends: Ends) -> None:
    """Each comes whole, and in order."""
    contents = [bytes([number]) * (number * 10_000) for number in range(1, 60)]

    async def send(content: bytes) -> None:
        async with ends.pair.client.link.user_streams.open() as stream:
            await stream.send(content)

    async def read() -> bytes:
        async with await ends.taken() as stream:
            return await stream.read()

    got = await asyncio.gather(*[read() for _ in contents], *[send(content) for content in contents])
    assert sorted(content for content in got if content) == contents
