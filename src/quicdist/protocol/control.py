"""Control messages: the signals of the distribution protocol, one typed tuple each.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes* (fields are
called as there), and ``erts/emulator/beam/dist.h`` for ALTACT_SIG_SEND, which it leaves out.

An operation stands in one place only, its class: the types of its elements, whether a payload
follows it, and between whom it has to keep its order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, IntFlag
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, ClassVar, NamedTuple, get_args, get_origin

from quicdist.protocol.errors import UNNAMED, MalformedControl
from quicdist.term import Atom, Pid, Reference

_Check = Callable[[Any, str], None]

#: What the elements called *Unused* are filled with, as OTP does.
UNUSED = Atom("")
_UNDEFINED = Atom("undefined")


class Op(IntEnum):
    """The operations, with OTP's names (``DOP_*`` in ``dist.h``)."""

    LINK = 1
    SEND = 2
    EXIT = 3
    UNLINK = 4
    NODE_LINK = 5
    REG_SEND = 6
    GROUP_LEADER = 7
    EXIT2 = 8
    SEND_TT = 12
    EXIT_TT = 13
    REG_SEND_TT = 16
    EXIT2_TT = 18
    MONITOR_P = 19
    DEMONITOR_P = 20
    MONITOR_P_EXIT = 21
    SEND_SENDER = 22
    SEND_SENDER_TT = 23
    PAYLOAD_EXIT = 24
    PAYLOAD_EXIT_TT = 25
    PAYLOAD_EXIT2 = 26
    PAYLOAD_EXIT2_TT = 27
    PAYLOAD_MONITOR_P_EXIT = 28
    SPAWN_REQUEST = 29
    SPAWN_REQUEST_TT = 30
    SPAWN_REPLY = 31
    SPAWN_REPLY_TT = 32
    ALIAS_SEND = 33
    ALIAS_SEND_TT = 34
    UNLINK_ID = 35
    UNLINK_ID_ACK = 36
    ALTACT_SIG_SEND = 37


class SpawnReplyFlag(IntFlag):
    """``flags`` of SPAWN_REPLY: what was set up along with the new process."""

    LINK = 1
    MONITOR = 2


class AltactFlag(IntFlag):
    """``flags`` of ALTACT_SIG_SEND (``ERTS_DOP_ALTACT_SIG_FLG_*``)."""

    PRIO = 1
    TOKEN = 2
    ALIAS = 4
    NAME = 8
    EXIT = 16


class ControlMessage(tuple[Any, ...]):
    """What all control messages share. Two are equal if operation and elements are."""

    __slots__ = ()

    #: The operation, the first element of the tuple on the wire.
    op: ClassVar[Op]
    #: Whether a payload (the message, the exit reason, the argument list) follows.
    has_payload: ClassVar[bool]
    #: Gives ``(from, to)``: signals between one pair have to arrive in the order sent.
    pair: ClassVar[Callable[[tuple[Any, ...]], Any]]

    def __init_subclass__(
        cls, *, op: Op, payload: bool = False, pair: tuple[int, int] | None = None, **more: Any
    ) -> None:
        super().__init_subclass__(**more)
        cls.op = op
        cls.has_payload = payload
        cls.pair = itemgetter(*pair) if pair else _no_pair
        _CLASSES.setdefault(int(op), []).append(cls)
        _ACCEPTED.setdefault(int(op), {})

    def to_term(self) -> tuple[Any, ...]:
        """The tuple as it is encoded, operation first."""
        return (int(self.op), *self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def _no_pair(message: tuple[Any, ...]) -> None:
    """For a signal that belongs to no pair of processes."""


_CLASSES: dict[int, list[type[ControlMessage]]] = {}
#: By operation: the types of whole tuples that have been found good, and what they make. Terms have
#: few types, so it stays small.
_ACCEPTED: dict[int, dict[tuple[type, ...], tuple[type[ControlMessage], _Check | None]]] = {}


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
    """Never sent any more; accepted and without meaning."""

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
):
    """:class:`SpawnRequest` with a trace token."""

    __slots__ = ()


class SpawnReply(
    ControlMessage,
    NamedTuple(
        "SpawnReply", [("req_id", Reference), ("to_pid", Pid), ("flags", int), ("result", Pid | Atom)]
    ),
    op=Op.SPAWN_REPLY,
    # The first signal of the new process to its parent: what it sends next must not overtake it.
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
):
    """The answer to :class:`UnlinkId`, with its ``id``."""

    __slots__ = ()


class AltactSigSend(
    ControlMessage,
    NamedTuple("AltactSigSend", [("flags", int), ("from_pid", Pid), ("to", Pid | Atom | Reference)]),
    op=Op.ALTACT_SIG_SEND,
    payload=True,
    pair=(1, 2),
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
):
    """:class:`AltactSigSend` with a trace token (and TOKEN in ``flags``); the same operation."""

    __slots__ = ()


