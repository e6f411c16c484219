"""``Node(cluster=...)`` with stock BEAMs, which come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from quicdist import Node, NodeDown, NodeUp
from quicdist.cluster import Backoff, EpmdHosts, LocalEpmd
from quicdist.node import ConnectFailed
from tests.membership.test_cluster import next_event
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd

pytestmark = pytest.mark.beam

BEAM, ONE, TWO = (f"{name}@127.0.0.1" for name in ("beam", "one", "two"))
OPTIONS: dict[str, Any] = {
    "cookie": "secret",
    "carrier": "tcp",
    "host": "127.0.0.1",
    "cluster_backoff": Backoff(0.05, 0.2),
}


@pytest.fixture(scope="module", autouse=True)
def epmd() -> Iterator[None]:
    with private_epmd():
        yield


async def test_a_beam_that_is_killed_and_started_again_is_connected_again_both_by_list_and_by_epmd() -> None:
    by_epmd = EpmdHosts(["127.0.0.1"], pattern="beam", interval=0.05)
    async with (
        Node(ONE, cluster=[BEAM], **OPTIONS) as one,
        Node(TWO, cluster=by_epmd, **OPTIONS) as two,
    ):
        events = one.cluster.events(), two.cluster.events()
        await next_event(events[0], ConnectFailed, BEAM)
        assert await two.cluster.settled(timeout=10) == []
        for _ in range(2):
            async with await asyncio.to_thread(Beam, tcp_args(BEAM)) as beam:
                for each in events:
                    await next_event(each, NodeUp, BEAM)
                assert await one.cluster.settled(timeout=10) == [BEAM]
                assert await two.cluster.settled(at_least=1, timeout=10) == [BEAM]
                assert await beam.eval("lists:sort(nodes(hidden))") == f"['{ONE}','{TWO}']"
            for each in events:
                await next_event(each, NodeDown, BEAM)
        await next_event(events[0], ConnectFailed, BEAM)


async def test_two_python_nodes_and_a_beam_find_one_another_by_epmd() -> None:
    def local() -> LocalEpmd:
        return LocalEpmd(interval=0.05)

    async with (
        await asyncio.to_thread(Beam, tcp_args(BEAM)) as beam,
        Node(ONE, cluster=local(), **OPTIONS) as one,
        Node(TWO, cluster=local(), **OPTIONS) as two,
    ):
        assert await one.cluster.settled(at_least=2, timeout=10) == [BEAM, TWO]
        assert await two.cluster.settled(at_least=2, timeout=10) == [BEAM, ONE]
        assert await beam.eval("lists:sort(nodes(hidden))") == f"['{ONE}','{TWO}']"
        assert await one.call(BEAM, "erlang", "node") == await two.call(BEAM, "erlang", "node")
