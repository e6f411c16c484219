"""Whether a node has user streams.

quic_dist has them from 1.0 on. The handshake does not distinguish 0.11.0 from 1.3, and 0.11.0 takes the
bytes of any stream for distribution, so one byte on a user stream would corrupt everything that follows.
Therefore legacy nodes are asked, once per connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from quicdist.node.patterns import ANY
from quicdist.protocol import DistFlag
from quicdist.term import Atom

if TYPE_CHECKING:
    from quicdist.carrier import Link
    from quicdist.node.runtime import Runtime

_ASKED: WeakKeyDictionary[Link, bool] = WeakKeyDictionary()
_QUESTION = [Atom("quic_dist"), Atom("open_stream"), 2]
_DOWN = Atom("DOWN")


async def has_streams(runtime: Runtime, link: Link) -> bool:
    """Whether the node at the other end of a QUIC link has user streams."""
    if not link.peer.flags & DistFlag.DIST_HDR_ATOM_CACHE:
        return True
    answer = _ASKED.get(link)
    if answer is None:
        answer = _ASKED[link] = await _ask(runtime, link.peer.name)
    return answer


async def _ask(runtime: Runtime, node: str) -> bool:
    """``erlang:function_exported(quic_dist, open_stream, 2)`` there, by the messages of ``erpc:call``."""
    asker = runtime.add_process()
    try:
        result = runtime.identifiers.reference()
        arguments = [result, Atom("erlang"), Atom("function_exported"), _QUESTION]
        _, monitor = await asker.spawn_monitor_on(node, "erpc", "execute_call", arguments)
        *_, reason = await asker.receive((_DOWN, monitor, ANY, ANY, ANY))
        return isinstance(reason, tuple) and reason[1:] == (Atom("return"), True)
    finally:
        asker.stop()
