"""The protocol between the ``global_name_server`` processes of published nodes, without I/O.

OTP: ``global``, protocol version 8 (OTP 25 to 29), and what it says to versions 5 to 7. When two nodes are
connected:

1. Each server casts ``{init_connect, {Vsn, MyTag}, Node, {locker, _, Known, Locker}}``. A tag stands for
   one attempt; each later message carries the tag of its receiver. ``init_connect_ack`` has both tags.
2. The two lockers agree (see :mod:`~quicdist.otp.global_locker`), by ``{lock_set, Locker, Set, Known, Tag}``.
3. Each server casts ``{exchange, Node, Names, _, Tag}``; a resolver compares the names of both.
4. Each casts ``{resolved, Node, Resolved, Known, _, NamesExt, Tag}``, does what both resolvers found, and
   tells the nodes it knew before: ``{new_nodes, Node, Ops, NamesExt, Nodes, Info}``.
5. Nodes that a node learns of in this way are connected to, and told ``{in_sync, Node, true}``: they exchange
   no names.

``{cancel_connect, Node, Tag}`` ends an attempt; both sides begin another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from quicdist.otp.global_known import VERSION, WITH_VERSIONS, KnownNodes, nodes_of, nodes_term
from quicdist.otp.global_locker import AddKnown, Cancel, HisLocker, LockIsSet, LockSet, RemoveKnown
from quicdist.otp.global_partitions import LostConnections
from quicdist.otp.global_port import GlobalPort, Work
from quicdist.otp.global_registry import Registry
from quicdist.otp.global_resolving import Operations, operations
from quicdist.otp.global_sync import Syncer, Syncers
from quicdist.otp.global_table import MAX_NAMES
from quicdist.term import Atom, Pid

#: The oldest version that OTP's ``global`` can speak with.
_OLDEST = 5

_INIT_CONNECT, _INIT_CONNECT_ACK = Atom("init_connect"), Atom("init_connect_ack")
_CANCEL_CONNECT = Atom("cancel_connect")
_LOCKER, _NO_PID = Atom("locker"), Atom("no_longer_a_pid")
_EXCHANGE, _RESOLVED, _UNUSED = Atom("exchange"), Atom("resolved"), Atom("unused")
_NEW_NODES, _IN_SYNC, _LOCK_SET = Atom("new_nodes"), Atom("in_sync"), Atom("lock_set")
_LOST_CONNECTION, _REMOVE_CONNECTION = Atom("lost_connection"), Atom("remove_connection")
_VSN, _LOCK, _UNDEFINED = Atom("vsn"), Atom("lock"), Atom("undefined")


#: See :class:`~quicdist.otp.global_locker.Cancel`.
LastCasts = Callable[[], Iterable[tuple[str, Any]]]


@dataclass(frozen=True, slots=True)
class ResolverEnded:
    """To the server: a resolver has compared the names of a node."""

    node: str
    my_tag: int
    ours: Operations
    theirs: Operations


@dataclass(slots=True)
class _Attempt:
    """The exchange with one node, from nodeup or its ``init_connect`` to ``resolved``."""

    #: None before the node is up here.
    my_tag: int | None = None
    his_tag: int | None = None
    version: int | None = None
    #: An ``init_connect`` that came before the node was up here.
    early: tuple[int, int, Pid] | None = None
    lock_is_set: bool = False
    lock_id: Any = None
    #: His names, if they came before the lock was set.
    names: list[Any] | None = None
    stop_resolver: Callable[[], None] | None = None
    #: What our resolver found is to be done here.
    operations: Operations | None = None
    #: His ``resolved``, if it came before our resolver has ended: operations, known nodes, external names.
    resolved: tuple[list[Any], list[Any], list[Any]] | None = None


class GlobalProtocol:
    """The state of one node's ``global_name_server``.

    ``creation`` is that of the node. With ``connect_all`` false it exchanges nothing with others;
    ``prevent_overlapping_partitions`` is as in *kernel(6)*.
    """

    def __init__(
        self,
        port: GlobalPort,
        creation: int,
        *,
        connect_all: bool = True,
        prevent_overlapping_partitions: bool = True,
    ) -> None:
        self._port = port
        self.name = port.name
        self.connect_all = connect_all
        self.prevent_overlapping_partitions = prevent_overlapping_partitions
        self.registry = Registry(port)
        self.syncers = Syncers()
        self.known = KnownNodes()
        self._attempts: dict[str, _Attempt] = {}
        self._lost = LostConnections(creation, port.random)
        self._work: Work | None = None

    # -- what is known -----------------------------------------------------------------------------

    def state_term(self) -> tuple[Any, ...]:
        """The known nodes, the synchronised ones, and those whose names are being exchanged."""
        attempts = [
            (Atom(node), attempt.my_tag)
            for node, attempt in self._attempts.items()
            if attempt.my_tag is not None
        ]
        return (self.known.term(), [Atom(node) for node in self.syncers.synced], attempts)

    def sync(self, nodes: Iterable[str], done: Callable[[], None]) -> bool:
        """Call ``done`` when the names of all these nodes are the same as here; nodes that are not
        connected and cannot be, or go down, do not count (``global:sync/1``). False if too many wait."""
        syncer = self.syncers.add((node for node in nodes if node != self.name), done)
        if syncer is None:
            return False
        for node in list(syncer.nodes):
            if not self._port.is_visible(node):
                self._port.connect(node, partial(self._sync_connected, syncer, node))
        return True

    def _sync_connected(self, syncer: Syncer, node: str, connected: bool) -> None:
        if not connected:
            self.syncers.gone(node, syncer)

    # -- nodes that come and go --------------------------------------------------------------------

    def node_up(self, node: str, connection_id: int) -> None:
        """A visible node is connected."""
        self.known.connection_ids[node] = connection_id
        if self.connect_all:
            self._begin(node)

    def _begin(self, node: str) -> None:
        """Offer to exchange names (``handle_nodeup/2``)."""
        attempt = self._attempts.setdefault(node, _Attempt())
        if node in self.known.versions or attempt.my_tag is not None:
            return
        attempt.my_tag = self._port.unique_integer()
        locker = (_LOCKER, _NO_PID, self.known.term(), self._port.locker)
        self._port.cast(node, (_INIT_CONNECT, (VERSION, attempt.my_tag), Atom(self.name), locker))
        early, attempt.early = attempt.early, None
        if early is not None:
            self._init_connect(node, *early)

    def node_down(self, node: str) -> None:
        """The connection to a node has ended. That of a hidden one concerns nobody."""
        if self.known.connection_ids.pop(node, None) is None:
            self._attempts.pop(node, None)
        else:
            self._gone(node)

    def _gone(self, node: str) -> None:
        self._forget(node)
        if node in self.known.removing:
            self.known.removing.discard(node)
        else:
            self._tell_lost(node)
        self.known.remove(node)

    def _forget(self, node: str) -> None:
        """End the exchange with a node, and forget what its processes had here."""
        self._cancel(node, self._my_tag(node))
        self._port.tell_locker(RemoveKnown(node))
        self._attempts.pop(node, None)
        self.syncers.down(node)
        self.registry.node_down(node)

    def _remove(self, node: str) -> None:
        """The connection to a node is to end here; others are not told."""
        self._forget(node)
        self.known.removing.add(node)
        self.known.remove(node)

    def disconnect(self) -> list[str]:
        """End the connections to all published nodes; their names (``global:disconnect/0``). Others are not
        told."""
        nodes = list(self.known.connection_ids)
        for node in nodes:
            self._remove(node)
            self._port.disconnect(node)
        return nodes

    def stopping(self) -> None:
        """The node stops: other nodes are not told of the connections that end (``prepare_shutdown``)."""
        self.connect_all = self.prevent_overlapping_partitions = False

    # -- an attempt --------------------------------------------------------------------------------

    def _my_tag(self, node: str) -> int | None:
        attempt = self._attempts.get(node)
        return None if attempt is None else attempt.my_tag

    def _current(self, node: str, my_tag: Any) -> _Attempt | None:
        """The attempt that a message with this tag belongs to."""
        attempt = self._attempts.get(node)
        if attempt is None or attempt.my_tag is None or not _same(attempt.my_tag, my_tag):
            return None
        return attempt

    def _cancel(self, node: str, my_tag: int | None, last_casts: LastCasts | None = None) -> None:
        """End the locks and the resolver of an attempt (``cancel_locker``)."""
        if my_tag is None:
            return
        self._port.tell_locker(Cancel(node, my_tag, last_casts))
        attempt = self._current(node, my_tag)
        if attempt is None:
            return
        if self.known.pending.get(node, 0) >= VERSION and attempt.his_tag is not None:
            self._port.send(node, (_CANCEL_CONNECT, Atom(self.name), attempt.his_tag))
        if attempt.stop_resolver is not None:
            attempt.stop_resolver()
            attempt.stop_resolver = None

    def _restart(self, node: str) -> None:
        """Begin another attempt (``restart_connect/3``)."""
        my_tag = self._my_tag(node)
        self._cancel(node, my_tag)
        self._attempts.pop(node, None)
        self.known.pending.pop(node, None)
        self.registry.node_down(node)
        if my_tag is not None:
            self._begin(node)

    def _init_connect(self, node: str, version: int, his_tag: int, locker: Pid) -> None:
        if node in self.known.pending:
            if version < VERSION:
                self._port.warn(
                    "global: %s has protocol version %d and began again; disconnected", node, version
                )
                self._port.disconnect(node)
            else:
                self._port.send(node, (_CANCEL_CONNECT, Atom(self.name), his_tag))
                self._restart(node)
            return
        attempt = self._attempts.setdefault(node, _Attempt())
        attempt.version, attempt.his_tag = min(version, VERSION), his_tag
        if attempt.my_tag is None:
            attempt.early = version, his_tag, locker
            return
        self._port.tell_locker(HisLocker(locker, attempt.version, his_tag, attempt.my_tag))
        if version >= VERSION:
            self._port.send(node, (_INIT_CONNECT_ACK, Atom(self.name), his_tag, attempt.my_tag))
        self.known.pending[node] = version

    def _lock_is_set(self, message: LockIsSet) -> None:
        node = message.node
        attempt = self._current(node, message.my_tag)
        if attempt is None:
            self._cancel(node, message.my_tag)
            return
        names = [(known.name, known.pid, known.method) for known in self.registry.names.items()]
        self._port.cast(node, (_EXCHANGE, Atom(self.name), names, [], attempt.his_tag))
        attempt.lock_id, attempt.lock_is_set = message.lock_id, True
        self._resolve(node, attempt)

    def _exchanged(self, node: str, names: list[Any], my_tag: Any) -> None:
        attempt = self._current(node, my_tag)
        if attempt is None:
            self._cancel(node, my_tag)
            return
        attempt.names = names
        self._resolve(node, attempt)

    def _resolve(self, node: str, attempt: _Attempt) -> None:
        """Compare the names if both sides are locked and his names have come."""
        if attempt.lock_is_set and attempt.names is not None and attempt.my_tag is not None:
            names, attempt.names, attempt.lock_is_set = attempt.names, None, False
            attempt.stop_resolver = self._port.start_resolver(node, attempt.my_tag, names)

    def _resolver_ended(self, message: ResolverEnded) -> None:
        node = message.node
        attempt = self._current(node, message.my_tag)
        if attempt is None:
            self._cancel(node, message.my_tag)
            return
        attempt.stop_resolver = None
        known = nodes_term(self.known.versions, self.known.version(node))
        external = self.registry.external_names()
        self._port.cast(
            node, (_RESOLVED, Atom(self.name), message.theirs, known, _UNUSED, external, attempt.his_tag)
        )
        attempt.operations = message.ours
        self._finish_if_ready(node, attempt)

    def _resolved(self, node: str, resolved: tuple[list[Any], list[Any], list[Any]], my_tag: Any) -> None:
        attempt = self._current(node, my_tag)
        if attempt is None:
            self._cancel(node, my_tag)
            return
        attempt.resolved = resolved
        self._finish_if_ready(node, attempt)

    def _finish_if_ready(self, node: str, attempt: _Attempt) -> None:
        ours, resolved = attempt.operations, attempt.resolved
        if ours is not None and resolved is not None:
            attempt.resolved = None
            self._work = self._finish(node, attempt, ours, *resolved)

    def _finish(
        self,
        node: str,
        attempt: _Attempt,
        ours: Operations,
        theirs: list[Any],
        his_known: list[Any],
        external: list[Any],
    ) -> Work:
        """Do what both resolvers have found, and tell the nodes that were known before
        (``resolved/5``)."""
        found = ours + operations(theirs)
        his_nodes = nodes_of(his_known, self.name)
        new_nodes = {node: self.known.version(node)} | {
            other: version or self.known.version(other) for other, version in his_nodes.items()
        }
        self._connect_to(his_nodes)
        lock = _UNDEFINED if attempt.lock_id is None else attempt.lock_id
        info = [(_VSN, attempt.version), (_LOCK, lock)]
        yield from self.registry.do(found, external, info)
        for other in his_nodes:
            self._end(other)
        told = dict(self.known.versions)
        message = (_NEW_NODES, Atom(self.name), found, external)
        self._end(node, partial(_new_nodes_messages, told, message, new_nodes, info))
        self._port.tell_locker(AddKnown(self.known.add(new_nodes)))
        self.syncers.synced_with(node)

    def _end(self, node: str, last_casts: LastCasts | None = None) -> None:
        """The exchange with a node is over, and need not be begun (``cancel_resolved_locker/3``)."""
        self.known.pending.pop(node, None)
        self._cancel(node, self._my_tag(node), last_casts)
        self._attempts.pop(node, None)

    # -- other nodes -------------------------------------------------------------------------------

    def _connect_to(self, nodes: Iterable[str]) -> None:
        """Connect to nodes and tell them that no names need be exchanged (``sync_others/1``)."""
        for node in nodes:
            self._port.connect(node, partial(self._connected_to, node))

    def _connected_to(self, node: str, connected: bool) -> None:
        if connected:
            self._port.cast(node, (_IN_SYNC, Atom(self.name), True))
        else:
            self._port.warn("global: %s failed to connect to %s", self.name, node)
            self._gone(node)
            self.known.connection_ids.pop(node, None)

    def _new_nodes(self, found: list[Any], external: list[Any], nodes: list[Any], info: Any) -> Work:
        added = self.known.add(nodes_of(nodes, self.name))
        self._connect_to(added)
        yield from self.registry.do(operations(found), external, info)
        self._port.tell_locker(AddKnown(added))

    def _in_sync(self, node: str) -> None:
        if self._port.is_visible(node):
            self.syncers.synced_with(node)
            self._end(node)

    # -- overlapping partitions --------------------------------------------------------------------

    def _prevents(self) -> bool:
        return self.connect_all and self.prevent_overlapping_partitions

    def _tell_lost(self, node: str) -> None:
        """Tell all others that the connection to a node is lost (``inform_connection_loss/2``)."""
        if self._prevents():
            number = self._lost.next_number()
            self._multicast(
                (_LOST_CONNECTION, Atom(self.name), self._lost.creation, number, Atom(node)), node
            )

    def _multicast(self, message: Any, without: str) -> None:
        for node in self.known.informed(without):
            self._port.send(node, message)

    def _lost_connection(self, message: Any, one: str, creation: int, number: int, other: str) -> None:
        """``one`` has lost its connection to ``other``: end the one to ``other`` here."""
        if not self._prevents() or not self._lost.is_new((one, other), creation, number, self._port.now()):
            return
        self._multicast(message, one)
        node = one if other == self.name else other
        if node not in self.known:
            return
        if self.known.version(node) < WITH_VERSIONS:
            self._port.disconnect(node)
            what = "disconnected old"
        else:
            self._port.send(node, (_REMOVE_CONNECTION, Atom(self.name)))
            what = "requested disconnect from"
        self._port.warn(
            "'global' at node %s %s node %s in order to prevent overlapping partitions", self.name, what, node
        )
        self._remove(node)

    def _remove_connection(self, node: str) -> None:
        """Another node wants this one to end their connection."""
        if node not in self.known:
            return
        self._remove(node)
        self._port.disconnect(node)
        self._port.warn(
            "'global' at node %s disconnected node %s in order to prevent overlapping partitions",
            self.name,
            node,
        )

    # -- messages ----------------------------------------------------------------------------------

    def take_work(self) -> Work:
        """What :meth:`handle_cast` has left to do."""
        work, self._work = self._work, None
        return iter(()) if work is None else work

    def handle_cast(self, message: Any) -> bool:
        """A cast from another node or a message of this node's own; whether it is known. What takes long is
        left for :meth:`take_work`."""
        match message:
            case LockIsSet():
                self._lock_is_set(message)
            case ResolverEnded():
                self._resolver_ended(message)
            case (kind, vsn, Atom() as node, (_, _, _, Pid() as locker)) if kind == _INIT_CONNECT:
                self._offered(node.name, vsn, locker)
            case (kind, Atom() as node, list() as names, _, my_tag) if kind == _EXCHANGE:
                if self._are_few(node.name, names):
                    self._exchanged(node.name, names, my_tag)
            case (kind, Atom() as node, list() as his, list() as known, _, list() as external, my_tag) if (
                kind == _RESOLVED
            ):
                if self._are_few(node.name, his, known, external):
                    self._resolved(node.name, (his, known, external), my_tag)
            case (kind, Atom() as node, list() as found, list() as external, list() as nodes, info) if (
                kind == _NEW_NODES
            ):
                if self._are_few(node.name, found, nodes, external):
                    self._work = self._new_nodes(found, external, nodes, info)
            case (kind, Atom() as node, _) if kind == _IN_SYNC:
                self._in_sync(node.name)
            case (kind, Pid() as locker, bool() as is_set, _, my_tag) if kind == _LOCK_SET:
                if self._current(locker.node.name, my_tag) is not None:
                    self._port.tell_locker(LockSet(locker, is_set, my_tag))
            case (kind, Pid() as locker, bool() as is_set, _) if kind == _LOCK_SET:
                if locker.node.name in self.known.pending:
                    self._port.tell_locker(LockSet(locker, is_set, None))
            case _:
                return False
        return True

    def _are_few(self, node: str, *names_or_nodes: list[Any]) -> bool:
        """Whether a message of a node has no more names than a node can keep. Otherwise the connection ends:
        the tables of both nodes could not become the same."""
        most = max(map(len, names_or_nodes))
        if most <= MAX_NAMES:
            return True
        self._port.warn("global: %s sent %d names, more than %d; disconnected", node, most, MAX_NAMES)
        self._port.disconnect(node)
        return False

    def _offered(self, node: str, vsn: Any, locker: Pid) -> None:
        """``init_connect``: only of a connected node, and with a locker of its own."""
        if not self._port.is_visible(node) or locker.node.name != node:
            return
        match vsn:
            case (int() as version, int() as his_tag, *_) if version >= _OLDEST:
                self._init_connect(node, version, his_tag, locker)
            case _:
                self._port.warn("global: %s has the protocol version %s, which is unknown", node, vsn)

    def handle_info(self, message: Any) -> bool:
        """Another message; whether it is known."""
        match message:
            case (kind, Atom() as node, my_tag) if kind == _CANCEL_CONNECT:
                if self._current(node.name, my_tag) is not None:
                    self._restart(node.name)
            case (kind, Atom() as node, my_tag, his_tag) if kind == _INIT_CONNECT_ACK:
                self._acknowledged(node.name, my_tag, his_tag)
            case (kind, Atom() as one, int() as creation, int() as number, Atom() as other) if (
                kind == _LOST_CONNECTION
            ):
                self._lost_connection(message, one.name, creation, number, other.name)
            case (kind, Atom() as node) if kind == _REMOVE_CONNECTION:
                self._remove_connection(node.name)
            case _:
                return False
        return True

    def _acknowledged(self, node: str, my_tag: Any, his_tag: Any) -> None:
        """``init_connect_ack``: both sides must mean the same attempt."""
        attempt = self._attempts.get(node)
        if attempt is not None and _same(attempt.my_tag, my_tag) and _same(attempt.his_tag, his_tag):
            return
        if self._port.is_visible(node) and type(his_tag) is int:
            self._port.send(node, (_CANCEL_CONNECT, Atom(self.name), his_tag))
            self._restart(node)


def _new_nodes_messages(
    told: dict[str, int], message: tuple[Any, ...], new_nodes: dict[str, int], info: Any
) -> Iterator[tuple[str, Any]]:
    """What the nodes that were known before are told: ``message`` with the nodes that are new."""
    for node, version in told.items():
        yield node, (*message, nodes_term(new_nodes, version), info)


def _same(one: Any, other: Any) -> bool:
    return type(one) is int and type(other) is int and one == other
