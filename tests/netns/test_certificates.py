"""Nodes with long certificates on a path that takes 1280 bytes, as many tunnels do, and drops what is longer
without a word."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ends import quic_erl
from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.test_paths import pairs
from tests.netns.wire import Faults
from tests.paths import ends
from tests.paths.cells import Volume, measure
from tests.paths.ends import Pair
from tests.paths.rows import MBIT, Row
from tests.simulated.chains import ChainKind, chain
from tests.support.beam import erl_facts, quic_args

NARROW = Row(
    "narrow",
    "20 ms there and back, path MTU 1280",
    Faults(delay=0.010, rate=20 * MBIT, mtu=1280),
    bulk=100_000,
    dials=3,
    limit=30.0,
)
VOLUME = Volume(senders=5, messages=10, callers=2, calls=2, bulk=100_000)


def _quic_args(alone: Path, *arguments: Any, cert: Path, **more: Any) -> list[str]:
    return quic_args(*arguments, cert=alone, **more)


@pytest.mark.usefixtures("wires")
@pytest.mark.parametrize(("kind", "length"), [("rsa2048", 1), ("rsa4096", 4)])
@pytest.mark.parametrize("pair", pairs("py-py-quic", "py-beam-quic", "beam-py-quic"))
async def test_nodes_with_rsa_certificates_meet_on_a_path_of_1280_bytes(
    pair: Pair, kind: ChainKind, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := pair.missing():
        pytest.skip(why)
    if pair.server == "beam" and (version := erl_facts(quic_erl())[1]) and version.startswith(("0.", "1.3.")):
        pytest.skip(f"quic_dist {version} answers in datagrams that such a path does not take")
    files = [tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem")]
    for path, content in zip(files, chain(kind, length), strict=True):
        path.write_bytes(content)
    cert, key, ca = files
    # quic_dist shows a certificate and no chain.
    alone = tmp_path / "alone.pem"
    alone.write_bytes(chain(kind, 1)[0])
    monkeypatch.setattr(ends, "quic_args", partial(_quic_args, alone))
    result = await measure(NARROW, pair, CertificateFiles(ca, cert, key, ""), tmp_path, VOLUME)
    assert not result.wrong
    assert {name: (phase.result, phase.detail) for name, phase in result.phases.items()} == {
        "dials": ("once", ""),
        "messages": ("once", ""),
        "large": ("once", ""),
        "calls": ("once", ""),
    }
    taken = result.phases["dials"].seconds
    assert taken is not None
    assert taken < 3.0
