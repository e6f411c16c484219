"""The carriers of the tests with a real BEAM, and how a node of ours and BEAMs reach each other over each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quicdist import make_development_certificates
from tests.gateway.gateways import gateway_to
from tests.support.beam import Beam, quic_args, tcp_args, tls_args
from tests.support.ports import any_port

COOKIE = "interop"

CARRIERS = [
    pytest.param("tcp", marks=pytest.mark.beam),
    pytest.param("tls", marks=[pytest.mark.beam, pytest.mark.tls, pytest.mark.otp_application("ssl")]),
    pytest.param("quic", marks=pytest.mark.quic_dist),
    pytest.param("gateway", marks=[pytest.mark.beam, pytest.mark.gateway]),
]

#: The hosts of our node and of two BEAMs behind gateways.
HOSTS = ("127.10.0.1", "127.10.0.2", "127.10.0.3")


def over_tcp(carrier: str) -> bool:
    """Whether connections are TCP connections, with TLS or not, which epmd knows."""
    return carrier in ("tcp", "tls")


@dataclass
class Peer:
    """A BEAM that can be started."""

    name: str
    #: The arguments of ``erl``, and variables of its environment.
    args: list[str]
    environment: Mapping[str, str]
    carrier: str

    def start(self) -> Beam:
        beam = Beam(self.args, environment=self.environment)
        if self.carrier == "quic":
            beam.eval_now("{ok, _} = application:ensure_all_started(quic)")
        return beam


@dataclass
class Reachable:
    """``peers`` can be started; a node of ours with the name ``ours`` and ``options`` reaches them."""

    ours: str
    options: dict[str, Any]
    peers: list[Peer]


@contextlib.contextmanager
def reachable(
    carrier: str,
    ours: str,
    theirs: Sequence[str],
    directory: Path,
    *,
    cookie: str = COOKIE,
    hidden: bool = False,
    more: Sequence[str] = (),
    gateway_options: Sequence[str] = (),
) -> Iterator[Reachable]:
    """How one or two BEAMs, ``theirs``, are started, with ``more`` arguments, and reached by a node of ours.

    ``carrier`` is ``"tcp"``, ``"tls"``, ``"quic"``, or ``"gateway"``: stock BEAMs, each with a gateway, and a
    node on QUIC. There names get other hosts, and the gateways run until the end of the block.
    """
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": carrier, "host": "127.0.0.1"}
    if carrier == "tcp":
        peers = [Peer(name, tcp_args(name, cookie, hidden=hidden, more=more), {}, carrier) for name in theirs]
        yield Reachable(ours, options, peers)
        return
    files = make_development_certificates(directory / "certs")
    options |= {"cert": files.cert, "key": files.key, "verify": False}
    if carrier == "tls":
        tls = [*more, *tls_args(directory, cert=files.cert, key=files.key)]
        peers = [Peer(name, tcp_args(name, cookie, hidden=hidden, more=tls), {}, carrier) for name in theirs]
        yield Reachable(ours, options, peers)
        return
    if carrier == "gateway":
        hosts = HOSTS if len(theirs) > 1 else (HOSTS[0], "127.0.0.1")
        ours, *theirs = (
            name.replace("127.0.0.1", host) for name, host in zip((ours, *theirs), hosts, strict=True)
        )
    table = {name: ("127.0.0.1", any_port()) for name in (ours, *theirs)}
    options |= {"carrier": "quic", "nodes": table, "port": table[ours][1]}
    if carrier == "quic":
        certificate = {"cert": files.cert, "key": files.key}
        peers = [
            Peer(
                name,
                quic_args(name, table[name][1], directory, table, cookie=cookie, more=more, **certificate),
                {},
                carrier,
            )
            for name in theirs
        ]
        yield Reachable(ours, options, peers)
        return
    security = ["--no-verify", "--cert", str(files.cert), "--key", str(files.key), *gateway_options]
    with contextlib.ExitStack() as stack:
        gateways = [stack.enter_context(gateway_to(table, name, security)) for name in theirs]
        peers = [
            Peer(
                gateway.name,
                tcp_args(gateway.name, cookie, hidden=hidden, more=["-start_epmd", "false", *more]),
                gateway.environment,
                carrier,
            )
            for gateway in gateways
        ]
        yield Reachable(ours, options, peers)
