"""How a peer that writes all that it may is held to little beside what is little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.carrier.contract import LinkStats
from quicdist.carrier.quic import receive_flow_control
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.receive_flow_control import BULK, FRAGMENT, PIECE, WINDOW, ReceiveFlowControl
from quicdist.carrier.quic.receive_window import ReceiveWindow
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier import quic_support
from tests.carrier.quic_support import PATIENCE, linked
from tests.support.virtual_time import in_virtual_time

MIB = 1024 * 1024


@pytest.fixture
def credits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What peers are given, in bytes from where they are."""
    given: list[int] = []
    grant = ReceiveWindow.grant

    def noted(window: ReceiveWindow, size: int | None = None) -> bool:
        more = grant(window, size)
        if more:
            given.append(window.left)
        return more

    monkeypatch.setattr(ReceiveWindow, "grant", noted)
    return given


@pytest.fixture
def _as_quic_dist(monkeypatch: pytest.MonkeyPatch) -> None:
    """No peer says that it is of quicdist."""
    monkeypatch.setattr(Connection, "peer_is_quicdist", lambda quic: False)
    monkeypatch.setattr(receive_flow_control, "CONCURRENT", 0.1)


async def large_beside_little(pair: quic_support.LinkPair, size: int) -> int:
    """Have a large message and little ones come to the client; how many little ones came before it."""
    pair.to_client(bytes(size))
    for number in range(100_000):
        pair.to_client(number, sender=2)
        _, payload = await pair.client.get()
        if payload != number:
            assert payload == bytes(size)
            assert (await pair.client.get())[1] == number
            return number
    raise AssertionError("the large message never came")


@pytest.mark.usefixtures("_as_quic_dist")
@in_virtual_time
async def test_credit_by_the_piece(settings: QuicSettings, credits: list[int]) -> None:
    async with linked(settings) as pair:
        link = quic_support.quic_link(pair.client.link)
        assert await large_beside_little(pair, 6 * MIB) > 10
        assert PIECE in credits
        # With nothing little about streams have their windows again.
        async with asyncio.timeout(PATIENCE):
            while link._receive_flow_control._metered:  # noqa: ASYNC110  # only time has to pass
                await asyncio.sleep(0.01)
        credits.clear()
        pair.to_client(bytes(6 * MIB))
        assert len((await pair.client.get())[1]) == 6 * MIB
        assert credits
        assert min(credits) >= WINDOW


@pytest.mark.usefixtures("_as_quic_dist")
@in_virtual_time
async def test_after_new_credit_comes_a_signal_that_must_be_answered(
    settings: QuicSettings, credits: list[int]
) -> None:
    """quic_dist does not look at what it keeps back before its VM has something to send."""
    async with linked(settings) as pair:
        link = quic_support.quic_link(pair.client.link)
        sent: list[Any] = []
        send = link._send_signal

        def noted(control: Any, *payload: Any) -> None:
            sent.append(control)
            send(control, *payload)

        link._send_signal = noted  # type: ignore[assignment]
        await large_beside_little(pair, 6 * MIB)
        assert len(credits) <= len(sent)
        assert set(sent) == {link._liveness_probe.signal}


@in_virtual_time
async def test_a_node_of_quicdist_has_the_whole_window(settings: QuicSettings, credits: list[int]) -> None:
    """It sees to what is little itself."""
    async with linked(settings) as pair:
        await large_beside_little(pair, 6 * MIB)
        assert credits
        assert min(credits) >= WINDOW


class CoarseLoop(asyncio.SelectorEventLoop):
    """Its time has whole milliseconds, as uvloop's has."""

    def time(self) -> float:
        return round(super().time(), 3)


