"""Dials a node by one endpoint: all addresses that discovery has for it, in order."""

from __future__ import annotations

from collections.abc import Sequence

from quicdist.carrier import Address, Link, LocalNode, PeerUnreachable, SetupTimeout
from quicdist.containment import NotReturned, settle_within
from quicdist.discovery import Discovery
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.node.endpoints import Endpoint
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import named

log = get_logger("quicdist.node")


async def dial_endpoint(
    endpoint: Endpoint, node: str, local: LocalNode, setup_time: float, attempts: list[QuicDistError]
) -> Link | None:
    """Dial ``node``. If that fails, the result is None, and the errors are appended to ``attempts``."""
    if not endpoint.carrier.select(node):
        attempts.append(NodeError(f"{node!r} is not a node name"))
        return None
    try:
        for address in await _lookup(endpoint.discovery, node, setup_time):
            try:
                return await endpoint.carrier.setup(node, address, local, setup_time=setup_time)
            except (PeerUnreachable, SetupTimeout) as error:
                attempts.append(error)  # try the next address
    except QuicDistError as error:
        attempts.append(error)
    return None


async def _lookup(discovery: Discovery, node: str, seconds: float) -> Sequence[Address]:
    """All addresses that discovery, which may be the program's own code, has for ``node``."""
    kind = type(discovery).__name__
    found, error = await settle_within(lambda: discovery.lookup_all(node), seconds)
    if error is None:
        return list(found)
    if isinstance(error, QuicDistError):
        raise error
    if not isinstance(error, NotReturned):
        log.error("%s failed to look up %s", kind, node, exc_info=error)
    raise NodeError(f"{kind} failed to look up {node}: {named(error)}")
