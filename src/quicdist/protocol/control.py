"""Control messages: their base, and how they are decoded from tuples.

Source: ERTS User's Guide, *Distribution Protocol*, *Protocol between Connected Nodes*.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, ClassVar, get_args, get_origin

from quicdist.protocol.errors import UNNAMED, FrameError, shown
from quicdist.term import Atom, Pid, Reference

_UNDEFINED = Atom("undefined")
#: Checks that go beyond types; raises FrameError.
_Check = Callable[[Any, str], None]


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


class ControlMessage(tuple[Any, ...]):
    """The base of all control messages. Two are equal if operation and elements are."""

    __slots__ = ()

    #: The operation, the first element of the tuple on the wire.
    op: ClassVar[Op]
    #: Whether a payload (the message, the exit reason, the argument list) follows.
    has_payload: ClassVar[bool]
    #: Gives ``(from, to)``: signals between one pair have to arrive in the order sent.
    pair: ClassVar[Callable[[tuple[Any, ...]], Any]]

    def __init_subclass__(
        cls,
        *,
        op: Op,
        payload: bool = False,
        pair: tuple[int, int] | None = None,
        check: _Check | None = None,
    ) -> None:
        super().__init_subclass__()
        cls.op = op
        cls.has_payload = payload
        cls.pair = itemgetter(*pair) if pair else _no_pair
        _CLASSES.setdefault(int(op), []).append(cls)
        _ACCEPTED.setdefault(int(op), {})
        _KINDS[cls] = _kinds(cls)
        _CHECKS[cls] = check

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


_KINDS: dict[type[ControlMessage], tuple[frozenset[type] | None, ...]] = {}
_CHECKS: dict[type[ControlMessage], _Check | None] = {}
_CLASSES: dict[int, list[type[ControlMessage]]] = {}
#: By operation: the types of whole tuples that have been found good, and what they make. Terms have
#: few types, so it stays small.
_ACCEPTED: dict[int, dict[tuple[type, ...], tuple[type[ControlMessage], _Check | None]]] = {}


def receiver_positions() -> dict[int, int]:
    """By operation: the position of the receiver, by ``pair``, in the tuple on the wire; the operation is at
    0. Without the operations whose signals belong to no pair."""
    positions: dict[int, int] = {}
    for op, classes in _CLASSES.items():
        for cls in classes:
            pair = cls.pair(tuple(range(1, len(_KINDS[cls]) + 1)))
            if pair is not None:
                positions[op] = pair[1]
    return positions


# -- decoding ----------------------------------------------------------------------------------

_new: Any = tuple.__new__


def decode_control(term: object, node: str = UNNAMED, none: Atom = _UNDEFINED) -> ControlMessage:
    """The control message that ``term``, as the codec decoded it, stands for.

    ``none`` is the atom that the codec gives as None. Raises :class:`FrameError` for an
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
    raise unexpected(node, "a tuple that begins with an operation", short(term))


def unexpected(node: str, expected: str, came: str) -> FrameError:
    """The error for a control message that is not as ``expected``."""
    return FrameError(node, "control message", f"expected {expected}, got {came}")


def _decode_first(term: tuple[Any, ...], node: str, none: Atom) -> ControlMessage:
    """Decode by the table of types, and remember the types if they were good."""
    for cls in _CLASSES[term[0]]:
        kinds = _KINDS[cls]
        if len(kinds) == len(term) - 1:
            break
    else:
        expected = " or ".join(f"{len(_KINDS[cls]) + 1}" for cls in _CLASSES[term[0]])
        raise unexpected(node, f"{Op(term[0]).name} with {expected} elements", f"{len(term)}: {short(term)}")
    elements = list(term[1:])
    for position, (allowed, element) in enumerate(zip(kinds, elements, strict=True)):
        if allowed is None or type(element) in allowed:
            continue
        if Atom in allowed and isinstance(element, bool | NoneType):
            elements[position] = none if element is None else Atom("true" if element else "false")
            continue
        names = " or ".join(sorted(kind.__name__ for kind in allowed))
        field = cls._fields[position]  # type: ignore[attr-defined]
        raise unexpected(
            node, f"{Op(term[0]).name} with {field} a {names}", f"{short(element)} in {short(term)}"
        )
    message: ControlMessage = _new(cls, elements)
    check = _CHECKS[cls]
    if check is not None:
        check(message, node)
    if all(new is old for new, old in zip(elements, term[1:], strict=True)):
        _ACCEPTED[term[0]][tuple(map(type, term))] = cls, check
    return message


def short(term: object, depth: int = 3) -> str:
    """``term`` for an error message, cut to a short text; large terms are not printed whole."""
    if isinstance(term, tuple | list):
        elements = [short(element, depth - 1) for element in term[:8]] if depth else []
        text = ", ".join([*elements, "..."] if len(elements) < len(term) else elements)
        return f"({text})" if isinstance(term, tuple) else f"[{text}]"
    if isinstance(term, bytes):
        return f"b{shown(term)}"
    if isinstance(term, int) and term.bit_length() > 256:  # Python refuses to print some
        return f"an integer of {term.bit_length()} bits"
    if term is None or isinstance(term, int | float | Atom | Pid | Reference):
        return repr(term)
    return f"a {type(term).__name__}"


def _kinds(cls: type[ControlMessage]) -> tuple[frozenset[type] | None, ...]:
    """The exact types allowed for each element, None for any; from the fields' annotations."""
    annotations = cls.__mro__[2].__annotations__
    return tuple(map(_kind, annotations.values()))


def _kind(annotation: Any) -> frozenset[type] | None:
    if annotation is Any:
        return None
    union = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return frozenset(get_origin(kind) or kind for kind in union)
