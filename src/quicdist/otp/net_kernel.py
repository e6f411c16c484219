"""``net_kernel``: the connected nodes, monitors of nodes, and the nodes that may connect. Its process is
:mod:`quicdist.otp.net_kernel_server`.

OTP: ``net_kernel(3)``, ``net_adm:ping/1``, ``erlang:nodes/1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from quicdist.carrier import NetAddress
from quicdist.errors import QuicDistError
from quicdist.node.errors import NetTickTimeout, NodeError, NotConnected
from quicdist.node.local_node import LocalNode, NodeEvent, NodeUp
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.otp.deadline import Deadline, within
from quicdist.otp.gen import GenClient
from quicdist.protocol import DistFlag
from quicdist.protocol.names import node_name, node_names
from quicdist.term import Atom
from quicdist.term.names import Name, name_of

NET_KERNEL = "net_kernel"

IS_AUTH = Atom("is_auth")
YES = Atom("yes")
_NODEUP, _NODEDOWN = Atom("nodeup"), Atom("nodedown")
_NODE_TYPE, _NODEDOWN_REASON, _CONNECTION_ID = (
    Atom("node_type"),
    Atom("nodedown_reason"),
    Atom("connection_id"),
)
_DISCONNECT = Atom("disconnect")
_CONNECTION_CLOSED = Atom("connection_closed")
_NET_TICK_TIMEOUT = Atom("net_tick_timeout")

VISIBLE = "visible"
HIDDEN = "hidden"
_KINDS = (VISIBLE, HIDDEN, "connected", "known", "this")
_NODE_TYPES = (VISIBLE, HIDDEN, "all")


class _Options(NamedTuple):
    """The options of ``monitor_nodes``: kinds of nodes, form and content of the messages."""

    shape: type | None
    node_type: str
    typed: bool
    reason: bool
    connection_id: bool


def _options(options: Sequence[Any] | Mapping[Any, Any] | None) -> _Options:
    if options is None:
        return _Options(None, VISIBLE, False, False, False)
    chosen: dict[str, Any] = {}
    if isinstance(options, Mapping):
        chosen = {str(key): value for key, value in options.items()}
    else:
        for option in options:
            key, value = option if isinstance(option, tuple) and len(option) == 2 else (option, True)
            chosen[str(key)] = value
    unknown = chosen.keys() - {"node_type", "nodedown_reason", "connection_id"}
    node_type = str(chosen.get("node_type", VISIBLE))
    if unknown or node_type not in _NODE_TYPES:
        raise NodeError(f"unknown options of monitor_nodes: {options!r}")
    return _Options(
        dict if isinstance(options, Mapping) else list,
        node_type,
        "node_type" in chosen,
        bool(chosen.get("nodedown_reason")),
        bool(chosen.get("connection_id")),
    )


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The connection to a node (``net_kernel:node_info/1``).

    ``type`` is ``"visible"`` (OTP's ``normal``) or ``"hidden"``. ``address`` is the peer's, with the
    carrier's family as its ``protocol``. ``received`` and ``sent`` are the counters that liveness checks,
    as in OTP; ``received`` grows with each packet.
    """

    node: str
    type: str
    address: NetAddress
    received: int
    sent: int


