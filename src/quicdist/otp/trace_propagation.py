"""Carries the headers of a trace (W3C Trace Context) between nodes that both have a tracer.

A node with a tracer answers ``erpc:call(Node, quicdist, features, [])`` with a list that holds
``traceparent``. It is asked once for each connection, before the first call that is traced. Other nodes
answer ``undef``, as they do for any function that they lack, and are never sent a header.

- A call by ``erpc`` of ``{M, F, A}`` becomes one of ``{quicdist, traced, [Headers, M, F, A]}``.
- A call by ``gen`` has the headers in its tag: ``[[alias|Alias]|{traceparent, Headers}]``. OTP has tags of
  this form too (``gen:reply/2``); servers send them back unchanged.

``Headers`` are pairs of binaries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from quicdist.carrier import Link
from quicdist.errors import QuicDistError
from quicdist.node.connections import ConnectionTable
from quicdist.protocol import DistFlag
from quicdist.term import Atom, ImproperList, Reference
from quicdist.term.names import MFA

MODULE: Final = Atom("quicdist")
TRACED: Final = Atom("traced")
FEATURES: Final = Atom("features")
TRACEPARENT: Final = Atom("traceparent")

#: Seconds for the answer of a node; a node that has not answered then is asked at the next connection.
ASK_TIME: Final = 1.0
#: Headers of a peer that are used, and the bytes of each.
MAX_HEADERS: Final = 8
MAX_BYTES: Final = 8192

Headers = Sequence[tuple[str, str]]


class TracePropagation:
    """Knows which connected nodes take headers; the node ``own`` does. ``ask`` calls
    ``quicdist:features/0`` on a node."""

    def __init__(self, own: str, connections: ConnectionTable, ask: Callable[[str], Awaitable[Any]]) -> None:
        self._own = own
        self._connections = connections
        self._ask = ask
        #: By connection: whether the node takes headers; a task while it is being asked.
        self._known: WeakKeyDictionary[Link, bool | asyncio.Task[bool]] = WeakKeyDictionary()

    def takes_headers(self, node: str) -> bool:
        """Whether ``node`` is known to take headers."""
        if node == self._own:
            return True
        link = self._connections.link(node)
        return link is not None and self._known.get(link) is True

    def is_known(self, node: str) -> bool:
        """Whether ``node`` need not be asked: it has answered, or is not connected."""
        link = self._connections.link(node)
        return link is None or isinstance(self._known.get(link), bool)

    async def learn(self, node: str) -> None:
        """Ask a connected node, unless it has answered. Raises nothing."""
        link = self._connections.link(node)
        if link is None:
            return
        known = self._known.get(link)
        if known is None:
            known = self._known[link] = asyncio.ensure_future(self._answer(link))
        if isinstance(known, asyncio.Task):
            await asyncio.wait([known])

    async def _answer(self, link: Link) -> bool:
        answer: Any = None
        if link.peer.negotiated & DistFlag.SPAWN:  # Others, such as C nodes, have no erpc.
            try:
                async with asyncio.timeout(ASK_TIME):
                    answer = await self._ask(link.peer.name)
            except (QuicDistError, TimeoutError):
                pass  # ``undef``: a BEAM, or a Python node without a tracer.
        takes = isinstance(answer, list) and TRACEPARENT in answer
        self._known[link] = takes
        return takes


def traced_mfa(headers: Headers, mfa: MFA) -> MFA:
    """The call of ``mfa``, with headers."""
    return (MODULE, TRACED, [_pairs(headers), *mfa])


def of_mfa(mfa: tuple[Any, Any, Any]) -> tuple[dict[str, str], tuple[Any, Any, Any]]:
    """The headers of a call, and the call without them."""
    match mfa:
        case (module, function, [headers, inner, name, list(arguments)]) if (module, function) == (
            MODULE,
            TRACED,
        ):
            return _dict(headers), (inner, name, arguments)
    return {}, mfa


def traced_tag(headers: Headers, tag: ImproperList) -> ImproperList:
    """The tag of a ``gen`` call, with headers."""
    return ImproperList([tag], (TRACEPARENT, _pairs(headers)))


def of_tag(tag: Any) -> dict[str, str]:
    """The headers in the tag of a ``gen`` call."""
    match tag:
        case ImproperList(tail=(name, headers)) if name == TRACEPARENT:
            return _dict(headers)
    return {}


def reference_of(tag: Any) -> Reference | None:
    """The alias in the tag of a reply to a call of this node."""
    if isinstance(tag, ImproperList):
        if isinstance(tag.tail, tuple) and isinstance(tag.elements[0], ImproperList):
            tag = tag.elements[0]
        if isinstance(tag.tail, Reference):
            return tag.tail
    return None


def _pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def _dict(headers: Any) -> dict[str, str]:
    """Headers of a peer, as far as they are plausible."""
    found: dict[str, str] = {}
    for pair in headers[:MAX_HEADERS] if isinstance(headers, list) else ():
        match pair:
            case (bytes() as name, bytes() as value) if len(name) + len(value) <= MAX_BYTES:
                if name.isascii() and value.isascii():
                    found[name.decode()] = value.decode()
    return found
