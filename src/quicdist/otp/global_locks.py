"""The locks of ``global``: the table that a node keeps, and the procedures that set locks on nodes.

OTP: ``global(3)``, ``set_lock/3``, ``del_lock/2``, ``trans/4``. A lock is ``{ResourceId,
LockRequesterId}``. Processes with the same requester id share a lock. It is removed when all of them have
deleted it or ended. A node holds a lock for whoever asks its ``global_name_server``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

from quicdist.otp.global_steps import MultiCall, Sleep, Steps
from quicdist.term import Atom, Pid, Reference
from quicdist.term.identity import exact_form

T = TypeVar("T")

#: The resource that registrations of names lock.
GLOBAL = Atom("global")
_GLOBAL_KEY = exact_form(GLOBAL)
_SET_LOCK, _DEL_LOCK = Atom("set_lock"), Atom("del_lock")

#: Locks that the processes of one node can hold here; beyond them the answer is false. OTP has no limit.
MAX_LOCKS_OF_NODE = 10_000

#: Milliseconds of the longest sleep before a lock is tried again (``global:random_sleep/1``).
_LONGEST_SLEEP = 8000


@dataclass(slots=True)
class Lock:
    """A lock that is set."""

    resource: Any
    requester: Any
    #: The processes that have set it, with their monitors.
    holders: dict[Pid, Reference] = field(default_factory=dict)


class LockTable:
    """The locks of one node. ``monitor`` and ``demonitor`` watch the processes that hold them."""

    def __init__(self, monitor: Callable[[Pid], Reference], demonitor: Callable[[Reference], None]) -> None:
        self._monitor = monitor
        self._demonitor = demonitor
        self._locks: dict[bytes, Lock] = {}
        #: By monitor: the key of the lock, and the process.
        self._held: dict[Reference, tuple[bytes, Pid]] = {}
        #: The monitors of the processes of each node.
        self._of_node: dict[str, set[Reference]] = {}
        #: Whether the lock ``global`` went because its holder ended (``global_lock_down``).
        self.global_lock_down = False

    @property
    def global_lock(self) -> Lock | None:
        """The lock of registrations, if it is set."""
        return self._locks.get(_GLOBAL_KEY)

    def __len__(self) -> int:
        return len(self._held)

    def items(self) -> list[Lock]:
        """All locks."""
        return list(self._locks.values())

    def can_set(self, lock_id: Any) -> bool:
        """Whether a lock is free, or set by the same requester."""
        if not _is_lock_id(lock_id):
            return False
        lock = self._locks.get(exact_form(lock_id[0]))
        return lock is None or exact_form(lock.requester) == exact_form(lock_id[1])

    def set(self, lock_id: Any, pid: Pid) -> bool:
        """Set a lock for a process; whether that was possible."""
        if not self.can_set(lock_id):
            return False
        key = exact_form(lock_id[0])
        lock = self._locks.get(key)
        if lock is not None and pid in lock.holders:
            return True
        of_node = self._of_node.get(pid.node.name)
        if of_node is None:
            of_node = self._of_node[pid.node.name] = set()
        elif len(of_node) >= MAX_LOCKS_OF_NODE:
            return False
        if lock is None:
            lock = self._locks[key] = Lock(lock_id[0], lock_id[1])
        reference = lock.holders[pid] = self._monitor(pid)
        self._held[reference] = key, pid
        of_node.add(reference)
        return True

    def delete(self, lock_id: Any, pid: Pid) -> None:
        """Delete a lock that a process has set. One that only another process has set stays."""
        if not _is_lock_id(lock_id):
            return
        key = exact_form(lock_id[0])
        lock = self._locks.get(key)
        if lock is not None and pid in lock.holders and self.can_set(lock_id):
            self._remove(key, pid, ended=False)

    def down(self, reference: Reference) -> None:
        """The process of a monitor has ended, or its node is gone."""
        if reference in self._held:
            key, pid = self._held[reference]
            self._remove(key, pid, ended=True)

    def node_down(self, node: str) -> None:
        """Remove what the processes of a node hold."""
        for reference in list(self._of_node.get(node, ())):
            self.down(reference)

    def _remove(self, key: bytes, pid: Pid, *, ended: bool) -> None:
        lock = self._locks[key]
        reference = lock.holders.pop(pid)
        del self._held[reference]
        of_node = self._of_node[pid.node.name]
        of_node.discard(reference)
        if not of_node:
            del self._of_node[pid.node.name]
        self._demonitor(reference)
        if not lock.holders:
            del self._locks[key]
            if key == _GLOBAL_KEY:
                self.global_lock_down = ended


def _is_lock_id(term: Any) -> bool:
    return isinstance(term, tuple) and len(term) == 2


# -- setting locks on nodes ------------------------------------------------------------------------


class Locking(Protocol):
    """What the procedures need of their node."""

    name: str
    random: Random

    @property
    def locks(self) -> LockTable: ...

    def known_nodes(self) -> list[str]:
        """The nodes that are known to ``global`` here, without this one."""


def boss_of(nodes: Iterable[str]) -> str:
    """The node that is locked first and unlocked last, the same for all (``the_boss/1``)."""
    return max(nodes)


def random_sleep(here: Locking, times: int) -> Steps[None]:
    """Sleep before a lock is tried again, longer after more attempts (``random_sleep/1``)."""
    longest = _LONGEST_SLEEP if times > 5 else (1 << times) * 1000 // 8
    yield Sleep(here.random.randint(1, longest) / 1000)


def set_lock_on_nodes(here: Locking, lock_id: Any, nodes: list[str]) -> Steps[bool]:
    """Try once to set a lock on all of these nodes; nodes that do not answer count as locked."""
    if not nodes or (len(nodes) > 1 and here.name in nodes and not here.locks.can_set(lock_id)):
        return not nodes
    replies: list[tuple[str, Any]] = yield MultiCall(nodes, (_SET_LOCK, lock_id))
    if all(reply is True for _, reply in replies):
        return True
    if len(replies) > 1:
        yield MultiCall([node for node, reply in replies if reply is True], (_DEL_LOCK, lock_id))
    return False


def set_lock(here: Locking, lock_id: Any, nodes: list[str], retries: int | None) -> Steps[bool]:
    """Set a lock, again after a sleep where it is taken, ``retries`` times, None: without end."""
    times = 1
    while not (yield from set_lock_on_nodes(here, lock_id, nodes)):
        if retries is not None:
            if retries <= 0:
                return False
            retries -= 1
        yield from random_sleep(here, times)
        times += 1
    return True


def del_lock(lock_id: Any, nodes: list[str]) -> Steps[None]:
    """Delete a lock on these nodes."""
    yield MultiCall(nodes, (_DEL_LOCK, lock_id))


def delete_global_lock(lock_id: Any, nodes: list[str]) -> Steps[None]:
    """Delete a lock on all of these nodes, on the boss last."""
    boss = boss_of(nodes)
    yield from del_lock(lock_id, [node for node in nodes if node != boss])
    yield from del_lock(lock_id, [boss])


def trans_all_known(here: Locking, me: Pid, procedure: Callable[[list[str]], Steps[T]]) -> Steps[T]:
    """Run ``procedure`` with all known nodes while they are locked (``trans_all_known/1``)."""
    lock_id = (GLOBAL, me)
    nodes = yield from _lock_all_known(here, lock_id)
    result = yield from procedure(nodes)
    yield from delete_global_lock(lock_id, nodes)
    return result


def _lock_all_known(here: Locking, lock_id: Any) -> Steps[list[str]]:
    times = 0
    while True:
        known = here.known_nodes()
        nodes = [here.name, *known]
        boss = boss_of(nodes)
        if (yield from set_lock_on_nodes(here, lock_id, [boss])):
            if (yield from set_lock_on_nodes(here, lock_id, nodes)) and not (
                set(here.known_nodes()) - set(known)
            ):
                return nodes
            yield from del_lock(lock_id, [boss])
        yield from random_sleep(here, times)
        times += 1
