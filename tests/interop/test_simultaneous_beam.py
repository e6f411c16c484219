"""A Python node and a BEAM that dial each other at the same instant end with exactly one connection.

ERTS, *Distribution Protocol*, *Distribution Handshake*: statuses ``ok_simultaneous`` and ``nok``. Whose
name is greater decides, so each carrier is tried both ways round.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from quicdist import NodeDown, NodeUp
from quicdist.node import NodeEvent
from quicdist.protocol import PeerNamed, Status
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, cluster

_numbers = itertools.count(1)

#: Seconds by which one side's dial is put off, in turns: what they take to get going differs, and so
#: some of the rounds meet in every state of the handshake.
STAGGER = [number / 4000 for number in range(16)]


def names_in_order(beam_is_greater: bool) -> Callable[[], tuple[str, str]]:
    """The node's name and the BEAM's, which only this test uses."""

    def names() -> tuple[str, str]:
        number = f"{os.getpid()}_{next(_numbers)}"
        ours, theirs = ("a", "z") if beam_is_greater else ("z", "a")
        return f"{ours}py{number}@127.0.0.1", f"{theirs}beam{number}@127.0.0.1"

    return names


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["beam_greater", "python_greater"])
async def both(
    carrier: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Cluster]:
    monkeypatch.setattr("tests.interop.cluster.names", names_in_order(request.param))
    async with cluster(carrier, tmp_path) as running:
        yield running


async def collide(both: Cluster, number: int) -> None:
    """Dial from both sides; wait until both are through."""
    node, wait = both.node, STAGGER[number // 2 % len(STAGGER)]

    async def ours(wait: float) -> None:
        await asyncio.sleep(wait)
        await node.connect(both.beam_name)

    async def theirs(wait: float) -> str:
        await asyncio.sleep(wait)
        return await both.eval("net_kernel:connect_node(PY)")

    _, connected = await asyncio.gather(ours(wait if number % 2 else 0), theirs(0 if number % 2 else wait))
    assert connected == "true", f"round {number}"


async def lockstep(both: Cluster, rounds: int) -> None:
    """Collide again and again, and count what each side saw."""
    node = both.node
    events: list[NodeEvent] = []
    statuses: collections.Counter[Status] = collections.Counter()
    gone = asyncio.Event()

    def note(event: NodeEvent) -> None:
        events.append(event)
        if isinstance(event, NodeDown):
            gone.set()

    node.subscribe(note)
    answer = node._local.connections.connection_requested

    def requested(peer: PeerNamed) -> Status:
        status = answer(peer)
        assert isinstance(status, Status)
        statuses[status] += 1
        return status

    node._local.connections.connection_requested = requested  # type: ignore[method-assign]
    await both.eval("ok = net_kernel:monitor_nodes(true, [{node_type, all}])")
    for number in range(rounds):
        await collide(both, number)
        assert node.nodes("connected") == [both.beam_name], f"round {number}"
        assert len(list(node._local.connections.links())) == 1
        assert await both.eval("[N || {N, _} <- erlang:system_info(dist_ctrl)] =:= [PY]") == "true"
        # The one connection carries calls both ways.
        assert await node.ping(both.beam_name)
        assert await both.eval("net_adm:ping(PY)") == "pong"
        node.disconnect(both.beam_name)
        await gone.wait()
        gone.clear()
        # One came up and one went down there too, in this order.
        seen = "[receive {What, PY, _} -> What after 30000 -> none end || _ <- [up, down]]"
        assert await both.eval(seen.replace("What", f"What{number}")) == "[nodeup,nodedown]", (
            f"round {number}"
        )
    assert await both.eval("receive M -> M after 0 -> nothing end") == "nothing"
    ups = [event for event in events if event == NodeUp(both.beam_name)]
    downs = [event for event in events if isinstance(event, NodeDown)]
    assert (len(ups), len(downs), len(events)) == (rounds, rounds, 2 * rounds)
    # Some of the rounds did meet.
    assert statuses[Status.NOK] + statuses[Status.OK_SIMULTANEOUS] > 0


async def test_exactly_one_connection(both: Cluster) -> None:
    await lockstep(both, 30)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_exactly_one_connection_a_thousand_times(both: Cluster) -> None:
    await lockstep(both, 1000)
