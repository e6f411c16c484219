"""Two nodes in one event loop, over TCP or QUIC: one dials, the other listens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from quicdist import Node
from tests.carrier.security import TestCa

CARRIERS = ("tcp", "quic")
COOKIE = "pair"
DIALLER = "dialler@127.0.0.1"
LISTENER = "listener@127.0.0.1"


def carrier_options(carrier: str, directory: Path) -> dict[str, Any]:
    """Options of a node for that carrier, without epmd and DNS."""
    if carrier == "tcp":
        return {"carrier": "tcp", "epmd": False}
    ca = TestCa(directory, "ca")
    shown = ca.sign()
    return {"carrier": "quic", "cert": shown.cert, "key": shown.key, "cacert": ca.file}


@asynccontextmanager
async def pair(
    carrier: str,
    directory: Path,
    *,
    nodes: Mapping[str, tuple[str, int]] | None = None,
    **dialler_options: Any,
) -> AsyncIterator[tuple[Node, Node]]:
    """The dialling node, not connected yet, and the listening node. ``nodes`` are further addresses, and
    the other options are for the dialling node."""
    options = {"cookie": COOKIE, **carrier_options(carrier, directory)}
    async with Node(LISTENER, host="127.0.0.1", port=0, **options) as listener:
        table = {LISTENER: ("127.0.0.1", listener.addresses[0].port), **(nodes or {})}
        async with Node(DIALLER, nodes=table, listen=False, **{**options, **dialler_options}) as dialler:
            yield dialler, listener
