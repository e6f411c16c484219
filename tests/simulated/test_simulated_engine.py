"""Nodes with a simulated engine in place of aioquic, on good and on bad paths: nothing above the engine's
contract knows the difference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulated import engine_life
from tests.simulated.exchange import between
from tests.simulated.network import Network
from tests.simulated.nodes import address, connected, nodes
from tests.simulated.running import simulated
from tests.support.simulated_engine import SimulatedEngines

ONE, TWO = address(1), address(2)
SIMULATED: dict[str, Any] = {"engines": SimulatedEngines()}
#: Seconds within which something comes on a path that loses a tenth of its packets.
PATIENCE = 30.0


def test_nodes_with_another_engine_do_not_load_aioquic() -> None:
    command = [sys.executable, "-m", "tests.simulated.engine_life"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("no aioquic\n", "")


@pytest.mark.parametrize("quic", [{}, SIMULATED], ids=["aioquic", "simulated"])
@simulated()
async def test_two_nodes_exchange_messages_processes_and_streams(
    network: Network, quic: dict[str, Any]
) -> None:
    await engine_life.live(network, **quic)


@simulated(5)
async def test_messages_arrive_once_and_in_order_on_a_path_that_loses_packets(network: Network) -> None:
    network.set(ONE, TWO, delay=0.01, loss=0.1, doubled=0.05, corrupted=0.02, late=0.1, late_by=0.02)
    async with connected(network, quic=SIMULATED) as (one, two):
        exchange = between(network, one, two, processes=10, sizes=[0, 1, 70_000, 2000, 20])
        await exchange.over(patience=PATIENCE)
        assert exchange.all_came


@simulated()
async def test_a_node_that_is_cut_off_goes_down_after_the_ticktime(network: Network) -> None:
    async with connected(network, quic=SIMULATED) as (one, two):
        exchange = between(network, one, two, processes=2, messages=3)
        await exchange.over()
        network.host(TWO).up = False
        begun = network.loop.time()
        assert (await engine_life.nodes_down(one).get()).node == two.name
        assert 40 < network.loop.time() - begun < 80


@simulated()
async def test_a_link_survives_a_nat_that_gives_another_port(network: Network) -> None:
    async with connected(network, quic=SIMULATED) as (one, two):
        network.rebind(ONE)
        exchange = between(network, one, two, processes=2, sizes=[0, 70_000])
        await exchange.over()
        assert exchange.all_came
        assert one.nodes("connected") == [two.name]


@simulated()
async def test_an_address_is_validated_by_retry_before_a_connection_is_made(network: Network) -> None:
    quic = {**SIMULATED, "address_validation": "always"}
    retries: list[int] = []
    network.watch = lambda source, destination, data: retries.append(1) if data[0] == 0xF0 else None
    async with connected(network, quic=quic) as (one, two):
        await between(network, one, two, processes=1).over()
    assert retries


@simulated()
async def test_datagrams_are_as_long_as_the_path_takes(network: Network) -> None:
    network.set(ONE, TWO, mtu=1400)
    longest = 0

    def watch(source: object, destination: object, data: bytes) -> None:
        nonlocal longest
        longest = max(longest, len(data))

    async with nodes(network, 2, quic=SIMULATED) as (one, two):
        await one.connect(two.name)
        await between(network, one, two, processes=1, sizes=[500_000]).over()
        network.watch = watch
        exchange = between(network, one, two, processes=1, sizes=[500_000])
        await exchange.over()
        assert exchange.all_came
    assert 1300 < longest <= 1400
