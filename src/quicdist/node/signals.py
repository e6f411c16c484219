"""What each control message that comes in does to this node's processes.

ERTS, *Distribution Protocol*, section *Protocol between Connected Nodes*.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import quicdist.protocol as wire
from quicdist.errors import QuicDistError
from quicdist.node.runtime import Runtime
from quicdist.node.spawning import Spawning
from quicdist.protocol import ControlMessage

log = logging.getLogger("quicdist.node")


class ForgedSignal(QuicDistError):
    """A peer sent a signal in the name of a process that is not its own."""

    def __init__(self, node: str, control: ControlMessage) -> None:
        super().__init__(f"{node} sent {control!r}, whose sender is not a process of {node}")


class Signals:
    """Dispatches control messages to a :class:`Runtime`, by a table."""

    def __init__(self, runtime: Runtime, spawning: Spawning) -> None:
        self._runtime = runtime
        self._relations = runtime.relations
        self._spawning = spawning
        self._table: dict[type, Callable[[Any, Any], None]] = {
            wire.Send: self._send,
            wire.SendSender: self._send,
            wire.SendTT: self._send,
            wire.SendSenderTT: self._send,
            wire.RegSend: self._reg_send,
            wire.RegSendTT: self._reg_send,
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

    def dispatch(self, node: str, control: ControlMessage, payload: Any) -> None:
        """Act on one control message from ``node``.

        Raises :class:`ForgedSignal` where the sender named is of another node: acting on it would
        let one node end the links of another.
        """
        sender = getattr(control, "from_pid", None)
        if sender is not None and sender.node.name != node and type(control) is not wire.GroupLeader:
            raise ForgedSignal(node, control)
        self._table[type(control)](control, payload)

    # -- messages --------------------------------------------------------------------------

    def _send(self, control: Any, payload: Any) -> None:
        process = self._runtime.find(control.to_pid)
        if process is not None:
            self._runtime.deliver(process, payload)

    def _reg_send(self, control: Any, payload: Any) -> None:
        process = self._runtime.resolve(control.to_name)
        if process is not None:
            self._runtime.deliver(process, payload)

    def _alias_send(self, control: Any, payload: Any) -> None:
        receiver = self._relations.alias_receiver(control.alias)
        if receiver is not None:
            self._runtime.later(receiver, payload)

    def _altact_sig_send(self, control: Any, payload: Any) -> None:
        flags = control.flags
        if flags & wire.AltactFlag.EXIT:
            self._runtime.later(self._relations.exit, control.from_pid, control.to, payload)
        elif flags & wire.AltactFlag.ALIAS:
            receiver = self._relations.alias_receiver(control.to)
            if receiver is not None:
                self._runtime.later(receiver, payload)
        else:
            process = self._runtime.resolve(control.to)
            if process is not None:
                self._runtime.deliver(process, payload)

    # -- links and exits -------------------------------------------------------------------

    def _link(self, control: Any, _: Any) -> None:
        self._relations.link_requested(control.from_pid, control.to_pid)

    def _unlink(self, control: Any, _: Any) -> None:
        process = self._runtime.find(control.to_pid)
        if process is not None:
            process.links.discard(control.from_pid)

    def _unlink_id(self, control: Any, _: Any) -> None:
        self._relations.unlink_requested(control.id, control.from_pid, control.to_pid)

    def _unlink_id_ack(self, control: Any, _: Any) -> None:
        self._relations.unlink_acknowledged(control.id, control.from_pid, control.to_pid)

    def _exit(self, control: Any, _: Any) -> None:
        self._runtime.later(self._relations.link_exit, control.from_pid, control.to_pid, control.reason)

    def _payload_exit(self, control: Any, reason: Any) -> None:
        self._runtime.later(self._relations.link_exit, control.from_pid, control.to_pid, reason)

    def _exit2(self, control: Any, _: Any) -> None:
        self._runtime.later(self._relations.exit, control.from_pid, control.to_pid, control.reason)

    def _payload_exit2(self, control: Any, reason: Any) -> None:
        self._runtime.later(self._relations.exit, control.from_pid, control.to_pid, reason)

    # -- monitors --------------------------------------------------------------------------

    def _monitor(self, control: Any, _: Any) -> None:
        self._relations.monitor_requested(control.from_pid, control.to_proc, control.ref)

    def _demonitor(self, control: Any, _: Any) -> None:
        self._relations.demonitor_requested(control.to_proc, control.ref)

    def _monitor_exit(self, control: Any, _: Any) -> None:
        self._runtime.later(self._relations.down, control.ref, control.reason)

    def _payload_monitor_exit(self, control: Any, reason: Any) -> None:
        self._runtime.later(self._relations.down, control.ref, reason)

    # -- the rest --------------------------------------------------------------------------

    def _group_leader(self, control: Any, _: Any) -> None:
        process = self._runtime.find(control.to_pid)
        if process is not None:
            process.group_leader = control.from_pid

    def _node_link(self, control: Any, _: Any) -> None:
        """NODE_LINK has no effect in OTP either."""

    def _spawn_request(self, control: Any, arguments: Any) -> None:
        self._spawning.requested(control, arguments)

    def _spawn_reply(self, control: Any, _: Any) -> None:
        self._spawning.replied(control)
