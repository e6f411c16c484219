"""``docs/reference/configuration.md`` has a row for every option that is read, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quicdist.config.erl_flags import KNOWN
from quicdist.config.options import DIST, DIST_FLAGS, KERNEL, QUIC

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text()
SECTIONS = {
    "`{quic, [{dist, […]}]}`": set(DIST),
    "`{quic, […]}`": set(QUIC),
    "Flags": {"-quic_dist", "-quic_dist_port"} | {f"-quic_dist_{name}" for name in DIST_FLAGS},
    "Flags of `erl`": {"+sbwt"} | {f"-{name}" for name in KNOWN if not name.startswith("quic_dist")},
    "`{kernel, […]}`": set(KERNEL),
}


def rows(section: str) -> list[list[str]]:
    text = PAGE.partition(f"\n### {section}\n")[2]
    text = re.split(r"\n##+ ", text)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [row for row in cells[2:] if row[0]]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_option_has_a_row(section: str) -> None:
    named = [row[0].strip("`") for row in rows(section)]
    assert sorted(named) == sorted(SECTIONS[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_names_its_test(section: str) -> None:
    for row in rows(section):
        assert all(row), row
        file = row[-1].strip("`")
        test = (ROOT / "tests" / "config" / file).read_text()
        # The fields of Config have the names of options, but for ports and addresses.
        names = {row[0].strip("`-"), row[0].strip("`-").removeprefix("quic_dist_")}
        names |= {"tcp_port_min", "tcp_port_max", "tcp_host"} if "inet_dist_" in row[0] else set()
        assert any(name in test for name in names), row
