"""The control messages, one typed tuple each.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes* (fields are
called as there), and ``erts/emulator/beam/dist.h`` for ALTACT_SIG_SEND, which it leaves out.

Each operation is defined in one place, its class: the types of its elements, whether a payload follows it,
and between whom it has to keep its order.
"""

from __future__ import annotations

from enum import IntFlag
from types import NoneType
from typing import Any, NamedTuple

from quicdist.protocol.control import ControlMessage, Op, short, unexpected
from quicdist.term import Atom, Pid, Reference

#: The value of elements called *Unused*, as in OTP.
UNUSED = Atom("")


class SpawnReplyFlag(IntFlag):
    """``flags`` of SPAWN_REPLY: whether the new process is linked and monitored."""

    LINK = 1
    MONITOR = 2


class AltactFlag(IntFlag):
    """``flags`` of ALTACT_SIG_SEND (``ERTS_DOP_ALTACT_SIG_FLG_*``)."""

    PRIO = 1
    TOKEN = 2
    ALIAS = 4
    NAME = 8
    EXIT = 16


# Checks that go beyond types.


def _check_unlink_id(message: Any, node: str) -> None:
    if not 1 <= message.id <= 0xFFFFFFFFFFFFFFFF:
        raise unexpected(node, f"{message.op.name} with id in 1..2^64-1", short(message.id))


def _check_spawn(message: Any, node: str) -> None:
    mfa = message.mfa
    atoms = (Atom, bool, NoneType)  # the codec gives true, false and undefined as Python's own
    if not (
        len(mfa) == 3 and isinstance(mfa[0], atoms) and isinstance(mfa[1], atoms) and type(mfa[2]) is int
    ):
        raise unexpected(node, f"{message.op.name} of {{Module, Function, Arity}}", short(mfa))


def _check_altact(message: Any, node: str) -> None:
    flags, to, has_token = message.flags, type(message.to), "trace_token" in message._fields
    due = Reference if flags & AltactFlag.ALIAS else Atom if flags & AltactFlag.NAME else Pid
    if to is not due or bool(flags & AltactFlag.TOKEN) != has_token:
        raise unexpected(node, "ALTACT_SIG_SEND whose flags fit its elements", short(message))


class Link(ControlMessage, NamedTuple("Link", [("from_pid", Pid), ("to_pid", Pid)]), op=Op.LINK, pair=(0, 1)):
    """Make a link between the two."""

    __slots__ = ()


class Send(
    ControlMessage,
    NamedTuple("Send", [("unused", Any), ("to_pid", Pid)]),
    op=Op.SEND,
    payload=True,
    pair=(0, 1),
):
    """A message; only where SEND_SENDER was not negotiated."""

    __slots__ = ()


class Exit(
    ControlMessage,
    NamedTuple("Exit", [("from_pid", Pid), ("to_pid", Pid), ("reason", Any)]),
    op=Op.EXIT,
    pair=(0, 1),
):
    """A link broke; only where EXIT_PAYLOAD was not negotiated."""

    __slots__ = ()


class Unlink(
    ControlMessage, NamedTuple("Unlink", [("from_pid", Pid), ("to_pid", Pid)]), op=Op.UNLINK, pair=(0, 1)
):
    """Obsolete; not to be sent where UNLINK_ID was negotiated."""

    __slots__ = ()


class NodeLink(ControlMessage, NamedTuple("NodeLink", []), op=Op.NODE_LINK):
    """Obsolete; accepted, without effect."""

    __slots__ = ()


class RegSend(
    ControlMessage,
    NamedTuple("RegSend", [("from_pid", Pid), ("unused", Any), ("to_name", Atom)]),
    op=Op.REG_SEND,
    payload=True,
    pair=(0, 2),
):
    """A message to a registered name."""

    __slots__ = ()


