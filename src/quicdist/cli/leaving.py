"""How a one-shot node leaves a node of ``quic_dist``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from quicdist import Atom, QuicDistError

if TYPE_CHECKING:
    from quicdist import Node

#: Seconds within which the other node ends the connection; after that this one does.
_PATIENCE = 1.0


async def leave(local: Node, node: str) -> None:
    """Have ``node`` end the connection, if it is over QUIC.

    ``quic_dist`` takes the end of a connection that it did not end itself for a crash of its own process, and
    logs a report (measured with 0.11.0 to 1.8.2).
    """
    if node not in local.nodes("connected") or not _is_over_quic(local, node):
        return
    # A call, not a cast: a Python node answers that it has no such function, and logs nothing.
    with contextlib.suppress(QuicDistError):
        own = Atom(local.name)
        await local.call(node, "erlang", "disconnect_node", [own], timeout=_PATIENCE)


def _is_over_quic(local: Node, node: str) -> bool:
    return any(each.node == node and each.carrier == "quic" for each in local.metrics().links)