# -- decoding ----------------------------------------------------------------------------------

_new: Any = tuple.__new__


def decode_control(term: object, node: str = UNNAMED, none: Atom = _UNDEFINED) -> ControlMessage:
    """The control message that ``term``, as the codec decoded it, stands for.

    ``none`` is the atom that the codec gives as None. Raises :class:`MalformedControl` for an
    unknown operation, a wrong number of elements or one of the wrong type.
    """
    if type(term) is tuple and term:
        accepted = _ACCEPTED.get(term[0]) if type(term[0]) is int else None
        if accepted is not None:
            known = accepted.get(tuple(map(type, term)))
            if known is not None:
                cls, check = known
                message: ControlMessage = _new(cls, term[1:])
                if check is not None:
                    check(message, node)
                return message
            return _decode_first(term, node, none)
    raise MalformedControl(node, "a tuple that begins with an operation", _short(term))


def _decode_first(term: tuple[Any, ...], node: str, none: Atom) -> ControlMessage:
    """Decode by the table of types, and remember the types if they were good."""
    for cls in _CLASSES[term[0]]:
        kinds = _KINDS[cls]
        if len(kinds) == len(term) - 1:
            break
    else:
        expected = " or ".join(f"{len(_KINDS[cls]) + 1}" for cls in _CLASSES[term[0]])
        raise MalformedControl(
            node, f"{Op(term[0]).name} with {expected} elements", f"{len(term)}: {_short(term)}"
        )
    elements = list(term[1:])
    for position, (allowed, element) in enumerate(zip(kinds, elements, strict=True)):
        if allowed is None or type(element) in allowed:
            continue
        if Atom in allowed and isinstance(element, bool | NoneType):
            elements[position] = none if element is None else Atom("true" if element else "false")
            continue
        names = " or ".join(sorted(kind.__name__ for kind in allowed))
        field = cls._fields[position]  # type: ignore[attr-defined]
        raise MalformedControl(
            node, f"{Op(term[0]).name} with {field} a {names}", f"{_short(element)} in {_short(term)}"
        )
    message: ControlMessage = _new(cls, elements)
    check = _CHECKS.get(cls)
    if check is not None:
        check(message, node)
    if all(new is old for new, old in zip(elements, term[1:], strict=True)):
        _ACCEPTED[term[0]][tuple(map(type, term))] = cls, check
    return message


def _short(term: object, limit: int = 200) -> str:
    text = repr(term)
    return text if len(text) <= limit else f"{text[:limit]}..."


def _kinds(cls: type[ControlMessage]) -> tuple[frozenset[type] | None, ...]:
    """The exact types allowed for each element, None for any; from the fields' annotations."""
    annotations = cls.__mro__[2].__annotations__
    return tuple(map(_kind, annotations.values()))


def _kind(annotation: Any) -> frozenset[type] | None:
    if annotation is Any:
        return None
    union = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return frozenset(get_origin(kind) or kind for kind in union)


_KINDS = {cls: _kinds(cls) for classes in _CLASSES.values() for cls in classes}


# What types alone do not say.


def _check_unlink_id(message: Any, node: str) -> None:
    if not 1 <= message.id <= 0xFFFFFFFFFFFFFFFF:
        raise MalformedControl(node, f"{message.op.name} with id in 1..2^64-1", str(message.id))


def _check_spawn(message: Any, node: str) -> None:
    mfa = message.mfa
    atoms = (Atom, bool, NoneType)  # the codec gives true, false and undefined as Python's own
    if not (
        len(mfa) == 3 and isinstance(mfa[0], atoms) and isinstance(mfa[1], atoms) and type(mfa[2]) is int
    ):
        raise MalformedControl(node, f"{message.op.name} of {{Module, Function, Arity}}", _short(mfa))


def _check_altact(message: Any, node: str) -> None:
    flags, to, has_token = message.flags, type(message.to), isinstance(message, AltactSigSendTT)
    due = Reference if flags & AltactFlag.ALIAS else Atom if flags & AltactFlag.NAME else Pid
    if to is not due or bool(flags & AltactFlag.TOKEN) != has_token:
        raise MalformedControl(node, "ALTACT_SIG_SEND whose flags fit its elements", _short(message))


_CHECKS: dict[type[ControlMessage], _Check] = {
    UnlinkId: _check_unlink_id,
    UnlinkIdAck: _check_unlink_id,
    SpawnRequest: _check_spawn,
    SpawnRequestTT: _check_spawn,
    AltactSigSend: _check_altact,
    AltactSigSendTT: _check_altact,
}
