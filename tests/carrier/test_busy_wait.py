"""The event loop polls for the answers of peers that answer quickly, and sleeps for the others."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from quicdist.carrier import busy_wait
from quicdist.carrier.busy_wait import ENOUGH, LONGEST, LOSS, AnswerWait, BusyWait
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.protocol import RegSend
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import linked, settings_of
from tests.carrier.tcp_peers import joined


class Clock:
    """The monotonic clock; it stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: Seconds by which each look at it advances it.
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def a() -> FakeNode:
    return FakeNode("a@127.0.0.1", creation=11)


@pytest.fixture
def b() -> FakeNode:
    return FakeNode("b@127.0.0.1", creation=22)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(busy_wait, "monotonic", clock)
    return clock


class Peer:
    """A peer that answers each message after some time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.answers = AnswerWait(asyncio.get_running_loop())
        #: How many messages it has sent.
        self.messages = 0

    def send(self) -> None:
        """Send it a message."""
        self.answers.sent(self.messages)

    async def exchange(self, seconds: float, times: int = 1) -> bool:
        """Exchange messages; whether the loop polled for the answer of the last one."""
        polled = False
        for _ in range(times):
            self.send()
            polled = polls()
            self._clock.now += seconds
            self.messages += 1
            self.answers.received()
            await ended()
        return polled


def polls() -> bool:
    return BusyWait.of(asyncio.get_running_loop()).polls


async def ended() -> None:
    """Let a busy wait end whose time is over."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_peer_that_has_answered_quickly_is_polled_for(clock: Clock) -> None:
    peer = Peer(clock)
    assert not await peer.exchange(LONGEST / 2, ENOUGH)
    assert await peer.exchange(LONGEST / 2)


async def test_a_peer_that_is_rarely_slow_is_polled_for_nevertheless(clock: Clock) -> None:
    peer = Peer(clock)
    await peer.exchange(LONGEST / 2, ENOUGH + LOSS)
    for _ in range(10):
        assert await peer.exchange(LONGEST * 2)
        assert await peer.exchange(LONGEST / 2, LOSS)


async def test_a_peer_that_becomes_slow_is_not_polled_for_until_it_is_quick_again(clock: Clock) -> None:
    peer = Peer(clock)
    await peer.exchange(LONGEST / 2, 10 * ENOUGH)
    await peer.exchange(LONGEST * 2, 3)
    for _ in range(ENOUGH):
        assert not await peer.exchange(LONGEST * 2)
    assert not await peer.exchange(LONGEST / 2, ENOUGH)
    assert await peer.exchange(LONGEST / 2)


@pytest.mark.parametrize("times", [3 * LOSS, 30 * LOSS])
async def test_a_peer_half_of_whose_answers_are_quick_is_not_polled_for(times: int, clock: Clock) -> None:
    peer = Peer(clock)
    for _ in range(times):
        assert not await peer.exchange(LONGEST / 2)
        assert not await peer.exchange(LONGEST * 1.5)


async def test_a_peer_whose_answers_come_several_at_once_is_not_polled_for(clock: Clock) -> None:
    peer = Peer(clock)
    for _ in range(3 * ENOUGH):
        peer.messages += 1
        assert not await peer.exchange(LONGEST / 2, 2)


async def test_polling_ends_when_no_answer_comes(clock: Clock) -> None:
    peer = Peer(clock)
    await peer.exchange(LONGEST / 2, ENOUGH)
    clock.now += 1.0
    peer.send()
    for _ in range(3):
        await asyncio.sleep(0)
        assert polls()
    clock.now += LONGEST
    await ended()
    assert not polls()


async def test_messages_that_are_not_answered_are_polled_for_once(clock: Clock) -> None:
    peer = Peer(clock)
    await peer.exchange(LONGEST / 2, ENOUGH)
    peer.send()
    polled = 0
    for _ in range(10 * ENOUGH):
        clock.now += LONGEST / 8
        await ended()
        peer.send()
        polled += polls()
    assert polled <= 2 * LOSS


async def test_callbacks_and_timers_run_while_the_loop_polls(clock: Clock) -> None:
    peer = Peer(clock)
    await peer.exchange(LONGEST / 2, ENOUGH)
    peer.send()
    loop = asyncio.get_running_loop()
    timer, called = loop.create_future(), loop.create_future()
    loop.call_later(0.001, timer.set_result, None)
    loop.call_soon(called.set_result, None)
    await asyncio.gather(timer, called)
    assert polls()
    clock.now += 1.0
    await ended()


async def test_two_peers_keep_the_loop_from_sleeping_until_the_later_time(clock: Clock) -> None:
    one, other = Peer(clock), Peer(clock)
    await one.exchange(LONGEST / 2, ENOUGH)
    await other.exchange(LONGEST / 2, ENOUGH)
    one.send()
    clock.now += LONGEST / 2
    other.send()
    clock.now += LONGEST * 3 / 4
    await ended()
    assert polls()
    clock.now += LONGEST
    await ended()
    assert not polls()


def test_an_event_loop_with_simulated_time_is_never_kept_from_sleeping(clock: Clock) -> None:
    class Simulated(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() + 1e6

    async def main() -> bool:
        peer = Peer(clock)
        return await peer.exchange(LONGEST / 2, 2 * ENOUGH)

    with asyncio.Runner(loop_factory=Simulated) as runner:
        assert not runner.run(main())


def test_an_event_loop_is_not_kept_in_memory() -> None:
    loop = asyncio.new_event_loop()
    BusyWait.of(loop)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


# -- links -----------------------------------------------------------------------------------------


def to_echo(node: FakeNode) -> RegSend:
    return RegSend(node.pid(), Atom(""), Atom("echo"))


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_link_over_tcp_polls_for_quick_answers_if_it_may(
    allowed: bool, a: FakeNode, b: FakeNode, clock: Clock
) -> None:
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(link)
        other.start(lambda control, payload: other.send(to_echo(b), payload), lambda error: None)
        link.busy_wait = other.busy_wait = allowed
        for number in range(2 * ENOUGH):
            link.send(to_echo(a), number)
            assert (await inbox.get())[1] == number
        assert polls() is allowed
        clock.step = LONGEST  # the clock runs again


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_link_over_quic_polls_for_quick_answers_if_it_may(
    allowed: bool, certificates: CertificateFiles, clock: Clock
) -> None:
    async with linked(settings_of(certificates)) as pair:
        pair.client.link.busy_wait = pair.server.link.busy_wait = allowed
        for number in range(2 * ENOUGH):
            pair.to_server(number)
            assert (await pair.server.get())[1] == number
            pair.to_client(number)
            assert (await pair.client.get())[1] == number
        assert polls() is allowed
        clock.step = LONGEST


async def test_a_link_whose_peer_answers_slowly_does_not_poll(a: FakeNode, b: FakeNode, clock: Clock) -> None:
    clock.step = LONGEST * 1.5
    async with joined(a, b) as (link, other):
        inbox = Inbox.of(link)
        other.start(lambda control, payload: other.send(to_echo(b), payload), lambda error: None)
        for number in range(3 * ENOUGH):
            link.send(to_echo(a), number)
            assert (await inbox.get())[1] == number
            assert not polls()
