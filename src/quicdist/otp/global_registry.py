"""The names and locks that a node keeps for the cluster, and the rule that names change under a lock.

OTP: ``global``, ``lock_still_set``: what was decided under a lock has no effect if that lock is gone.
"""

from __future__ import annotations

from typing import Any

from quicdist.otp.global_locks import LockTable
from quicdist.otp.global_port import GlobalPort, Work
from quicdist.otp.global_resolving import DELETE, INSERT, Operations
from quicdist.otp.global_table import NameTable
from quicdist.term import Atom, Pid, Reference, exactly_equal

#: Names that are registered before other work goes on.
_AT_ONCE = 500

_LOCK = Atom("lock")


class Registry:
    """The names and locks of one node."""

    def __init__(self, port: GlobalPort) -> None:
        self._port = port
        self.names = NameTable(port.monitor, port.demonitor)
        self.locks = LockTable(port.monitor, port.demonitor)

    def whereis(self, name: Any) -> Pid | None:
        """The process of a name."""
        known = self.names.get(name)
        if known is None:
            return None
        local = known.pid.node.name == self._port.name
        return None if local and not self._port.is_alive(known.pid) else known.pid

    def external_names(self) -> list[tuple[Any, Pid, Atom]]:
        """The names of processes whose nodes have no ``global``."""
        return [
            (known.name, known.pid, Atom(known.registered_by))
            for known in self.names.items()
            if known.registered_by is not None
        ]

    def node_down(self, node: str) -> None:
        """Remove the names and locks of the processes of a node."""
        self.locks.node_down(node)
        self.names.node_down(node)

    def down(self, reference: Reference) -> None:
        """The process of a monitor has ended."""
        self.locks.down(reference)
        self.names.down(reference)

    def register(
        self, name: Any, pid: Pid, method: Any, locker: Pid, registered_by: str | None = None
    ) -> bool:
        """``{register, Name, Pid, Method}`` of a process that holds the lock; False if the table is full."""
        return self._insert(name, pid, method, self._locked_by(locker), registered_by)

    def unregister(self, name: Any) -> None:
        """``{unregister, Name}``."""
        known = self.names.get(name)
        if known is None:
            return
        self.names.delete(name)
        if known.registered_by == self._port.name:
            self._port.unlink(known.pid)

    def do(self, found: Operations, external: list[Any], info: Any) -> Work:
        """Do what the resolvers of two nodes have found."""
        registered_by = {}
        for entry in external:
            match entry:
                case (_, Pid() as pid, Atom() as node):
                    registered_by[pid] = node.name
        inserted = [what for kind, what in found if kind == INSERT]
        for start in range(0, len(inserted), _AT_ONCE):
            if start:
                yield
            locked = self._locked_as(info)
            for name, pid, method in inserted[start : start + _AT_ONCE]:
                self._insert(name, pid, method, locked, registered_by.get(pid))
        for kind, what in found:
            if kind == DELETE:
                self.unregister(what)

    def _insert(
        self, name: Any, pid: Pid, method: Any, locked: bool, registered_by: str | None = None
    ) -> bool:
        """Register a name, unless the lock under which that was decided is gone."""
        self.unregister(name)
        if not locked:
            return True
        if not self.names.insert(name, pid, method, registered_by):
            self._port.warn("global: too many names: %s of %s is not registered", name, pid)
            return False
        if registered_by == self._port.name:
            self._port.link(pid)
        return True

    def _locked_by(self, pid: Pid) -> bool:
        lock = self.locks.global_lock
        return pid in lock.holders if lock is not None else not self.locks.global_lock_down

    def _locked_as(self, info: Any) -> bool:
        lock = self.locks.global_lock
        if lock is None:
            return not self.locks.global_lock_down
        for entry in info if isinstance(info, list) else ():
            match entry:
                case (Atom() as key, (_, requester)) if key == _LOCK:
                    return exactly_equal(requester, lock.requester)
        return False
