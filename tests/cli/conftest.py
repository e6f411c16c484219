"""Peers for the command, each started once for all the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.cli.peers import COOKIE, Peer, at, echo_node, node_name, port_of, quic_beam, tcp_beam
from tests.support.epmd import free_port


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``quicdist certs`` makes."""
    directory = tmp_path_factory.mktemp("cli") / "certs"
    assert run("certs", str(directory)).status == 0
    return directory


@pytest.fixture(scope="module")
def echo(certs: Path) -> Iterator[Peer]:
    """A Python echo node on QUIC; it is up to the test how to verify it."""
    name = node_name("echo")
    files = ("--cert", str(certs / "cert.pem"), "--key", str(certs / "key.pem"))
    with echo_node("--name", name, "--cookie", COOKIE, "--host", "127.0.0.1", "--port", "0", *files) as node:
        yield Peer(name, ("--cookie", COOKIE, *at(name, port_of(node.read_line()))))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("tcp", marks=pytest.mark.beam),
        pytest.param("quic", marks=pytest.mark.quic_dist),
    ],
)
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certs: Path
) -> Iterator[Peer]:
    """A BEAM: a stock one over TCP, one with quic_dist over QUIC."""
    if request.param == "tcp":
        with tcp_beam() as reached:
            yield reached
    else:
        with quic_beam(tmp_path_factory.mktemp("beam"), free_port, certs) as reached:
            yield reached
