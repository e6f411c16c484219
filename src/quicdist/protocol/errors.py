"""Violations of the distribution protocol, by a peer or by this node.

Every text names the node, what was expected and what was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.protocol.flags import DistFlag

#: The name of a peer in errors before it has sent its name.
UNNAMED = "a peer that has not named itself"


def shown(data: bytes | bytearray | memoryview, limit: int = 32) -> str:
    """The first bytes of ``data`` for an error message: readable, bounded."""
    head = repr(bytes(data[:limit]))[1:]
    return head if len(data) <= limit else f"{head} and {len(data) - limit} bytes more"


class ProtocolError(QuicDistError):
    """The distribution protocol was broken or refused; ``node`` is the peer.

    After it the connection it came on is to be closed. Raised by
    :meth:`~quicdist.protocol.DistConnection.receive`, it carries in ``messages`` the complete
    messages before the fault in the same bytes; they are valid.
    """

    def __init__(self, node: str, text: str) -> None:
        super().__init__(text)
        self.node = node
        self.messages: list[tuple[Any, Any]] = []


class InvalidNodeName(ProtocolError, ValueError):
    """A node name that OTP does not accept; ``reason`` says why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, f"{name!r} is not a node name: {reason}")
        self.reason = reason


# -- handshake ---------------------------------------------------------------------------------


class HandshakeError(ProtocolError):
    """There is no connection: the handshake was refused, broken or abandoned.

    Raised itself where a peer sends back a challenge of this node (it would have this node answer in its
    place), and where a node that has no name asks for one (``DFLAG_NAME_ME``) and gets none.
    """


class MandatoryFlagsMissing(HandshakeError):
    """``node`` does not offer ``missing``, which ``local`` cannot do without."""

    def __init__(self, node: str, local: str, missing: DistFlag) -> None:
        names = ", ".join(str(flag.name) for flag in missing)
        super().__init__(node, f"{node} lacks mandatory flags that {local} requires: {names}")
        self.local = local
        self.missing = missing


class WrongCookie(HandshakeError):
    """The cookies of the two nodes differ; ``reason`` says how this was detected."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, f"wrong cookie for {node}: {reason}")
        self.reason = reason


class NotAllowed(HandshakeError):
    """The peer refused this node: status ``not_allowed``."""

    def __init__(self, node: str) -> None:
        super().__init__(node, f"{node} does not allow this node to connect (status not_allowed)")


class SimultaneousConnect(HandshakeError):
    """Status ``nok``: the peer keeps its own dial to this node and refuses ours.

    OTP's rule: of two simultaneous dials the one of the node with the greater name is kept.
    A connection from ``node`` will follow.
    """

    def __init__(self, node: str) -> None:
        super().__init__(node, f"{node} is connecting to this node itself (status nok)")


class ConnectionAlive(HandshakeError):
    """Status ``alive``: the acceptor has a connection under this name, and the initiator does not
    replace it (``false``)."""

    def __init__(self, node: str) -> None:
        super().__init__(node, f"the name is taken: a connection with {node} is already alive")


class WrongNodeName(HandshakeError):
    """The node that answered is not the one that was dialled."""

    def __init__(self, node: str, came: str) -> None:
        super().__init__(node, f"dialled {node}, but the node that answered calls itself {came!r}")
        self.came = came


class MalformedHandshake(HandshakeError):
    """A handshake message cannot be read, is not due, or is of another version than 6 (OTP 23 and later)."""

    def __init__(self, node: str, expected: str, came: str) -> None:
        super().__init__(node, f"handshake with {node}: expected {expected}, got {came}")
        self.expected = expected
        self.came = came


class HandshakeEnded(HandshakeError):
    """The peer closed the connection in the middle of the handshake."""

    def __init__(self, node: str, expected: str) -> None:
        super().__init__(node, f"{node} closed the connection while {expected} was expected")
        self.expected = expected


# -- after the handshake -----------------------------------------------------------------------


class FrameError(ProtocolError):
    """A peer violates the protocol on an established connection: a frame in none of the forms that were
    negotiated, fragments that do not make one message, bytes that are no term (``__cause__`` is the
    codec's error), a control message of an unknown operation or with an element of the wrong type.

    After it nothing more is read from the connection.
    """

    def __init__(self, node: str, what: str, problem: str) -> None:
        super().__init__(node, f"{what} from {node}: {problem}")


class FrameTooLong(ProtocolError):
    """A frame, or a message in fragments, of ``length`` bytes or more, where ``limit`` is the most."""

    def __init__(self, node: str, what: str, length: int, limit: int) -> None:
        super().__init__(node, f"{what} {node} has {length} bytes, the limit is {limit}")
        self.length = length
        self.limit = limit
