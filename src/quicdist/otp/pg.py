"""``pg``: groups of processes that all nodes of a scope see.

OTP: ``pg(3)``. A scope is a process of the same name on every node that has it. They know each
other by ``{discover, Pid}``, tell all they have by a cast ``{sync, Pid, [{Group, Pids}]}``, and from
then on every ``{join, Pid, Group, Pids}`` and ``{leave, Pid, Pids, Groups}``. From OTP 29 on a
``discover`` that names a version asks for other messages; one that does not, for these.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import Any

from quicdist.logs import get_logger
from quicdist.node.core import NodeCore, NodeEvent, NodeUp
from quicdist.node.errors import NodeError
from quicdist.node.process import Process
from quicdist.node.reports import Shown
from quicdist.otp import gen_server, server_process
from quicdist.otp.gen import GEN_CAST, From
from quicdist.otp.pg_groups import Groups, surplus
from quicdist.protocol import DistFlag
from quicdist.term import Atom, Map, Pid, Reference
from quicdist.term.names import Name, name_of, named_term

log = get_logger("quicdist.otp")

_DISCOVER, _SYNC, _JOIN, _LEAVE = Atom("discover"), Atom("sync"), Atom("join"), Atom("leave")
_NOLOCAL = Atom("nolocal")

#: Seconds between two questions to nodes that have not answered.
REDISCOVER = 5.0

#: Processes of this node, as :meth:`Scope.join` and :meth:`Scope.leave` take them.
Members = Process | Pid | Iterable[Process | Pid]


class ProcessGroups:
    """``pg`` of one node: the scopes it takes part in."""

    def __init__(self, node: NodeCore) -> None:
        self._node = node

    def start(self, scope: Name = "pg", *, rediscover: float = REDISCOVER) -> Scope:
        """Take part in a scope (``pg:start/1``). Elixir's have their full names,
        ``"Elixir.Phoenix.PubSub"``.

        A hidden node is not told of scopes that start on nodes connected already: it asks every
        ``rediscover`` seconds those that have not answered. Raises :class:`NameRegistered`.
        """
        scope = name_of(scope, "a scope")
        started = Scope(self._node, scope, rediscover)
        server_process.start(self._node.runtime, started, name=scope)
        return started


class Scope(gen_server.GenServer):
    """One scope, as this node sees it; ``self.process.stop()`` ends its part in it.

    A group is any term, and a ``str`` stands for the atom. Who ends leaves all groups.
    """

    def __init__(self, node: NodeCore, name: str, rediscover: float) -> None:
        self.scope = Atom(name)
        self._node = node
        self._rediscover = rediscover
        self._here = Groups(node.codec.none)
        #: The scopes on other nodes, and what each has told.
        self._peers: dict[Pid, Groups] = {}
        #: By member of this node: the monitor, and the groups it is in, each as often as it is.
        self._members: dict[Pid, tuple[Reference, list[Any]]] = {}
        #: Who is told of changes, and of which group; None for all of them.
        self._watchers: dict[Reference, tuple[Process, bytes | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- what there is -----------------------------------------------------------------------------

    def get_members(self, group: Any) -> list[Pid]:
        """The members of a group on all nodes (``pg:get_members/2``)."""
        group = named_term(group)
        members = list(self._here[group])
        for theirs in self._peers.values():
            members += theirs[group]
        return members

    def get_local_members(self, group: Any) -> list[Pid]:
        """Those on this node (``pg:get_local_members/2``)."""
        return list(self._here[named_term(group)])

    def which_groups(self) -> list[Any]:
        """The groups that have a member (``pg:which_groups/1``)."""
        known = self._here.keyed()
        for theirs in self._peers.values():
            known |= theirs.keyed()
        return list(known.values())

    def which_local_groups(self) -> list[Any]:
        """Those that have one on this node (``pg:which_local_groups/1``)."""
        return list(self._here.keyed().values())

    def get_state(self) -> Any:
        return {
            Atom("scope"): self.scope,
            Atom("local"): self._here.pairs(),
            Atom("remote"): [(peer, theirs.pairs()) for peer, theirs in self._peers.items()],
        }

    # -- joining and leaving -----------------------------------------------------------------------

    def join(self, group: Any, members: Members) -> None:
        """Let one or several processes of this node join a group, which they may be in already
        (``pg:join/3``). Raises :class:`NodeError` for a process of another node."""
        group, pids = named_term(group), self._local(members)
        new = [pid for pid in dict.fromkeys(pids) if pid not in self._members]
        self._members |= {pid: (self._reference(), []) for pid in new}
        for pid in pids:
            self._members[pid][1].insert(0, group)
        self._here.join(group, pids)
        self._notify(_JOIN, group, pids)
        self._tell_peers((_JOIN, self.process.pid, group, pids))
        for pid in new:  # last: one that has ended already leaves again at once
            self._monitor(self._members[pid][0], pid, functools.partial(self._ended, pid))

    def leave(self, group: Any, members: Members) -> bool:
        """Let them leave it, once (``pg:leave/3``); False where none of them was in it
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
                error = NodeError(f"{pid} is no process of {self._node.name}: each node's own join and leave")
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

    # -- who is told of it -------------------------------------------------------------------------

    def monitor(self, group: Any, process: Process) -> tuple[Reference, list[Pid]]:
        """The members of a group now, and from now on a message to ``process`` for every change,
        ``{Reference, join | leave, Group, Pids}`` (``pg:monitor/2``)."""
        return self._watch(process, self._here.key(named_term(group))), self.get_members(group)

    def monitor_scope(self, process: Process) -> tuple[Reference, Map]:
        """The same of all groups: their members by group (``pg:monitor_scope/1``)."""
        groups = self.which_groups()
        return self._watch(process, None), Map((group, self.get_members(group)) for group in groups)

    def demonitor(self, reference: Reference) -> bool:
        """End such messages, and drop those that have not been received (``pg:demonitor/2``); False
        where there were none to come."""
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
        self._unsubscribe = self._node.subscribe(self._happened)
        self._look_around()

    def terminate(self, reason: Any) -> None:
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()

    def _happened(self, event: NodeEvent) -> None:
        if isinstance(event, NodeUp):
            self._discover(event.node)

    def _look_around(self) -> None:
        """Ask those who have not answered. Only a hidden node needs to go on: of others a scope knows
        when it starts, and asks them itself."""
        known = {peer.node.name for peer in self._peers}
        for link in self._node.connections.links():
            if link.peer.name not in known:
                self._discover(link.peer.name)
        if DistFlag.PUBLISHED not in self._node.identity.flags:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._rediscover, self._look_around)

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
                # As with OTP, also what comes late from a scope that is gone already.
                log.debug("the scope %s has no use for %s", self.scope, Shown(message))

    def handle_cast(self, request: Any) -> None:
        match request:
            case (what, Pid() as peer, list() as groups) if what == _SYNC:
                self._synchronised(peer, groups)
            case _:
                self.handle_info(request)

    def handle_call(self, request: Any, sender: From) -> Any:
        log.debug("the scope %s takes no calls of others: %s", self.scope, Shown(request))
        return gen_server.NO_REPLY

    def _discovered(self, peer: Pid) -> None:
        if not self._node.connections.is_linked(peer.node.name):
            return  # gone by now, or made up: no scope is worth a dial
        self._synchronise(peer)
        if peer not in self._peers:
            self._know(peer)
            self._tell(peer, (_DISCOVER, self.process.pid))

    def _synchronised(self, peer: Pid, told: list[Any]) -> None:
        """What a peer has, all of it: what is not in it is gone."""
        if not self._node.connections.is_linked(peer.node.name):
            return
        if peer not in self._peers:
            self._know(peer)
        before, now = self._peers[peer], Groups(self._node.codec.none)
        for pair in told:
            if isinstance(pair, tuple) and len(pair) == 2:
                now.join(pair[0], _pids(pair[1]))
        self._peers[peer] = now
        groups = before.keyed() | now.keyed()
        for group in groups.values():
            self._notify(_JOIN, group, surplus(now[group], before[group]))
            self._notify(_LEAVE, group, surplus(before[group], now[group]))

    def _know(self, peer: Pid) -> None:
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
        if self._node.runtime.is_connected(node):  # no change of a group is worth a new dial
            self.process.send(to, message)

    def _reference(self) -> Reference:
        return self._node.runtime.identifiers.reference()

    def _monitor(self, reference: Reference, target: Pid, gone: Callable[[], Any]) -> None:
        process, monitors = self.process, self._node.runtime.monitors
        monitors.monitor(process, process.pid, target, lambda _: gone(), reference=reference)

    def _demonitor(self, reference: Reference) -> None:
        self._node.runtime.monitors.demonitor(reference, self.process.pid)


def _pids(pids: Any) -> list[Pid]:
    """A pid or a list of them, from outside."""
    return [pid for pid in (pids if isinstance(pids, list) else [pids]) if isinstance(pid, Pid)]


def _is_change(message: Any, reference: Reference) -> bool:
    """``{Reference, join | leave, _, _}``."""
    return isinstance(message, tuple) and len(message) == 4 and message[0] == reference
