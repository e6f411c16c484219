"""A Python node and a BEAM that can reach each other, over one carrier."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from quicdist import Node, make_development_certificates
from tests.gateway.gateways import gateway_to
from tests.support.beam import Beam, quic_args, tcp_args

COOKIE = "interop"
_numbers = itertools.count(1)


class Cluster:
    """``node`` is ours, ``beam`` a real one, ``beam_name`` its name; neither is connected yet."""

    def __init__(self, node: Node, beam: Beam, beam_name: str, carrier: str) -> None:
        self.node = node
        self.beam = beam
        self.beam_name = beam_name
        self.carrier = carrier
        #: The carrier of our node.
        self.node_carrier = "quic" if carrier == "gateway" else carrier

    async def eval(self, source: str, data: bytes = b"", **names: Any) -> str:
        """Evaluate on the BEAM, with ``PY`` in the source replaced by our node's name, quoted."""
        return await self.beam.eval(source.replace("PY", f"'{self.node.name}'"), data, **names)


def names() -> tuple[str, str]:
    """A name for our node and one for the BEAM that no other test uses."""
    number = f"{os.getpid()}_{next(_numbers)}"
    return f"py{number}@127.0.0.1", f"beam{number}@127.0.0.1"


@contextlib.contextmanager
def beam_for_a_node(
    carrier: str,
    directory: Path,
    free_port: Callable[[], int],
    *,
    cookie: str = COOKIE,
    hidden: bool = False,
    more: Sequence[str] = (),
) -> Iterator[tuple[Beam, str, dict[str, Any]]]:
    """Start a BEAM; its name, and the options with which a node of ours, given its name among them,
    can reach it. ``carrier`` is ``"tcp"``, ``"quic"`` or ``"gateway"``: a stock BEAM behind one; ``more`` are
    further arguments of ``erl``."""
    ours, theirs = names()
    if carrier == "gateway":
        behind = beam_behind_a_gateway(ours, theirs, directory, free_port, cookie, hidden=hidden, more=more)
        with behind as (beam, its_options):
            yield beam, theirs, its_options
        return
    options: dict[str, Any] = {"name": ours, "cookie": COOKIE, "carrier": carrier, "host": "127.0.0.1"}
    if carrier == "tcp":
        args = tcp_args(theirs, cookie, hidden=hidden, more=more)
    else:
        files = make_development_certificates(directory / "certs")
        our_port, their_port = free_port(), free_port()
        table = {ours: ("127.0.0.1", our_port), theirs: ("127.0.0.1", their_port)}
        args = quic_args(
            theirs, their_port, directory, table, cert=files.cert, key=files.key, cookie=cookie, more=more
        )
        options |= {
            "nodes": {theirs: table[theirs]},
            "port": our_port,
            "cert": files.cert,
            "key": files.key,
            "verify": False,
        }
    with Beam(args) as beam:
        if carrier == "quic":
            beam.eval_now("{ok, _} = application:ensure_all_started(quic)")
        yield beam, theirs, options


@contextlib.contextmanager
def beam_behind_a_gateway(
    ours: str,
    theirs: str,
    directory: Path,
    free_port: Callable[[], int],
    cookie: str,
    *,
    hidden: bool,
    more: Sequence[str],
) -> Iterator[tuple[Beam, dict[str, Any]]]:
    """The BEAM, and the options of our node, which is on another host: the gateway stands for that."""
    ours = ours.replace("127.0.0.1", "127.10.0.1")
    files = make_development_certificates(directory / "certs")
    port = free_port()
    security = ["--no-verify", "--cert", str(files.cert), "--key", str(files.key)]
    table = {ours: ("127.0.0.1", port), theirs: ("127.0.0.1", free_port())}
    options = {
        "name": ours,
        "cookie": COOKIE,
        "carrier": "quic",
        "host": "127.0.0.1",
        "port": port,
        "cert": files.cert,
        "key": files.key,
        "verify": False,
        "nodes": table,
    }
    arguments = [*(["-hidden"] if hidden else []), *more]
    with gateway_to(table, theirs, security) as gateway, gateway.beam(*arguments, cookie=cookie) as beam:
        yield beam, options


@contextlib.asynccontextmanager
async def cluster(
    carrier: str,
    directory: Path,
    free_port: Callable[[], int],
    *,
    beam_cookie: str = COOKIE,
    hidden_beam: bool = False,
    beam_args: Sequence[str] = (),
    **node_options: Any,
) -> AsyncIterator[Cluster]:
    """Start both; ``carrier`` as in :func:`beam_for_a_node`."""
    started = beam_for_a_node(
        carrier, directory, free_port, cookie=beam_cookie, hidden=hidden_beam, more=beam_args
    )
    with started as (beam, theirs, options):
        async with Node(**options | node_options) as node:
            yield Cluster(node, beam, theirs, carrier)
