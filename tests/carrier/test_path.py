"""How much gets through, and how soon, on paths with loss, delay, jitter, reordering and bottlenecks.

Two connections in virtual time (:mod:`tests.carrier.path`). What TCP would move is computed: the response
functions of Reno and CUBIC (RFC 9438, section 5) where packets are lost by chance, the rate of the bottleneck
where there is one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from quicdist.carrier.quic.engine.aioquic.recovery import Recovery
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.path import End, Network, Path

MIB = 1024 * 1024
#: Data in a packet of TCP, and at least in one of ours.
SEGMENT = 1448
DATA = 1140


def cubic(rtt: float, loss: float) -> float:
    """Bytes a second of a TCP with CUBIC: in its Reno-friendly region (RFC 9438, figure 5) or out of it."""
    friendly = math.sqrt(1.5 / loss)
    window = 1.054 * rtt**0.75 / loss**0.75
    return float(max(friendly, window) * SEGMENT / rtt)


def recovery(end: End) -> Recovery:
    loss = end.quic._loss
    assert isinstance(loss, Recovery)
    return loss


@pytest.mark.parametrize(
    ("delay", "loss", "times"),
    [(0.05, 0.01, 3), (0.2, 0.01, 3), (0.025, 0.05, 1), (0.05, 0.05, 1), (0.05, 0.2, 1)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_loss(
    certificates: CertificateFiles, delay: float, loss: float, times: int, seed: int
) -> None:
    network = Network(certificates, Path(delay=delay, loss=loss), seed=seed)
    network.establish()
    size = MIB if loss < 0.05 else MIB // 8
    assert size / network.transfer(size) > times * cubic(2 * delay, loss)


@pytest.mark.parametrize(("delay", "jitter"), [(0.02, 0.002), (0.02, 0.02), (0.05, 0.02)])
def test_jitter(certificates: CertificateFiles, delay: float, jitter: float) -> None:
    times = {}
    for path in (Path(delay=delay + jitter / 2), Path(delay=delay, jitter=jitter)):
        network = Network(certificates, path)
        network.establish()
        times[path.jitter] = network.transfer(2 * MIB)
    assert times[jitter] < 2 * times[0.0]


@pytest.mark.parametrize("late", [0.01, 0.1])
def test_reordering(certificates: CertificateFiles, late: float) -> None:
    """By up to a round trip."""
    times = []
    for path in (Path(delay=0.025), Path(delay=0.025, late=late, late_by=0.05)):
        network = Network(certificates, path)
        network.establish()
        times.append(network.transfer(2 * MIB))
    assert times[1] < 2 * times[0]
    # Nearly nothing is sent in vain once it is known how late they come.
    assert network.there.sent < 1.1 * 2 * MIB / DATA


def test_doubling(certificates: CertificateFiles) -> None:
    network = Network(certificates, Path(delay=0.025, doubled=0.2))
    network.establish()
    assert network.transfer(MIB) < 1.0
    assert recovery(network.client).spurious == 0


@pytest.mark.parametrize(
    ("rate", "queue", "least"),
    [(1.25e6, 1.0, 0.8), (1.25e6, 0.1, 0.55), (12.5e6, 1.0, 0.6), (12.5e6, 0.1, 0.4)],
)
def test_a_bottleneck_is_filled(
    certificates: CertificateFiles, rate: float, queue: float, least: float
) -> None:
    """10 and 100 Mbit/s, with a queue of so much of what the path holds."""
    path = Path(delay=0.02, rate=rate, queue=max(queue * rate * 0.04, 4000))
    network = Network(certificates, path)
    network.establish()
    seconds = network.transfer(3 * MIB if rate < 1e7 else 8 * MIB)
    assert network.client.came == {}
    moved = network.server.came[0] / seconds
    assert moved > least * rate
    # What is dropped for it is little, the end of slow start included.
    assert network.there.dropped < 0.08 * network.there.sent


def test_two_flows_share_a_bottleneck(certificates: CertificateFiles) -> None:
    path = Path(delay=0.02, rate=1.25e6, queue=50_000)
    network = Network(certificates, path, pairs=2, late_start=2.0)
    network.establish()
    for client in network.clients:
        client.write(0, bytes(16 * MIB))
    network.run(3.0)  # The one that is there first gives way.
    before = [server.came[0] for server in network.servers]
    network.run(6.0)
    one, other = (server.came[0] - then for server, then in zip(network.servers, before, strict=True))
    assert one + other > 0.8 * 6 * path.rate
    assert min(one, other) > 0.25 * (one + other)


@pytest.mark.parametrize("seconds", [0.3, 5.0])
def test_transfer_continues_within_seconds_after_a_cut(
    certificates: CertificateFiles, seconds: float
) -> None:
    network = Network(certificates, Path(delay=0.025, rate=1.25e6, queue=60_000))
    network.establish()
    network.client.write(0, bytes(8 * MIB))
    network.run(1.0)
    until = network.now + seconds
    network.there.cut_until = network.back.cut_until = until
    network.run(until - network.now)
    came = network.server.came[0]
    assert network.run(1.3, lambda: network.server.came[0] > came + 20_000)
    # And is as fast as before soon.
    network.run(2.0)
    came = network.server.came[0]
    network.run(1.0)
    assert network.server.came[0] - came > 0.7 * 1.25e6


def test_a_round_trip_that_becomes_longer_costs_no_collapse(certificates: CertificateFiles) -> None:
    network = Network(certificates, Path(delay=0.005))
    network.establish()
    network.transfer(MIB)
    for direction in (network.there, network.back):
        direction.path = replace(direction.path, delay=0.1)
    assert network.transfer(4 * MIB) < 4.0


@pytest.mark.parametrize(("delay", "loss"), [(0.0, 0.2), (0.05, 0.2), (0.2, 0.05), (0.2, 0.2)])
def test_a_handshake_with_loss_takes_seconds(
    certificates: CertificateFiles, delay: float, loss: float
) -> None:
    """Of 20, each is over within the 7 s of net_setuptime."""
    slow = 0
    for seed in range(20):
        network = Network(certificates, Path(delay=max(delay, 0.0005), loss=loss), seed=seed)
        slow += network.establish() > 5.0
    assert slow == 0
