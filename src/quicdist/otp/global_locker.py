"""The locker of ``global``: agrees with the lockers of other nodes on who exchanges names with whom.

OTP: ``global``, *the_locker*. Two nodes that meet lock each other, and all nodes that each of them knows,
before they exchange names, so that names change in one place at a time. Each locker offers a lock to the
other one; both lock with the requester id ``[Pid1, Pid2]``, their two pids in order, and so share the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from quicdist.otp.global_locks import (
    GLOBAL,
    Locking,
    boss_of,
    del_lock,
    delete_global_lock,
    set_lock_on_nodes,
)
from quicdist.otp.global_steps import Receive, Steps
from quicdist.term import Atom, Pid, sort_key

LOCK_SET = Atom("lock_set")

#: Seconds before a node is chosen: without known nodes; with some; at most.
_ALONE, _BASE, _EACH, _MOST = 0.2, 1.0, 0.1, 3.0


@dataclass(frozen=True, slots=True)
class HisLocker:
    """A node wants to exchange names: its locker, its protocol version, and the tags of both sides."""

    locker: Pid
    version: int
    his_tag: int
    my_tag: int

    @property
    def node(self) -> str:
        return self.locker.node.name


@dataclass(frozen=True, slots=True)
class Cancel:
    """The exchange with a node is over, or failed. ``last_casts`` gives what the locker casts before it
    deletes its locks: both come to each node in this order."""

    node: str
    my_tag: int | None
    last_casts: Callable[[], Iterable[tuple[str, Any]]] | None = None


@dataclass(frozen=True, slots=True)
class LockSet:
    """``{lock_set, Pid, Set, HisKnown, MyTag}`` from another locker: whether it has locked its side.
    ``my_tag`` is None from nodes before protocol version 8."""

    locker: Pid
    is_set: bool
    my_tag: int | None

    @property
    def node(self) -> str:
        return self.locker.node.name


@dataclass(frozen=True, slots=True)
class AddKnown:
    """Nodes are known from now on."""

    nodes: list[str]


@dataclass(frozen=True, slots=True)
class RemoveKnown:
    """A node is not known any more."""

    node: str


@dataclass(frozen=True, slots=True)
class LockIsSet:
    """To the server: both sides are locked, names can be exchanged."""

    node: str
    my_tag: int
    lock_id: tuple[Atom, list[Pid]]


class LockerPort(Locking, Protocol):
    """What a locker needs of its node."""

    def tell_server(self, message: LockIsSet) -> None:
        """Cast to the ``global_name_server`` of this node."""

    def cast_from_locker(self, node: str, message: Any) -> None:
        """Cast to the ``global_name_server`` of another node."""

    def send_from_locker(self, to: Pid, message: Any) -> None:
        """Send a message to a process of another node."""

    def is_near(self, node: str) -> bool:
        """Whether a node runs on this host: such nodes come first."""


class Locker:
    """The state of a locker, and its procedure :meth:`run`."""

    def __init__(self, port: LockerPort, pid: Pid) -> None:
        self._port = port
        self._pid = pid
        self._near: list[HisLocker] = []
        self._far: list[HisLocker] = []
        self.known: list[str] = []
        self._just_synced = False

    def run(self) -> Steps[None]:
        while True:
            message = yield Receive(_any, 0)
            if message is None:
                timeout = self._time_to_select()
                self._just_synced = False
                message = yield Receive(_any, timeout)
            if message is not None:
                yield from self._received(message)
            elif self._port.locks.global_lock is None:
                yield from self._select()

    def _time_to_select(self) -> float | None:
        if not self._near and not self._far:
            return None
        if self._just_synced:
            return 0
        return min(_BASE + _EACH * len(self.known), _MOST) if self.known else _ALONE

    def _received(self, message: Any) -> Steps[None]:
        match message:
            case HisLocker():
                (self._near if self._port.is_near(message.node) else self._far).insert(0, message)
            case Cancel(node, my_tag):
                if my_tag is not None:
                    self._remove(node, my_tag)
            case LockSet(is_set=True):
                yield from self._offered(message)
            case AddKnown() | RemoveKnown():
                self._update_known(message)
            case _:
                pass  # {lock_set, _, false, ...} of an attempt that is over

    # -- the other side has locked -----------------------------------------------------------------

    def _offered(self, offer: LockSet) -> Steps[None]:
        him = self._find(offer.node)
        if him is None or offer.my_tag not in (None, him.my_tag):
            self._answer(offer.locker, False, 5, 0)
            return
        lock_id = self._lock_id(offer.locker)
        is_set = yield from self._lock_safely(lock_id, [])
        self._answer(offer.locker, is_set, him.version, him.his_tag)
        if is_set:
            known = [self._port.name, *self.known]
            self._port.tell_server(LockIsSet(him.node, him.my_tag, lock_id))
            yield from self._until_cancelled(him, lock_id, known)
            self._remove(him.node, him.my_tag)
        self._just_synced = is_set

    def _until_cancelled(self, him: HisLocker, lock_id: Any, known: list[str]) -> Steps[None]:
        cancel: Cancel = yield Receive(
            lambda message: (
                isinstance(message, Cancel) and message.node == him.node and message.my_tag == him.my_tag
            )
        )
        self._cast_last(cancel)
        yield from delete_global_lock(lock_id, known)

    def _cast_last(self, cancel: Cancel) -> None:
        for node, message in cancel.last_casts() if cancel.last_casts is not None else ():
            self._port.cast_from_locker(node, message)

    # -- this side locks ---------------------------------------------------------------------------

    def _select(self) -> Steps[None]:
        if self._near:
            others = self._near = [him for him in self._near if him.node not in self.known]
        else:
            others = self._far = [him for him in self._far if him.node not in self.known]
        if not others:
            return
        him = self._port.random.choice(others)
        lock_id = self._lock_id(him.locker)
        if not (yield from self._lock_safely(lock_id, [him.node])):
            return
        known = [self._port.name, him.node, *self.known]
        self._answer(him.locker, True, him.version, him.his_tag)
        answer = yield Receive(lambda message: _answers(message, him))
        while isinstance(answer, LockSet) and answer.my_tag not in (None, him.my_tag):
            answer = yield Receive(lambda message: _answers(message, him))  # of an earlier attempt
        if isinstance(answer, LockSet) and answer.is_set:
            self._port.tell_server(LockIsSet(him.node, him.my_tag, lock_id))
            yield from self._until_cancelled(him, lock_id, known)
            self._just_synced = True
            self._remove(him.node, him.my_tag)
            return
        if isinstance(answer, Cancel):
            self._cast_last(answer)
            self._remove(him.node, him.my_tag)
        yield from delete_global_lock(lock_id, known)

    # -- both --------------------------------------------------------------------------------------

    def _answer(self, locker: Pid, is_set: bool, version: int, his_tag: int) -> None:
        message: tuple[Any, ...] = (LOCK_SET, self._pid, is_set, [Atom(node) for node in self.known])
        if version >= 8:
            message = (*message, his_tag)
        if version < 6:
            self._port.send_from_locker(locker, message)
        else:
            self._port.cast_from_locker(locker.node.name, message)

    def _lock_id(self, locker: Pid) -> tuple[Atom, list[Pid]]:
        return (GLOBAL, sorted([self._pid, locker], key=sort_key))

    def _lock_safely(self, lock_id: Any, extra: list[str]) -> Steps[bool]:
        """Lock the boss, then this node and the other one, then all other known nodes."""
        port = self._port
        first = [self._boss]
        if first != [port.name] and not port.locks.can_set(lock_id):
            return False
        if not (yield from set_lock_on_nodes(port, lock_id, first)):
            return False
        while (update := (yield Receive(_is_update, 0))) is not None:
            self._update_known(update)
        second = [node for node in (port.name, *extra) if node not in first]
        if not (yield from set_lock_on_nodes(port, lock_id, second)):
            yield from del_lock(lock_id, first)
            return False
        others = [node for node in self.known if node not in first]
        if not (yield from set_lock_on_nodes(port, lock_id, others)):
            yield from del_lock(lock_id, first + second)
            return False
        return True

    @property
    def _boss(self) -> str:
        return boss_of([self._port.name, *self.known])

    def _update_known(self, update: AddKnown | RemoveKnown) -> None:
        if isinstance(update, AddKnown):
            self.known += [node for node in update.nodes if node not in self.known]
        elif update.node in self.known:
            self.known.remove(update.node)

    def _find(self, node: str) -> HisLocker | None:
        return next((him for him in (*self._near, *self._far) if him.node == node), None)

    def _remove(self, node: str, my_tag: int) -> None:
        for others in (self._near, self._far):
            for him in others:
                if him.node == node and him.my_tag == my_tag:
                    others.remove(him)
                    break


#: Answers and offers of one node that may wait; later ones are dropped.
_MAX_LOCK_SETS = 16


def merge(waiting: deque[Any], message: Any) -> None:
    """Put a message among those that wait for a locker. A peer can cause any number of them, so what has no
    effect any more is taken out."""
    if isinstance(message, Cancel) and message.last_casts is None:
        for at, other in enumerate(waiting):
            if isinstance(other, HisLocker) and (other.node, other.my_tag) == (message.node, message.my_tag):
                del waiting[at]
                return
        if message in waiting:
            return
    elif isinstance(message, LockSet):
        of_node = [other for other in waiting if isinstance(other, LockSet) and other.node == message.node]
        if len(of_node) >= _MAX_LOCK_SETS:
            return
    waiting.append(message)


def _any(_: Any) -> bool:
    return True


def _is_update(message: Any) -> bool:
    return isinstance(message, AddKnown | RemoveKnown)


def _answers(message: Any, him: HisLocker) -> bool:
    """Whether a message may end the wait for the answer to an offer."""
    if isinstance(message, LockSet):
        return message.node == him.node
    return isinstance(message, Cancel) and message.node == him.node and message.my_tag == him.my_tag
