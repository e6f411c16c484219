"""Dials and exchanges on paths drawn from the seed, with the bounds that hold on any path.

Each scenario is a coroutine function of a network. ``tests/simulated/test_scenarios.py`` runs each with some
seeds, ``python -m tests.simulated`` with as many as time allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from quicdist import Node
from quicdist.carrier import SetupTimeout
from quicdist.node import NodeDown, NodeUp, NotConnected
from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.exchange import PATIENCE, Exchange, between, mirrored
from tests.simulated.network import Network
from tests.simulated.nodes import address, nodes
from tests.simulated.path import Path
from tests.simulated.quic_dist import QuicDistNode, quic_dist

Scenario = Callable[[Network], Coroutine[Any, Any, None]]

ONE, TWO = address(1), address(2)
#: Seconds within which something has to come between Python nodes, beyond those of a cut: some probe timeouts
#: of two seconds each, at 20 % of loss each way. In hundreds of runs it was 5 s at most.
QUIET = 20.0
#: Seconds a connection has to survive of a cut: a quarter less than ``net_ticktime``.
SURVIVED = 45.0

SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


def draw_path(path: Path, chance: Random, delay: float, *, most: float = 0.2) -> None:
    """One direction of a path: nothing wrong with it, or a little of everything. ``most`` is the loss."""
    path.delay = delay
    path.loss = chance.choice((0.0, 0.01, 0.05, most))
    path.jitter = chance.choice((0.0, 0.1 * delay, delay))
    path.late, path.late_by = chance.choice((0.0, 0.0, 0.1)), chance.random() * delay
    path.doubled = chance.choice((0.0, 0.0, 0.05))
    path.corrupted = chance.choice((0.0, 0.0, 0.02))


def draw_paths(network: Network, *, most: float = 0.2) -> None:
    """Both directions between two nodes; in one run of four one of them loses nothing."""
    chance = network.chance
    delay = chance.choice((0.0005, 0.005, 0.02, 0.1, 0.2))
    paths = network.paths(ONE, TWO)
    for path in paths:
        draw_path(path, chance, delay, most=most)
    if chance.random() < 0.25:
        chance.choice(paths).loss = 0.0


async def dial(dialling: Coroutine[Any, Any, None]) -> bool:
    """Whether a dial succeeds. If it fails, the error must be true: no time was left."""
    try:
        await dialling
    except NotConnected as error:
        for each in error.attempts:
            assert isinstance(each, SetupTimeout), repr(each)
        return False
    return True


async def both(one: Node, two: Node) -> None:
    """Both dial at once. Either may have lost the race, but one connection is there in the end."""
    results = await asyncio.gather(one.connect(two.name), two.connect(one.name), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    if len(failed) == 2:
        raise failed[0]


async def with_cut(
    network: Network,
    exchange: Exchange,
    seconds: float,
    *,
    survived: float = SURVIVED,
    patience: float = QUIET,
) -> None:
    """The exchange, during which the path is cut for so long, in one direction or both. Cuts shorter than
    ``survived`` do not end the link."""
    chance = network.chance
    paths = list(network.paths(ONE, TWO))
    if chance.random() < 0.3:
        paths = [chance.choice(paths)]
    await asyncio.sleep(chance.random() * 0.5)
    for path in paths:
        path.cut = seconds > 0
    await asyncio.sleep(seconds)
    for path in paths:
        path.cut = False
    await exchange.over(patience=patience + seconds)
    if seconds < survived:
        told = {str(pair.told) for pair in exchange.pairs if pair.told is not None}
        assert exchange.all_came, f"the link ended: {told}; the path was cut for {seconds} s"


@scenario
async def python_and_python(network: Network) -> None:
    """Three dials, with tickets and early data after the first, simultaneous ones among them; after each an
    exchange of 20 processes each way, now and then with a cut."""
    chance = network.chance
    draw_paths(network)
    async with nodes(network, 2) as (one, two):
        for _ in range(3):
            dialled = both(one, two) if chance.random() < 0.3 else one.connect(two.name)
            if not await dial(dialled):
                continue
            exchange = between(network, one, two, messages=chance.choice((1, 5, 10)))
            await with_cut(network, exchange, chance.choice((0.0, 0.0, 0.0, 1.0, 5.0, 20.0)))
            one.disconnect(two.name)


@scenario
async def dials(network: Network) -> None:
    """Eight dials, most of them with a ticket and early data, each followed by a few messages each way: each
    came up once, and went down once, at either end."""
    draw_paths(network)
    events: dict[str, list[type]] = {}
    async with nodes(network, 2) as (one, two):
        for node in (one, two):
            seen = events[node.name] = []
            node.subscribe(lambda event, seen=seen: seen.append(type(event)))  # type: ignore[misc]
        up = 0
        for _ in range(8):
            if await dial(one.connect(two.name)):
                up += 1
                exchange = between(network, one, two, processes=2, messages=2)
                await exchange.over(patience=QUIET)
                assert exchange.all_came
                one.disconnect(two.name)
        await asyncio.sleep(2 * PATIENCE)
    assert events[one.name] == [NodeUp, NodeDown] * up
    # One that the dialler gave up may have been up here.
    assert events[two.name] == [NodeUp, NodeDown] * (len(events[two.name]) // 2)
    assert len(events[two.name]) >= 2 * up


@scenario
async def links_that_are_cut_for_long(network: Network) -> None:
    """For longer than ``net_ticktime``: the link ends, both sides are told, and another can be made."""
    draw_paths(network, most=0.05)
    async with nodes(network, 2) as (one, two):
        if not await dial(one.connect(two.name)):
            return
        await with_cut(network, between(network, one, two, messages=5), 100.0)
        if await dial(one.connect(two.name)):
            exchange = between(network, one, two, messages=2)
            await exchange.over(patience=QUIET)
            assert exchange.all_came


@scenario
async def paths_that_change(network: Network) -> None:
    """A certificate of any kind, narrow and short paths, and in mid-run a NAT that forgets, another address,
    another MTU, other faults, a cut: the link goes on."""
    chance = network.chance
    draw_paths(network, most=0.05)
    narrow = chance.choice((None, None, 2e5, 1e6))
    network.set(ONE, TWO, mtu=chance.choice((1500, 1500, 1400, 1280)), bandwidth=narrow, queue=65536)
    seen = network.host(ONE)

    def cut() -> None:
        network.set(ONE, TWO, cut=True)
        network.loop.call_later(chance.choice((0.5, 3.0)), lambda: network.set(ONE, TWO, cut=False))

    changes: list[Callable[[], None]] = [
        lambda: network.rebind(seen.address),
        lambda: network.set(ONE, TWO, mtu=1280, tells=chance.random() < 0.5),
        lambda: network.set(ONE, TWO, mtu=1500),
        lambda: draw_paths(network, most=0.05),
        cut,
    ]
    async with nodes(network, 2, key=chance.choice(("ed25519", "p256", "rsa2048"))) as (one, two):
        if not await dial(one.connect(two.name)):
            return
        exchange = between(network, one, two, messages=10)
        for _ in range(3):
            await asyncio.sleep(chance.random() * 0.3)
            chance.choice(changes)()
        await exchange.over(patience=QUIET + 9.0)
        assert exchange.all_came, {str(pair.told) for pair in exchange.pairs}


async def _python_and_quic_dist(network: Network, version: str, most: float) -> None:
    chance = network.chance
    draw_paths(network, most=most)
    behaviour = QUIC_DIST[version]
    # What is left of the 16 s when probes are lost as well.
    survived = SURVIVED if behaviour.disconnect_timeout is None else 5.0
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, behaviour) as peer:
            for _ in range(2):
                if chance.random() < 0.5:
                    if not await _dialled_by(peer):
                        # This node may be up by then, and hears nothing of it.
                        one.disconnect(peer.name)
                        continue
                elif not await dial(one.connect(peer.name)):
                    continue
                exchange = mirrored(network, one, peer, messages=chance.choice((2, 10)))
                cut = chance.choice((0.0, 0.0, 1.0, 5.0))
                # It may have given up the link without a word, which net_ticktime and a quarter tell.
                await with_cut(network, exchange, cut, survived=survived, patience=1.5 * PATIENCE)
                one.disconnect(peer.name)
                await asyncio.sleep(2)


async def _dialled_by(peer: QuicDistNode) -> bool:
    try:
        await peer.connect(1)
    except (TimeoutError, ConnectionError):
        return False  # What it lost of its handshake it does not send again.
    return True


@scenario
async def python_and_quic_dist_1_8_1(network: Network) -> None:
    await _python_and_quic_dist(network, "1.8.1", 0.2)


@scenario
async def python_and_quic_dist_1_8_2(network: Network) -> None:
    await _python_and_quic_dist(network, "1.8.2", 0.2)


@scenario
async def python_and_quic_dist_2_0(network: Network) -> None:
    await _python_and_quic_dist(network, "2.0", 0.2)
