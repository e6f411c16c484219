"""How a one-shot node leaves a node of ``quic_dist``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from quicdist import Atom, NotConnected, QuicDistError

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.otp.calling_node import CallingNode

#: Seconds within which the other node ends the connection; after that this one does.
_PATIENCE = 1.0


async def leave(local: Node | CallingNode, node: str) -> None:
    """Have ``node`` end the connection, if it is over QUIC.

    ``quic_dist`` takes the end of a connection that it did not end itself for a crash of its own process, and
    logs a report (measured with 0.11.0 to 1.8.2).
    """
    try:
        over = local.net_kernel.node_info(node).address.protocol
    except NotConnected:
        return
    if over != "quic":
        return
    # A call, not a cast: a Python node answers that it has no such function, and logs nothing.
    with contextlib.suppress(QuicDistError):
        own = Atom(local.name)
        await local.call(node, "erlang", "disconnect_node", [own], timeout=_PATIENCE)
