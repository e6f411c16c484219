"""A bounded part of the matrix of paths (``make paths`` runs the whole): messages, calls and large messages
arrive once and in order, or who sent them is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.programs import quic_dist_survives_loss
from tests.netns.wire import Faults
from tests.paths.cells import Result, Volume, measure
from tests.paths.ends import PAIRS, Pair
from tests.paths.rows import MBIT, Row

#: Small enough for each run, large enough that something is under way when the path changes.
VOLUME = Volume(senders=20, messages=20, callers=4, calls=3, bulk=256 * 1024)

LOSSY = Faults(loss=0.02, double=0.05, delay=0.010, jitter=0.002, rate=20 * MBIT)
#: Everything that a connection over QUIC outlives, one after the other.
LASTING = Row(
    "lasting",
    "loss, jitter, a shorter path MTU, another port from the NAT, a cut of 1 s",
    replace(LOSSY, mapping=1),
    (
        (0.0, replace(LOSSY, mapping=1, mtu=1280)),
        (0.3, replace(LOSSY, mapping=2, mtu=1280)),
        (0.5, replace(LOSSY, mapping=2, mtu=1280, loss=1.0)),
        (1.5, replace(LOSSY, mapping=2, mtu=1280)),
    ),
    middle=150_000,
    dials=2,
    limit=40.0,
)
#: What TCP outlives of these; without ICMP a shorter path MTU is none of it.
LASTING_TCP = Row(
    "lasting-tcp",
    "loss, jitter, a shorter path MTU that is told, a cut of 1 s",
    LOSSY,
    (
        (0.0, replace(LOSSY, mtu=1280, icmp=True)),
        (0.3, replace(LOSSY, mtu=1280, icmp=True, loss=1.0)),
        (1.3, replace(LOSSY, mtu=1280, icmp=True)),
    ),
    middle=150_000,
    dials=2,
    limit=40.0,
)
#: Longer than net_ticktime and what may be added to it.
SILENT = Row(
    "silent",
    "cut for longer than net_ticktime",
    replace(LOSSY, loss=0.0),
    ((0.0, replace(LOSSY, loss=1.0)), (3.5, replace(LOSSY, loss=0.0))),
    middle=150_000,
    dials=1,
    limit=40.0,
    net_ticktime=2,
    told="longer than net_ticktime",
)


def marks(pair: Pair) -> list[pytest.MarkDecorator]:
    if "beam" not in (pair.client, pair.server):
        return []
    return [pytest.mark.quic_dist if pair.carrier == "quic" else pytest.mark.beam]


def pairs(*names: str) -> list[object]:
    return [pytest.param(pair, id=pair.name, marks=marks(pair)) for pair in PAIRS if pair.name in names]


async def run(row: Row, pair: Pair, certificates: CertificateFiles, directory: Path) -> Result:
    if why := pair.missing():
        pytest.skip(why)
    if pair.carrier == "quic" and "beam" in (pair.client, pair.server):
        quic_dist_survives_loss()
    result = await measure(row, pair, certificates, directory, VOLUME)
    assert not result.wrong
    return result


@pytest.mark.usefixtures("wires")
@pytest.mark.parametrize("pair", pairs("py-py-quic", "py-beam-quic", "beam-py-quic", "py-beam-tcp"))
async def test_everything_arrives_once_on_a_path_that_gets_worse(
    pair: Pair, certificates: CertificateFiles, tmp_path: Path
) -> None:
    row = LASTING if pair.carrier == "quic" else LASTING_TCP
    result = await run(row, pair, certificates, tmp_path)
    assert {name: (phase.result, phase.detail) for name, phase in result.phases.items()} == {
        "dials": ("once", ""),
        "messages, large": ("once", ""),
        "calls": ("once", ""),
    }
    assert result.downs == {"server": [], "client": []}
    # There was all of it.
    assert all(result.counts[kind] for kind in ("lost", "doubled", "truncated"))


@pytest.mark.usefixtures("wires")
@pytest.mark.parametrize("pair", pairs("py-py-quic", "py-beam-quic", "beam-py-quic", "py-beam-tcp"))
async def test_a_cut_longer_than_net_ticktime_is_told_to_every_sender(
    pair: Pair, certificates: CertificateFiles, tmp_path: Path
) -> None:
    result = await run(SILENT, pair, certificates, tmp_path)
    transfer = result.phases["messages, large"]
    assert transfer.result == "told", transfer
    # And the nodes find each other when the path is back.
    assert result.phases["again"].result == "once", result
    assert result.phases["calls"].result == "once", result
