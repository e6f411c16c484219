"""``pg``: groups of processes, known to all nodes of a scope.

OTP: ``pg(3)``. A scope is a process with the same name on every node that takes part. The processes find
each other by ``{discover, Pid}``, send all their members by a cast ``{sync, Pid, [{Group, Pids}]}``, and
then each ``{join, Pid, Group, Pids}`` and ``{leave, Pid, Pids, Groups}``. From OTP 29 on, a ``discover``
with a version asks for other messages, one without for these.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import Any

from quicdist.logs import get_logger
from quicdist.node.errors import NodeError
from quicdist.node.local_node import LocalNode, NodeEvent, NodeUp
from quicdist.node.process import Process
from quicdist.node.reports import Shown
from quicdist.otp import gen_server, server_start
from quicdist.otp.gen_messages import GEN_CAST, From
from quicdist.otp.pg_groups import Groups, surplus
from quicdist.protocol import DistFlag
from quicdist.term import Atom, Map, Pid, Reference
from quicdist.term.names import Name, name_of, named_term

log = get_logger("quicdist.otp")

_DISCOVER, _SYNC, _JOIN, _LEAVE = Atom("discover"), Atom("sync"), Atom("join"), Atom("leave")
_NOLOCAL = Atom("nolocal")

#: Seconds between two ``discover`` messages to nodes that have not answered.
REDISCOVER = 5.0

#: One or several processes of this node, for :meth:`Scope.join` and :meth:`Scope.leave`.
Members = Process | Pid | Iterable[Process | Pid]


class ProcessGroups:
    """Starts the scopes of ``pg`` on a node."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def start(self, scope: Name = "pg", *, rediscover: float = REDISCOVER) -> Scope:
        """Start a scope (``pg:start/1``). Elixir modules have their full names,
        ``"Elixir.Phoenix.PubSub"``.

        A hidden node does not learn of scopes that start on nodes that are connected already, so it asks
        nodes without an answer again every ``rediscover`` seconds. Raises :class:`NameRegistered`.
        """
        scope = name_of(scope, "a scope")
        started = Scope(self._node, scope, rediscover)
        server_start.start(self._node.runtime, started, name=scope)
        return started


