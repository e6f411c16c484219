"""Frames that a gateway relays between two connections, without decoding them.

A frame is one message, or one fragment of a message. Only its receiver is read, to choose a stream. All
signals to one process take one stream, whoever sends them. So each pair of processes keeps its order, and a
process sees the signals of several senders in the order in which the gateway got them, as over TCP. A
registered name and the pid of its process count as two receivers.

Replies are sent to an alias, and the pid of the process that owns the alias counts as the same receiver
(:class:`AliasOwners`): a reply must not be overtaken by the ``DOWN`` of a server that ends after it.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from struct import Struct
from typing import Any, Final

from quicdist.protocol import control_messages  # noqa: F401 - defines the operations
from quicdist.protocol.connection import DistConnection
from quicdist.protocol.control import Op, receiver_positions
from quicdist.protocol.errors import FrameError
from quicdist.protocol.fragments import FRAGMENT_SIZE, MAX_PARTIAL_MESSAGES, split
from quicdist.protocol.frames import Chunk
from quicdist.protocol.identity import LocalIdentity, Peer
from quicdist.protocol.streams import StreamPlan
from quicdist.term import Codec
from quicdist.term.tags import Tag

#: Where the control message of a frame begins: after ``131 68 0``, ``131 69``, two numbers and ``0``, or
#: ``112 131``.
_AFTER_HEADER: Final = 3
_AFTER_FRAGMENT_HEADER: Final = 19
_AFTER_PASS_THROUGH: Final = 2

#: The sequence of a fragment, and the fragments that are left, itself included.
_IDS: Final = Struct(">QQ")
_IDS_AT: Final = 2

#: By operation: the position of the receiver in the tuple on the wire, the operation being 0.
_RECEIVERS: Final = receiver_positions()

#: Signals by which a process tells another node a reference that may be an alias of it: the positions of the
#: process and of the reference.
_ALIAS_SIGNALS: Final = {
    int(Op.MONITOR_P): (1, 3),
    int(Op.SPAWN_REQUEST): (2, 1),
    int(Op.SPAWN_REQUEST_TT): (2, 1),
}

#: Bytes of a pid that name its process: number, serial, creation.
_PID_KEY: Final = 12
#: A reference of so many words is an alias, and its last two words are the same for all aliases of a process
#: (OTP 26 and later: ``ERTS_PID_REF_NUMBERS``).
_ALIAS_WORDS: Final = 5
_OWNER_KEY: Final = 8
#: The owners of so many aliases are remembered for one connection.
MAX_OWNERS: Final = 16384

#: Where fragments are negotiated, a longer frame, in bytes, is relayed in fragments. A BEAM sends a message
#: in one frame, whatever its size, while the connection is being set up (``erts_dsig_prepare``).
SPLIT_FROM: Final = 4 * FRAGMENT_SIZE
#: The first sequence of messages that are divided here. A BEAM makes its own of the address of a process.
_FIRST_SEQUENCE: Final = 1 << 63
#: The deepest term in a control message whose end is found.
_MAX_DEPTH: Final = 4


class FrameKind(Enum):
    """What a frame is."""

    #: A whole message.
    WHOLE = "whole"
    #: The first fragment of a message that has others.
    FIRST = "first"
    #: A further fragment, not the last.
    NEXT = "next"
    #: The last fragment of a message.
    LAST = "last"

    @property
    def op(self) -> FrameKind:
        """In place of the operation of a control message, for log lines."""
        return self

    @property
    def ends_message(self) -> bool:
        """Whether a message is complete with it."""
        return self is FrameKind.WHOLE or self is FrameKind.LAST


class RelayConnection(DistConnection):
    """A connection whose frames are relayed: :meth:`receive` returns them as (:class:`FrameKind`, frame
    without its length). Signals of the gateway itself can be sent on it."""

    def __init__(self, peer: Peer, local: LocalIdentity, *, streams: StreamPlan, max_frame: int) -> None:
        # Only signals of the gateway itself are encoded.
        super().__init__(peer, local, codec=Codec(), streams=streams, max_frame=max_frame)

    def _message(self, stream_id: int, frame: Chunk, at: int = 0) -> tuple[Any, Any] | None:
        if at:
            frame = frame[at:]
        tag, kind = (frame[0], frame[1]) if len(frame) > _AFTER_HEADER else (0, 0)
        if tag == 131:
            if kind == 68 and not frame[2]:
                return FrameKind.WHOLE, frame
            if kind in (69, 70) and len(frame) >= _IDS_AT + _IDS.size:
                return self._fragment(frame, first=kind == 69), frame
        elif tag == 112 and kind == 131:
            return FrameKind.WHOLE, frame
        raise self._malformed("a distribution header without atom cache references, or pass-through", frame)

    def divide(self, frame: Chunk) -> list[Chunk] | None:
        """A whole message as fragments, with their lengths; None if it is not long, or has no payload, or
        this peer takes no fragments. The fragments of one message go to one stream, one after another."""
        if len(frame) < SPLIT_FROM or not self._fragments or frame[1] != 68:
            return None
        end = _control_end(frame)
        if end is None or end == len(frame):
            return None
        self._sequence += 1
        control, payload = bytes(frame[_AFTER_HEADER:end]), memoryview(frame)[end:]
        size = len(frame) - _AFTER_HEADER
        return split(control, [payload], size, FRAGMENT_SIZE, _FIRST_SEQUENCE + self._sequence)

    def _fragment(self, frame: Chunk, *, first: bool) -> FrameKind:
        left = _IDS.unpack_from(frame, _IDS_AT)[1]
        if left > 1:
            return FrameKind.FIRST if first else FrameKind.NEXT
        if not left:
            raise self._malformed("at least 1 fragment", frame)
        return FrameKind.WHOLE if first else FrameKind.LAST


# -- the receiver of a signal -----------------------------------------------------------------------


def receiver_of(frame: Chunk) -> tuple[bytes | None, int]:
    """The receiver of a message, in external form, from its frame or its first fragment, and where it ends in
    the frame; None for a form that is not known."""
    found = _elements(frame)
    position = None if found is None else _RECEIVERS.get(found[0])
    return (None, 0) if found is None or position is None else _element(frame, found[1], position)


def operation_of(frame: Chunk) -> int | None:
    """The operation of a message, from its frame or its first fragment; None for a form that is not known."""
    found = _elements(frame)
    return None if found is None else found[0]


def _elements(frame: Chunk) -> tuple[int, int] | None:
    """The operation of a frame's control message, and where the element after it begins."""
    kind = frame[1]
    start = _AFTER_HEADER if kind == 68 else _AFTER_FRAGMENT_HEADER if kind == 69 else _AFTER_PASS_THROUGH
    # {Operation, ...}, a small tuple of a small integer and others
    if len(frame) < start + 4 or frame[start] != Tag.SMALL_TUPLE_EXT:
        return None
    if frame[start + 2] != Tag.SMALL_INTEGER_EXT:
        return None
    return frame[start + 3], start + 4


