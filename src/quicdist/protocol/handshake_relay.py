"""A handshake that a gateway passes through, sans-I/O: bytes of two nodes in, bytes for both out.

The messages are not changed but for the flags of the name and the challenge: :data:`NOT_RELAYED` is taken
out, both ways, so that neither node negotiates it. The digests do not cover the flags (``dist_util``:
``gen_digest/2``), so no cookie is needed, and the two nodes authenticate each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from quicdist.protocol.errors import HandshakeEnded, HandshakeError, NotAllowed, SimultaneousConnect
from quicdist.protocol.flags import DistFlag, expand
from quicdist.protocol.handshake_framing import HandshakeBuffer, HandshakeFraming, frame
from quicdist.protocol.handshake_messages import (
    CHALLENGE_HEADER,
    NAME_HEADER,
    Due,
    Status,
    decode_answer,
    decode_challenge,
    decode_name_message,
    decode_status,
)
from quicdist.protocol.identity import LocalIdentity, Peer

#: Flags that need one ordered stream (``dist_util:strict_order_flags/0``), and their obsolete forms.
NOT_RELAYED: Final = DistFlag.DIST_HDR_ATOM_CACHE | DistFlag.ATOM_CACHE | DistFlag.HIDDEN_ATOM_CACHE


class End(Enum):
    """One of the two nodes, by its role in the handshake."""

    INITIATOR = "the dialling node"
    ACCEPTOR = "the dialled node"


#: The sender of each message.
_SENDERS: Final = {
    Due.NAME: End.INITIATOR,
    Due.STATUS: End.ACCEPTOR,
    Due.ANSWER: End.INITIATOR,
    Due.CHALLENGE: End.ACCEPTOR,
    Due.REPLY: End.INITIATOR,
    Due.ACK: End.ACCEPTOR,
}
#: What follows each message, but for a status that refuses, asks or names.
_NEXT: Final = {
    Due.NAME: Due.STATUS,
    Due.STATUS: Due.CHALLENGE,
    Due.ANSWER: Due.CHALLENGE,
    Due.CHALLENGE: Due.REPLY,
    Due.REPLY: Due.ACK,
}


@dataclass(frozen=True, slots=True)
class Node:
    """What a node says of itself."""

    name: str
    creation: int
    flags: DistFlag


class HandshakeRelay:
    """One handshake between the initiator and the acceptor, each with the framing of its carrier.

    After an error :meth:`data_to_send` may still have the message that ended the handshake. ``over`` tells
    that nothing more is relayed; ``done`` that both nodes have accepted each other.
    """

    def __init__(self, initiator: HandshakeFraming, acceptor: HandshakeFraming, node: str) -> None:
        #: The name of the other node, for errors: a text in place of it until it is known.
        self.node = node
        self._framing = {End.INITIATOR: initiator, End.ACCEPTOR: acceptor}
        self._buffers = {end: HandshakeBuffer(framing) for end, framing in self._framing.items()}
        self._out: dict[End, list[bytes]] = {end: [] for end in End}
        self._due: Due | None = Due.NAME
        #: The initiator and the acceptor, once they have said their names.
        self.initiator: Node | None = None
        self.acceptor: Node | None = None
        #: The answer of the acceptor to the name.
        self.status: Status | None = None
        self.done = False

    @property
    def due(self) -> Due | None:
        """The message that comes next; None when there is no next one."""
        return self._due

    @property
    def expects(self) -> str:
        """The message that comes next, in words for an error."""
        return self._due or "nothing"

    def receive_data(self, end: End, data: bytes) -> None:
        """Take bytes that a node has sent. Raises :class:`HandshakeError`."""
        self._buffers[end].feed(data)
        try:
            while self._due is not None:
                sender = _SENDERS[self._due]
                message = self._buffers[sender].next(self._due, self.node)
                if message is None:
                    break
                self._relay(self._due, sender, message)
            if not self.done:
                self._buffers[end].check_bound(self.node)
        except HandshakeError:
            self._due = None
            raise

    def _relay(self, due: Due, sender: End, message: bytes) -> None:
        following = _NEXT.get(due)
        refusal: HandshakeError | None = None
        if due is Due.NAME:
            message = self._named(message)
        elif due is Due.STATUS:
            following, refusal = self._answered(message)
        elif due is Due.ANSWER:
            if not decode_answer(message, self.node):
                following, refusal = None, HandshakeEnded(self.node, "the answer true")
        elif due is Due.CHALLENGE:
            message = self._challenged(message)
        elif due is Due.ACK:
            self.done = True
        receiver = End.ACCEPTOR if sender is End.INITIATOR else End.INITIATOR
        self._out[receiver].append(frame(message, self._framing[receiver]))
        self._due = following
        if following is not None and _SENDERS[following] is not sender:
            # The sender waits for an answer: bytes after its message are extra data of it.
            self._buffers[sender].discard_extra_data()
        if refusal is not None:
            raise refusal

    def _named(self, message: bytes) -> bytes:
        said = decode_name_message(message, self.node)
        self.initiator = Node(said.name, said.creation, said.flags)
        tag, flags, creation, length = NAME_HEADER.unpack_from(message)
        return NAME_HEADER.pack(tag, flags & ~NOT_RELAYED, creation, length) + message[NAME_HEADER.size :]

    def _answered(self, message: bytes) -> tuple[Due | None, HandshakeError | None]:
        answer = decode_status(message, self.node)
        self.status = answer.status
        if answer.status is Status.NOK:
            return None, SimultaneousConnect(self.node)
        if answer.status is Status.NOT_ALLOWED:
            return None, NotAllowed(self.node)
        if answer.status is Status.NAMED and self.initiator is not None:
            self.initiator = Node(answer.name, answer.creation, self.initiator.flags)
        return Due.ANSWER if answer.status is Status.ALIVE else Due.CHALLENGE, None

    def _challenged(self, message: bytes) -> bytes:
        said = decode_challenge(message, self.node)
        self.acceptor = Node(said.name, said.creation, said.flags)
        tag, flags, challenge, creation, length = CHALLENGE_HEADER.unpack_from(message)
        head = CHALLENGE_HEADER.pack(tag, flags & ~NOT_RELAYED, challenge, creation, length)
        return head + message[CHALLENGE_HEADER.size :]

    def data_to_send(self, end: End) -> list[bytes]:
        """The messages to write to a node now, framed for its carrier: see
        :meth:`quicdist.protocol.handshake.Handshake.data_to_send`."""
        out, self._out[end] = self._out[end], []
        return out

    def leftover(self, end: End) -> bytes:
        """After the handshake: the bytes that a node has sent after its last message."""
        return self._buffers[end].leftover()

    def peer(self, end: End) -> Peer:
        """A node of a handshake that is done, for the link to it."""
        initiator, acceptor = self._both()
        node = initiator if end is End.INITIATOR else acceptor
        negotiated = expand(initiator.flags) & expand(acceptor.flags) & ~NOT_RELAYED
        return Peer(node.name, node.creation, node.flags, DistFlag(negotiated))

    def identity(self, end: End) -> LocalIdentity:
        """A node of a handshake that is done, for the link to the other one."""
        initiator, acceptor = self._both()
        node = initiator if end is End.INITIATOR else acceptor
        return LocalIdentity(node.name, node.creation, DistFlag(node.flags & ~NOT_RELAYED))

    def _both(self) -> tuple[Node, Node]:
        assert self.initiator is not None, "no name was said"
        assert self.acceptor is not None, "no challenge has come"
        return self.initiator, self.acceptor
