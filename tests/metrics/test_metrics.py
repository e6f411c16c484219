"""``node.metrics()``: what it counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, CallTimeout, Node, NodeError, NodeNotStarted, NotConnected, Process, RemoteError
from quicdist.carrier import CertificateFiles
from quicdist.discovery import StaticDiscovery
from quicdist.node.histogram import BOUNDS, Histogram
from tests.otp.conftest import ended

ONE, TWO = "one@127.0.0.1", "two@127.0.0.1"


@pytest.fixture
def table() -> StaticDiscovery:
    return StaticDiscovery({})


def tcp_node(name: str, table: StaticDiscovery, cookie: str = "metrics", **options: Any) -> Node:
    return Node(name, cookie=cookie, carrier="tcp", host="127.0.0.1", discovery=table, **options)


@pytest_asyncio.fixture
async def two(table: StaticDiscovery) -> AsyncIterator[Node]:
    async with tcp_node(TWO, table) as node:
        node.exports.add("py", "double", lambda number: 2 * number)
        yield node


@pytest_asyncio.fixture
async def one(table: StaticDiscovery, two: Node) -> AsyncIterator[Node]:
    async with tcp_node(ONE, table) as node:
        yield node


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until ``condition`` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


async def test_a_node_without_connections_has_its_own_processes_and_zeros(one: Node) -> None:
    metrics = one.metrics()
    assert (metrics.node, metrics.links) == (ONE, ())
    connections = metrics.connections
    assert [dict(each) for each in (connections.made, connections.lost, connections.refused)] == [{}] * 3
    assert metrics.processes.count == metrics.processes.spawned > 0
    assert (metrics.processes.crashed, metrics.processes.mailbox_messages) == (0, 0)
    assert metrics.calls_out["erpc"].outcomes == {}
    assert (metrics.cluster.listed, metrics.cluster.connected) == (0, 0)


async def test_calls_are_counted_by_outcome_on_both_sides(one: Node, two: Node) -> None:
    for number in range(3):
        assert await one.call(TWO, "py", "double", [number]) == 2 * number
    with pytest.raises(RemoteError):
        await one.call(TWO, "py", "nothing", [])
    silent = two.spawn(lambda process, message: None)
    with pytest.raises(CallTimeout):
        await one.gen_server_call(silent.pid, Atom("ask"), timeout=0.01)
    with pytest.raises(NotConnected):
        await one.call("nobody@127.0.0.1", "py", "double", [1])
    out, served = one.metrics().calls_out, two.metrics().calls_in
    assert out["erpc"].outcomes == {"return": 3, "RemoteError": 1, "NotConnected": 1}
    assert out["erpc"].durations.count == 5
    assert out["gen"].outcomes == {"CallTimeout": 1}
    assert out["gen"].durations.sum >= 0.01
    assert served.outcomes == {"return": 3, "error": 1}
    assert served.durations.count == 4


async def test_a_call_that_waits_is_running(one: Node, two: Node) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait() -> int:
        return await answer

    two.exports.add("py", "wait", wait)
    call = asyncio.ensure_future(one.call(TWO, "py", "wait"))
    await until(lambda: two.metrics().calls_running == 1)
    answer.set_result(1)
    assert await call == 1
    assert two.metrics().calls_running == 0


async def test_traffic_is_counted_by_carrier_and_stays_when_the_connection_has_ended(
    one: Node, two: Node
) -> None:
    await one.call(TWO, "py", "double", [bytes(10_000)])
    (link,) = one.metrics().links
    assert (link.node, link.carrier, link.hidden, link.writable) == (TWO, "tcp", True, True)
    assert link.transport.round_trip is not None
    assert link.transport.retransmissions == 0
    before = one.metrics().connections.traffic["tcp"]
    assert before.bytes_out > 10_000 < before.bytes_in
    assert before.messages_out >= 1 <= before.messages_in
    one.disconnect(TWO)
    after = one.metrics().connections
    assert after.traffic["tcp"].bytes_out >= before.bytes_out
    assert after.traffic["tcp"].messages_in == before.messages_in
    assert (after.made, after.lost) == ({"tcp": 1}, {("tcp", "Closed"): 1})
    await until(lambda: two.metrics().connections.lost == {("tcp", "PeerClosed"): 1})
    await one.call(TWO, "py", "double", [1])
    assert one.metrics().connections.made == {"tcp": 2}
    assert one.metrics().connections.traffic["tcp"].bytes_out > before.bytes_out


async def test_failed_dials_and_refused_handshakes_are_counted_by_reason(
    table: StaticDiscovery, two: Node
) -> None:
    async with tcp_node("stranger@127.0.0.1", table, cookie="wrong", listen=False) as stranger:
        for node in (TWO, "nobody@127.0.0.1"):
            with pytest.raises(NotConnected):
                await stranger.connect(node)
        stranger.send(("name", "nobody@127.0.0.1"), 1)
        await until(lambda: stranger.metrics().connections.signals_dropped == 1)
        failed = stranger.metrics().connections.dials_failed
        assert failed == {("tcp", "WrongCookie"): 1, ("tcp", "NodeNotFound"): 2}
    assert two.metrics().connections.refused == {("tcp", "WrongCookie"): 1}


async def test_crashes_and_mailboxes_are_counted(one: Node) -> None:
    async def crash(process: Process) -> None:
        raise ValueError("crash")

    async def idle(process: Process) -> None:
        await process.receive(Atom("never"))

    before = one.metrics().processes
    await ended(one.spawn(crash))
    for messages in (3, 5):
        process = one.spawn(idle)
        for number in range(messages):
            one.send(process, number)
    metrics = one.metrics().processes
    assert (metrics.crashed, metrics.spawned, metrics.count) == (1, before.spawned + 3, before.count + 2)
    assert (metrics.mailbox_messages, metrics.mailbox_max) == (8, 5)


async def test_senders_that_wait_are_counted_and_the_link_is_blocked(one: Node, two: Node) -> None:
    await one.connect(TWO)
    for _ in range(6):
        one.send(("nobody", TWO), bytes(1 << 20))
    (link,) = one.metrics().links
    assert (link.stats.send_pauses, link.writable) == (1, False)
    assert link.queued > 4 << 20
    await one.drain(TWO)
    (link,) = one.metrics().links
    assert (link.stats.send_pauses, link.writable) == (1, True)


async def test_the_lag_of_the_event_loop_is_measured(one: Node) -> None:
    await until(lambda: one.metrics().loop_lag.count >= 1)
    lag = one.metrics().loop_lag
    assert lag.bounds == BOUNDS
    assert lag.sum >= 0


async def test_metrics_of_a_node_that_does_not_run_raise_node_not_started(table: StaticDiscovery) -> None:
    with pytest.raises(NodeNotStarted):
        tcp_node(ONE, table).metrics()


async def test_metrics_in_another_thread_raise_node_error(one: Node) -> None:
    raised: list[NodeError] = []

    def ask() -> None:
        try:
            one.metrics()
        except NodeError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "belongs to the thread of its event loop" in str(raised[0])


def test_a_histogram_counts_each_duration_once() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 9.9, 11.0):
        histogram.observe(seconds)
    taken = histogram.snapshot()
    assert taken.counts == (2, 1, *[0] * 10, 1, 1)
    assert taken.count == 5
    assert taken.sum == pytest.approx(20.9021)


async def test_over_quic_handshakes_that_fail_in_tls_are_counted(
    certificates: CertificateFiles, other_ca: CertificateFiles
) -> None:
    options: dict[str, Any] = {"cookie": "metrics", "cert": certificates.cert, "key": certificates.key}
    async with Node(ONE, host="127.0.0.1", port=0, **options) as node:
        nodes = {ONE: ("127.0.0.1", node.addresses[0].port)}
        options = {"cookie": "metrics", "listen": False, "nodes": nodes}
        async with Node(TWO, cacert=other_ca.ca, **options) as stranger:
            with pytest.raises(NotConnected):
                await stranger.connect(ONE)
            assert stranger.metrics().connections.dials_failed == {("quic", "CertificateRefused"): 1}
        await until(lambda: node.metrics().connections.refused == {("quic", "TlsAlert"): 1})
        async with Node(TWO, cacert=certificates.ca, **options) as friend:
            await friend.connect(ONE)
            (link,) = friend.metrics().links
            assert link.transport.round_trip is not None
            assert link.transport.packets_sent
            assert 0 < link.transport.round_trip < 10