def _element(frame: Chunk, at: int, position: int) -> tuple[bytes | None, int]:
    """The element at ``position``, counted from 1 at the offset ``at``, and where it ends; None if one cannot
    be skipped."""
    try:
        for _ in range(position - 1):
            at = _skip(frame, at)
            if at < 0:
                return None, 0
        end = _skip(frame, at)
    except IndexError:
        return None, 0
    return (bytes(frame[at:end]), end) if 0 <= end <= len(frame) else (None, 0)


def _skip(frame: Chunk, at: int) -> int:
    """Where the term that begins at ``at`` ends, for the types that stand before a receiver in a control
    message, and for receivers; -1 for another type."""
    tag = frame[at]
    if tag == Tag.NEW_PID_EXT:
        return _skip_atom(frame, at + 1, 12)
    if tag == Tag.NEWER_REFERENCE_EXT:
        return _skip_atom(frame, at + 3, 4 + 4 * (frame[at + 1] << 8 | frame[at + 2]))
    if tag == Tag.SMALL_INTEGER_EXT:
        return at + 2
    if tag == Tag.INTEGER_EXT:
        return at + 5
    if tag == Tag.SMALL_BIG_EXT:
        return at + 3 + frame[at + 1]
    if tag == Tag.PID_EXT:
        return _skip_atom(frame, at + 1, 9)
    if tag == Tag.NEW_REFERENCE_EXT:
        return _skip_atom(frame, at + 3, 1 + 4 * (frame[at + 1] << 8 | frame[at + 2]))
    return _skip_atom(frame, at, 0)


