"""Dials a node by its endpoints, and by each at all addresses that discovery has for it, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from quicdist.carrier import Address, Link, LocalNode, PeerUnreachable, SetupTimeout
from quicdist.containment import NotReturned, describe, settle, settle_within
from quicdist.discovery import Discovery
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.node.connection_counters import ConnectionCounters, reason_of
from quicdist.node.endpoints import Endpoint
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import named
from quicdist.protocol import SimultaneousConnect

log = get_logger("quicdist.node")


async def dial(
    endpoints: Sequence[Endpoint],
    node: str,
    local: LocalNode,
    setup_time: float,
    attempts: list[QuicDistError],
    counters: ConnectionCounters,
) -> Link | None:
    """Dial ``node``. If that fails, the result is None, and the errors are appended to ``attempts`` and
    counted."""
    link: Link | None
    for endpoint in endpoints:
        tried = len(attempts)
        link, error = await settle(_dial_endpoint(endpoint, node, local, setup_time, attempts))
        if error is not None:  # such as one of a discovery that is not quicdist's own
            log.error("dialling %s failed", node, exc_info=error)
            failed = f"dialling failed: {type(error).__qualname__}: {describe(error)}"
            attempts.append(NodeError(failed))
        if link is not None:
            return link
        for attempt in attempts[tried:]:
            counters.dials_failed[endpoint.carrier.family, reason_of(attempt)] += 1
        if attempts and isinstance(attempts[-1], SimultaneousConnect):
            # The other node's dial continues in place of this one, and cancels this task.
            await asyncio.sleep(setup_time)
            break
    return None


async def _dial_endpoint(
    endpoint: Endpoint, node: str, local: LocalNode, setup_time: float, attempts: list[QuicDistError]
) -> Link | None:
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
