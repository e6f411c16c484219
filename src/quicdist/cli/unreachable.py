"""Why a node could not be reached, with the carriers that were tried and what else may be tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.otp.calling_node import CallingNode

#: Seconds for epmd's answer.
_PATIENCE = 1.0


async def explain(error: QuicDistError, node: Node | CallingNode) -> None:
    """Note the carriers on the error of a dial by ``node``, and a hint if epmd knows a node that did not
    answer over QUIC."""
    from quicdist import NotConnected

    if not isinstance(error, NotConnected):
        return
    carriers = list(dict.fromkeys(endpoint.carrier.family for endpoint in node.endpoints))
    hint = ""
    if carriers == ["quic"] and not any(map(_answered, error.attempts)) and await _in_epmd(error.node):
        hint = f"; epmd knows {error.node}: try tcp://{error.node}, or tls://"
    error.add_note(f"carrier: {', '.join(carriers)}{hint}")


def _answered(error: QuicDistError) -> bool:
    """Whether a node is there and has refused this one."""
    from quicdist.carrier import ConnectError, PeerUnreachable, SetupTimeout

    if isinstance(error, SetupTimeout):
        return error.digest_unanswered
    return isinstance(error, ConnectError) and not isinstance(error, PeerUnreachable)


async def _in_epmd(node: str) -> bool:
    from quicdist.discovery import DiscoveryError, EpmdDiscovery

    alive, _, host = node.partition("@")
    try:
        await EpmdDiscovery(timeout=_PATIENCE).port_please(alive, host)
    except DiscoveryError:
        return False
    return True
