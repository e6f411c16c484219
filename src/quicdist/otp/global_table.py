"""The names of ``global`` that a node knows: the same on all nodes that are connected with each other.

OTP: ``global``, the tables *global_names*, *global_names_ext* and *global_pid_names*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from quicdist.term import Pid, Reference
from quicdist.term.identity import exact_form

K = TypeVar("K")

#: Names that a node keeps. Further ones are refused and reported; OTP has no limit.
MAX_NAMES = 100_000


@dataclass(frozen=True, slots=True)
class RegisteredName:
    """A name, its process, and the function that resolves conflicts, as a term."""

    name: Any
    pid: Pid
    method: Any
    #: The monitor of the process.
    reference: Reference
    #: For a process of a node without ``global``: the node that registered it for that one.
    registered_by: str | None = None


class NameTable:
    """The names of one node. ``monitor`` and ``demonitor`` watch their processes."""

    def __init__(self, monitor: Callable[[Pid], Reference], demonitor: Callable[[Reference], None]) -> None:
        self._monitor = monitor
        self._demonitor = demonitor
        self._names: dict[bytes, RegisteredName] = {}
        self._keys: dict[Reference, bytes] = {}
        #: The keys of each process that has names, and of each node.
        self._of_pid: dict[Pid, set[bytes]] = {}
        self._of_node: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> list[RegisteredName]:
        """All of them."""
        return list(self._names.values())

    def get(self, name: Any) -> RegisteredName | None:
        """A name, if it is registered."""
        return self._names.get(exact_form(name))

    def of(self, pid: Pid) -> list[Any]:
        """The names of a process."""
        return [self._names[key].name for key in self._of_pid.get(pid, ())]

    def insert(self, name: Any, pid: Pid, method: Any, registered_by: str | None = None) -> bool:
        """Register a name, in place of the one that it has; False if the table is full."""
        key, node = exact_form(name), pid.node.name
        if key in self._names:
            self._delete(key)
        if len(self._names) >= MAX_NAMES:
            return False
        reference = self._monitor(pid)
        self._names[key] = RegisteredName(name, pid, method, reference, registered_by)
        self._keys[reference] = key
        self._of_pid.setdefault(pid, set()).add(key)
        self._of_node.setdefault(node, set()).add(key)
        return True

    def delete(self, name: Any) -> None:
        """Unregister a name, if it is registered."""
        key = exact_form(name)
        if key in self._names:
            self._delete(key)

    def down(self, reference: Reference) -> None:
        """The process of a monitor has ended, or its node is gone."""
        key = self._keys.get(reference)
        if key is not None:
            self._delete(key)

    def node_down(self, node: str) -> None:
        """Unregister the names of the processes of a node."""
        for key in list(self._of_node.get(node, ())):
            self._delete(key)

    def _delete(self, key: bytes) -> None:
        known = self._names.pop(key)
        del self._keys[known.reference]
        _discard(self._of_pid, known.pid, key)
        _discard(self._of_node, known.pid.node.name, key)
        self._demonitor(known.reference)


def _discard(sets: dict[K, set[bytes]], of: K, key: bytes) -> None:
    keys = sets[of]
    keys.discard(key)
    if not keys:
        del sets[of]
