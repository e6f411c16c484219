"""Dispatches incoming control messages to the processes of this node.

ERTS, *Distribution Protocol*, section *Protocol between Connected Nodes*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import quicdist.protocol as wire
from quicdist.logs import RateLimit, clean, get_logger
from quicdist.node.monitors import Monitors
from quicdist.node.process_links import ProcessLinks
from quicdist.node.process_table import ProcessTable
from quicdist.node.spawning import Spawning
from quicdist.protocol import ControlMessage, ProtocolError, RefusedPayload
from quicdist.term import Atom, ImproperList, Pid, Reference

log = get_logger("quicdist.node")

#: The reason of failures because a term exceeded a limit of this node.
SYSTEM_LIMIT = Atom("system_limit")

#: Signals whose payload is an exit reason.
_EXITS = frozenset(
    {
        wire.PayloadExit,
        wire.PayloadExitTT,
        wire.PayloadExit2,
        wire.PayloadExit2TT,
        wire.PayloadMonitorPExit,
    }
)
_EXIT = int(wire.AltactFlag.EXIT)
_ALIAS = int(wire.AltactFlag.ALIAS)
_PRIO = int(wire.AltactFlag.PRIO)


#: Messages to a pid, and to a registered name.
_TO_PID = frozenset({wire.Send, wire.SendSender, wire.SendTT, wire.SendSenderTT})
_TO_NAME = frozenset({wire.RegSend, wire.RegSendTT})

#: Signals whose sender has to be a process of the node they come from. Otherwise one node could end the
#: links of another. OTP closes the connection too (``invalid_message`` in ``dist.c``). It does not check the
#: sender of messages.
_OWN_SENDER = frozenset(
    {
        wire.Link,
        wire.Unlink,
        wire.UnlinkId,
        wire.UnlinkIdAck,
        wire.Exit,
        wire.ExitTT,
        wire.PayloadExit,
        wire.PayloadExitTT,
        wire.Exit2,
        wire.Exit2TT,
        wire.PayloadExit2,
        wire.PayloadExit2TT,
        wire.MonitorP,
        wire.DemonitorP,
        wire.SpawnRequest,
        wire.SpawnRequestTT,
        wire.AltactSigSend,
        wire.AltactSigSendTT,
    }
)
#: Those of them whose reference has to be of that node too.
_OWN_REFERENCE: dict[type, str] = {
    wire.MonitorP: "ref",
    wire.DemonitorP: "ref",
    wire.SpawnRequest: "req_id",
    wire.SpawnRequestTT: "req_id",
}


def _forged(node: str, control: ControlMessage, what: Pid | Reference) -> ProtocolError:
    """The error for a signal in the name of a process of another node than ``node``, which sent it."""
    text = f"{node} sent {control.op.name} with {what}, which is of {clean(what.node.name)}"
    return ProtocolError(node, text)


def _check_sender(node: str, control: Any) -> None:
    kind = type(control)
    if kind is wire.AltactSigSend or kind is wire.AltactSigSendTT:
        if not control.flags & _EXIT:
            return
    elif kind in _OWN_REFERENCE:
        reference = getattr(control, _OWN_REFERENCE[kind])
        if reference.node.name != node:
            raise _forged(node, control, reference)
    if control.from_pid.node.name != node:
        raise _forged(node, control, control.from_pid)


class Signals:
    """Dispatches control messages to the processes of a node, by a table."""

    def __init__(
        self, processes: ProcessTable, links: ProcessLinks, monitors: Monitors, spawning: Spawning
    ) -> None:
        self._processes = processes
        self._by_pid = processes.by_pid
        self._by_name = processes.by_name
        self._queue = processes.signal_queue
        self._deliver = processes.signal_queue.deliver
        self._links = links
        self._monitors = monitors
        self._spawning = spawning
        self._refusals = RateLimit()
        self._table: dict[type, Callable[[str, Any, Any], None]] = {
            wire.AliasSend: self._alias_send,
            wire.AliasSendTT: self._alias_send,
            wire.AltactSigSend: self._altact_sig_send,
            wire.AltactSigSendTT: self._altact_sig_send,
            wire.Link: self._link,
            wire.Unlink: self._unlink,
            wire.UnlinkId: self._unlink_id,
            wire.UnlinkIdAck: self._unlink_id_ack,
            wire.Exit: self._exit,
            wire.ExitTT: self._exit,
            wire.PayloadExit: self._payload_exit,
            wire.PayloadExitTT: self._payload_exit,
            wire.Exit2: self._exit2,
            wire.Exit2TT: self._exit2,
            wire.PayloadExit2: self._payload_exit2,
            wire.PayloadExit2TT: self._payload_exit2,
            wire.MonitorP: self._monitor,
            wire.DemonitorP: self._demonitor,
            wire.MonitorPExit: self._monitor_exit,
            wire.PayloadMonitorPExit: self._payload_monitor_exit,
            wire.GroupLeader: self._group_leader,
            wire.NodeLink: self._node_link,
            wire.SpawnRequest: self._spawn_request,
            wire.SpawnRequestTT: self._spawn_request,
            wire.SpawnReply: self._spawn_reply,
            wire.SpawnReplyTT: self._spawn_reply,
        }

    def dispatch(self, node: str, control: Any, payload: Any) -> None:
        """Let one control message from ``node`` take effect: now, or after the signals before it.

        Raises :class:`ProtocolError` where the sender named is of another node.
        """
        kind = type(control)
        if type(payload) is RefusedPayload:
            if kind in _OWN_SENDER:
                _check_sender(node, control)
            self._queue.submit(self._refused, node, control, payload)
            return
        # Messages to a pid or a name, most of the traffic, go to the process by the shortest path.
        if kind in _TO_PID:
            process = self._by_pid.get(control.to_pid)
        elif kind in _TO_NAME:
            process = self._by_name.get(control.to_name.name)
        else:
            if kind in _OWN_SENDER:
                _check_sender(node, control)
            self._queue.submit(self._table[kind], node, control, payload)
            return
        if process is not None:
            self._deliver(process, payload)

    def act(self, node: str, control: ControlMessage, payload: Any) -> None:
        """The same for a signal of this node to itself."""
        self._queue.submit(self._table[type(control)], node, control, payload)

    # -- payloads beyond a limit -----------------------------------------------------------

    def _refused(self, node: str, control: Any, payload: RefusedPayload) -> None:
        """A signal whose payload exceeds a limit of this node is dropped. If somebody waits for its effect,
        that fails."""
        note = self._refusals.admit(node)
        if note is not None:
            log.warning("%s from %s was dropped: %s%s", control.op.name, node, payload.error, note)
        reason = (SYSTEM_LIMIT, str(payload.error))
        is_exit = isinstance(control, wire.AltactSigSend | wire.AltactSigSendTT) and control.flags & _EXIT
        if is_exit or type(control) in _EXITS:
            # The end of a process, or the result of a call: only the reason is replaced.
            self._table[type(control)](node, control, reason)
        elif isinstance(control, wire.SpawnRequest | wire.SpawnRequestTT):
            sender = control.from_pid
            self._processes.signal(sender.node.name, wire.SpawnReply(control.req_id, sender, 0, SYSTEM_LIMIT))
        else:
            match payload.begun:
                case (Atom(name="$gen_call"), (Pid(), ImproperList(tail=Reference() as monitor)), *_):
                    # {'$gen_call', {Pid, [alias|Monitor]}, Request}: its caller waits for an answer.
                    self._monitors.fail(monitor, reason)

    # -- messages --------------------------------------------------------------------------

    def _alias_send(self, _: str, control: Any, payload: Any) -> None:
        self._monitors.message_to_alias(control.alias, payload)

    def _altact_sig_send(self, _: str, control: Any, payload: Any) -> None:
        flags = control.flags
        priority = bool(flags & _PRIO)
        if flags & _EXIT:
            receive = self._monitors.exit_to_alias if flags & _ALIAS else self._links.exit_received
            receive(control.from_pid, control.to, payload, priority)
        elif flags & _ALIAS:
            self._monitors.message_to_alias(control.to, payload, priority)
        else:
            process = self._processes.resolve(control.to)
            if process is not None:
                self._queue.hand_over(process, payload)

    # -- links and exits -------------------------------------------------------------------

    def _link(self, _: str, control: Any, __: Any) -> None:
        self._links.link_requested(control.from_pid, control.to_pid)

    def _unlink(self, _: str, control: Any, __: Any) -> None:
        self._links.unlinked_by(control.from_pid, control.to_pid)

    def _unlink_id(self, _: str, control: Any, __: Any) -> None:
        self._links.unlink_requested(control.id, control.from_pid, control.to_pid)

    def _unlink_id_ack(self, _: str, control: Any, __: Any) -> None:
        self._links.unlink_acknowledged(control.id, control.from_pid, control.to_pid)

    def _exit(self, _: str, control: Any, __: Any) -> None:
        self._links.exit_by_link(control.from_pid, control.to_pid, control.reason)

    def _payload_exit(self, _: str, control: Any, reason: Any) -> None:
        self._links.exit_by_link(control.from_pid, control.to_pid, reason)

    def _exit2(self, _: str, control: Any, __: Any) -> None:
        self._links.exit_received(control.from_pid, control.to_pid, control.reason)

    def _payload_exit2(self, _: str, control: Any, reason: Any) -> None:
        self._links.exit_received(control.from_pid, control.to_pid, reason)

    # -- monitors --------------------------------------------------------------------------

    def _monitor(self, _: str, control: Any, __: Any) -> None:
        self._monitors.monitor_requested(control.from_pid, control.to_proc, control.ref)

    def _demonitor(self, _: str, control: Any, __: Any) -> None:
        self._monitors.demonitor_requested(control.ref)

    def _monitor_exit(self, node: str, control: Any, _: Any) -> None:
        self._monitors.down(control.ref, control.reason, node, control.from_proc)

    def _payload_monitor_exit(self, node: str, control: Any, reason: Any) -> None:
        self._monitors.down(control.ref, reason, node, control.from_proc)

    # -- the rest --------------------------------------------------------------------------

    def _group_leader(self, _: str, control: Any, __: Any) -> None:
        process = self._processes.find(control.to_pid)
        if process is not None:
            process.group_leader = control.from_pid

    def _node_link(self, _: str, control: Any, __: Any) -> None:
        """NODE_LINK has no effect in OTP either."""

    def _spawn_request(self, _: str, control: Any, arguments: Any) -> None:
        self._spawning.requested(control, arguments)

    def _spawn_reply(self, node: str, control: Any, _: Any) -> None:
        self._spawning.replied(node, control)
