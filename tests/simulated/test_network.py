"""The simulated network does what it says, and the same seed does it again."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import socket
from typing import Any

import pytest

from quicdist.node import NodeDown
from quicdist.node.errors import NotConnected
from tests.simulated.exchange import between
from tests.simulated.loop import Deadlock
from tests.simulated.network import Endpoint, Network, SimulatedSocket
from tests.simulated.nodes import PORT, address, connected, name, nodes
from tests.simulated.running import simulate, simulated

ONE, TWO = address(1), address(2)
NOWHERE = ("10.9.9.9", 1)


def both(network: Network) -> tuple[SimulatedSocket, SimulatedSocket]:
    """A socket of the first host that is connected to one of the second, which is bound."""
    bound = network.host(TWO)(socket.AF_INET, local=(TWO, PORT))
    return network.host(ONE)(socket.AF_INET, remote=(TWO, PORT)), bound


async def come(sock: SimulatedSocket, seconds: float = 1.0) -> list[bytes]:
    """What comes within so many seconds."""
    await asyncio.sleep(seconds)
    came = []
    while True:
        try:
            came.append(sock.recv(65535))
        except BlockingIOError:
            return came


@simulated()
async def test_datagrams_arrive_after_the_delay(network: Network) -> None:
    sender, receiver = both(network)
    network.path(ONE, TWO).delay = 0.2
    sender.send(b"late")
    assert await come(receiver, 0.19) == []
    assert await come(receiver, 0.02) == [b"late"]
    # The other direction has a path of its own.
    receiver.sendto(b"soon", sender.getsockname())
    assert await come(sender, 0.01) == [b"soon"]


@simulated()
async def test_loss_doubling_and_reordering_have_their_rates(network: Network) -> None:
    sender, receiver = both(network)
    sent = [b"%d" % number for number in range(2000)]
    for properties, low, high in [({"loss": 0.2}, 1500, 1700), ({"doubled": 0.2}, 2300, 2500)]:
        network.set(ONE, TWO, loss=0.0, doubled=0.0)
        network.set(ONE, TWO, **properties)
        for data in sent:
            sender.send(data)
        assert low < len(await come(receiver)) < high
    network.set(ONE, TWO, doubled=0.0, late=0.1, late_by=0.01)
    for data in sent:
        sender.send(data)
        await asyncio.sleep(0.001)
    came = await come(receiver)
    assert came != sent
    assert sorted(came) == sorted(sent)


@simulated()
async def test_long_datagrams_are_dropped_or_refused(network: Network) -> None:
    sender, receiver = both(network)
    network.path(ONE, TWO).mtu = 1280
    sender.send(bytes(1252))
    sender.send(bytes(1253))
    assert list(map(len, await come(receiver))) == [1252]
    # A router that says so: the next call has its error.
    network.path(ONE, TWO).tells = True
    sender.send(bytes(1253))
    await asyncio.sleep(0.1)
    with pytest.raises(OSError, match="too long") as told:
        sender.send(b"")
    assert told.value.errno == errno.EMSGSIZE
    network.host(ONE).mtu = 1000
    with pytest.raises(OSError, match="too long"):
        sender.send(bytes(973))


@simulated()
async def test_bandwidth_delays_and_its_queue_drops(network: Network) -> None:
    sender, receiver = both(network)
    path = network.path(ONE, TWO)
    path.bandwidth, path.queue = 100_000, 50_000
    for _ in range(100):
        sender.send(bytes(972))
    assert 18 <= len(await come(receiver, 0.2)) <= 20
    # What was under way and what was queued.
    assert 50 <= len(await come(receiver)) + 20 <= 52


@simulated()
async def test_errors_reach_a_connected_socket(network: Network) -> None:
    network.host(TWO)
    sender = network.host(ONE)(socket.AF_INET, remote=(TWO, PORT))
    sender.send(b"is anybody there?")
    await asyncio.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        sender.recv(100)
    network.path(ONE, TWO).error = errno.EHOSTUNREACH
    with pytest.raises(OSError, match="No route to host"):
        sender.send(b"")


@simulated()
async def test_a_nat_that_forgets(network: Network) -> None:
    sender, receiver = both(network)
    sender.send(b"before")
    await asyncio.sleep(0.1)
    _, before = receiver.recvfrom(100)
    network.rebind(ONE, "10.0.0.200")
    sender.send(b"after")
    await asyncio.sleep(0.1)
    _, after = receiver.recvfrom(100)
    assert before == sender.getsockname()
    assert after[0] == "10.0.0.200"
    receiver.sendto(b"lost", before)
    receiver.sendto(b"found", after)
    assert await come(sender) == [b"found"]


@simulated()
async def test_a_cut_and_its_end(network: Network) -> None:
    async with connected(network) as (one, two):
        network.set(ONE, TWO, cut=True)
        with pytest.raises(TimeoutError):
            await one.is_auth(two.name, timeout=5)
        network.set(ONE, TWO, cut=False)
        await one.is_auth(two.name)


@simulated()
async def test_a_node_that_moves_keeps_its_connection(network: Network) -> None:
    async with connected(network) as (one, two):
        events: list[Any] = []
        two.subscribe(events.append)
        network.host(ONE).move("10.0.0.100")
        await one.is_auth(two.name)
        (link,) = two._local.connections.links()
        assert link.remote_address.host == "10.0.0.100"
        assert not [event for event in events if isinstance(event, NodeDown)]


@simulated()
async def test_a_dial_to_nobody_says_so(network: Network) -> None:
    network.host(address(3))
    async with nodes(network, 1) as (one,):
        begun = network.loop.time()
        with pytest.raises(NotConnected, match="connection refused"):
            await one.connect(name(3))
        assert network.loop.time() - begun < 0.1


async def trace(network: Network) -> str:
    """All datagrams of some dials on a bad path."""
    digest = hashlib.sha256()

    def watch(source: Endpoint, destination: Endpoint, data: bytes) -> None:
        digest.update(repr((network.loop.time(), source, destination, len(data))).encode())

    network.watch = watch
    network.set(ONE, TWO, loss=0.1, doubled=0.1, corrupted=0.05, delay=0.02, jitter=0.02)
    async with nodes(network, 2) as (one, two):
        for _ in range(2):
            await one.connect(two.name)
            await between(network, one, two).over()
            one.disconnect(two.name)
    return digest.hexdigest()


def test_the_same_seed_is_the_same_run() -> None:
    assert simulate(trace, 1) == simulate(trace, 1)
    assert simulate(trace, 1) != simulate(trace, 2)


def test_what_waits_for_nothing_is_a_deadlock() -> None:
    async def forever(network: Network) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        simulate(forever, 0)


def test_a_failure_says_how_to_repeat_it() -> None:
    @simulated(3)
    async def fails(network: Network) -> None:
        assert network.seed != 1

    with pytest.raises(AssertionError) as raised:
        fails()
    (note,) = raised.value.__notes__
    assert note.startswith(
        "repeat it with: SIMULATED_SEED=1 python -m pytest 'tests/simulated/test_network.py::"
    )