def test_pieces_are_timed_more_finely_than_by_the_event_loop(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a BEAM on the same machine a piece takes half a millisecond."""
    times: list[float] = []
    received = ReceiveFlowControl.received

    def noted(meter: ReceiveFlowControl, stream_id: int, size: int, messages: int, now: float) -> None:
        times.append(now)
        received(meter, stream_id, size, messages, now)

    monkeypatch.setattr(ReceiveFlowControl, "received", noted)

    async def exchange() -> None:
        async with linked(settings) as pair:
            for number in range(10):
                pair.to_client(number)
                await pair.client.get()

    with asyncio.Runner(loop_factory=CoarseLoop) as runner:
        runner.run(exchange())
    assert any(now != round(now, 3) for now in times)


# -- without a wire -----------------------------------------------------------------------------


class NoConnection:
    """What ReceiveFlowControl asks of an engine."""

    def keep_window(self, stream_id: int, window: int) -> int:
        return window

    def grant(self, stream_id: int, limit: int) -> None:
        pass

    def quickest_round_trip(self) -> float:
        return 0.001


def make_flow_control(changed: Callable[[], None] = lambda: None) -> ReceiveFlowControl:
    quic: Any = NoConnection()
    return ReceiveFlowControl(quic, LinkStats(), size=WINDOW, most=16 * MIB, metered=True, changed=changed)


def begin(meter: ReceiveFlowControl) -> None:
    """A large message on stream 1 with a little one beside it, and all of its credit used."""
    now = asyncio.get_running_loop().time()
    meter.received(1, BULK + 1, 0, now)
    meter.received(5, 50, 1, now)
    left = meter._streams[1].left
    while left >= PIECE:
        meter.received(1, FRAGMENT, 0, now)
        left = meter._streams[1].left


@in_virtual_time
async def test_what_needs_more_than_a_piece_gets_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that waits for more than it was given is not kept waiting for good."""
    monkeypatch.setattr(receive_flow_control, "UNUSED", 0.01)
    told = asyncio.Event()
    meter = make_flow_control(told.set)
    begin(meter)
    told.clear()
    async with asyncio.timeout(PATIENCE):
        await told.wait()
        assert meter._streams[1].left == PIECE
        told.clear()
        await told.wait()  # Nothing came of it.
    assert meter._streams[1].left == WINDOW
    assert not meter._metered
    meter.stop()


@in_virtual_time
async def test_requests_before_bulk_and_confirmations_after_it_leave_the_window_whole() -> None:
    """As of calls with large results: nothing small waits behind them."""
    stats = LinkStats()
    quic: Any = NoConnection()
    meter = ReceiveFlowControl(quic, stats, size=WINDOW, most=16 * MIB, metered=True, changed=lambda: None)
    now = asyncio.get_running_loop().time()
    for _ in range(20):
        meter.received(5, 50, 1, now)
        stats.messages_out += 1
        stats.bytes_out += 50
        for _ in range(15):
            meter.received(1, FRAGMENT, 0, now)
        meter.received(1, FRAGMENT, 1, now)
    assert not meter._metered
    meter.stop()


@pytest.mark.parametrize("sent", [False, True])
@in_virtual_time
async def test_small_messages_that_come_or_are_sent_within_bulk_have_it_sent_by_the_piece(sent: bool) -> None:
    stats = LinkStats()
    quic: Any = NoConnection()
    meter = ReceiveFlowControl(quic, stats, size=WINDOW, most=16 * MIB, metered=True, changed=lambda: None)
    now = asyncio.get_running_loop().time()
    for _ in range(8):
        meter.received(1, FRAGMENT, 0, now)
    assert not meter._metered
    if sent:
        stats.messages_out += 1
        stats.bytes_out += 50
    else:
        meter.received(5, 50, 1, now)
    meter.received(1, FRAGMENT, 0, now)
    assert [stream.stream_id for stream in meter._metered] == [1]
    meter.stop()


@pytest.mark.parametrize("together", [False, True])
@in_virtual_time
async def test_a_stream_with_small_messages_behind_bulk_gets_several_pieces_without_a_pause(
    together: bool,
) -> None:
    """The small ones wait for all of the bulk message."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    meter = make_flow_control(told.set)
    begin(meter)
    told.clear()
    if together:
        meter.received(1, 1000, 2, loop.time())
    else:
        meter.received(1, 1000, 1, loop.time())
        meter.received(1, 50, 1, loop.time())
    pieces = receive_flow_control.SHARED
    async with asyncio.timeout(PATIENCE):
        await told.wait()
        assert meter._streams[1].left == pieces * PIECE
        told.clear()
        await asyncio.sleep(0.02)  # so long the pieces take
        meter.received(1, pieces * FRAGMENT, 0, loop.time())
        meter.received(5, 50, 1, loop.time())
        came = loop.time()
        while meter._streams[1].left >= PIECE:
            meter.received(1, FRAGMENT, 0, loop.time())
        await told.wait()
    assert loop.time() - came < 0.01
    assert meter._streams[1].left == pieces * PIECE
    meter.stop()


@pytest.mark.parametrize(("takes", "pauses"), [(0.008, receive_flow_control.PAUSES), (0.08, 1.0)])
@in_virtual_time
async def test_the_next_piece_comes_after_a_pause(takes: float, pauses: float) -> None:
    """On a slow way the pause is shorter: it would leave the way unused."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    meter = make_flow_control(told.set)
    begin(meter)
    told.clear()
    async with asyncio.timeout(PATIENCE):
        await told.wait()
        told.clear()
        given = loop.time()
        await asyncio.sleep(takes)  # so long the piece takes
        meter.received(1, FRAGMENT, 0, loop.time())
        took = loop.time() - given
        assert not told.is_set()
        meter.received(5, 50, 1, loop.time())
        await told.wait()
    assert abs(loop.time() - given - (1 + pauses) * took) < 0.003
    assert meter._streams[1].left == PIECE
    meter.stop()


@in_virtual_time
async def test_where_the_way_is_long_more_pieces_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On such a way what is little takes long anyway."""
    monkeypatch.setattr(NoConnection, "quickest_round_trip", lambda quic: 0.5)
    told = asyncio.Event()
    meter = make_flow_control(told.set)
    begin(meter)
    told.clear()
    now = asyncio.get_running_loop().time
    given = []
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            await told.wait()
            told.clear()
            given.append(meter._streams[1].left // PIECE)
            meter.received(1, given[-1] * FRAGMENT, 0, now())
    assert given == [1, 2, 4]
    meter.stop()