class Scope(gen_server.GenServer):
    """One scope on this node; ``self.process.stop()`` ends it.

    A group is any term; a ``str`` stands for the atom. A process that ends leaves all its groups.
    """

    def __init__(self, node: LocalNode, name: str, rediscover: float) -> None:
        self.scope = Atom(name)
        self._node = node
        self._rediscover = rediscover
        self._here = Groups(node.codec.none)
        #: The scope's processes on other nodes, and the groups of each.
        self._peers: dict[Pid, Groups] = {}
        #: By member of this node: its monitor, and its groups, each as often as it has joined.
        self._members: dict[Pid, tuple[Reference, list[Any]]] = {}
        #: By reference: the process that monitors, and the group, None for all groups.
        self._watchers: dict[Reference, tuple[Process, bytes | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- members and groups ------------------------------------------------------------------------

    def get_members(self, group: Any) -> list[Pid]:
        """The members of a group on all nodes (``pg:get_members/2``)."""
        group = named_term(group)
        members = list(self._here[group])
        for theirs in self._peers.values():
            members += theirs[group]
        return members

    def get_local_members(self, group: Any) -> list[Pid]:
        """The members on this node (``pg:get_local_members/2``)."""
        return list(self._here[named_term(group)])

    def which_groups(self) -> list[Any]:
        """The groups that have a member (``pg:which_groups/1``)."""
        known = self._here.keyed()
        for theirs in self._peers.values():
            known |= theirs.keyed()
        return list(known.values())

    def which_local_groups(self) -> list[Any]:
        """The groups that have a member on this node (``pg:which_local_groups/1``)."""
        return list(self._here.keyed().values())

    def get_state(self) -> Any:
        return {
            Atom("scope"): self.scope,
            Atom("local"): self._here.pairs(),
            Atom("remote"): [(peer, theirs.pairs()) for peer, theirs in self._peers.items()],
        }

    # -- joining and leaving -----------------------------------------------------------------------

    def join(self, group: Any, members: Members) -> None:
        """Let one or several processes of this node join a group; a process can join several times
        (``pg:join/3``). Raises :class:`NodeError` for a process of another node."""
        group, pids = named_term(group), self._local(members)
        new = [pid for pid in dict.fromkeys(pids) if pid not in self._members]
        self._members |= {pid: (self._reference(), []) for pid in new}
        for pid in pids:
            self._members[pid][1].insert(0, group)
        self._here.join(group, pids)
        self._notify(_JOIN, group, pids)
        self._tell_peers((_JOIN, self.process.pid, group, pids))
        for pid in new:  # last, because a process that has ended leaves at once
            self._monitor(self._members[pid][0], pid, functools.partial(self._ended, pid))

    def leave(self, group: Any, members: Members) -> bool:
        """Let processes leave a group, each one time (``pg:leave/3``); False if none of them was in it
        (``not_joined``)."""
        group, pids = named_term(group), self._local(members)
        if not any(pid in self._here[group] for pid in pids):
            return False
        key = self._here.key(group)
        for pid in pids:
            reference, groups = self._members.get(pid, (None, []))
            at = next((at for at, one in enumerate(groups) if self._here.key(one) == key), None)
            if reference is not None and at is not None:
                del groups[at]
                if not groups:
                    del self._members[pid]
                    self._demonitor(reference)
        self._here.leave(group, pids)
        self._notify(_LEAVE, group, pids)
        self._tell_peers((_LEAVE, self.process.pid, pids, [group]))
        return True

    def _local(self, members: Members) -> list[Pid]:
        several = [members] if isinstance(members, Process | Pid) else members
        pids = [member.pid if isinstance(member, Process) else member for member in several]
        for pid in pids:
            if not isinstance(pid, Pid) or not self._node.runtime.is_local(pid):
                error = NodeError(f"{pid} is not local to {self._node.name}, and cannot join or leave here")
                error.exit_reason = ((_NOLOCAL, pid), [])
                raise error
        return pids

    def _ended(self, pid: Pid) -> None:
        """A member of this node has ended."""
        _, groups = self._members.pop(pid)
        for group in groups:
            self._here.leave(group, [pid])
            self._notify(_LEAVE, group, [pid])
        self._tell_peers((_LEAVE, self.process.pid, [pid], groups))

    # -- monitors ----------------------------------------------------------------------------------

    def monitor(self, group: Any, process: Process) -> tuple[Reference, list[Pid]]:
        """Send ``process`` a message for each change of a group, ``{Reference, join | leave, Group,
        Pids}``. Returns the reference and the current members (``pg:monitor/2``)."""
        return self._watch(process, self._here.key(named_term(group))), self.get_members(group)

    def monitor_scope(self, process: Process) -> tuple[Reference, Map]:
        """The same for all groups: the members by group (``pg:monitor_scope/1``)."""
        groups = self.which_groups()
        return self._watch(process, None), Map((group, self.get_members(group)) for group in groups)

    def demonitor(self, reference: Reference) -> bool:
        """End a monitor, and drop its messages that have not been received (``pg:demonitor/2``); False
        if there is no such monitor."""
        process, _ = self._watchers.pop(reference, (None, None))
        if process is None:
            return False
        self._demonitor(reference)
        while process.mailbox.discard(lambda message: _is_change(message, reference)):
            pass
        return True

    def _watch(self, process: Process, key: bytes | None) -> Reference:
        reference = self._reference()
        self._watchers[reference] = process, key
        self._monitor(reference, process.pid, lambda: self._watchers.pop(reference, None))
        return reference

    def _notify(self, what: Atom, group: Any, pids: list[Pid]) -> None:
        if not pids or not self._watchers:
            return
        key = self._here.key(group)
        for reference, (process, wanted) in list(self._watchers.items()):
            if wanted in (None, key):
                self._node.runtime.deliver(process, (reference, what, group, list(pids)))

    # -- the scope on other nodes ------------------------------------------------------------------

    def init(self) -> None:
        self._unsubscribe = self._node.subscribe(self._node_event)
        self._discover_all()

    def terminate(self, reason: Any) -> None:
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()

    def _node_event(self, event: NodeEvent) -> None:
        if isinstance(event, NodeUp):
            self._discover(event.node)

    def _discover_all(self) -> None:
        """Send ``discover`` to the nodes that have not answered. A hidden node repeats this: a scope that
        starts later does not know it, while it knows visible nodes."""
        known = {peer.node.name for peer in self._peers}
        for link in self._node.connections.links():
            if link.peer.name not in known:
                self._discover(link.peer.name)
        if DistFlag.PUBLISHED not in self._node.identity.flags:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._rediscover, self._discover_all)

    def _discover(self, node: str) -> None:
        self._send((self.scope, node), node, (_DISCOVER, self.process.pid))

    def handle_info(self, message: Any) -> None:
        match message:
            case (what, Pid() as peer) | (what, Pid() as peer, _) if what == _DISCOVER:
                self._discovered(peer)
            case (what, Pid() as peer, group, pids) if what == _JOIN and peer in self._peers:
                pids = _pids(pids)
                self._peers[peer].join(group, pids)
                self._notify(_JOIN, group, pids)
            case (what, Pid() as peer, pids, list() as groups) if what == _LEAVE and peer in self._peers:
                pids = _pids(pids)
                for group in groups:
                    self._peers[peer].leave(group, pids)
                    self._notify(_LEAVE, group, pids)
            case _:
                # Also late messages of a scope that has ended, as in OTP.
                log.debug("the scope %s got an unexpected message: %s", self.scope, Shown(message))

    def handle_cast(self, request: Any) -> None:
        match request:
            case (what, Pid() as peer, list() as groups) if what == _SYNC:
                self._synchronised(peer, groups)
            case _:
                self.handle_info(request)

    def handle_call(self, request: Any, sender: From) -> Any:
        log.debug("the scope %s got an unexpected call: %s", self.scope, Shown(request))
        return gen_server.NO_REPLY

    def _discovered(self, peer: Pid) -> None:
        if not self._node.connections.is_linked(peer.node.name):
            return  # do not dial for it: it is gone, or its pid is made up
        self._synchronise(peer)
        if peer not in self._peers:
            self._add_peer(peer)
            self._tell(peer, (_DISCOVER, self.process.pid))

    def _synchronised(self, peer: Pid, pairs: list[Any]) -> None:
        """Replace the members of a peer by those in ``pairs``."""
        if not self._node.connections.is_linked(peer.node.name):
            return
        if peer not in self._peers:
            self._add_peer(peer)
        before, now = self._peers[peer], Groups(self._node.codec.none)
        for pair in pairs:
            if isinstance(pair, tuple) and len(pair) == 2:
                now.join(pair[0], _pids(pair[1]))
        self._peers[peer] = now
        groups = before.keyed() | now.keyed()
        for group in groups.values():
            self._notify(_JOIN, group, surplus(now[group], before[group]))
            self._notify(_LEAVE, group, surplus(before[group], now[group]))

    def _add_peer(self, peer: Pid) -> None:
        self._peers[peer] = Groups(self._node.codec.none)
        self._monitor(self._reference(), peer, functools.partial(self._gone, peer))

    def _gone(self, peer: Pid) -> None:
        for group, pids in self._peers.pop(peer).pairs():
            self._notify(_LEAVE, group, pids)

    def _synchronise(self, peer: Pid) -> None:
        self._tell(peer, (GEN_CAST, (_SYNC, self.process.pid, self._here.pairs())))

    def _tell_peers(self, message: Any) -> None:
        for peer in self._peers:
            self._tell(peer, message)

    def _tell(self, peer: Pid, message: Any) -> None:
        self._send(peer, peer.node.name, message)

    def _send(self, to: Any, node: str, message: Any) -> None:
        if self._node.runtime.is_connected(node):  # do not dial for it
            self.process.send(to, message)

    def _reference(self) -> Reference:
        return self._node.runtime.identifiers.reference()

    def _monitor(self, reference: Reference, target: Pid, gone: Callable[[], Any]) -> None:
        process, monitors = self.process, self._node.runtime.monitors
        monitors.monitor(process, process.pid, target, lambda _: gone(), reference=reference)

    def _demonitor(self, reference: Reference) -> None:
        self._node.runtime.monitors.demonitor(reference, self.process.pid)


def _pids(pids: Any) -> list[Pid]:
    """The pids in a term from another node: a pid or a list of them."""
    return [pid for pid in (pids if isinstance(pids, list) else [pids]) if isinstance(pid, Pid)]


def _is_change(message: Any, reference: Reference) -> bool:
    """``{Reference, join | leave, _, _}``."""
    return isinstance(message, tuple) and len(message) == 4 and message[0] == reference