def _skip_atom(frame: Chunk, at: int, more: int) -> int:
    """Where ``more`` bytes after the atom at ``at`` end; -1 if it is no atom."""
    tag = frame[at]
    if tag == Tag.SMALL_ATOM_UTF8_EXT or tag == Tag.SMALL_ATOM_EXT:
        return at + 2 + frame[at + 1] + more
    if tag == Tag.ATOM_UTF8_EXT or tag == Tag.ATOM_EXT:
        return at + 3 + (frame[at + 1] << 8 | frame[at + 2]) + more
    return -1


def _control_end(frame: Chunk) -> int | None:
    """Where the control message of a whole message ends; None for a form that is not known."""
    if _elements(frame) is None:
        return None
    try:
        end = _skip_any(frame, _AFTER_HEADER, _MAX_DEPTH)
    except IndexError:
        return None
    return end if 0 < end <= len(frame) else None


def _skip_any(frame: Chunk, at: int, depth: int) -> int:
    """As :func:`_skip`, also for small tuples, and for lists of fewer than 256 elements."""
    tag = frame[at]
    if tag == Tag.NIL_EXT:
        return at + 1
    if tag == Tag.SMALL_TUPLE_EXT:
        count, at = frame[at + 1], at + 2
    elif tag == Tag.LIST_EXT and frame[at + 1] == frame[at + 2] == frame[at + 3] == 0:
        count, at = frame[at + 4] + 1, at + 5
    else:
        return _skip(frame, at)
    if not depth:
        return -1
    for _ in range(count):
        at = _skip_any(frame, at, depth - 1)
        if at < 0:
            return -1
    return at


class AliasOwners:
    """The processes of one node by the aliases that it told the other node of.

    A reference says nothing of its process. But the request that is answered to an alias comes after a signal
    that has both the pid and the reference: the alias of a call is the reference of its monitor. An alias
    that was used without that knowledge stays a receiver of its own: a receiver must not change its stream.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[bytes, bytes] = OrderedDict()

    def learn(self, frame: Chunk) -> None:
        """A whole frame, or the first fragment, that the node of these processes has sent."""
        found = _elements(frame)
        if found is None or found[0] not in _ALIAS_SIGNALS:
            return
        process_at, reference_at = _ALIAS_SIGNALS[found[0]]
        reference, _ = _element(frame, found[1], reference_at)
        process, _ = _element(frame, found[1], process_at)
        if reference is None or reference[0] != Tag.NEWER_REFERENCE_EXT:
            return
        if process is not None and process[0] == Tag.NEW_PID_EXT:
            self._owners.setdefault(_alias_key(reference), process[-_PID_KEY:])
            self._limit()

    def key(self, receiver: bytes) -> bytes:
        """The receiver as a key: the same for a process and for its aliases."""
        if receiver[0] == Tag.NEW_PID_EXT:
            return receiver[-_PID_KEY:]
        if receiver[0] != Tag.NEWER_REFERENCE_EXT:
            return receiver
        alias = _alias_key(receiver)
        owner = self._owners.setdefault(alias, alias)
        self._owners.move_to_end(alias)
        self._limit()
        return owner

    def _limit(self) -> None:
        if len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)


def _alias_key(reference: bytes) -> bytes:
    return reference[-_OWNER_KEY:] if reference[1] == 0 and reference[2] == _ALIAS_WORDS else reference


class Route:
    """The receiver and the stream of a message whose fragments are being relayed."""

    __slots__ = ("receiver", "stream_id")

    def __init__(self, receiver: bytes | None, stream_id: int) -> None:
        self.receiver = receiver
        self.stream_id = stream_id


class Routes:
    """The messages whose fragments are being relayed to ``node``, by their sequence."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._routes: dict[int, Route] = {}

    def begin(self, frame: Chunk, route: Route) -> None:
        """The first fragment. Raises :class:`FrameError` if too many messages are incomplete."""
        if len(self._routes) >= MAX_PARTIAL_MESSAGES:
            expected = f"at most {MAX_PARTIAL_MESSAGES} incomplete messages"
            raise FrameError(self._node, "fragment", f"expected {expected}, got another")
        self._routes[_IDS.unpack_from(frame, _IDS_AT)[0]] = route

    def next(self, frame: Chunk, *, last: bool) -> Route:
        """The route of a further fragment. Raises :class:`FrameError` without a first one."""
        sequence = _IDS.unpack_from(frame, _IDS_AT)[0]
        route = self._routes.pop(sequence, None) if last else self._routes.get(sequence)
        if route is None:
            raise FrameError(self._node, "fragment", f"expected a first one of sequence {sequence}")
        return route