class NetKernel:
    """The connected nodes, and the settings for other nodes."""

    def __init__(self, node: LocalNode, gen: GenClient) -> None:
        self._node = node
        self._gen = gen
        self._monitors: list[tuple[Process, _Options]] = []
        self._kinds: dict[str, str] = {}
        self._connection_ids: dict[str, int] = {}
        self._connections = 0
        self._allowed: list[str] = []
        node.subscribe(self._node_event)

    # -- nodes -------------------------------------------------------------------------------------

    def nodes(self, *kinds: Name) -> list[str]:
        """See :meth:`Node.nodes <quicdist.Node.nodes>`."""
        wanted = {name_of(kind, "a kind of nodes") for kind in kinds} or {VISIBLE}
        if not wanted <= set(_KINDS):
            raise NodeError(
                f"no such kind of nodes: {', '.join(sorted(wanted - set(_KINDS)))}; choose from {_KINDS}"
            )
        connected = {
            link.peer.name: self._kind(link.peer.negotiated) for link in self._node.connections.links()
        }
        names = [
            name for name, kind in connected.items() if kind in wanted or wanted & {"connected", "known"}
        ]
        if "known" in wanted:
            names += [name for name in self._kinds if name not in names]
        if wanted & {"this", "known"}:
            names.append(self._node.name)
        return names

    def _kind(self, flags: DistFlag) -> str:
        return VISIBLE if flags & DistFlag.PUBLISHED else HIDDEN

    def node_info(self, node: Name) -> NodeInfo:
        """The connection to ``node`` (``node_info/1``). Raises :class:`NotConnected`."""
        node = node_name(node)
        link = self._node.connections.link(node)
        if link is None:
            raise NotConnected(node, (NodeError("there is no connection"),))
        at = link.remote_address
        family = "inet6" if ":" in at.host else "inet"
        return NodeInfo(
            node,
            self._kind(link.peer.negotiated),
            NetAddress(at.host, at.port, link.carrier_name, family),
            link.stats.received,
            link.stats.sent,
        )

    def nodes_info(self) -> list[NodeInfo]:
        """The connections to all nodes (``nodes_info/0``)."""
        return [self.node_info(link.peer.name) for link in self._node.connections.links()]

    def monitor_nodes(
        self,
        process: Process,
        flag: bool = True,
        options: Sequence[Any] | Mapping[Any, Any] | None = None,
    ) -> None:
        """Send a process a message whenever a node connects or disconnects
        (``net_kernel:monitor_nodes/2``). With ``flag`` false, end what was started with the same options.

        Without options the messages are ``{nodeup, Node}`` and ``{nodedown, Node}``, for visible nodes.
        With a list of options they are ``{nodeup, Node, Info}``; the list can hold ``("node_type",
        "visible" | "hidden" | "all")``, ``"nodedown_reason"`` and ``"connection_id"``. With a map of the
        same keys ``Info`` is a map. Raises :class:`NodeError` for other options.
        """
        wanted = _options(options)
        if flag:
            self._monitors.append((process, wanted))
            process.on_end(lambda: self._forget(process, None))
        else:
            self._forget(process, wanted)

    def _forget(self, process: Process, options: _Options | None) -> None:
        self._monitors = [
            (one, wanted)
            for one, wanted in self._monitors
            if one is not process or (options is not None and wanted != options)
        ]

    def _node_event(self, event: NodeEvent) -> None:
        node = event.node
        if isinstance(event, NodeUp):
            link = self._node.connections.link(node)
            self._kinds[node] = self._kind(link.peer.negotiated) if link is not None else HIDDEN
            self._connections += 1
            self._connection_ids[node] = self._connections
            what, reason = _NODEUP, None
        else:
            what, reason = _NODEDOWN, _reason(event.error)
        for process, wanted in self._monitors:
            if wanted.node_type in ("all", self._kinds[node]):
                message = self._message(what, node, reason, wanted)
                self._node.runtime.deliver(process, message)

    def _message(self, what: Atom, node: str, reason: Atom | None, wanted: _Options) -> tuple[Any, ...]:
        if wanted.shape is None:
            return (what, Atom(node))
        info: list[tuple[Atom, Any]] = []
        if wanted.reason and reason is not None:
            info.append((_NODEDOWN_REASON, reason))
        if wanted.typed:
            info.append((_NODE_TYPE, Atom(self._kinds[node])))
        if wanted.connection_id:
            info.append((_CONNECTION_ID, self._connection_ids[node]))
        return (what, Atom(node), dict(info) if wanted.shape is dict else info)

    # -- pinging and leaving -----------------------------------------------------------------------

    async def is_auth(self, node: Name, timeout: float | None) -> None:
        """Ping ``node`` as ``net_adm:ping/1`` does. Raises the error if that fails; ``timeout`` (seconds)
        includes connecting."""
        node = node_name(node)
        deadline = Deadline(timeout)
        if node != self._node.name:
            async with within(timeout, node):
                await self._node.connections.connect(node)
        answer = await self._gen.call(
            (NET_KERNEL, node), (IS_AUTH, Atom(self._node.name)), timeout=deadline.left()
        )
        if answer != YES:
            raise NodeError(f"{node} answered {shown(answer)} to a ping")

    def disconnect(self, node: Name) -> bool:
        """End the connection to a node (``net_kernel:disconnect/1``); whether there was one."""
        return self._node.connections.disconnect(node_name(node))

    # -- settings for other nodes ------------------------------------------------------------------

    def allow(self, nodes: Iterable[Name]) -> None:
        """Allow connections only with these nodes and those allowed before (``net_kernel:allow/1``).
        Existing connections stay."""
        more = [node_name(node) for node in node_names(nodes)]
        self._node.connections.allow(more)
        self._allowed += more

    def allowed(self) -> list[str]:
        """The allowed nodes; an empty list means all (``net_kernel:allowed/0``)."""
        return list(self._allowed)

    def set_cookie(self, node: Name, cookie: Name) -> None:
        """Set the cookie for one node (``erlang:set_cookie/2``)."""
        self._node.set_cookie(node, cookie)

    def get_cookie(self, node: Name) -> str:
        """The cookie for a node (``erlang:get_cookie/1``)."""
        return self._node.cookie_for(node)

    def get_net_ticktime(self) -> float:
        """Seconds of silence after which a node counts as down (``get_net_ticktime/0``)."""
        return self._node.net_ticktime


def _reason(error: QuicDistError | None) -> Atom:
    """OTP's ``nodedown_reason`` for the end of a connection."""
    if error is None:
        return _DISCONNECT
    return _NET_TICK_TIMEOUT if isinstance(error, NetTickTimeout) else _CONNECTION_CLOSED
