"""A Python node and a BEAM that can reach each other, over one carrier."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicdist import Node
from tests.interop.carriers import COOKIE, reachable
from tests.support.beam import Beam

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
    *,
    cookie: str = COOKIE,
    hidden: bool = False,
    more: Sequence[str] = (),
    gateway_options: Sequence[str] = (),
) -> Iterator[tuple[Beam, str, dict[str, Any]]]:
    """Start a BEAM; its name, and the options with which a node of ours, given its name among them,
    can reach it. ``carrier`` is as for :func:`~tests.interop.carriers.reachable`; ``more`` are further
    arguments of ``erl``."""
    ours, theirs = names()
    behind = reachable(
        carrier,
        ours,
        [theirs],
        directory,
        cookie=cookie,
        hidden=hidden,
        more=more,
        gateway_options=gateway_options,
    )
    with behind as found:
        (peer,) = found.peers
        with peer.start() as beam:
            yield beam, peer.name, {"name": found.ours, **found.options}


@contextlib.asynccontextmanager
async def cluster(
    carrier: str,
    directory: Path,
    *,
    beam_cookie: str = COOKIE,
    hidden_beam: bool = False,
    beam_args: Sequence[str] = (),
    gateway_options: Sequence[str] = (),
    **node_options: Any,
) -> AsyncIterator[Cluster]:
    """Start both; ``carrier`` as in :func:`beam_for_a_node`."""
    started = beam_for_a_node(
        carrier,
        directory,
        cookie=beam_cookie,
        hidden=hidden_beam,
        more=beam_args,
        gateway_options=gateway_options,
    )
    with started as (beam, theirs, options):
        async with Node(**options | node_options) as node:
            yield Cluster(node, beam, theirs, carrier)


@dataclass
class LastingBeam:
    """A BEAM that serves several tests, each with a node of its own, and the options of such a node."""

    beam: Beam
    beam_name: str
    carrier: str
    options: dict[str, Any]


@contextlib.asynccontextmanager
async def cluster_with(lasting: LastingBeam, **node_options: Any) -> AsyncIterator[Cluster]:
    """Start a node; at the end wait until the BEAM has seen it go: the next one has the same name."""
    async with Node(**lasting.options | node_options) as node:
        both = Cluster(node, lasting.beam, lasting.beam_name, lasting.carrier)
        yield both
    await both.eval(
        "(fun Wait() -> case lists:member(PY, nodes(connected)) of "
        "true -> timer:sleep(5), Wait(); false -> gone end end)()"
    )
