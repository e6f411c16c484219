"""Links and exit signals.

Erlang Reference Manual, *Processes*: Links, Error Handling; ERTS, *Distribution Protocol*: Link Protocol,
whose terms (active link, unlink id) are used here. As in OTP, processes of one node follow the same protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import quicdist.protocol as wire
from quicdist.node.exit_reason import EXIT, KILL, KILLED, NOCONNECTION, NOPROC, NORMAL
from quicdist.node.process import Process
from quicdist.node.process_table import ProcessTable
from quicdist.term import Pid, Reference

#: Unlink ids are 64 bits wide and never 0.
_MAX_UNLINK_ID = (1 << 64) - 1
_TO_ALIAS = wire.AltactFlag.ALIAS | wire.AltactFlag.EXIT


class ProcessLinks:
    """The links of a node's processes, and the exit signals to them."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._queue = processes.signal_queue
        self._unlink_id = 0
        #: Called with the source, the process and the reason of an exit signal by a link that is not known.
        self.on_unknown_link: Callable[[Pid, Pid, Any], None] = lambda source, to, reason: None

    # -- asked for by a process of this node -----------------------------------------------

    def link(self, process: Process, to: Pid, *, priority: bool = False) -> None:
        """Link ``process`` with ``to``; does nothing if they are linked."""
        if to == process.pid:
            return
        links = process.relations.links
        known = to in links
        links[to] = priority
        if known:
            return
        process.relations.unlinking.pop(to, None)
        if not self._processes.signal(to.node.name, wire.Link(process.pid, to)):
            self._queue.submit(self.exit_by_link, to, process.pid, NOCONNECTION)

    def unlink(self, process: Process, to: Pid) -> None:
        """Remove a link; an exit signal by it that is under way is ignored."""
        relations = process.relations
        if relations.links.pop(to, None) is None:
            return
        self._unlink_id = self._unlink_id % _MAX_UNLINK_ID + 1
        relations.unlinking[to] = self._unlink_id
        self._processes.signal(to.node.name, wire.UnlinkId(self._unlink_id, process.pid, to))

    def exit(self, source: Pid, to: Pid | Reference, reason: Any, *, priority: bool = False) -> None:
        """Send an exit signal (``exit/2``, ``exit/3``) to a process or an alias on any node."""
        processes = self._processes
        if to == source:
            # A signal to itself is received before the call returns.
            self.exit_received(source, source, reason)
        elif isinstance(to, Reference):
            flags = int(_TO_ALIAS | (wire.AltactFlag.PRIO if priority else 0))
            processes.signal(to.node.name, wire.AltactSigSend(flags, source, to), reason)
        else:
            processes.signal(to.node.name, wire.PayloadExit2(source, to), reason)

    # -- signals that came in --------------------------------------------------------------

    def link_requested(self, source: Pid, to: Pid) -> None:
        """LINK came in."""
        process = self._processes.find(to)
        if process is None:
            self._processes.signal(source.node.name, wire.PayloadExit(to, source), NOPROC)
        elif source not in process.relations.unlinking:
            # While an unlink is unanswered, a LINK can only have crossed it.
            process.relations.links.setdefault(source, False)

    def unlink_requested(self, unlink_id: int, source: Pid, to: Pid) -> None:
        """UNLINK_ID came in: it is acknowledged even if there was no link."""
        process = self._processes.find(to)
        if process is not None:
            process.relations.links.pop(source, None)
        self._processes.signal(source.node.name, wire.UnlinkIdAck(unlink_id, to, source))

    def unlinked_by(self, source: Pid, to: Pid) -> None:
        """UNLINK came in, which is not acknowledged."""
        process = self._processes.find(to)
        if process is not None:
            process.relations.links.pop(source, None)

    def unlink_acknowledged(self, unlink_id: int, source: Pid, to: Pid) -> None:
        """UNLINK_ID_ACK came in."""
        process = self._processes.find(to)
        if process is not None and process.relations.unlinking.get(source) == unlink_id:
            del process.relations.unlinking[source]

    def exit_by_link(self, source: Pid, to: Pid, reason: Any) -> None:
        """EXIT came in, for a process linked to ``source``; without the link it is ignored."""
        process = self._processes.find(to)
        if process is None:
            return
        relations = process.relations
        relations.unlinking.pop(source, None)
        priority = relations.links.pop(source, None)
        if priority is None:
            self.on_unknown_link(source, to, reason)
        elif process.trap_exit:
            self._queue.hand_over(process, (EXIT, source, reason), priority)
        elif reason is not NORMAL:
            self._processes.exit(process, reason)

    def exit_received(self, source: Pid, to: Pid, reason: Any, priority: bool = False) -> None:
        """EXIT2 came in. Only here ``kill`` cannot be trapped, and becomes ``killed``."""
        process = self._processes.find(to)
        if process is None:
            return
        if reason is KILL:
            self._processes.terminate(process, KILLED)
        elif process.trap_exit:
            self._queue.hand_over(process, (EXIT, source, reason), priority)
        elif reason is not NORMAL or source == to:
            self._processes.exit(process, reason)

    # -- the end of a process, the end of a connection ---------------------------------------

    def process_ended(self, process: Process, reason: Any) -> None:
        """Send the exit signals of the links of ``process``."""
        relations = process.relations
        links, relations.links = relations.links, {}
        relations.unlinking.clear()
        for pid in links:
            self._processes.signal_reason(pid, wire.PayloadExit(process.pid, pid), reason)

    def connection_lost(self, process: Process, node: str) -> None:
        """``noconnection`` for every link of ``process`` that crossed to ``node``."""
        relations = process.relations
        for pid in [pid for pid in relations.unlinking if pid.node.name == node]:
            del relations.unlinking[pid]
        for pid in [pid for pid in relations.links if pid.node.name == node]:
            self._queue.submit(self.exit_by_link, pid, process.pid, NOCONNECTION)
