"""``Node(cluster=...)`` between Python nodes over TCP, which find each other's addresses in one table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from quicdist import Node, NodeDown, NodeNotStarted, NodeUp, NotConnected
from quicdist.cluster import Backoff, ChangingNodes, ClusterSource, Strategy
from quicdist.discovery import StaticDiscovery
from quicdist.node import ClusterEvent, ClusterEvents, ConnectFailed, LookupFailed, NotSettled
from quicdist.node.cluster import MAX_EVENTS, MAX_NODES
from quicdist.term.names import Name

SOON = Backoff(0.01, 0.02)
OWN, A, B, Z = (f"{name}@127.0.0.1" for name in ("own", "a", "b", "z"))


@pytest.fixture
def table() -> StaticDiscovery:
    return StaticDiscovery({})


def tcp_node(name: str, table: StaticDiscovery, **options: Any) -> Node:
    return Node(name, cookie="cluster", carrier="tcp", host="127.0.0.1", discovery=table, **options)


def member(table: StaticDiscovery, cluster: ClusterSource, backoff: Backoff = SOON) -> Node:
    return tcp_node(OWN, table, cluster=cluster, cluster_backoff=backoff)


@asynccontextmanager
async def running(table: StaticDiscovery, *names: str) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(tcp_node(name, table)) for name in names]


class Lists:
    """An asynchronous iterable of the lists that the test puts into it."""

    def __init__(self, *first: str) -> None:
        self.queue: asyncio.Queue[list[str]] = asyncio.Queue()
        self.asked: asyncio.Queue[None] = asyncio.Queue()
        if first:
            self.put(*first)

    def put(self, *nodes: str) -> None:
        self.queue.put_nowait(list(nodes))

    def __aiter__(self) -> Lists:
        return self

    async def __anext__(self) -> list[str]:
        self.asked.put_nowait(None)
        return await self.queue.get()

    async def asked_again(self, answers: int) -> None:
        """Wait until so many lists have been used: the next one has been asked for."""
        async with asyncio.timeout(10):
            for _ in range(answers + 1):
                await self.asked.get()


async def next_event(events: ClusterEvents, kind: type, node: str | None = None) -> Any:
    """The next event of that kind, about that node."""
    async with asyncio.timeout(10):
        async for event in events:
            if isinstance(event, kind) and node in (None, getattr(event, "node", None)):
                return event
    pytest.fail("the events have ended")


# -- connections -------------------------------------------------------------------------------


async def test_all_nodes_of_a_list_are_connected_and_the_cluster_settles(table: StaticDiscovery) -> None:
    async with running(table, A, B), member(table, [A, B, OWN]) as node:
        assert await node.cluster.settled(timeout=10) == [A, B]
        assert sorted(node.nodes("connected")) == node.cluster.nodes == node.cluster.connected == [A, B]
        assert node.cluster.missing == node.cluster.unanswered == {}
        strategy = f"StaticNodes('{A}', '{B}', '{OWN}')"
        assert repr(node.cluster) == f"<Cluster of {OWN}: 2 of 2 nodes connected, {strategy}>"


async def test_a_node_without_the_option_is_settled_at_once(table: StaticDiscovery) -> None:
    async with tcp_node(OWN, table) as node:
        assert await node.cluster.settled() == []
        assert repr(node.cluster) == f"<Cluster of {OWN}: 0 of 0 nodes connected, no strategy>"


async def test_a_lost_connection_is_made_again(table: StaticDiscovery) -> None:
    async with running(table, A) as (a,), member(table, [A]) as node:
        events = node.cluster.events()
        for _ in range(3):
            await next_event(events, NodeUp, A)
            assert a.disconnect(OWN)
            assert (await next_event(events, NodeDown, A)).error is not None
        await node.cluster.settled(timeout=10)


async def test_a_node_that_is_down_is_missing_with_its_error_and_joins_when_it_is_back(
    table: StaticDiscovery,
) -> None:
    async with running(table, A), member(table, [A, Z]) as node:
        events = node.cluster.events()
        failed = await next_event(events, ConnectFailed, Z)
        assert isinstance(failed.error, NotConnected)
        assert 0.005 <= failed.retry_in <= 0.02
        assert await node.cluster.settled(at_least=1, timeout=10) == [A]
        with pytest.raises(NotSettled, match=rf"within 0\.01 s: {Z} is not connected \(cannot") as caught:
            await node.cluster.settled(timeout=0.01)
        assert list(caught.value.missing) == [Z]
        assert caught.value.unanswered == {}
        async with running(table, Z):
            assert await node.cluster.settled(timeout=10) == [A, Z]
        assert isinstance(await next_event(events, NodeDown, Z), NodeDown)
        assert list(node.cluster.missing) == [Z]


async def test_more_nodes_than_are_listed_never_settle(table: StaticDiscovery) -> None:
    async with running(table, A), member(table, [A]) as node:
        await node.cluster.settled(timeout=10)
        with pytest.raises(NotSettled, match=r"within 0\.01 s: too few nodes are listed"):
            await node.cluster.settled(at_least=2, timeout=0.01)


async def test_a_host_that_accepts_and_closes_is_not_dialled_in_a_busy_loop(table: StaticDiscovery) -> None:
    dialled: asyncio.Queue[float] = asyncio.Queue()

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.put_nowait(asyncio.get_running_loop().time())
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    table.add(Z, ("127.0.0.1", server.sockets[0].getsockname()[1]))
    async with server, member(table, [Z], Backoff(0.05, 0.2)):
        times = [await asyncio.wait_for(dialled.get(), 10) for _ in range(5)]
    # At least half of 0.05, 0.1, 0.2 and 0.2 s.
    assert times[-1] - times[0] >= 0.25


# -- lists that change -------------------------------------------------------------------------


async def test_a_node_that_is_no_longer_listed_is_disconnected(table: StaticDiscovery) -> None:
    lists = Lists(A, B)
    async with running(table, A, B), member(table, lists) as node:
        events = node.cluster.events()
        await node.cluster.settled(timeout=10)
        lists.put(B)
        assert await next_event(events, NodeDown) == NodeDown(A, None)
        assert node.nodes("connected") == node.cluster.nodes == [B]
        lists.put(A, B)
        await next_event(events, NodeUp, A)


async def test_a_node_that_another_strategy_lists_or_that_nobody_listed_stays_connected(
    table: StaticDiscovery,
) -> None:
    lists = Lists(A)
    async with running(table, A, B), member(table, [A, lists]) as node:
        await node.connect(B)
        await node.cluster.settled(timeout=10)
        lists.put()
        await lists.asked_again(2)
        assert sorted(node.nodes("connected")) == [A, B]
        assert node.cluster.nodes == [A]


async def test_a_strategy_that_does_not_disconnect_leaves_connections_alone(table: StaticDiscovery) -> None:
    lists = Lists(A)
    async with running(table, A), member(table, ChangingNodes(lists, disconnect=False)) as node:
        await node.cluster.settled(timeout=10)
        lists.put()
        await lists.asked_again(2)
        assert (node.cluster.nodes, node.nodes("connected")) == ([], [A])


async def test_a_lookup_that_fails_changes_nothing_and_is_repeated(
    table: StaticDiscovery, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Any] = [[A], ValueError("no answer"), [A, B]]

    class Failing(Strategy):
        interval = 0.001
        disconnects = True

        async def nodes(self, own: str) -> list[Name]:
            assert own == OWN
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return list(answer)

        def __repr__(self) -> str:
            return "Failing()"

    strategy = Failing()
    async with running(table, A, B), member(table, strategy) as node:
        events = node.cluster.events()
        failed = await next_event(events, LookupFailed)
        assert (failed.strategy, str(failed.error)) == (strategy, "no answer")
        await next_event(events, NodeUp, B)
        assert await node.cluster.settled(timeout=10) == [A, B]
    assert [line for line in caplog.messages if line.startswith("Failing(): ValueError: no answer; asked")]


@pytest.mark.parametrize(
    "answer", [None, A, [17], ["nohost"], 17, [f"n{n}@host" for n in range(MAX_NODES + 1)]]
)
async def test_an_answer_that_is_no_list_of_names_is_a_failed_lookup(
    table: StaticDiscovery, answer: Any
) -> None:
    async with member(table, lambda: answer) as node:
        failed = await next_event(node.cluster.events(), LookupFailed)
        assert list(node.cluster.unanswered.values()) == [failed.error]
        with pytest.raises(NotSettled, match=r"ChangingNodes\(.*\) has not answered \("):
            await node.cluster.settled(timeout=0.01)


async def test_what_a_strategy_raises_ends_neither_the_node_nor_the_other_strategies(
    table: StaticDiscovery,
) -> None:
    def leave() -> list[str]:
        raise SystemExit(3)

    async def cancelled() -> list[str]:
        raise asyncio.CancelledError

    async with running(table, A), member(table, [A, leave, cancelled]) as node:
        assert await node.cluster.settled(at_least=1, timeout=10) == [A]
        events = node.cluster.events()
        failed = {(await next_event(events, LookupFailed)).strategy for _ in range(2)}
        while len(failed) < 2:
            failed.add((await next_event(events, LookupFailed)).strategy)
        kinds = [type(error) for error in node.cluster.unanswered.values()]
        assert kinds == [SystemExit, asyncio.CancelledError]


async def test_an_iterable_that_has_ended_leaves_its_last_list(table: StaticDiscovery) -> None:
    async def lists() -> AsyncIterator[list[str]]:
        yield [A]

    async with running(table, A), member(table, lists()) as node:
        assert await node.cluster.settled(timeout=10) == [A]


# -- the life of the node ----------------------------------------------------------------------


async def test_settled_of_a_node_that_does_not_run_is_node_not_started(table: StaticDiscovery) -> None:
    node = member(table, [Z])
    with pytest.raises(NodeNotStarted):
        await node.cluster.settled()
    async with node:
        waiting = asyncio.ensure_future(node.cluster.settled())
        events = node.cluster.events()
        await next_event(events, ConnectFailed)
    with pytest.raises(NodeNotStarted):
        await waiting
    assert [event async for event in events if not isinstance(event, ConnectFailed)] == [], "they have ended"


async def test_a_callback_that_fails_is_logged_and_the_others_are_called(
    table: StaticDiscovery, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[ClusterEvent] = []

    def fail(event: ClusterEvent) -> None:
        raise ValueError("callback")

    async with running(table, A), member(table, [A]) as node:
        node.cluster.subscribe(fail)
        end = node.cluster.subscribe(seen.append)
        await node.cluster.settled(timeout=10)
        assert seen == [NodeUp(A)]
        end()
        end()
    assert len(seen) == 1
    assert any("called with" in line for line in caplog.messages)


async def test_of_events_that_nobody_reads_the_last_ones_are_kept(table: StaticDiscovery) -> None:
    async with member(table, []) as node:
        events = node.cluster.events()
        for number in range(MAX_EVENTS + 5):
            node.cluster._tell(NodeUp(f"n{number}@host"))
        assert events.dropped == 5
        assert await anext(events) == NodeUp("n5@host")
        events.close()
        assert len([event async for event in events]) == MAX_EVENTS - 1
