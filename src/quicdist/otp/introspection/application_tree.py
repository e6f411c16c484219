"""The tree of processes that the observer draws for an application.

OTP: ``appmon_info``, of ``runtime_tools``: ``{Root, Processes, Links, OtherLinks}``, all names as text.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.introspection.versions import QUICDIST
from quicdist.term import Atom, Pid, charlist

#: The server that sends the trees; it is in none.
APPMON_INFO = "appmon_info"
#: Processes of one tree; a window shows fewer.
MAX_PROCESSES = 2000
#: Processes of the node that are looked at for it, the oldest ones: a tree is made again every few seconds.
_LOOKED_AT = 20_000
EMPTY: tuple[Any, ...] = ([], [], [], [])


def application_tree(runtime: Runtime, name: Atom, program: str) -> tuple[Any, ...]:
    """The tree of ``quicdist`` or of the program. Its root is the group leader, ``user``, as the application
    master is on a BEAM. A process is below its parent; without one of this node, below the root. Other
    links are shown too. Empty for an application without processes.
    """
    root = None if runtime.group_leader is None else runtime.find(runtime.group_leader)
    if root is None or name.name not in (QUICDIST, program):
        return EMPTY
    tree = _Tree(runtime, root)
    own = runtime.kernel_processes
    for process in islice(runtime.by_pid.values(), _LOOKED_AT):
        # Those with another group leader, such as what other nodes have spawned, are in no application.
        if process is root or process.name == APPMON_INFO or process.group_leader != root.pid:
            continue
        if (process.pid in own) == (name.name == QUICDIST):
            tree.members[process.pid] = process
    return tree.grown()


class _Tree:
    def __init__(self, runtime: Runtime, root: Process) -> None:
        self._runtime = runtime
        self._root = root
        self.members: dict[Pid, Process] = {}
        self._names: dict[Pid, list[int]] = {}
        self._links: list[Any] = []
        self._others: dict[tuple[Pid, Pid], None] = {}

    def grown(self) -> tuple[Any, ...]:
        """The tree, from the root to the leaves, as far as ``MAX_PROCESSES`` allows."""
        children = self._children()
        queue = deque([self._root.pid])
        self._name(self._root.pid)
        while queue:
            parent = queue.popleft()
            for pid in children.pop(parent, ()):
                if len(self._names) >= MAX_PROCESSES:
                    break
                self._name(pid)
                self._links.append((self._names[parent], self._names[pid]))
                queue.append(pid)
        self._link()
        others = [(self._names[one], self._names[two]) for one, two in self._others]
        processes = [(pid, name) for pid, name in self._names.items()]
        return (self._names[self._root.pid], processes, self._links, others)

    def _children(self) -> dict[Pid, list[Pid]]:
        found: dict[Pid, list[Pid]] = {}
        for pid, process in self.members.items():
            parent = process.parent
            if parent is None or parent not in self.members:
                parent = self._root.pid
            found.setdefault(parent, []).append(pid)
        return found

    def _link(self) -> None:
        """Add the links that are not between parent and child; processes of other nodes appear by these."""
        for pid in [pid for pid in self._names if pid in self.members]:
            process = self.members[pid]
            for other in process.links:
                peer = self.members.get(other)
                if peer is not None and (other == process.parent or peer.parent == pid):
                    continue
                if other not in self._names and self._runtime.find(other) is None:
                    if len(self._names) >= MAX_PROCESSES:
                        continue
                    self._name(other)
                if other in self._names and (other, pid) not in self._others:
                    self._others[pid, other] = None

    def _name(self, pid: Pid) -> None:
        process = self._runtime.find(pid)
        self._names[pid] = charlist(f"{pid} {pid.node.name}" if process is None else process.name or str(pid))
