"""A node killed and started again under its name, as the other sees it; ``make restarts``: 100 times."""

from __future__ import annotations

from pathlib import Path

import pytest

from quicdist import make_development_certificates
from tests.restarts.rounds import PAIRS, Kind, Pair, run

#: One restart after the other was told, and one before; each of the nodes dials once.
KINDS = [Kind(told_first=True, killed_dials=True), Kind(told_first=False, killed_dials=False)]
#: Seconds in which a name is back: a hundredth of this where nothing else runs, and net_ticktime is 60.
BACK = 5.0


def marks(pair: Pair) -> list[pytest.MarkDecorator]:
    if "beam" not in (pair.lives, pair.killed):
        return []
    return [pytest.mark.quic_dist if pair.carrier == "quic" else pytest.mark.beam]


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, id=pair.name, marks=marks(pair))
        for pair in PAIRS
        # quic_dist's BEAMs do not notice a restart: not with Python, not among themselves
        # (docs/explanation/paths.md).
        if "python" in (pair.lives, pair.killed) and pair.name != "beam-python-quic"
    ],
)
async def test_a_restart_ends_old_processes_once_and_brings_the_name_back(pair: Pair, tmp_path: Path) -> None:
    if why := pair.missing():
        pytest.skip(why)
    certificates = make_development_certificates(tmp_path / "certificates")
    report = await run(pair, 2, certificates, tmp_path, kinds=KINDS)
    assert report.faults == []
    assert all(taken < BACK for some in report.back.values() for taken in some), report.back
