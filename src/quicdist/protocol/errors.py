"""What a peer, or this side, can do against the distribution protocol.

Every message names the node, what was expected and what came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist.protocol.flags import DistFlag

#: How a peer is called in errors before it has said its name.
UNNAMED = "a peer that has not named itself"


def shown(data: bytes | bytearray | memoryview, limit: int = 32) -> str:
    """The first bytes of ``data`` for an error message: readable, bounded."""
    head = repr(bytes(data[:limit]))[1:]
    return head if len(data) <= limit else f"{head} and {len(data) - limit} bytes more"


class ProtocolError(QuicDistError):
    """The distribution protocol was broken or refused; ``node`` is the peer.

    After it the connection it came on is to be closed. Raised by
    :meth:`~quicdist.protocol.DistConnection.receive`, it carries in ``messages`` the complete
    messages that stood before the fault in the same bytes; they are valid.
    """

    def __init__(self, node: str, text: str) -> None:
        super().__init__(text)
        self.node = node
        self.messages: list[tuple[Any, Any]] = []


class InvalidNodeName(ProtocolError, ValueError):
    """A node name that OTP does not accept; ``reason`` says what is wrong with it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, f"{name!r} is not a node name: {reason}")
        self.reason = reason


# -- handshake ---------------------------------------------------------------------------------


class HandshakeError(ProtocolError):
    """No connection came about: the handshake was refused, broken or given up.

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
    """The two nodes do not share a cookie; ``reason`` says how it showed."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, f"wrong cookie for {node}: {reason}")
        self.reason = reason


class NotAllowed(HandshakeError):
    """The peer refused this node: status ``not_allowed``."""

    def __init__(self, node: str) -> None:
        super().__init__(node, f"{node} does not allow this node to connect (status not_allowed)")


class SimultaneousConnect(HandshakeError):
    """Status ``nok``: the peer's own attempt to connect to this node goes on in place of ours.

    OTP's rule: of two simultaneous attempts the one from the node with the greater name stands.
    A connection from ``node`` is to be expected.
    """

    def __init__(self, node: str) -> None:
        super().__init__(node, f"{node} is connecting to this node itself (status nok)")


class ConnectionAlive(HandshakeError):
    """Status ``alive``: the acceptor has a connection under this name, and the initiator said
    that it is not to be replaced (``false``)."""

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
    """What came on an established connection breaks the protocol: a frame in none of the forms that were
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