class GroupLeader(
    ControlMessage,
    NamedTuple("GroupLeader", [("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.GROUP_LEADER,
    pair=(0, 1),
):
    """``from_pid`` is to be the group leader of ``to_pid``."""

    __slots__ = ()


class Exit2(
    ControlMessage,
    NamedTuple("Exit2", [("from_pid", Pid), ("to_pid", Pid), ("reason", Any)]),
    op=Op.EXIT2,
    pair=(0, 1),
):
    """``exit/2``; only where EXIT_PAYLOAD was not negotiated."""

    __slots__ = ()


class SendTT(
    ControlMessage,
    NamedTuple("SendTT", [("unused", Any), ("to_pid", Pid), ("trace_token", Any)]),
    op=Op.SEND_TT,
    payload=True,
    pair=(0, 1),
):
    """:class:`Send` with a trace token."""

    __slots__ = ()


class ExitTT(
    ControlMessage,
    NamedTuple("ExitTT", [("from_pid", Pid), ("to_pid", Pid), ("trace_token", Any), ("reason", Any)]),
    op=Op.EXIT_TT,
    pair=(0, 1),
):
    """:class:`Exit` with a trace token."""

    __slots__ = ()


class RegSendTT(
    ControlMessage,
    NamedTuple("RegSendTT", [("from_pid", Pid), ("unused", Any), ("to_name", Atom), ("trace_token", Any)]),
    op=Op.REG_SEND_TT,
    payload=True,
    pair=(0, 2),
):
    """:class:`RegSend` with a trace token."""

    __slots__ = ()


class Exit2TT(
    ControlMessage,
    NamedTuple("Exit2TT", [("from_pid", Pid), ("to_pid", Pid), ("trace_token", Any), ("reason", Any)]),
    op=Op.EXIT2_TT,
    pair=(0, 1),
):
    """:class:`Exit2` with a trace token."""

    __slots__ = ()


class MonitorP(
    ControlMessage,
    NamedTuple("MonitorP", [("from_pid", Pid), ("to_proc", Pid | Atom), ("ref", Reference)]),
    op=Op.MONITOR_P,
    pair=(0, 1),
):
    """Monitor a process, by pid or by name."""

    __slots__ = ()


class DemonitorP(
    ControlMessage,
    NamedTuple("DemonitorP", [("from_pid", Pid), ("to_proc", Pid | Atom), ("ref", Reference)]),
    op=Op.DEMONITOR_P,
    pair=(0, 1),
):
    """End a monitor."""

    __slots__ = ()


class MonitorPExit(
    ControlMessage,
    NamedTuple(
        "MonitorPExit", [("from_proc", Pid | Atom), ("to_pid", Pid), ("ref", Reference), ("reason", Any)]
    ),
    op=Op.MONITOR_P_EXIT,
    pair=(0, 1),
):
    """A monitored process is gone; only where EXIT_PAYLOAD was not negotiated."""

    __slots__ = ()


class SendSender(
    ControlMessage,
    NamedTuple("SendSender", [("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.SEND_SENDER,
    payload=True,
    pair=(0, 1),
):
    """A message."""

    __slots__ = ()


class SendSenderTT(
    ControlMessage,
    NamedTuple("SendSenderTT", [("from_pid", Pid), ("to_pid", Pid), ("trace_token", Any)]),
    op=Op.SEND_SENDER_TT,
    payload=True,
    pair=(0, 1),
):
    """:class:`SendSender` with a trace token."""

    __slots__ = ()


class PayloadExit(
    ControlMessage,
    NamedTuple("PayloadExit", [("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.PAYLOAD_EXIT,
    payload=True,
    pair=(0, 1),
):
    """A link broke; the payload is the reason."""

    __slots__ = ()


class PayloadExitTT(
    ControlMessage,
    NamedTuple("PayloadExitTT", [("from_pid", Pid), ("to_pid", Pid), ("trace_token", Any)]),
    op=Op.PAYLOAD_EXIT_TT,
    payload=True,
    pair=(0, 1),
):
    """:class:`PayloadExit` with a trace token."""

    __slots__ = ()


class PayloadExit2(
    ControlMessage,
    NamedTuple("PayloadExit2", [("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.PAYLOAD_EXIT2,
    payload=True,
    pair=(0, 1),
):
    """``exit/2``; the payload is the reason."""

    __slots__ = ()


class PayloadExit2TT(
    ControlMessage,
    NamedTuple("PayloadExit2TT", [("from_pid", Pid), ("to_pid", Pid), ("trace_token", Any)]),
    op=Op.PAYLOAD_EXIT2_TT,
    payload=True,
    pair=(0, 1),
):
    """:class:`PayloadExit2` with a trace token."""

    __slots__ = ()


class PayloadMonitorPExit(
    ControlMessage,
    NamedTuple("PayloadMonitorPExit", [("from_proc", Pid | Atom), ("to_pid", Pid), ("ref", Reference)]),
    op=Op.PAYLOAD_MONITOR_P_EXIT,
    payload=True,
    pair=(0, 1),
):
    """A monitored process is gone; the payload is the reason."""

    __slots__ = ()


class SpawnRequest(
    ControlMessage,
    NamedTuple(
        "SpawnRequest",
        [
            ("req_id", Reference),
            ("from_pid", Pid),
            ("group_leader", Pid),
            ("mfa", tuple[Any, ...]),
            ("opt_list", list[Any]),
        ],
    ),
    op=Op.SPAWN_REQUEST,
    payload=True,
    pair=(1, 1),
    check=_check_spawn,
):
    """Spawn ``mfa = (module, function, arity)``; the payload is the argument list."""

    __slots__ = ()


class SpawnRequestTT(
    ControlMessage,
    NamedTuple(
        "SpawnRequestTT",
        [
            ("req_id", Reference),
            ("from_pid", Pid),
            ("group_leader", Pid),
            ("mfa", tuple[Any, ...]),
            ("opt_list", list[Any]),
            ("trace_token", Any),
        ],
    ),
    op=Op.SPAWN_REQUEST_TT,
    payload=True,
    pair=(1, 1),
    check=_check_spawn,
):
    """:class:`SpawnRequest` with a trace token."""

    __slots__ = ()


class SpawnReply(
    ControlMessage,
    NamedTuple(
        "SpawnReply", [("req_id", Reference), ("to_pid", Pid), ("flags", int), ("result", Pid | Atom)]
    ),
    op=Op.SPAWN_REPLY,
    # The first signal of the new process to its parent: later ones must not overtake it.
    pair=(3, 1),
):
    """``result`` is the new process, or the atom that says why there is none."""

    __slots__ = ()


class SpawnReplyTT(
    ControlMessage,
    NamedTuple(
        "SpawnReplyTT",
        [
            ("req_id", Reference),
            ("to_pid", Pid),
            ("flags", int),
            ("result", Pid | Atom),
            ("trace_token", Any),
        ],
    ),
    op=Op.SPAWN_REPLY_TT,
    pair=(3, 1),
):
    """:class:`SpawnReply` with a trace token."""

    __slots__ = ()


class AliasSend(
    ControlMessage,
    NamedTuple("AliasSend", [("from_pid", Pid), ("alias", Reference)]),
    op=Op.ALIAS_SEND,
    payload=True,
    pair=(0, 1),
):
    """A message to a process alias."""

    __slots__ = ()


class AliasSendTT(
    ControlMessage,
    NamedTuple("AliasSendTT", [("from_pid", Pid), ("alias", Reference), ("trace_token", Any)]),
    op=Op.ALIAS_SEND_TT,
    payload=True,
    pair=(0, 1),
):
    """:class:`AliasSend` with a trace token."""

    __slots__ = ()


class UnlinkId(
    ControlMessage,
    NamedTuple("UnlinkId", [("id", int), ("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.UNLINK_ID,
    pair=(1, 2),
    check=_check_unlink_id,
):
    """End a link; to be answered with :class:`UnlinkIdAck` before anything else is sent back.

    ``id`` is in ``[1, (1 bsl 64) - 1]``.
    """

    __slots__ = ()


class UnlinkIdAck(
    ControlMessage,
    NamedTuple("UnlinkIdAck", [("id", int), ("from_pid", Pid), ("to_pid", Pid)]),
    op=Op.UNLINK_ID_ACK,
    pair=(1, 2),
    check=_check_unlink_id,
):
    """The answer to :class:`UnlinkId`, with its ``id``."""

    __slots__ = ()


class AltactSigSend(
    ControlMessage,
    NamedTuple("AltactSigSend", [("flags", int), ("from_pid", Pid), ("to", Pid | Atom | Reference)]),
    op=Op.ALTACT_SIG_SEND,
    payload=True,
    pair=(1, 2),
    check=_check_altact,
):
    """OTP 28: a message (or with EXIT in ``flags`` an ``exit/2``) that takes an alternative action.

    ``flags`` (:class:`AltactFlag`) say what ``to`` is: ALIAS a reference, NAME an atom, neither a
    pid; PRIO makes it a priority message. The payload is the message or the exit reason.
    """

    __slots__ = ()


class AltactSigSendTT(
    ControlMessage,
    NamedTuple(
        "AltactSigSendTT",
        [("flags", int), ("from_pid", Pid), ("to", Pid | Atom | Reference), ("trace_token", Any)],
    ),
    op=Op.ALTACT_SIG_SEND,
    payload=True,
    pair=(1, 2),
    check=_check_altact,
):
    """:class:`AltactSigSend` with a trace token (and TOKEN in ``flags``); the same operation."""

    __slots__ = ()
